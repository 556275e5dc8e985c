"""2026-07-28: cancellation and disconnection (E66 to E69)."""

from harness import TERMINAL, assertion, require
from shapes import check_ack, create_modern, finish_modern, get_modern


@assertion("E66", "modern", "http+stdio", "SEP-2663, tasks/cancel")
def e66_cancel_is_acknowledged(ctx):
    """tasks/cancel of a running task is an empty acknowledgement, and the task ends."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=60))["taskId"]
    check_ack(peer.request("tasks/cancel", {"taskId": task_id}))
    require(finish_modern(ctx, peer, task_id)["status"] in TERMINAL, "the task must end")


@assertion("E67", "modern", "http+stdio", "SEP-2663, tasks/cancel")
def e67_cancel_of_a_finished_task(ctx):
    """tasks/cancel of a completed task is acknowledged and changes nothing."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=0.2))["taskId"]
    before = finish_modern(ctx, peer, task_id)
    require(before["status"] == "completed", "the task must complete", before)
    check_ack(peer.request("tasks/cancel", {"taskId": task_id}))
    after = get_modern(peer, task_id)
    require(after["status"] == "completed" and after["result"] == before["result"], "nothing may change", after)


@assertion("E68", "modern", "stdio", "SEP-2663, tasks/cancel; 2026-07-28 cancellation")
def e68_cancelled_notification_spares_the_task(ctx):
    """notifications/cancelled for the request that made a task does not touch the task."""
    peer = ctx.modern()
    pending = peer.start("tools/call", ctx.call("slow", seconds=1), request_id=7)
    task = pending.wait().result
    require(task.get("resultType") == "task", "the call must answer with a task", task)
    peer.notify("notifications/cancelled", {"requestId": 7, "reason": "too late"})
    final = finish_modern(ctx, peer, task["taskId"])
    require(final["status"] == "completed", "the task must complete", final)


@assertion("E69", "modern", "http", "SEP-2663, task creation; 2026-07-28 Streamable HTTP, disconnection")
def e69_disconnect_spares_the_task(ctx):
    """A client that drops the connection right after CreateTaskResult does not cancel the task."""
    peer = ctx.modern()
    pending = peer.start("tools/call", ctx.call("slow", seconds=1))
    task = pending.wait().result
    pending.drop()
    require(task.get("resultType") == "task", "the call must answer with a task", task)
    final = finish_modern(ctx, ctx.modern(), task["taskId"])
    require(final["status"] == "completed", "the task must complete", final)
