"""Violations seen on servers in the field for which the E list has no number of its own (V1 to V9)."""

from catalogue.legacy_input import is_question
from catalogue.legacy_listing import require_listing
from catalogue.legacy_results import all_tasks
from client import RELATED
from harness import accept, assertion, require
from shapes import (
    check_call_result,
    check_legacy_task,
    create_legacy,
    create_modern,
    finish_legacy,
    finish_modern,
    get_legacy,
    get_modern,
    related_task,
)


@assertion("V1", "legacy", "http+stdio", "2025-11-25 schema, Task.lastUpdatedAt: when the task was last updated")
def v01_reading_is_not_updating(ctx):
    """lastUpdatedAt of a finished task does not move from one tasks/get to the next."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=0))["taskId"]
    first = finish_legacy(ctx, peer, task_id)
    ctx.watch(0.1)
    second = get_legacy(peer, task_id)
    require(first["lastUpdatedAt"] == second["lastUpdatedAt"], "tasks/get must not move lastUpdatedAt",
            [first["lastUpdatedAt"], second["lastUpdatedAt"]])


@assertion("V2", "modern", "http+stdio", "SEP-2663: lastUpdatedAt; tasks/get is an idempotent read")
def v02_reading_is_not_updating(ctx):
    """lastUpdatedAt of a finished task does not move from one tasks/get to the next."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=0.2))["taskId"]
    first = finish_modern(ctx, peer, task_id)
    ctx.watch(0.1)
    second = get_modern(peer, task_id)
    require(first == second, "tasks/get of a finished task must be a pure read", [first, second])


@assertion("V3", "legacy", "http+stdio", "2025-11-25 tasks, Associating Task-Related Messages: tasks/result MUST")
def v03_every_result_names_its_task(ctx):
    """tasks/result of a finished task carries related-task, for a plain and for a structured result alike."""
    peer = ctx.legacy()
    for role in ("slow", "quick"):
        task_id = create_legacy(peer, ctx.call(role, seconds=0))["taskId"]
        finish_legacy(ctx, peer, task_id)
        result = peer.request("tasks/result", {"taskId": task_id}).result
        require(related_task(result) == task_id, f"tasks/result must carry _meta[{RELATED!r}]", result)


@assertion("V4", "legacy", "http+stdio", "2025-11-25 tasks, Input Required Status: requests MUST carry related-task")
def v04_every_question_names_its_task(ctx):
    """elicitation/create of a task carries related-task on whichever stream it comes."""
    peer = ctx.legacy()
    if peer.over_http:
        peer.listen()
    task_id = create_legacy(peer, ctx.call("ask1"))["taskId"]
    # Some servers ask on the GET stream, others on this one only.
    peer.start("tasks/result", {"taskId": task_id})

    def fits(item):
        # A server may offer this client the questions of other sessions too; those name another task.
        return is_question(item) and related_task(item.params) in (None, task_id)

    question = peer.wait_message(fits, "elicitation/create on a stream of the session")
    peer.answer(question.message["id"], accept(question.message))
    finish_legacy(ctx, peer, task_id)
    require(related_task(question.params) == task_id, "the question must carry related-task", question.message)


@assertion("V5", "legacy", "http+stdio", "2025-11-25 tasks, TTL and Resource Management: MUST report the actual ttl")
def v05_the_reported_ttl_is_one(ctx):
    """A ttl that was asked for is granted or overridden in the answer to the call; tasks/get reports the same."""
    peer = ctx.legacy()
    created = create_legacy(peer, ctx.call("slow", seconds=60), ttl=5_000_000)
    now = get_legacy(peer, created["taskId"])
    peer.request("tasks/cancel", {"taskId": created["taskId"]})
    require(created["ttl"] == now["ttl"], "the answer to the call and tasks/get must report one ttl",
            [created["ttl"], now["ttl"]])


@assertion("V6", "legacy", "http+stdio", "2025-11-25 tasks, Task Listing: what get finds, list MUST contain")
def v06_listing_holds_what_get_finds(ctx):
    """Where tasks.list is declared, a task that tasks/get finds is listed."""
    peer = ctx.legacy()
    require_listing(ctx, peer)
    task_id = create_legacy(peer, ctx.call("slow", seconds=0))["taskId"]
    get_legacy(peer, task_id)
    require(task_id in [task["taskId"] for task in all_tasks(peer)], "tasks/list must contain the task")


@assertion("V7", "legacy", "http+stdio", "2025-11-25 tasks, Result Retrieval: a terminal task MUST return its result")
def v07_result_of_a_cancelled_task(ctx):
    """tasks/result of a cancelled task answers at once, and not as if the task were unknown or unfinished."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=60))["taskId"]
    check_legacy_task(peer.request("tasks/cancel", {"taskId": task_id}).result)
    result = peer.request("tasks/result", {"taskId": task_id}).result
    check_call_result(result, modern=False)
    require(result.get("isError") is True, "the result of a cancelled task must say that there is none", result)


@assertion("V8", "legacy", "http+stdio", "2025-11-25 tools, Error Handling; tasks, Protocol Errors")
def v08_bad_arguments_make_no_task(ctx):
    """A task-augmented call whose arguments do not fit the schema, or of an unknown tool, makes no task."""
    peer = ctx.legacy()
    call = ctx.call("slow")
    for wrong in ({**call, "arguments": {"seconds": "many"}}, {"name": "no_such_tool", "arguments": {}}):
        reply = peer.request("tools/call", {**wrong, "task": {"ttl": 60_000}})
        # Unknown tools are protocol errors; arguments may also be refused as a tool error.
        refused = reply.is_error or reply.message.get("result", {}).get("isError") is True
        require(refused, "the call must be refused", reply.message)
        require("task" not in reply.message.get("result", {}), "no task may be made", reply.message)


@assertion("V9", "legacy+modern", "http+stdio", "2025-11-25 tasks, Model Context; SEP-2663, capability negotiation")
def v09_eras_do_not_mix(ctx):
    """A task-augmented call of 2025-11-25 gets no 2026-07-28 shape although the client declares the extension."""
    peer = ctx.legacy({"extensions": {"io.modelcontextprotocol/tasks": {}}})
    result = peer.request("tools/call", {**ctx.call("slow", seconds=0), "task": {"ttl": 60_000}}).result
    require("resultType" not in result and "taskId" not in result, "the answer must be of 2025-11-25", result)
    require(isinstance(result.get("task"), dict), "the answer must hold the task under `task`", result)
