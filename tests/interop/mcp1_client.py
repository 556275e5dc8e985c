"""Drives a server's tasks with the MCP Python SDK 1.x (protocol 2025-11-25).

The SDK's experimental API is a thin layer over the wire, so these checks see every
answer as the server sent it, validated by the SDK's own models.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import mcp.types as types
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from harness import (
    ASKING,
    ASKING_TASK,
    DEADLINE,
    FOREVER,
    HANDOVER,
    NAME,
    ROOT,
    SAMPLED,
    TERMINAL,
    Suite,
    Target,
    answer_to,
    check_messages,
    check_progress,
    check_statuses,
    check_time,
    check_told,
    check_tools,
    closing,
    eventually,
    need,
    plain,
    refused,
    same,
    text_of,
)

suite = Suite("mcp 1.x")

RELATED = "io.modelcontextprotocol/related-task"
INVALID_PARAMS = -32602
METHOD_NOT_FOUND = -32601


def connect(target: Target, **callbacks: Any) -> AbstractAsyncContextManager[ClientSession]:
    """A new connection, after its handshake."""
    return closing(connected(target, **callbacks))


@asynccontextmanager
async def connected(target: Target, **callbacks: Any) -> AsyncIterator[ClientSession]:
    if target.stdio:
        command, *arguments = target.command
        transport: Any = stdio_client(StdioServerParameters(command=command, args=arguments))
    else:
        transport = streamable_http_client(target.url)
    async with transport as streams, ClientSession(streams[0], streams[1], **callbacks) as session:
        await session.initialize()
        yield session


async def start(session: ClientSession, name: str, arguments: dict[str, Any] | None = None, **more: Any) -> str:
    """Calls a tool as a task, checks the answer and returns the task's id."""
    created = await session.experimental.call_tool_as_task(name, arguments or {}, **more)
    task = created.task
    need(task.taskId, "the task has no id")
    same(task.status, "working", "status of a new task")
    check_time(task.createdAt, "createdAt")
    check_time(task.lastUpdatedAt, "lastUpdatedAt")
    need(task.ttl is None or task.ttl > 0, f"ttl is {task.ttl}")
    need(task.pollInterval is None or task.pollInterval > 0, f"pollInterval is {task.pollInterval}")
    return task.taskId


async def finish(session: ClientSession, task_id: str) -> types.GetTaskResult:
    """Polls a task to its end."""
    return await eventually(
        lambda: session.experimental.get_task(task_id),
        lambda task: task.status in TERMINAL,
        f"task {task_id} ends",
    )


async def result(session: ClientSession, task_id: str) -> types.CallToolResult:
    """Fetches a task's result and checks that it names its task."""
    answer = await session.experimental.get_task_result(task_id, types.CallToolResult)
    same(((answer.meta or {}).get(RELATED) or {}).get("taskId"), task_id, "related task of the result")
    return answer


@suite.check("the handshake declares tasks")
async def handshake(target: Target) -> None:
    async with connect(target) as session:
        capabilities = session.get_server_capabilities()
        need(capabilities and capabilities.tools is not None, "tools are not declared")
        tasks = capabilities.tasks
        need(tasks is not None, "tasks are not declared")
        need(tasks.cancel is not None, "tasks.cancel is not declared")
        need(tasks.requests and tasks.requests.tools, "tasks.requests.tools is not declared")
        need(tasks.requests.tools.call is not None, "tasks.requests.tools.call is not declared")
        await session.send_ping()


@suite.check("tools are listed with schemas and task support")
async def tools(target: Target) -> None:
    async with connect(target) as session:
        listed = await session.list_tools()
        check_tools([plain(tool) for tool in listed.tools], with_support=True)


@suite.check("a call without a task")
async def call(target: Target) -> None:
    async with connect(target) as session:
        greeting = await session.call_tool("greet", {"name": "Ada"})
        same(text_of(greeting.content), "Hello, Ada!", "the greeting")
        need(not greeting.isError, "the greeting is marked as an error")
        total = await session.call_tool("add", {"a": 19, "b": 23})
        same(text_of(total.content), "42", "the sum")
        slow = await session.call_tool("slow_compute", {"seconds": 0, "label": "now"})
        text_of(slow.content)


