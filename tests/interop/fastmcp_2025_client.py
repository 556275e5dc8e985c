"""Drives a server's tasks with the clients of FastMCP 2.14 and 3.4 (protocol 2025-11-25).

These checks use what a FastMCP user uses: `call_tool(..., task=True)`, the handle
that it returns, and the client's handlers for progress, status and questions. The two
releases have the same interface; where they behave differently, the check says so.
"""

from __future__ import annotations

from typing import Any

import fastmcp
from fastmcp import Client
from fastmcp.client.tasks import ToolTask
from fastmcp.exceptions import ToolError

from fastmcp_shared import check_asked, check_awaited, check_reported_progress, check_three, connect, outcome
from harness import (
    DEADLINE,
    FOREVER,
    HANDOVER,
    TERMINAL,
    Failed,
    Suite,
    Target,
    answer_to,
    check_messages,
    check_statuses,
    check_time,
    check_tools,
    code_of,
    eventually,
    need,
    plain,
    refused,
    same,
    text_of,
)

#: 2 or 3.
RELEASE = int(fastmcp.__version__.split(".")[0])

suite = Suite(f"FastMCP {RELEASE}")

RELATED = "io.modelcontextprotocol/related-task"
INVALID_PARAMS = -32602
METHOD_NOT_FOUND = -32601


async def start(client: Client[Any], name: str, arguments: dict[str, Any] | None = None, **more: Any) -> ToolTask:
    """Calls a tool as a task and checks that the server took it as one."""
    task = await client.call_tool(name, arguments or {}, task=True, **more)
    need(not task.returned_immediately, f"{name} ran without a task although one was asked for")
    need(task.task_id, "the task has no id")
    return task


async def finish(client: Client[Any], task_id: str) -> Any:
    """Polls a task to its end, past the handle's cache of notifications."""
    return await eventually(
        lambda: client.get_task_status(task_id), lambda t: t.status in TERMINAL, f"task {task_id} ends"
    )


@suite.check("the handshake declares tasks")
async def handshake(target: Target) -> None:
    async with connect(target) as client:
        same(client.initialize_result.protocolVersion, "2025-11-25", "protocol version")
        tasks = client.initialize_result.capabilities.tasks
        need(tasks is not None, "tasks are not declared")
        need(tasks.requests and tasks.requests.tools and tasks.requests.tools.call is not None, "no task calls")
        await client.ping()


@suite.check("tools are listed with schemas and task support")
async def tools(target: Target) -> None:
    async with connect(target) as client:
        check_tools([plain(tool) for tool in await client.list_tools()], with_support=True)


@suite.check("a call without a task")
async def call(target: Target) -> None:
    async with connect(target) as client:
        same(text_of((await client.call_tool("greet", {"name": "Ada"})).content), "Hello, Ada!", "the greeting")
        same(text_of((await client.call_tool("add", {"a": 19, "b": 23})).content), "42", "the sum")
        text_of((await client.call_tool("slow_compute", {"seconds": 0, "label": "now"})).content)


@suite.check("a call without a task reports progress")
async def call_progress(target: Target) -> None:
    await check_reported_progress(target)


@suite.check("sampling, roots and a question while the caller waits")
async def asked(target: Target) -> None:
    await check_asked(target)


@suite.check("a task is awaited, with the result of the plain call")
async def task(target: Target) -> None:
    async with connect(target) as client:
        await check_awaited(client, start, lambda handle: client.get_task_status(handle.task_id), ttl=120_000)


