"""What the drivers of FastMCP have in common, whichever release and era they drive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport

from harness import (
    ASKING,
    DEADLINE,
    FOREVER,
    NAME,
    ROOT,
    SAMPLED,
    Failed,
    Target,
    check_progress,
    check_told,
    closing,
    eventually,
    need,
    plain,
    same,
    text_of,
)

#: Starts a task with a tool and its arguments; returns the release's own handle.
Start = Callable[..., Awaitable[Any]]

#: Asks the server for the task of a handle, past whatever the handle remembers.
Look = Callable[[Any], Awaitable[Any]]


def connect(target: Target, **options: Any) -> AbstractAsyncContextManager[Client[Any]]:
    """A client with a connection of its own; on stdio, with a process of its own."""
    if target.stdio:
        command, *arguments = target.command
        return closing(Client(StdioTransport(command, arguments, keep_alive=False), **options))
    return closing(Client(target.url, **options))


async def outcome(handle: Any) -> Any:
    """Awaits a handle, but not for ever."""
    return await asyncio.wait_for(handle.result(), DEADLINE)


async def check_reported_progress(target: Target, **options: Any) -> None:
    """Checks that a call without a task reports progress to the client's handler."""
    seen: list[tuple[float, float | None]] = []

    async def report(value: float, total: float | None, _message: str | None) -> None:
        seen.append((value, total))

    async with connect(target, progress_handler=report, **options) as client:
        text_of((await client.call_tool("slow_progress", {"steps": 10, "step_ms": 100})).content)
    check_progress(seen, 10)


def answering() -> dict[str, Any]:
    """Handlers of a client that has a name, a model and a folder."""

    async def name(_message: str, _kind: Any, _params: Any, _context: Any) -> ElicitResult[dict[str, str]]:
        return ElicitResult(action="accept", content={"name": NAME})

    async def sample(_messages: Any, _params: Any, _context: Any) -> str:
        return SAMPLED

    return {"elicitation_handler": name, "sampling_handler": sample, "roots": [ROOT]}


async def check_asked(target: Target, **options: Any) -> None:
    """Checks that tools can ask the client's user, its model and for its folders."""
    async with connect(target, **answering(), **options) as client:
        for tool, expected in ASKING.items():
            got = await asyncio.wait_for(client.call_tool(tool, {}), DEADLINE)
            check_told(text_of(got.content), expected, tool)


async def check_given_up(target: Target, **options: Any) -> None:
    """Checks that a client that gives up on long calls gets their results in a later turn."""
    forever = {"seconds": FOREVER, "label": "given up"}
    async with connect(target, **options) as client:
        try:
            await client.call_tool("slow_compute", forever, timeout=1)
        except Exception as error:
            need("timed out" in str(error).lower(), f"the client gave up for another reason: {error!r}")
        else:
            raise Failed("the client did not give up")
        # This tool answers before any client gives up, with what a model needs to go on.
        handed = await client.call_tool("long_report", {"seconds": 3}, timeout=DEADLINE)
        need(not handed.is_error, f"the call failed: {handed.content}")
        task = handed.structured_content
        need(task and task["status"] == "working", f"no running task: {task!r}")
        need(task["taskId"] in text_of(handed.content), f"the text does not name the task: {handed.content}")
        need("task_wait" in text_of(handed.content), f"the text does not say what to call: {handed.content}")
    # A later turn, and another process where there is one for each connection.
    async with connect(target, **options) as client:
        need("task_wait" in {tool.name for tool in await client.list_tools()}, "the helper is not listed")

        async def ask() -> str:
            answer = await client.call_tool("task_wait", {"taskId": task["taskId"]}, timeout=DEADLINE)
            need(not answer.is_error, f"the wait failed: {answer.content}")
            return text_of(answer.content)

        await eventually(ask, lambda text: text == "reported after 3 s", "the result comes")


async def check_awaited(client: Client[Any], start: Start, look: Look, **more: Any) -> None:
    """Checks that an awaited task gives what the plain call gives, in every view of it."""
    expected = await client.call_tool("add", {"a": 20, "b": 22})
    handle = await start(client, "add", {"a": 20, "b": 22}, **more)
    got = await asyncio.wait_for(handle, DEADLINE)
    same(text_of(got.content), "42", "the sum")
    same([plain(b) for b in got.content], [plain(b) for b in expected.content], "content")
    same(got.structured_content, expected.structured_content, "structured content")
    same(got.data, expected.data, "typed data")
    need(not got.is_error, "the result is marked as an error")
    same((await look(handle)).status, "completed", "status")


async def check_three(client: Client[Any], start: Start, look: Look) -> None:
    """Checks that three tasks run at once, each with a result of its own."""
    held = [await start(client, "slow_compute", {"seconds": FOREVER, "label": str(n)}) for n in range(3)]
    same(len({h.task_id for h in held}), 3, "different ids")
    now = await asyncio.gather(*(look(h) for h in held))
    same([t.status for t in now], ["working"] * 3, "all three work at the same time")
    await asyncio.gather(*(h.cancel() for h in held))
    sums = await asyncio.gather(*(start(client, "add", {"a": n, "b": 100}) for n in range(3)))
    results = await asyncio.gather(*(outcome(h) for h in sums))
    same([text_of(r.content) for r in results], ["100", "101", "102"], "each task has its own result")
