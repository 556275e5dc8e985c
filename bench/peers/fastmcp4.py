"""FastMCP 4 as a peer: the tool `add` as a background task, kept in memory or in a Redis.

Run as `python fastmcp4.py 127.0.0.1:PORT [redis://HOST:PORT/DB]`. Everything is FastMCP's default except
what makes it faster here: JSON answers in place of event streams, no sessions, no
log lines, no access log, and as many concurrent runs as there are connections.
"""

import sys

from fastmcp import FastMCP
from fastmcp_tasks import TasksExtension

mcp = FastMCP("peer")
store = sys.argv[2] if len(sys.argv) > 2 else "memory://"
mcp.add_extension(TasksExtension(url=store, concurrency=16))


@mcp.tool(task=True)
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


if __name__ == "__main__":
    host, port = sys.argv[1].rsplit(":", 1)
    mcp.run(
        transport="http",
        host=host,
        port=int(port),
        show_banner=False,
        log_level="critical",
        json_response=True,
        stateless_http=True,
        # The loader keeps its connections over pauses longer than the default of 5 s.
        uvicorn_config={"access_log": False, "timeout_keep_alive": 3600},
    )
