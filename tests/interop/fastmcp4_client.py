"""Drives a server's tasks with the FastMCP 4 client (protocol 2026-07-28).

Importing `fastmcp_tasks` is what makes the client declare the tasks extension.
After that `call_tool` drives a task to its end unseen, and `call_tool_task` returns
a handle.
"""

from __future__ import annotations

import asyncio
from typing import Any

import fastmcp_tasks
import mcp_types
from fastmcp import Client
from fastmcp.exceptions import ToolError
from fastmcp_tasks import ToolTask, call_tool_task
from fastmcp_tasks.client_models import (
    CancelTaskRequest,
    CancelTaskRequestParams,
    ClientCreateTaskResult,
    ClientGetTaskResult,
    GetTaskRequest,
    GetTaskRequestParams,
    UpdateTaskRequest,
    UpdateTaskRequestParams,
)

from fastmcp_shared import check_awaited, check_three, connect, outcome
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
    eventually,
    need,
    plain,
    refused,
    same,
    text_of,
)

assert fastmcp_tasks  # Imported for its effect, see above.

suite = Suite("FastMCP 4")

INVALID_PARAMS = -32602


async def start(client: Client[Any], name: str, arguments: dict[str, Any] | None = None, **more: Any) -> ToolTask:
    """Calls a tool as a task, checks the answer and returns the handle."""
    handle = await call_tool_task(client, name, arguments or {}, **more)
    created = handle.create_result
    need(handle.task_id, "the task has no id")
    same(created.status, "working", "status of a new task")
    check_time(created.created_at, "createdAt")
    check_time(created.last_updated_at, "lastUpdatedAt")
    need("ttl_ms" in created.model_fields_set, "ttlMs is missing")
    need(created.ttl_ms is None or created.ttl_ms > 0, f"ttlMs is {created.ttl_ms}")
    return handle


async def get(client: Client[Any], task_id: str) -> ClientGetTaskResult:
    """One tasks/get, for a task that may belong to no handle."""
    request = GetTaskRequest(params=GetTaskRequestParams(task_id=task_id))
    return await client.session.send_request(request, ClientGetTaskResult)


async def update(client: Client[Any], task_id: str, answers: dict[str, Any]) -> None:
    """One tasks/update with the answers to some of a task's questions."""
    request = UpdateTaskRequest(params=UpdateTaskRequestParams(task_id=task_id, input_responses=answers))
    await client.session.send_request(request, mcp_types.Result)


async def drop(client: Client[Any], task_id: str) -> None:
    """One tasks/cancel, for a task that may belong to no handle."""
    request = CancelTaskRequest(params=CancelTaskRequestParams(task_id=task_id))
    await client.session.send_request(request, mcp_types.Result)


async def finish(client: Client[Any], task_id: str) -> ClientGetTaskResult:
    """Polls a task to its end."""
    return await eventually(
        lambda: get(client, task_id), lambda t: t.status in TERMINAL, f"task {task_id} ends"
    )


def lasting(task: ClientGetTaskResult) -> dict[str, Any]:
    """What must stay the same about a finished task; a server may change its poll interval."""
    return {name: value for name, value in plain(task).items() if name != "pollIntervalMs"}


@suite.check("discovery declares the tasks extension")
async def discover(target: Target) -> None:
    async with connect(target) as client:
        same(client.session.protocol_version, "2026-07-28", "protocol version")
        capabilities = plain(client.session.server_capabilities)
        extensions = capabilities.get("extensions") or {}
        same(extensions.get("io.modelcontextprotocol/tasks"), {}, "settings of the tasks extension")
        need("tasks" not in capabilities, "tasks of the older protocol are declared")


@suite.check("tools are listed with schemas")
async def tools(target: Target) -> None:
    async with connect(target) as client:
        check_tools([plain(tool) for tool in await client.list_tools()], with_support=False)


@suite.check("a call without a task")
async def call(target: Target) -> None:
    async with connect(target) as client:
        same(text_of((await client.call_tool("greet", {"name": "Ada"})).content), "Hello, Ada!", "the greeting")
        try:
            handle = await call_tool_task(client, "greet", {"name": "Ada"})
        except ToolError:
            pass
        else:
            raise Failed(f"greet ran as task {handle.task_id}; it must not")


@suite.check("call_tool drives a task to its end unseen")
async def transparent(target: Target) -> None:
    async with connect(target) as client:
        text_of((await client.call_tool("slow_compute", {"seconds": 2, "label": "unseen"})).content)
        same(text_of((await client.call_tool("add", {"a": 19, "b": 23})).content), "42", "the sum")