@suite.check("a call without a task reports progress")
async def call_progress(target: Target) -> None:
    seen: list[tuple[float, float | None]] = []

    async def progress(value: float, total: float | None, _message: str | None) -> None:
        seen.append((value, total))

    async with connect(target) as session:
        answer = await session.call_tool(
            "slow_progress", {"steps": 10, "step_ms": 100}, progress_callback=progress
        )
        need(not answer.isError, f"the call failed: {answer.content}")
        text_of(answer.content)
    check_progress(seen, 10)


@suite.check("a call as a task, to its end, with the result of the plain call")
async def task(target: Target) -> None:
    async with connect(target) as session:
        expected = await session.call_tool("add", {"a": 20, "b": 22})
        task_id = await start(session, "add", {"a": 20, "b": 22}, ttl=120_000)
        end = await finish(session, task_id)
        same(end.status, "completed", "status")
        same(end.taskId, task_id, "id")
        need(check_time(end.lastUpdatedAt, "lastUpdatedAt") >= check_time(end.createdAt, "createdAt"), "time runs back")
        got = await result(session, task_id)
        same(plain(got)["content"], plain(expected)["content"], "content")
        same(got.structuredContent, expected.structuredContent, "structured content")
        need(not got.isError, "the result is marked as an error")


@suite.check("the result waits for the task")
async def blocking_result(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "slow_compute", {"seconds": 1, "label": "wait"})
        text_of((await result(session, task_id)).content)
        same((await session.experimental.get_task(task_id)).status, "completed", "status after the result")


@suite.check("two waiters get the same result, and it can be fetched again")
async def result_twice(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "slow_compute", {"seconds": 1, "label": "twice"})
        first, second = await asyncio.gather(result(session, task_id), result(session, task_id))
        third = await result(session, task_id)
        same(plain(second), plain(first), "the second answer")
        same(plain(third), plain(first), "the third answer")


@suite.check("polling shows a working task and its progress")
async def polling(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "slow_progress", {"steps": 20, "step_ms": 100})
        seen: list[types.GetTaskResult] = []

        async def poll() -> types.GetTaskResult:
            seen.append(await session.experimental.get_task(task_id))
            return seen[-1]

        await eventually(poll, lambda t: t.status in TERMINAL, "the task ends")
        check_statuses([t.status for t in seen], "completed")
        check_messages([t.statusMessage for t in seen if t.status == "working"])
        moments = [t.lastUpdatedAt for t in seen]
        same(moments, sorted(moments), "lastUpdatedAt never goes back")
        text_of((await result(session, task_id)).content)


@suite.check("the SDK's own poll loop ends")
async def sdk_poll(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "slow_compute", {"seconds": 1, "label": "sdk"})
        statuses = [t.status async for t in session.experimental.poll_task(task_id)]
        check_statuses(["working", *statuses], "completed")


@suite.check("status notifications and progress of a task arrive")
async def notifications(target: Target) -> None:
    statuses: list[types.TaskStatusNotification] = []
    progress: list[types.ProgressNotification] = []

    async def message(received: Any) -> None:
        if isinstance(received, types.ServerNotification):
            if isinstance(received.root, types.TaskStatusNotification):
                statuses.append(received.root)
            if isinstance(received.root, types.ProgressNotification):
                progress.append(received.root)

    async with connect(target, message_handler=message) as session:
        task_id = await start(
            session, "slow_progress", {"steps": 20, "step_ms": 100}, meta={"progressToken": "interop-1"}
        )
        await finish(session, task_id)

        async def last() -> list[str]:
            return [n.params.status for n in statuses if n.params.taskId == task_id]

        await eventually(last, lambda s: "completed" in s, "a status notification says completed")
        values = [(n.params.progress, n.params.total) for n in progress if n.params.progressToken == "interop-1"]
        check_progress(values, 20)


@suite.check("three tasks at once")
async def three(target: Target) -> None:
    async with connect(target) as session:
        held = [await start(session, "slow_compute", {"seconds": FOREVER, "label": str(n)}) for n in range(3)]
        same(len(set(held)), 3, "different ids")
        now = await asyncio.gather(*(session.experimental.get_task(i) for i in held))
        same([t.status for t in now], ["working"] * 3, "all three work at the same time")
        await asyncio.gather(*(session.experimental.cancel_task(i) for i in held))
        sums = await asyncio.gather(*(start(session, "add", {"a": n, "b": 100}) for n in range(3)))
        await asyncio.gather(*(finish(session, i) for i in sums))
        results = await asyncio.gather(*(result(session, i) for i in sums))
        same([text_of(r.content) for r in results], ["100", "101", "102"], "each task has its own result")


