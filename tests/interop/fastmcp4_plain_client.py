"""Calls a server's tools with a FastMCP 4 client that declares no tasks, in both eras.

This is what most clients are today. It never imports `fastmcp_tasks`, so it shows
what the same server does for a caller that cannot handle tasks: short tools answer
at once, longer ones report progress while the caller waits, and a tool that must
run as a task is refused with the era's own error.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from fastmcp import Client

import fastmcp_shared
from harness import Suite, Target, check_tools, need, plain, refused, same, text_of

suite = Suite("FastMCP 4 without tasks")

#: The name by which FastMCP selects an era, and that era's protocol version.
MODERN = ("auto", "2026-07-28")
LEGACY = ("legacy", "2025-11-25")


def connect(target: Target, era: tuple[str, str], **handlers: Any) -> AbstractAsyncContextManager[Client[Any]]:
    """A client with a connection of its own, of one era."""
    return fastmcp_shared.connect(target, mode=era[0], **handlers)


async def calls(target: Target, era: tuple[str, str]) -> None:
    async with connect(target, era) as client:
        same(client.session.protocol_version, era[1], "protocol version")
        check_tools([plain(tool) for tool in await client.list_tools()], with_support=era is LEGACY)
        same(text_of((await client.call_tool("greet", {"name": "Ada"})).content), "Hello, Ada!", "the greeting")
        same(text_of((await client.call_tool("add", {"a": 19, "b": 23})).content), "42", "the sum")
        slow = await client.call_tool("slow_compute", {"seconds": 1, "label": "inline"})
        need(not slow.is_error, f"the call failed: {slow.content}")
        text_of(slow.content)


@suite.check("calls, 2026-07-28")
async def calls_modern(target: Target) -> None:
    await calls(target, MODERN)


@suite.check("calls, 2025-11-25")
async def calls_legacy(target: Target) -> None:
    await calls(target, LEGACY)


@suite.check("progress, 2026-07-28")
async def progress_modern(target: Target) -> None:
    await fastmcp_shared.check_reported_progress(target, mode=MODERN[0])


@suite.check("progress, 2025-11-25")
async def progress_legacy(target: Target) -> None:
    await fastmcp_shared.check_reported_progress(target, mode=LEGACY[0])


@suite.check("sampling, roots and a question while the caller waits, 2026-07-28")
async def asked_modern(target: Target) -> None:
    await fastmcp_shared.check_asked(target, mode=MODERN[0])


@suite.check("sampling, roots and a question while the caller waits, 2025-11-25")
async def asked_legacy(target: Target) -> None:
    await fastmcp_shared.check_asked(target, mode=LEGACY[0])


@suite.check("a client that gives up gets the result in a later turn, 2026-07-28")
async def given_up_modern(target: Target) -> None:
    await fastmcp_shared.check_given_up(target, mode=MODERN[0])


@suite.check("a client that gives up gets the result in a later turn, 2025-11-25")
async def given_up_legacy(target: Target) -> None:
    await fastmcp_shared.check_given_up(target, mode=LEGACY[0])


@suite.check("a tool that must be a task is refused, 2026-07-28")
async def required_modern(target: Target) -> None:
    async with connect(target, MODERN) as client:
        error = await refused(client.call_tool("failing_job", {}), {-32021}, "a required tool without the extension")
        data = error.error.data or {}
        extensions = data.get("requiredCapabilities", {}).get("extensions", {})
        need("io.modelcontextprotocol/tasks" in extensions, f"the error does not say what is missing: {data!r}")


@suite.check("a tool that must be a task is refused, 2025-11-25")
async def required_legacy(target: Target) -> None:
    async with connect(target, LEGACY) as client:
        await refused(client.call_tool("failing_job", {}), {-32601}, "a required tool without a task")


if __name__ == "__main__":
    suite.main()