@suite.check("a task is awaited, with the result of the plain call")
async def task(target: Target) -> None:
    async with connect(target) as client:
        await check_awaited(client, start, lambda handle: handle.status())


@suite.check("polling shows a working task and its progress")
async def polling(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_progress", {"steps": 20, "step_ms": 100})
        seen: list[ClientGetTaskResult] = []

        async def poll() -> ClientGetTaskResult:
            seen.append(await handle.status())
            return seen[-1]

        await eventually(poll, lambda t: t.status in TERMINAL, "the task ends")
        check_statuses([t.status for t in seen], "completed")
        check_messages([t.status_message for t in seen if t.status == "working"])
        for t in seen:
            same(t.task_id, handle.task_id, "id")
            check_time(t.created_at, "createdAt")
            check_time(t.last_updated_at, "lastUpdatedAt")
            same(t.result is not None, t.status == "completed", f"a result beside status {t.status}")
        text_of((await outcome(handle)).content)


@suite.check("the handle waits for the end")
async def wait(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_compute", {"seconds": 1, "label": "wait"})
        same((await handle.wait(timeout=DEADLINE)).status, "completed", "status")
        text_of((await outcome(handle)).content)


@suite.check("a finished task is fetched twice")
async def result_twice(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_compute", {"seconds": 0, "label": "twice"})
        await finish(client, handle.task_id)
        first, second = await handle.status(), await handle.status()
        need(first.result and first.result.get("content"), f"a completed task has no result: {first!r}")
        same(lasting(second), lasting(first), "the second answer")


@suite.check("three tasks at once")
async def three(target: Target) -> None:
    async with connect(target) as client:
        await check_three(client, start, lambda handle: handle.status())


@suite.check("cancel a running task")
async def cancel(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_compute", {"seconds": FOREVER, "label": "cancel"})
        await handle.cancel()
        same((await finish(client, handle.task_id)).status, "cancelled", "status")
        await handle.cancel()
        same((await handle.status()).status, "cancelled", "status after a second cancel")
        try:
            answer = await outcome(handle)
        except ToolError:
            pass
        else:
            raise Failed(f"awaiting a cancelled task gave {answer!r}, expected ToolError")


@suite.check("cancel leaves a finished task as it is")
async def cancel_finished(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "add", {"a": 5, "b": 6})
        before = await finish(client, handle.task_id)
        await handle.cancel()
        same(lasting(await handle.status()), lasting(before), "the task after the cancel")


@suite.check("a tool that fails")
async def tool_error(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "failing_job", raise_on_error=False)
        end = await finish(client, handle.task_id)
        same(end.status, "completed", "status")
        need(end.result and end.result.get("isError") is True, "isError is not set")
        answer = await outcome(handle)
        need(answer.is_error, "the result is not marked as an error")
        text = text_of(answer.content)
        try:
            await asyncio.wait_for(client.call_tool("failing_job", {}), DEADLINE)
        except ToolError as error:
            same(str(error), text, "the error a user sees")
        else:
            raise Failed("a tool that failed raised nothing")


@suite.check("a task that ends in a protocol error")
async def protocol_error(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "protocol_error_job")
        end = await finish(client, handle.task_id)
        same(end.status, "failed", "status")
        need(end.result is None, "a failed task has a result")
        need(isinstance((end.error or {}).get("code"), int), f"the error has no code: {end.error!r}")
        need((end.error or {}).get("message"), f"the error has no message: {end.error!r}")
        try:
            await outcome(handle)
        except ToolError as error:
            same(str(error), end.error["message"], "the error a user sees")
        else:
            raise Failed("a task that failed raised nothing")


@suite.check("a new connection fetches a finished task")
async def reconnect(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "add", {"a": 1, "b": 2})
        before = lasting(await finish(client, handle.task_id))
    async with connect(target) as client:
        same(lasting(await get(client, handle.task_id)), before, "the task over the new connection")


@suite.check("a task outlives the connection that started it")
async def outlive(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_progress", {"steps": 20, "step_ms": 100})
        kept = handle.create_result.model_dump_json(by_alias=True)
    async with connect(target) as client:
        # The handle as another process makes it, from what the first one wrote down.
        created = ClientCreateTaskResult.model_validate_json(kept)
        again = ToolTask(client, "slow_progress", created)
        text_of((await outcome(again)).content)
        same((await again.status()).status, "completed", "status")


@suite.check("a new connection cancels a running task")
async def cancel_elsewhere(target: Target) -> None:
    async with connect(target) as client:
        handle = await start(client, "slow_compute", {"seconds": FOREVER, "label": "elsewhere"})
    async with connect(target) as client:
        await drop(client, handle.task_id)
        same((await finish(client, handle.task_id)).status, "cancelled", "status")


@suite.check("unknown ids are refused")
async def refusals(target: Target) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    async with connect(target) as client:
        await refused(get(client, unknown), {INVALID_PARAMS}, "tasks/get of an unknown id")
        await refused(update(client, unknown, {}), {INVALID_PARAMS}, "tasks/update of an unknown id")
        await refused(drop(client, unknown), {INVALID_PARAMS}, "tasks/cancel of an unknown id")
        same(text_of((await client.call_tool("greet", {"name": "Bob"})).content), "Hello, Bob!", "afterwards")


@suite.check("a question inside a task, answered unseen")
async def elicitation(target: Target) -> None:
    asked: list[str] = []

    async def answer(message: str, _type: Any, params: Any, _context: Any) -> dict[str, Any]:
        asked.append(message)
        return answer_to(params.requested_schema)

    async with connect(target, elicitation_handler=answer) as client:
        text_of((await client.call_tool("confirm_delete", {"filename": "notes.txt"})).content)
        same(len(asked), 1, "how often the question was asked")
        need(asked[0], "the question has no text")


@suite.check("a question inside a task, answered from another connection")
async def elicitation_elsewhere(target: Target) -> None:
    async def unused(*_: Any) -> dict[str, Any]:
        raise Failed("the question was put to the connection that only created the task")

    # The handler is what makes the client declare that it can answer questions.
    async with connect(target, elicitation_handler=unused) as client:
        handle = await start(client, "confirm_delete", {"filename": "notes.txt"})
        paused = await handle.wait(state="input_required", timeout=DEADLINE)
        (key, request), *rest = (paused.input_requests or {}).items()
        need(not rest, f"one question was expected, there are {1 + len(rest)}")
        same(request["method"], "elicitation/create", "kind of the question")
    async with connect(target, elicitation_handler=unused) as client:
        same(list((await get(client, handle.task_id)).input_requests or {}), [key], "the open question, seen again")
        content = answer_to(request["params"]["requestedSchema"])
        await update(client, handle.task_id, {key: {"action": "accept", "content": content}})
        end = await finish(client, handle.task_id)
        same(end.status, "completed", "status")
        need(not (end.result or {}).get("isError"), f"the task failed: {end.result!r}")
        # A second answer to the same question is acknowledged and changes nothing.
        await update(client, handle.task_id, {key: {"action": "decline"}})
        same(lasting(await get(client, handle.task_id)), lasting(end), "the task after a late answer")


@suite.check("two questions at once, answered one after the other")
async def two_questions(target: Target) -> None:
    async def unused(*_: Any) -> dict[str, Any]:
        raise Failed("the handler was asked although the answers are sent by hand")

    async with connect(target, elicitation_handler=unused) as client:
        handle = await start(client, "multi_input")
        paused = await eventually(
            handle.status,
            lambda t: t.status in TERMINAL or len(t.input_requests or {}) == 2,
            "two questions are open",
        )
        same(paused.status, "input_required", "status")
        questions = dict(paused.input_requests or {})
        for left, (key, request) in zip((1, 0), list(questions.items())):
            content = answer_to(request["params"]["requestedSchema"])
            await update(client, handle.task_id, {key: {"action": "accept", "content": content}})
            if left:
                after = await handle.status()
                same(after.status, "input_required", "status after one of two answers")
                same(set(after.input_requests or {}), set(questions) - {key}, "open questions after one answer")
        same((await finish(client, handle.task_id)).status, "completed", "status")


@suite.check("a question before the task exists")
async def ask_first(target: Target) -> None:
    asked: list[str] = []

    async def answer(message: str, _type: Any, params: Any, _context: Any) -> dict[str, Any]:
        asked.append(message)
        return answer_to(params.requested_schema)

    async with connect(target, elicitation_handler=answer) as client:
        got = await asyncio.wait_for(client.call_tool("test_tool_with_task", {}), DEADLINE)
        need("Alice" in text_of(got.content), f"the answer is not in the result: {got.content}")
        same(len(asked), 1, "how often the question was asked")


async def hand_out(target: Target) -> str:
    async with connect(target) as client:
        return (await start(client, *HANDOVER)).task_id


async def take_over(target: Target, task_id: str) -> dict[str, Any]:
    async with connect(target) as client:
        end = await finish(client, task_id)
        same(end.status, "completed", "status")
        need(end.result is not None, "a completed task has no result")
        return end.result


suite.hands_over(hand_out, take_over)

if __name__ == "__main__":
    suite.main()
