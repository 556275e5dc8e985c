"""What survives kill -9 and a restart (E42, E43, E53, E89)."""

import uuid

from harness import TERMINAL, accept, assertion, require
from outcome import short
from shapes import (
    answer_modern,
    check_call_result,
    create_legacy,
    create_modern,
    finish_legacy,
    finish_modern,
    get_legacy,
    get_modern,
    until_modern,
)


def crash(host):
    """kill -9, and start again on the same store."""
    host.kill()
    host.start()


@assertion("E42", "legacy", "http+stdio", "2025-11-25 tasks, Result Retrieval; Task Status Lifecycle")
def e42_running_task_survives_a_kill(ctx):
    """A task that ran when the server was killed is there after the restart, ends, and its result is fetched."""
    host = ctx.own_server()
    peer = ctx.legacy(host=host)
    task_id = create_legacy(peer, ctx.call("slow", seconds=2))["taskId"]
    require(get_legacy(peer, task_id)["status"] == "working", "the task must be running when the server dies")
    crash(host)
    peer = ctx.legacy(host=host)
    task = finish_legacy(ctx, peer, task_id, timeout=2 * ctx.deadline)
    require(task["status"] in ("completed", "failed"), "the task must complete or fail", task)
    reply = peer.request("tasks/result", {"taskId": task_id})
    if task["status"] == "completed":
        check_call_result(reply.result, modern=False)
    else:
        # An interrupted run may be stored as a tool error or as a JSON-RPC error; either way it is retrievable.
        require("result" in reply.message or reply.error["code"] != -32602, "the outcome must be there", reply.message)


@assertion("E43", "legacy", "http", "2025-11-25 transports, Session Management")
def e43_old_session_after_a_restart(ctx):
    """After a restart an old session id is restored, or answered with 404; a made-up id never works."""
    host = ctx.own_server()
    peer = ctx.legacy(host=host)
    task_id = create_legacy(peer, ctx.call("slow", seconds=0))["taskId"]
    finish_legacy(ctx, peer, task_id)
    crash(host)
    pending = peer.start("tasks/get", {"taskId": task_id})
    pending.exchange.wait_headers(ctx.deadline)
    if pending.exchange.status != 404:
        task = pending.wait().result
        require(task.get("taskId") == task_id and task.get("status") == "completed",
                "a restored session must show its own task as it was", task)
    if peer.session is not None:
        peer.session = uuid.uuid4().hex
        status = peer.start("tasks/get", {"taskId": task_id}).exchange.wait_headers(ctx.deadline).status
        require(status == 404, "an unknown session id must be answered with 404", status)


@assertion("E53", "modern", "http+stdio", "SEP-2663, task creation (durability)")
def e53_created_means_durable(ctx):
    """A task that was announced is there after kill -9 at once and a restart."""
    host = ctx.own_server()
    peer = ctx.modern(host=host)
    for round_number in range(3):
        task_id = create_modern(peer, ctx.call("slow", seconds=0.2, label=f"round {round_number}"))["taskId"]
        crash(host)
        peer = ctx.modern(host=host)
        get_modern(peer, task_id)
        task = finish_modern(ctx, peer, task_id, timeout=2 * ctx.deadline)
        require(task["status"] in TERMINAL, f"the task must end; {short(task)}")


@assertion("E89", "modern", "http+stdio", "SEP-2663, input required (key uniqueness)")
def e89_questions_survive_a_restart(ctx):
    """A task that waits for input shows the same keys after a restart, and an answer resumes it."""
    host = ctx.own_server()
    peer = ctx.modern(host=host)
    task_id = create_modern(peer, ctx.call("ask1"))["taskId"]
    before = until_modern(ctx, peer, task_id, ("input_required",))
    crash(host)
    peer = ctx.modern(host=host)
    after = until_modern(ctx, peer, task_id, ("input_required",))
    require(after["inputRequests"] == before["inputRequests"], "the same questions must be outstanding",
            [before["inputRequests"], after["inputRequests"]])
    responses = {key: accept(request) for key, request in after["inputRequests"].items()}
    answer_modern(peer, task_id, responses)
    final = finish_modern(ctx, peer, task_id, timeout=2 * ctx.deadline)
    require(final["status"] == "completed" and not final["result"].get("isError"), "the answer must resume it", final)
