"""The fixture tools of the assertions on FastMCP 4.1, which speaks tasks in 2026-07-28 only.

    fastmcp41_server.py http PORT | stdio

Tasks are FastMCP's own, in memory; questions follow its pattern of returning what is asked and running again.
"""

import asyncio
import sys
from datetime import timedelta

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.utilities.tasks import TaskConfig
from fastmcp_tasks import TasksExtension
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

OPTIONAL = TaskConfig(mode="optional", poll_interval=timedelta(seconds=1))
REQUIRED = TaskConfig(mode="required", poll_interval=timedelta(seconds=1))
server = FastMCP("fastmcp41-fixture")
server.add_extension(TasksExtension())


def question(message, name, kind):
    """An elicitation with one field."""
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


@server.tool
async def greet(name: str) -> str:
    """No task support."""
    return f"Hello, {name}!"


@server.tool(task=OPTIONAL)
async def add(a: int, b: int) -> int:
    """Quick, with a structured result."""
    return a + b


@server.tool(task=OPTIONAL)
async def slow_compute(seconds: float, label: str = "") -> str:
    """Sleeps."""
    await asyncio.sleep(seconds)
    return f"{label} computed for {seconds} s"


@server.tool(task=REQUIRED)
async def failing_job() -> str:
    """Ends with a tool error."""
    await asyncio.sleep(0.3)
    raise ToolError("this job always fails")


@server.tool(task=OPTIONAL)
async def protocol_error_job() -> str:
    """Ends with a JSON-RPC error."""
    raise MCPError(code=-32050, message="this job ends with a protocol error")


@server.tool(task=OPTIONAL)
async def confirm_delete(filename: str, ctx: Context) -> str:
    """Asks one question."""
    if not ctx.input_responses:
        return InputRequiredResult(input_requests={"confirm": question(f"Delete {filename}?", "confirm", "boolean")})
    answer = ctx.input_responses["confirm"]
    return f"deleted {filename}" if answer.action == "accept" else f"kept {filename}"


@server.tool(task=OPTIONAL)
async def multi_input(ctx: Context) -> str:
    """Asks two questions at once."""
    if not ctx.input_responses:
        return InputRequiredResult(input_requests={
            "name": question("Name?", "name", "string"),
            "colour": question("Colour?", "colour", "string"),
        })
    return " and ".join(sorted(str(answer.content) for answer in ctx.input_responses.values()))


@server.tool(task=OPTIONAL)
async def slow_progress(steps: int, step_ms: int, ctx: Context) -> str:
    """Reports every step."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await asyncio.sleep(step_ms / 1000)
    return f"{steps} steps"


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        server.run(transport="http", host="127.0.0.1", port=int(sys.argv[2]), log_level="error", show_banner=False)
    elif sys.argv[1:] == ["stdio"]:
        server.run(transport="stdio", show_banner=False)
    else:
        sys.exit("usage: fastmcp41_server.py http PORT | stdio")
