"""2025-11-25: tasks/result, outcomes, cancellation and expiry (E12 to E19, E22 to E25)."""

import time

from client import RELATED
from harness import TERMINAL, assertion, require
from outcome import short
from shapes import (
    check_call_result,
    check_legacy_task,
    create_legacy,
    finish_legacy,
    get_legacy,
    is_integer,
    related_task,
)


def check_final(result, task_id):
    """The result of tasks/result for `task_id`."""
    check_call_result(result, modern=False)
    require(related_task(result) == task_id, f"tasks/result must carry _meta[{RELATED!r}] with the id", result)


def block(ctx, peer, task_id):
    """Start a tasks/result and see that it waits while the task works; returns the request under way."""
    pending = peer.start("tasks/result", {"taskId": task_id})
    ctx.watch(0.3)
    early = pending.answered
    task = get_legacy(peer, task_id)
    # Only the order of the two answers counts: an answer that was there while the task still worked came too soon.
    require(not (early and task["status"] == "working"), "tasks/result of a working task must wait",
            pending.wait().message if early else None)
    return pending


@assertion("E12", "legacy", "http+stdio", "2025-11-25 tasks, Result Retrieval")
def e12_result_blocks(ctx):
    """tasks/result of a working task blocks until its end, then holds the result and related-task."""
    peer = ctx.legacy()
    began = time.monotonic()
    task_id = create_legacy(peer, ctx.call("slow", seconds=1))["taskId"]
    reply = peer.request("tasks/result", {"taskId": task_id})
    check_final(reply.result, task_id)
    require(reply.at - began >= 0.9, "tasks/result of a task of 1 s must not answer at once", reply.at - began)
    require(get_legacy(peer, task_id)["status"] == "completed", "after tasks/result the task must be completed")


@assertion("E13", "legacy", "http+stdio", "2025-11-25 tasks, Result Retrieval")
def e13_result_is_repeatable(ctx):
    """tasks/result of a finished task gives the same result every time."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=0))["taskId"]
    finish_legacy(ctx, peer, task_id)
    first = peer.request("tasks/result", {"taskId": task_id}).result
    second = peer.request("tasks/result", {"taskId": task_id}).result
    check_call_result(first, modern=False)
    require(first == second, "tasks/result must be repeatable", [first, second])


@assertion("E14", "legacy", "http+stdio", "2025-11-25 tasks, Result Retrieval")
def e14_parallel_results(ctx):
    """Two tasks/result calls that wait for one task both get the same result."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=1))["taskId"]
    waiting = [peer.start("tasks/result", {"taskId": task_id}) for _ in range(2)]
    first, second = (pending.wait().result for pending in waiting)
    check_call_result(first, modern=False)
    require(first == second, "both must get the same result", [first, second])


@assertion("E15", "legacy", "http+stdio", "2025-11-25 tasks, Result Retrieval; Getting Tasks")
def e15_get_beside_a_blocked_result(ctx):
    """tasks/get is answered while a tasks/result of the same client still waits."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=60))["taskId"]
    blocked = block(ctx, peer, task_id)
    task = get_legacy(peer, task_id)
    # The order of the answers says that get did not wait for the other; no clock is needed.
    require(task["status"] == "working" and not blocked.answered, "tasks/result must still wait", task)
    peer.request("tasks/cancel", {"taskId": task_id})


@assertion("E16", "legacy", "http", "2025-11-25 tasks, Retrieving Task Results; Transports, disconnection")
def e16_disconnect_is_not_cancel(ctx):
    """A client that drops the connection of a waiting tasks/result loses nothing."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=2))["taskId"]
    block(ctx, peer, task_id).drop()
    require(finish_legacy(ctx, peer, task_id)["status"] == "completed", "the task must complete")
    check_call_result(peer.request("tasks/result", {"taskId": task_id}).result, modern=False)


@assertion("E17", "legacy", "http+stdio", "2025-11-25 cancellation; tasks, Task Cancellation")
def e17_cancelled_notification_spares_the_task(ctx):
    """notifications/cancelled for a waiting tasks/result ends that request and never the task."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=2))["taskId"]
    blocked = block(ctx, peer, task_id)
    peer.notify("notifications/cancelled", {"requestId": blocked.id, "reason": "no longer waiting"})
    require(finish_legacy(ctx, peer, task_id)["status"] == "completed", "the task must complete")


@assertion("E18", "legacy", "http+stdio", "2025-11-25 tasks, Task Execution Errors")
def e18_tool_error_is_failed(ctx):
    """A tool error ends the task as failed, and tasks/result returns it as a result with isError."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("toolerr"))["taskId"]
    task = finish_legacy(ctx, peer, task_id)
    require(task["status"] == "failed", "a task with a tool error must be failed", task)
    result = peer.request("tasks/result", {"taskId": task_id}).result
    check_call_result(result, modern=False)
    require(result.get("isError") is True, "tasks/result must return the result with isError", result)