@suite.check("cancel a running task")
async def cancel(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "slow_compute", {"seconds": FOREVER, "label": "cancel"})
        answer = await session.experimental.cancel_task(task_id)
        same(answer.taskId, task_id, "id in the answer")
        same(answer.status, "cancelled", "status in the answer")
        same((await session.experimental.get_task(task_id)).status, "cancelled", "status afterwards")
        await refused(
            session.experimental.cancel_task(task_id), {INVALID_PARAMS}, "cancelling a finished task"
        )
        need((await result(session, task_id)).isError, "the result of a cancelled task is not an error")


@suite.check("cancel wakes whoever waits for the result")
async def cancel_wakes(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "slow_compute", {"seconds": FOREVER, "label": "wake"})
        waiting = asyncio.create_task(result(session, task_id))
        # A round trip on the same connection: the request above is on its way first.
        await session.send_ping()
        await session.experimental.cancel_task(task_id)
        need((await asyncio.wait_for(waiting, DEADLINE)).isError, "the waiter's result is not an error")


@suite.check("a tool that fails")
async def tool_error(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "failing_job")
        end = await finish(session, task_id)
        same(end.status, "failed", "status")
        need(end.statusMessage, "a failed task says nothing in its status message")
        answer = await result(session, task_id)
        need(answer.isError, "isError is not set")
        text_of(answer.content)


@suite.check("a task that ends in a protocol error")
async def protocol_error(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "protocol_error_job")
        end = await finish(session, task_id)
        same(end.status, "failed", "status")
        need(end.statusMessage, "a failed task says nothing in its status message")
        seen = []
        for _ in range(2):
            try:
                answer = await result(session, task_id)
            except Exception as error:  # noqa: BLE001 - the SDK's class moved between releases
                problem = getattr(error, "error", None)
                need(problem is not None, f"expected a JSON-RPC error, got {error!r}")
                need(problem.message, "the error has no message")
                seen.append((problem.code, problem.message, problem.data))
            else:
                need(False, f"expected a JSON-RPC error, got {answer!r}")
        same(seen[1], seen[0], "the error when fetched again")


@suite.check("a new connection fetches a finished task")
async def reconnect(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "add", {"a": 1, "b": 2})
        await finish(session, task_id)
        before = plain(await result(session, task_id))
    async with connect(target) as session:
        same((await session.experimental.get_task(task_id)).status, "completed", "status")
        same(plain(await result(session, task_id)), before, "the result over the new connection")


@suite.check("a task outlives the connection that started it")
async def outlive(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "slow_progress", {"steps": 20, "step_ms": 100})
    async with connect(target) as session:
        same((await finish(session, task_id)).status, "completed", "status")
        text_of((await result(session, task_id)).content)


@suite.check("a new connection cancels a running task")
async def cancel_elsewhere(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "slow_compute", {"seconds": FOREVER, "label": "elsewhere"})
    async with connect(target) as session:
        same((await session.experimental.cancel_task(task_id)).status, "cancelled", "status in the answer")


@suite.check("tasks are listed where they may be")
async def listing(target: Target) -> None:
    async with connect(target) as session:
        task_id = await start(session, "add", {"a": 3, "b": 4})
        capabilities = session.get_server_capabilities()
        if capabilities.tasks is not None and capabilities.tasks.list is not None:
            ids: list[str] = []
            cursor = None
            while True:
                page = await session.experimental.list_tasks(cursor)
                ids += [t.taskId for t in page.tasks]
                cursor = page.nextCursor
                if cursor is None:
                    break
            need(task_id in ids, f"task {task_id} is not among the {len(ids)} listed")
            same(len(set(ids)), len(ids), "every task is listed once")
        else:
            need(not target.stdio, "tasks.list is not declared on stdio, where there is one requester")
            await refused(session.experimental.list_tasks(), {METHOD_NOT_FOUND}, "an undeclared tasks/list")


