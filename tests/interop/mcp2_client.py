"""Drives a server with the MCP Python SDK 2.x, in both eras.

The SDK has no tasks of its own. In 2026-07-28 it takes extensions that claim a result,
so this driver brings the smallest tasks extension that such an application can write:
it claims `resultType: "task"` and polls with the SDK's own session. In 2025-11-25 it
is what most clients are: a caller without tasks.

It runs in FastMCP 4's virtual environment, which has exactly this SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import mcp_types
from mcp import StdioServerParameters
from mcp.client import ClaimContext, Client, ClientExtension, ClientSession, ResultClaim
from pydantic import ConfigDict

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
    check_progress,
    check_time,
    check_told,
    check_tools,
    eventually,
    need,
    plain,
    refused,
    same,
    text_of,
)

suite = Suite("mcp 2.x")

MODERN = "2026-07-28"
LEGACY = "legacy"
INVALID_PARAMS = -32602
MISSING_CAPABILITY = -32021


class Created(mcp_types.Result):
    """The answer that says that a call became a task; `result_type` is what selects it."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    created_at: str
    last_updated_at: str


class Detailed(mcp_types.Result):
    """A task as tasks/get shows it."""

    model_config = ConfigDict(extra="allow")
    task_id: str
    status: str
    input_requests: dict[str, dict[str, Any]] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


async def ask(session: ClientSession, verb: str, kind: type[Any], **params: Any) -> Any:
    """One request about a task."""
    request = mcp_types.Request[dict[str, Any], str](method=f"tasks/{verb}", params=params)
    return await session.send_request(request, kind)


async def finish(session: ClientSession, task_id: str) -> Detailed:
    """Polls a task to its end."""
    return await eventually(
        lambda: ask(session, "get", Detailed, taskId=task_id), lambda t: t.status in TERMINAL, f"task {task_id} ends"
    )


class Tasks(ClientExtension):
    """The tasks extension, as far as a caller that waits for the end needs it."""

    identifier = "io.modelcontextprotocol/tasks"

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Created, resolve=self.resolve),)

    async def resolve(self, created: Created, context: ClaimContext) -> mcp_types.CallToolResult:
        end = await finish(context.session, created.task_id)
        same(end.status, "completed", f"status of the task of {context.tool_name}")
        return mcp_types.CallToolResult.model_validate(end.result)


def connect(target: Target, mode: str = MODERN, tasks: bool = True, **callbacks: Any) -> Client:
    """A client with a connection of its own; on stdio, with a process of its own."""
    server: Any = target.url
    if target.stdio:
        command, *arguments = target.command
        server = StdioServerParameters(command=command, args=arguments)
    extensions = [Tasks()] if tasks and mode == MODERN else None
    return Client(server, mode=mode, extensions=extensions, **callbacks)


async def start(client: Client, name: str, arguments: dict[str, Any] | None = None) -> str:
    """Calls a tool that must become a task; returns the id."""
    created = await client.session.call_tool(name, arguments or {}, allow_claimed=True)
    need(isinstance(created, Created), f"{name} ran without a task: {created!r}")
    same(created.status, "working", "status of a new task")
    check_time(created.created_at, "createdAt")
    return created.task_id


async def called(target: Target, mode: str) -> None:
    async with connect(target, mode, tasks=False) as client:
        same(client.protocol_version, MODERN if mode == MODERN else "2025-11-25", "protocol version")
        check_tools([plain(tool) for tool in (await client.list_tools()).tools], with_support=mode is LEGACY)
        same(text_of((await client.call_tool("greet", {"name": "Ada"})).content), "Hello, Ada!", "the greeting")
        seen: list[tuple[float, float | None]] = []

        async def progress(value: float, total: float | None, _message: str | None) -> None:
            seen.append((value, total))

        answer = await client.call_tool("slow_progress", {"steps": 10, "step_ms": 100}, progress_callback=progress)
        text_of(answer.content)
        check_progress(seen, 10)


@suite.check("calls and progress without tasks, 2026-07-28")
async def called_modern(target: Target) -> None:
    await called(target, MODERN)


@suite.check("calls and progress without tasks, 2025-11-25")
async def called_legacy(target: Target) -> None:
    await called(target, LEGACY)


@suite.check("discovery declares the tasks extension")
async def discovery(target: Target) -> None:
    async with connect(target, "auto") as client:
        same(client.protocol_version, MODERN, "protocol version")
        extensions = plain(client.server_capabilities).get("extensions") or {}
        same(extensions.get(Tasks.identifier), {}, "settings of the tasks extension")


@suite.check("call_tool drives a task to its end unseen")
async def transparent(target: Target) -> None:
    async with connect(target) as client:
        same(text_of((await client.call_tool("add", {"a": 19, "b": 23})).content), "42", "the sum")
        text_of((await client.call_tool("slow_compute", {"seconds": 1, "label": "unseen"})).content)
        failed = await client.call_tool("failing_job")
        need(failed.is_error, "a tool that failed is not marked as an error")


@suite.check("a tool that must be a task is refused without the extension")
async def required(target: Target) -> None:
    async with connect(target, tasks=False) as client:
        await refused(client.call_tool("failing_job"), {MISSING_CAPABILITY}, "a required tool without the extension")


@suite.check("cancel a running task")
async def cancel(target: Target) -> None:
    async with connect(target) as client:
        task_id = await start(client, "slow_compute", {"seconds": FOREVER, "label": "cancel"})
        await ask(client.session, "cancel", mcp_types.EmptyResult, taskId=task_id)
        same((await finish(client.session, task_id)).status, "cancelled", "status")