@suite.check("the handle waits for a state")
async def wait(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_compute", {"seconds": 1, "label": "wait"})
        same((await handle.wait(state="completed", timeout=DEADLINE)).status, "completed", "status")
        text_of((await outcome(handle)).content)


@suite.check("polling shows a working task and its progress")
async def polling(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_progress", {"steps": 20, "step_ms": 100})
        seen: list[Any] = []

        async def poll() -> Any:
            seen.append(await client.get_task_status(handle.task_id))
            return seen[-1]

        await eventually(poll, lambda t: t.status in TERMINAL, "the task ends")
        check_statuses([t.status for t in seen], "completed")
        check_messages([t.statusMessage for t in seen if t.status == "working"])
        for t in seen:
            same(t.taskId, handle.task_id, "id")
            check_time(t.createdAt, "createdAt")
            check_time(t.lastUpdatedAt, "lastUpdatedAt")
        text_of((await outcome(handle)).content)


@suite.check("status notifications reach the handle")
async def notifications(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_progress", {"steps": 20, "step_ms": 100})
        seen: list[Any] = []
        handle.on_status_change(seen.append)
        await finish(client, handle.task_id)

        async def statuses() -> list[str]:
            return [t.status for t in seen]

        await eventually(statuses, lambda s: "completed" in s, "a status notification says completed")


@suite.check("progress reaches the handle")
async def handle_progress(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_progress", {"steps": 20, "step_ms": 100})
        messages: list[str | None] = []

        # After its first answer the handle never asks the server again: what it shows
        # from then on is what status notifications bring.
        async def poll() -> Any:
            task = await handle.status()
            if task.status == "working":
                messages.append(task.statusMessage)
            return task

        await eventually(poll, lambda t: t.status in TERMINAL, "the task ends")
        check_messages(messages)


@suite.check("a finished result is fetched twice")
async def result_twice(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_compute", {"seconds": 0, "label": "twice"})
        await finish(client, handle.task_id)
        first = await client.get_task_result(handle.task_id)
        second = await client.get_task_result(handle.task_id)
        same(second, first, "the second answer")
        same(first["_meta"][RELATED]["taskId"], handle.task_id, "related task of the result")


@suite.check("three tasks at once")
async def three(target: Target) -> None:
    async with connect(target) as client:
        await check_three(client, start, lambda handle: client.get_task_status(handle.task_id))


@suite.check("cancel a running task")
async def cancel(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_compute", {"seconds": FOREVER, "label": "cancel"})
        await handle.cancel()
        same((await client.get_task_status(handle.task_id)).status, "cancelled", "status")
        await refused(client.cancel_task(handle.task_id), {INVALID_PARAMS}, "cancelling a finished task")
        try:
            answer = await outcome(handle)
        except ToolError:
            pass
        else:
            raise Failed(f"awaiting a cancelled task gave {answer!r}, expected ToolError")


@suite.check("a tool that fails")
async def tool_error(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "failing_job")
        end = await finish(client, handle.task_id)
        same(end.status, "failed", "status")
        raw = await client.get_task_result(handle.task_id)
        need(raw["isError"], "the result is not marked as an error")
        text = raw["content"][0]["text"]
        try:
            await outcome(handle)
        except ToolError as error:
            same(str(error), text, "the error a user sees")
        else:
            raise Failed("awaiting a task whose tool failed raised nothing")
        # A handle of FastMCP 2 raises, whatever it is told.
        if RELEASE >= 3:
            handle = await start(client, "failing_job", raise_on_error=False)
            answer = await outcome(handle)
            need(answer.is_error, "the result is not marked as an error")
            same(text_of(answer.content), text, "the text of the result")


@suite.check("a task that ends in a protocol error")
async def protocol_error(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "protocol_error_job")
        end = await finish(client, handle.task_id)
        same(end.status, "failed", "status")
        need(end.statusMessage, "a failed task says nothing in its status message")
        try:
            answer = await outcome(handle)
        except Exception as error:  # noqa: BLE001 - the class is the SDK's, the code is what counts
            need(code_of(error) is not None, f"expected a JSON-RPC error, got {error!r}")
        else:
            raise Failed(f"awaiting a task that ended in a protocol error gave {answer!r}")


@suite.check("a new connection fetches a finished task")
async def reconnect(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "add", {"a": 1, "b": 2})
        await finish(client, handle.task_id)
        before = await client.get_task_result(handle.task_id)
    async with connect(target) as client:
        same((await client.get_task_status(handle.task_id)).status, "completed", "status")
        same(await client.get_task_result(handle.task_id), before, "the result over the new connection")


@suite.check("a task outlives the connection that started it")
async def outlive(target: Target) -> None:
    async with connect(target) as client:
        task_id = (await start(client, "slow_progress", {"steps": 20, "step_ms": 100})).task_id
    async with connect(target) as client:
        # The same handle as before, made from the id alone.
        handle = ToolTask(client, task_id, tool_name="slow_progress")
        text_of((await outcome(handle)).content)
        same((await client.get_task_status(task_id)).status, "completed", "status")


@suite.check("tasks are listed where they may be")
async def listing(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "add", {"a": 3, "b": 4})
        declared = client.initialize_result.capabilities.tasks
        if declared is not None and declared.list is not None:
            ids: list[str] = []
            cursor = None
            while True:
                page = await client.list_tasks(cursor)
                ids += [t["taskId"] for t in page["tasks"]]
                cursor = page.get("nextCursor")
                if cursor is None:
                    break
            need(handle.task_id in ids, f"task {handle.task_id} is not among the {len(ids)} listed")
        else:
            need(not target.stdio, "tasks.list is not declared on stdio, where there is one requester")
            await refused(client.list_tasks(), {METHOD_NOT_FOUND}, "an undeclared tasks/list")


@suite.check("unknown ids and a missing task are refused")
async def refusals(target: Target) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    async with connect(target) as client:
        await refused(client.get_task_status(unknown), {INVALID_PARAMS}, "tasks/get of an unknown id")
        await refused(client.get_task_result(unknown), {INVALID_PARAMS}, "tasks/result of an unknown id")
        await refused(client.cancel_task(unknown), {INVALID_PARAMS}, "tasks/cancel of an unknown id")
        await refused(client.call_tool("failing_job", {}), {METHOD_NOT_FOUND}, "a required tool without a task")
        same(text_of((await client.call_tool("greet", {"name": "Bob"})).content), "Hello, Bob!", "afterwards")


@suite.check("a question inside a task")
async def elicitation(target: Target) -> None:
    asked: list[str] = []
    statuses: list[str] = []

    async def answer(message: str, _type: Any, params: Any, _context: Any) -> dict[str, Any]:
        asked.append(message)
        # The client reads nothing else from its connection while this runs, so the
        # look at the status needs a connection of its own.
        async with connect(target) as other:
            related = plain(params).get("_meta", {}).get(RELATED, {}).get("taskId")
            if related is None:
                statuses.append("unknown: the question does not name its task")
            else:
                statuses.append((await other.get_task_status(related)).status)
        return answer_to(params.requestedSchema)

    async with connect(target, elicitation_handler=answer) as client:
        handle = await start(client, "confirm_delete", {"filename": "notes.txt"})
        got = await outcome(handle)
        need(not got.is_error, f"the task failed: {got.content}")
        text_of(got.content)
        same((await client.get_task_status(handle.task_id)).status, "completed", "status")
        same(len(asked), 1, "how often the question was asked")
        need(asked[0], "the question has no text")
        same(statuses, ["input_required"], "status while the question is open")


async def hand_out(target: Target) -> str:
    async with connect(target) as client:
        return (await start(client, *HANDOVER)).task_id


async def take_over(target: Target, task_id: str) -> dict[str, Any]:
    async with connect(target) as client:
        same((await finish(client, task_id)).status, "completed", "status")
        return await client.get_task_result(task_id)


suite.hands_over(hand_out, take_over)

if __name__ == "__main__":
    suite.main()
