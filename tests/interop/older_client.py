"""Calls a server with a release of the MCP Python SDK from the time of an older revision.

One driver for the revisions before tasks: 2024-11-05 (mcp 1.6, stdio alone, since its
HTTP transport is the one with two addresses), 2025-03-26 (mcp 1.9) and 2025-06-18
(mcp 1.22). Such a client must be served as its revision says, and must see nothing newer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp.types as types
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from harness import Skipped, Suite, Target, answer_to, check_progress, check_tools, need, plain, refused, same, text_of

VERSION = types.LATEST_PROTOCOL_VERSION

suite = Suite(f"mcp of {VERSION}")

#: Members of a tool that a revision does not know, by the revision that brought them.
NEWER = {
    "annotations": "2025-03-26",
    "title": "2025-06-18",
    "outputSchema": "2025-06-18",
    "icons": "2025-11-25",
    "execution": "2025-11-25",
}


@asynccontextmanager
async def connect(target: Target, **callbacks: Any) -> AsyncIterator[tuple[ClientSession, types.InitializeResult]]:
    """A new connection, after its handshake."""
    if target.stdio:
        command, *arguments = target.command
        transport: Any = stdio_client(StdioServerParameters(command=command, args=arguments))
    elif VERSION == "2024-11-05":
        raise Skipped("the HTTP transport of 2024-11-05 is not served")
    else:
        from mcp.client.streamable_http import streamablehttp_client

        transport = streamablehttp_client(target.url)
    async with transport as streams, ClientSession(streams[0], streams[1], **callbacks) as session:
        yield session, await session.initialize()


@suite.check("the handshake agrees on the client's revision")
async def handshake(target: Target) -> None:
    async with connect(target) as (session, initialized):
        same(str(initialized.protocolVersion), VERSION, "protocol version")
        need(initialized.capabilities.tools is not None, "tools are not declared")
        capabilities = plain(initialized.capabilities)
        need("tasks" not in capabilities, f"tasks are declared to a client of {VERSION}: {capabilities}")
        await session.send_ping()


@suite.check("tools are listed as the revision has them")
async def tools(target: Target) -> None:
    async with connect(target) as (session, _):
        listed = [plain(tool) for tool in (await session.list_tools()).tools]
        check_tools(listed, with_support=False)
        for tool in listed:
            newer = [name for name, since in NEWER.items() if name in tool and since > VERSION]
            need(not newer, f"{tool['name']} has members that {VERSION} does not know: {newer}")


@suite.check("calls, and a tool that fails")
async def calls(target: Target) -> None:
    async with connect(target) as (session, _):
        same(text_of((await session.call_tool("greet", {"name": "Ada"})).content), "Hello, Ada!", "the greeting")
        added = await session.call_tool("add", {"a": 19, "b": 23})
        same(text_of(added.content), "42", "the sum")
        need(VERSION >= "2025-06-18" or "structuredContent" not in plain(added), "structured content came too early")
        await refused(session.call_tool("failing_job", {}), {-32601}, "a tool that must be a task")
        await refused(session.call_tool("no_such_tool", {}), {-32602}, "an unknown tool")


@suite.check("progress while the caller waits")
async def progress(target: Target) -> None:
    seen: list[tuple[float, float | None]] = []

    async def message(received: Any) -> None:
        root = getattr(received, "root", None)
        if isinstance(root, types.ProgressNotification):
            seen.append((root.params.progress, root.params.total))

    async with connect(target, message_handler=message) as (session, _):
        # These releases have no progress callback yet, or each another one: the token is sent by hand.
        params = types.CallToolRequestParams.model_validate(
            {"name": "slow_progress", "arguments": {"steps": 10, "step_ms": 100}, "_meta": {"progressToken": "older"}}
        )
        request = types.ClientRequest(types.CallToolRequest(method="tools/call", params=params))
        text_of((await session.send_request(request, types.CallToolResult)).content)
    check_progress(seen, 10)


@suite.check("a task asked for by a client of a revision without tasks is a plain call")
async def stray_task(target: Target) -> None:
    async with connect(target) as (session, _):
        params = types.CallToolRequestParams.model_validate(
            {"name": "add", "arguments": {"a": 1, "b": 2}, "task": {"ttl": 60000}}
        )
        request = types.ClientRequest(types.CallToolRequest(method="tools/call", params=params))
        got = await session.send_request(request, types.CallToolResult)
        same(text_of(got.content), "3", "the sum")
        need("task" not in plain(got), f"the answer is a task: {json.dumps(plain(got))}")


async def elicitation(target: Target) -> None:
    asked: list[str] = []

    async def answer(_context: Any, params: Any) -> Any:
        asked.append(params.message)
        return types.ElicitResult(action="accept", content=answer_to(params.requestedSchema))

    async with connect(target, elicitation_callback=answer) as (session, _):
        got = await session.call_tool("confirm_delete", {"filename": "notes.txt"})
        need(not got.isError, f"the call failed: {got.content}")
        same(len(asked), 1, "how often the question was asked")


# Questions came with this revision; before it a client has no way to answer one.
if VERSION >= "2025-06-18":
    suite.check("a question while the caller waits")(elicitation)

if __name__ == "__main__":
    suite.main()