@suite.check("a task outlives the connection that started it")
async def outlive(target: Target) -> None:
    async with connect(target) as client:
        task_id = await start(client, "slow_progress", {"steps": 20, "step_ms": 100})
    async with connect(target) as client:
        end = await finish(client.session, task_id)
        same(end.status, "completed", "status")
        need(end.result and end.result.get("content"), f"a completed task has no result: {end!r}")


@suite.check("a question inside a task, answered from another connection")
async def elicitation(target: Target) -> None:
    async def unused(*_: Any) -> Any:
        raise AssertionError("the callback was asked although the answer is sent by hand")

    async with connect(target, elicitation_callback=unused) as client:
        task_id = await start(client, "confirm_delete", {"filename": "notes.txt"})
        paused = await eventually(
            lambda: ask(client.session, "get", Detailed, taskId=task_id),
            lambda t: t.status != "working",
            "the task asks",
        )
        same(paused.status, "input_required", "status")
    async with connect(target, elicitation_callback=unused) as client:
        (key, request), *_ = (paused.input_requests or {}).items()
        content = answer_to(request["params"]["requestedSchema"])
        answers = {key: {"action": "accept", "content": content}}
        await ask(client.session, "update", mcp_types.EmptyResult, taskId=task_id, inputResponses=answers)
        same((await finish(client.session, task_id)).status, "completed", "status")


def answering() -> dict[str, Any]:
    """Callbacks of a client that has a name, a model and a folder."""

    async def name(_context: Any, _params: Any) -> mcp_types.ElicitResult:
        return mcp_types.ElicitResult(action="accept", content={"name": NAME})

    async def sample(_context: Any, _params: Any) -> mcp_types.CreateMessageResult:
        content = mcp_types.TextContent(type="text", text=SAMPLED)
        return mcp_types.CreateMessageResult(role="assistant", content=content, model="none")

    async def roots(_context: Any) -> mcp_types.ListRootsResult:
        return mcp_types.ListRootsResult(roots=[mcp_types.Root(uri=ROOT)])

    return {"elicitation_callback": name, "sampling_callback": sample, "list_roots_callback": roots}


async def asked(target: Target, mode: str) -> None:
    async with connect(target, mode, **answering()) as client:
        for tool, expected in ASKING.items():
            got = await asyncio.wait_for(client.call_tool(tool, {}), DEADLINE)
            check_told(text_of(got.content), expected, tool)


@suite.check("sampling, roots and a question while the caller waits, 2026-07-28")
async def asked_modern(target: Target) -> None:
    await asked(target, MODERN)


@suite.check("sampling, roots and a question while the caller waits, 2025-11-25")
async def asked_legacy(target: Target) -> None:
    await asked(target, LEGACY)


@suite.check("sampling, roots and a question inside a task")
async def asked_in_task(target: Target) -> None:
    answers = {
        "elicitation/create": {"action": "accept", "content": {"name": NAME}},
        "sampling/createMessage": {
            "role": "assistant",
            "content": {"type": "text", "text": SAMPLED},
            "model": "none",
        },
        "roots/list": {"roots": [{"uri": ROOT}]},
    }
    async with connect(target, **answering()) as client:
        task_id = await start(client, ASKING_TASK)
        paused = await eventually(
            lambda: ask(client.session, "get", Detailed, taskId=task_id),
            lambda t: t.status != "working",
            "the task asks",
        )
        requests = paused.input_requests or {}
        same({request["method"] for request in requests.values()}, set(answers), "what is asked")
        given = {key: answers[request["method"]] for key, request in requests.items()}
        await ask(client.session, "update", mcp_types.EmptyResult, taskId=task_id, inputResponses=given)
        end = await finish(client.session, task_id)
        need(end.result, f"the task has no result: {end!r}")
        check_told(end.result["content"][0]["text"], {NAME, SAMPLED, ROOT}, ASKING_TASK)


@suite.check("a question before the task exists")
async def ask_first(target: Target) -> None:
    asked: list[str] = []

    async def answer(_context: Any, params: Any) -> mcp_types.ElicitResult:
        asked.append(params.message)
        return mcp_types.ElicitResult(action="accept", content=answer_to(params.requested_schema))

    async with connect(target, elicitation_callback=answer) as client:
        got = await asyncio.wait_for(client.call_tool("test_tool_with_task"), DEADLINE)
        need("Alice" in text_of(got.content), f"the answer is not in the result: {got.content}")
        same(len(asked), 1, "how often the question was asked")


@suite.check("unknown ids are refused")
async def refusals(target: Target) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    async with connect(target) as client:
        for verb, more in (("get", {}), ("cancel", {}), ("update", {"inputResponses": {}})):
            call = ask(client.session, verb, mcp_types.EmptyResult, taskId=unknown, **more)
            await refused(call, {INVALID_PARAMS}, f"tasks/{verb} of an unknown id")


async def hand_out(target: Target) -> str:
    async with connect(target) as client:
        return await start(client, *HANDOVER)


async def take_over(target: Target, task_id: str) -> dict[str, Any]:
    async with connect(target) as client:
        end = await finish(client.session, task_id)
        same(end.status, "completed", "status")
        need(end.result is not None, "a completed task has no result")
        return end.result


suite.hands_over(hand_out, take_over)

if __name__ == "__main__":
    suite.main()
