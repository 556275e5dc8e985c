"""2025-11-25: progress, status notifications and the streams that carry them (E37 to E39, E44, E45)."""

import json

from harness import TERMINAL, assertion, require
from outcome import Skip
from shapes import check_call_result, check_legacy_task, create_legacy, finish_legacy, related_task


def is_progress(token):
    """Selects the progress notifications of `token`."""
    return lambda item: item.method == "notifications/progress" and item.params.get("progressToken") == token


def listen_if_http(peer):
    """Open the GET stream over HTTP; `Violation` if the server has none."""
    if peer.over_http:
        stream = peer.listen()
        require(stream.status == 200, "GET must open a stream", stream.status)
        return stream
    return None


@assertion("E37", "legacy", "http+stdio", "2025-11-25 tasks, Task Progress Notifications")
def e37_progress_keeps_its_token(ctx):
    """Progress of a task comes with the original token and related-task, increases, and stops at the end."""
    peer = ctx.legacy()
    listen_if_http(peer)
    task_id = create_legacy(peer, ctx.call("prog"), meta={"progressToken": "p-37"})["taskId"]
    peer.wait_message(is_progress("p-37"), "notifications/progress with the token of the call")
    finish_legacy(ctx, peer, task_id)
    # What was sent before the end may still be on its way over the other connection.
    ctx.watch(0.5)
    settled = len(peer.mailbox)
    ctx.watch(1)
    late = peer.mailbox.select(is_progress("p-37"), settled)
    require(not late, "progress must stop at the end", late and late[0].message)
    seen = peer.mailbox.select(is_progress("p-37"))
    values = [item.params.get("progress") for item in seen]
    require(all(a < b for a, b in zip(values, values[1:])), "progress must increase", values)
    for item in seen:
        require(related_task(item.params) == task_id, "progress of a task must carry related-task", item.message)


@assertion("E38", "legacy", "http", "2025-11-25 transports, Multiple Connections")
def e38_one_stream_for_each_message(ctx):
    """With several streams open, each message is seen on exactly one of them."""
    peer = ctx.legacy()
    listen_if_http(peer)
    peer.listen()
    task_id = create_legacy(peer, ctx.call("prog"), meta={"progressToken": "p-38"})["taskId"]
    peer.start("tasks/result", {"taskId": task_id})
    finish_legacy(ctx, peer, task_id)
    ctx.watch(0.5)
    streams = {}
    for item in peer.mailbox.select(lambda item: item.method is not None):
        streams.setdefault(json.dumps(item.message, sort_keys=True), set()).add(item.stream)
    if not streams:
        raise Skip("the server sends neither progress nor status of tasks")
    for message, carried in streams.items():
        require(len(carried) == 1, f"a message must be on one stream only, was on {sorted(carried)}", message)


@assertion("E39", "legacy", "http+stdio", "2025-11-25 tasks, Task Status Notification; Task Notifications")
def e39_status_notifications(ctx):
    """notifications/tasks/status holds the full flat Task without related-task, up to the last status."""
    peer = ctx.legacy()
    listen_if_http(peer)
    task_id = create_legacy(peer, ctx.call("slow", seconds=1))["taskId"]

    def is_status(item):
        return item.method == "notifications/tasks/status" and item.params.get("taskId") == task_id

    finish_legacy(ctx, peer, task_id)

    def is_last(item):
        return is_status(item) and item.params.get("status") in TERMINAL

    if not ctx.profile.fact("status_notifications"):
        ctx.watch(1)
        if not peer.mailbox.select(is_status):
            raise Skip("the server sends no status notifications, which is its right")
    peer.wait_message(is_last, "notifications/tasks/status with the last status")
    for item in peer.mailbox.select(is_status):
        check_legacy_task(item.params)
        both = related_task(item.params) or related_task(item.message)
        require(both is None, "a status notification should not carry related-task", item.message)


@assertion("E44", "legacy", "http", "2025-11-25 tasks, Result Retrieval")
def e44_no_idle_limit_on_results(ctx):
    """A tasks/result that waits longer than any idle time-out is answered on the stream it waits on."""
    seconds = ctx.target.idle_seconds
    if not seconds:
        raise Skip("needs --idle-seconds N, with N beyond the server's idle time-out (310 covers five minutes)")
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("slow", seconds=seconds))["taskId"]
    result = peer.request("tasks/result", {"taskId": task_id}, timeout=seconds + ctx.deadline).result
    check_call_result(result, modern=False)


@assertion("E45", "legacy", "http", "2025-11-25 transports, Resumability and Redelivery")
def e45_broken_stream_resumes(ctx):
    """A stream that broke is resumed by GET with Last-Event-ID: later events only, each once, with the answer."""
    peer = ctx.legacy()
    pending = peer.start("tools/call", {**ctx.call("prog"), "_meta": {"progressToken": "p-45"}})
    peer.wait_message(
        lambda item: is_progress("p-45")(item) or item.message.get("id") == pending.id, "progress of a plain call"
    )
    if pending.answered:
        raise Skip("the call ended before its stream could be broken")
    pending.drop()
    pending.exchange.wait_end(ctx.deadline)
    last = pending.exchange.last_event_id
    if last is None:
        require(not ctx.profile.fact("resumable_streams"), "events of a stored call must carry ids")
        raise Skip("the server gives its events no ids, which is its right")
    before = pending.messages()
    resumed = peer.listen(last_event_id=last)
    require(resumed.status == 200, "GET with Last-Event-ID must open a stream", resumed.status)
    answer = peer.wait_message(
        lambda item: item.stream == resumed.label and item.message.get("id") == pending.id
        and item.method is None, "the answer on the resumed stream"
    )
    require("result" in answer.message, "the answer must be the result", answer.message)
    after = peer.mailbox.select(lambda item: item.stream == resumed.label)
    known = [item.event_id for item in before if item.event_id]
    ids = [item.event_id for item in after]
    require(not set(ids) & set(known), "an event must not be delivered again", sorted(set(ids) & set(known)))
    require(len(ids) == len(set(ids)), "each event must be delivered once", ids)
    values = [item.params["progress"] for item in before + after if is_progress("p-45")(item)]
    require(all(a < b for a, b in zip(values, values[1:])), "progress must go on where it stopped", values)