@assertion("E19", "legacy", "http+stdio", "2025-11-25 tasks, Task Execution Errors; Result Retrieval")
def e19_protocol_error_is_returned(ctx):
    """A JSON-RPC error ends the task as failed with a message; tasks/result answers with that very error."""
    peer = ctx.legacy()
    plain = peer.request("tools/call", ctx.call("rpcerr")).error
    task_id = create_legacy(peer, ctx.call("rpcerr"))["taskId"]
    task = finish_legacy(ctx, peer, task_id)
    require(task["status"] == "failed", "a task with a JSON-RPC error must be failed", task)
    require(task.get("statusMessage"), "a failed task should say why in statusMessage", task)
    error = peer.request("tasks/result", {"taskId": task_id}).error
    require((error.get("code"), error.get("message")) == (plain["code"], plain["message"]),
            f"tasks/result must return the error of the plain call, {short(plain)}", error)


@assertion("E22", "legacy", "http+stdio", "2025-11-25 tasks, Cancelling Tasks; Task Cancellation")
def e22_cancel_is_immediate(ctx):
    """tasks/cancel answers with the flat Task, already cancelled, and so does the next tasks/get."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=60))["taskId"]
    task = peer.request("tasks/cancel", {"taskId": task_id}).result
    require("task" not in task, "tasks/cancel must answer with a flat Task", task)
    check_legacy_task(task)
    require(task["taskId"] == task_id and task["status"] == "cancelled", "the task must be cancelled", task)
    require(related_task(task) is None, "tasks/cancel must not carry related-task", task)
    require(get_legacy(peer, task_id)["status"] == "cancelled", "the task must stay cancelled")


@assertion("E23", "legacy", "http+stdio", "2025-11-25 tasks, Task Cancellation")
def e23_cancelled_is_final(ctx):
    """A cancelled task stays cancelled when its work would have finished."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=1))["taskId"]
    check_legacy_task(peer.request("tasks/cancel", {"taskId": task_id}).result)

    def still_cancelled():
        task = get_legacy(peer, task_id)
        require(task["status"] == "cancelled", "a cancelled task must stay cancelled", task)

    ctx.watch(2, still_cancelled)


@assertion("E24", "legacy", "http+stdio", "2025-11-25 tasks, Task Cancellation")
def e24_cancel_of_a_finished_task(ctx):
    """tasks/cancel of a completed or cancelled task answers -32602."""
    peer = ctx.legacy()
    done = create_legacy(peer, ctx.call("slow", seconds=0))["taskId"]
    finish_legacy(ctx, peer, done)
    peer.request("tasks/cancel", {"taskId": done}).expect_error(-32602)
    cancelled = create_legacy(peer, ctx.call("slow", seconds=60))["taskId"]
    check_legacy_task(peer.request("tasks/cancel", {"taskId": cancelled}).result)
    peer.request("tasks/cancel", {"taskId": cancelled}).expect_error(-32602)


@assertion("E25", "legacy", "http+stdio", "2025-11-25 tasks, TTL and Resource Management")
def e25_expiry(ctx):
    """With no retention beyond a ttl of 500 ms, a finished task is gone after it: -32602 and not listed."""
    peer = ctx.legacy(host=ctx.expiring_host())
    task_id = create_legacy(peer, ctx.call("expiring"), ttl=500)["taskId"]
    last = {}

    def gone():
        reply = peer.request("tasks/get", {"taskId": task_id})
        if reply.is_error:
            reply.expect_error(-32602)
            return True
        last.update(reply.result)
        return False

    ctx.eventually("expiry of a finished task with a ttl of 500 ms", gone)
    if last.get("status") in TERMINAL:
        require(is_integer(last["ttl"]), "a task that expires must report its ttl as a number", last)
    peer.request("tasks/result", {"taskId": task_id}).expect_error(-32602)
    if (peer.initialized["capabilities"].get("tasks") or {}).get("list") is not None:
        listed = [task["taskId"] for task in all_tasks(peer)]
        require(task_id not in listed, "an expired task must not be listed")


def all_tasks(peer):
    """tasks/list over all pages; a page that repeats a cursor is a `Violation`."""
    tasks, cursor, seen = [], None, set()
    while True:
        page = peer.request("tasks/list", {"cursor": cursor} if cursor else {}).result
        require(isinstance(page.get("tasks"), list), "tasks/list must answer with tasks", page)
        tasks += page["tasks"]
        cursor = page.get("nextCursor")
        if cursor is None:
            return tasks
        require(cursor not in seen, "tasks/list must not give the same cursor twice", cursor)
        seen.add(cursor)