@suite.check("unknown ids and wrong modes are refused")
async def refusals(target: Target) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    async with connect(target) as session:
        tasks = session.experimental
        await refused(tasks.get_task(unknown), {INVALID_PARAMS}, "tasks/get of an unknown id")
        await refused(result(session, unknown), {INVALID_PARAMS}, "tasks/result of an unknown id")
        await refused(tasks.cancel_task(unknown), {INVALID_PARAMS}, "tasks/cancel of an unknown id")
        await refused(session.call_tool("failing_job", {}), {METHOD_NOT_FOUND}, "a required tool without a task")
        await refused(
            tasks.call_tool_as_task("greet", {"name": "Ada"}), {METHOD_NOT_FOUND}, "a forbidden tool as a task"
        )
        await refused(session.call_tool("no_such_tool", {}), {INVALID_PARAMS}, "an unknown tool")
        same(text_of((await session.call_tool("greet", {"name": "Bob"})).content), "Hello, Bob!", "afterwards")


@suite.check("a question inside a task, asked while the result is awaited")
async def elicitation(target: Target) -> None:
    await question(target, poll_only=False)


@suite.check("a question inside a task reaches a client that only polls")
async def elicitation_polling(target: Target) -> None:
    await question(target, poll_only=True)


def answering() -> dict[str, Any]:
    """Callbacks of a client that has a name, a model and a folder."""

    async def name(_context: Any, _params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": NAME})

    async def sample(_context: Any, _params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        content = types.TextContent(type="text", text=SAMPLED)
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def roots(_context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=ROOT)])

    return {"elicitation_callback": name, "sampling_callback": sample, "list_roots_callback": roots}


@suite.check("sampling, roots and a question while the caller waits")
async def asked(target: Target) -> None:
    async with connect(target, **answering()) as session:
        for tool, expected in ASKING.items():
            got = await asyncio.wait_for(session.call_tool(tool, {}), DEADLINE)
            check_told(text_of(got.content), expected, tool)


@suite.check("sampling, roots and a question inside a task")
async def asked_in_task(target: Target) -> None:
    async with connect(target, **answering()) as session:
        got = await asyncio.wait_for(result(session, await start(session, ASKING_TASK)), DEADLINE)
        check_told(text_of(got.content), {NAME, SAMPLED, ROOT}, ASKING_TASK)


@suite.check("a client that cannot sample is told so")
async def cannot_sample(target: Target) -> None:
    async with connect(target) as session:
        got = await asyncio.wait_for(session.call_tool("test_sampling", {"prompt": "Anything?"}), DEADLINE)
        need(got.isError, f"a tool sampled a client without a model: {got.content}")


async def question(target: Target, poll_only: bool) -> None:
    """Answers the question of confirm_delete after a look at its task's status."""
    asked: list[types.ElicitRequestParams] = []
    statuses: list[str] = []

    async def answer(_context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params)
        # The SDK reads nothing else from a connection while this runs, so the
        # look at the status needs a connection of its own.
        async with connect(target) as other:
            related = plain(params).get("_meta", {}).get(RELATED, {}).get("taskId")
            if related is None:
                statuses.append("unknown: the question does not name its task")
            else:
                statuses.append((await other.experimental.get_task(related)).status)
        return types.ElicitResult(action="accept", content=answer_to(params.requestedSchema))

    async with connect(target, elicitation_callback=answer) as session:
        task_id = await start(session, "confirm_delete", {"filename": "notes.txt"})
        if poll_only:
            same((await finish(session, task_id)).status, "completed", "status")
        got = await asyncio.wait_for(result(session, task_id), DEADLINE)
        need(not got.isError, f"the task failed: {got.content}")
        text_of(got.content)
        same((await session.experimental.get_task(task_id)).status, "completed", "status")
        same(len(asked), 1, "how often the question was asked")
        need(asked[0].message, "the question has no text")
        same(statuses, ["input_required"], "status while the question is open")


async def hand_out(target: Target) -> str:
    async with connect(target) as session:
        return await start(session, *HANDOVER)


async def take_over(target: Target, task_id: str) -> dict[str, Any]:
    async with connect(target) as session:
        got = await asyncio.wait_for(result(session, task_id), DEADLINE)
        same((await session.experimental.get_task(task_id)).status, "completed", "status")
        return plain(got)


suite.hands_over(hand_out, take_over)

if __name__ == "__main__":
    suite.main()
