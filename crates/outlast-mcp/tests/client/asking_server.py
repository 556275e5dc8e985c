"""A FastMCP server of 2025-11-25 whose tools ask their client's model and for its roots."""

from fastmcp import Context, FastMCP

mcp = FastMCP("asking")


@mcp.tool
async def summarise(text: str, ctx: Context) -> str:
    answer = await ctx.sample(f"Summarise: {text}", max_tokens=50)
    return answer.text


@mcp.tool
async def folders(ctx: Context) -> str:
    return " ".join(str(root.uri) for root in await ctx.list_roots())


mcp.run(show_banner=False)
