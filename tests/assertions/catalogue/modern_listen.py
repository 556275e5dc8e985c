"""2026-07-28: subscriptions/listen with taskIds (E75 to E81)."""

from catalogue.modern_basics import expect_missing_capability
from client import SUBSCRIPTION
from harness import TERMINAL, assertion, require, unknown_id
from shapes import check_modern_task, create_modern, finish_modern, get_modern

ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


def tagged(pending):
    """Selects the messages of one subscription."""
    return lambda item: item.method is not None and item.meta.get(SUBSCRIPTION) == pending.id


def listen(ctx, peer, task_ids):
    """Open a subscription and wait for its acknowledgement; returns it and the ids the server agreed to."""
    pending = peer.start("subscriptions/listen", {"notifications": {"taskIds": task_ids}})

    def first(item):
        own = item.stream == pending.stream if peer.over_http else tagged(pending)(item)
        return own or item.message.get("id") == pending.id and item.method is None

    item = peer.wait_message(first, "the acknowledgement of subscriptions/listen")
    require(item.method == ACKNOWLEDGED, f"the first message must be {ACKNOWLEDGED}", item.message)
    require(item.meta.get(SUBSCRIPTION) == pending.id, "it must carry the id of the listen request", item.message)
    return pending, (item.params.get("notifications") or {}).get("taskIds", [])


def wait_end_notice(ctx, peer, pending, task_id):
    """Wait for the notification of the end of a task."""
    return peer.wait_message(
        lambda item: item.method == "notifications/tasks" and tagged(pending)(item)
        and item.params.get("taskId") == task_id and item.params.get("status") in TERMINAL,
        "notifications/tasks of the end",
    )


@assertion("E75", "modern", "http+stdio", "SEP-2663, status notifications and errors")
def e75_listening_needs_the_extension(ctx):
    """subscriptions/listen with taskIds without the extension answers -32021, and nothing else comes."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=0.5))["taskId"]
    pending = peer.start_undeclared("subscriptions/listen", {"notifications": {"taskIds": [task_id]}})
    expect_missing_capability(pending.wait())
    finish_modern(ctx, peer, task_id)
    extra = peer.mailbox.select(lambda item: item.method is not None)
    require(not extra, "nothing else may come", extra and extra[0].message)


@assertion("E76", "modern", "http+stdio", "SEP-2663, status notifications; 2026-07-28 subscriptions, acknowledgement")
def e76_acknowledgement_comes_first(ctx):
    """The first message is the acknowledgement with the listen request's id; it names own tasks only."""
    peer = ctx.modern()
    own = create_modern(peer, ctx.call("slow", seconds=1))["taskId"]
    asked = [own, unknown_id()]
    if ctx.has_users and "bob" in ctx.target.tokens:
        asked.append(create_modern(ctx.modern(user="bob"), ctx.call("slow", seconds=0))["taskId"])
    _, agreed = listen(ctx, peer, asked)
    require(agreed == [own], "only own, known tasks may be agreed to", agreed)


@assertion("E77", "modern", "http+stdio", "SEP-2663, status notifications")
def e77_notification_is_the_whole_task(ctx):
    """At the end a tagged notifications/tasks comes, equal to tasks/get at that moment, result included."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=1))["taskId"]
    pending, _ = listen(ctx, peer, [task_id])
    notice = wait_end_notice(ctx, peer, pending, task_id)
    check_modern_task(notice.params)

    def bare(task):
        return {name: value for name, value in task.items() if name not in ("_meta", "resultType")}

    now = get_modern(peer, task_id)
    require(bare(notice.params) == bare(now), "the notification must equal tasks/get",
            [bare(notice.params), bare(now)])


@assertion("E78", "modern", "http+stdio", "2026-07-28 subscriptions, filtering")
def e78_only_what_was_asked_for(ctx):
    """A subscription to one task says nothing about another."""
    peer = ctx.modern()
    mine = create_modern(peer, ctx.call("slow", seconds=2))["taskId"]
    other = create_modern(peer, ctx.call("slow", seconds=0.5))["taskId"]
    pending, _ = listen(ctx, peer, [mine])
    finish_modern(ctx, peer, other)
    wait_end_notice(ctx, peer, pending, mine)
    strange = peer.mailbox.select(
        lambda item: item.method == "notifications/tasks" and item.params.get("taskId") != mine
    )
    require(not strange, "nothing may be said about the other task", strange and strange[0].message)


@assertion("E79", "modern", "http+stdio", "SEP-2663, status notifications")
def e79_no_progress_of_tasks(ctx):
    """Neither notifications/progress nor notifications/message comes for a task, on any stream."""
    peer = ctx.modern()
    meta = {"progressToken": "p-79", "io.modelcontextprotocol/logLevel": "debug"}
    task_id = create_modern(peer, ctx.call("prog"), meta=meta)["taskId"]
    created = len(peer.mailbox)
    pending, _ = listen(ctx, peer, [task_id])
    wait_end_notice(ctx, peer, pending, task_id)
    wrong = peer.mailbox.select(
        lambda item: item.method in ("notifications/progress", "notifications/message"), created
    )
    require(not wrong, "progress and messages are not for tasks", wrong and wrong[0].message)


@assertion("E80", "modern", "stdio", "2026-07-28 cancellation; subscriptions")
def e80_cancelled_subscription_is_silent(ctx):
    """notifications/cancelled ends a subscription on stdio; other requests go on."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=2))["taskId"]
    pending, _ = listen(ctx, peer, [task_id])
    peer.notify("notifications/cancelled", {"requestId": pending.id})
    # Requests are read in order, so the answer to this one says that the cancellation has been read.
    get_modern(peer, task_id)
    settled = len(peer.mailbox)
    finish_modern(ctx, peer, task_id)
    ctx.watch(0.5)
    late = peer.mailbox.select(
        lambda item: item.method == "notifications/tasks" and tagged(pending)(item), settled
    )
    require(not late, "a cancelled subscription must be silent", late and late[0].message)


@assertion("E81", "modern", "http+stdio", "2026-07-28 subscriptions, graceful end")
def e81_shutdown_ends_subscriptions(ctx):
    """A server that shuts down ends a subscription with its result, tagged with the id, and closes the stream."""
    host = ctx.own_server()
    peer = ctx.modern(host=host)
    outlives = not peer.over_http and ctx.profile.fact("stdio_outlives_server")
    task_id = create_modern(peer, ctx.call("slow", seconds=2 if outlives else 60))["taskId"]
    pending, _ = listen(ctx, peer, [task_id])
    host.terminate()
    if outlives:
        # A bridge is not shut down: its client stays subscribed, and the next server behind it tells the end.
        wait_end_notice(ctx, peer, pending, task_id)
        return
    result = pending.wait().result
    require(result.get("resultType") == "complete", "resultType must be complete", result)
    require((result.get("_meta") or {}).get(SUBSCRIPTION) == pending.id, "the result must carry the id", result)
    ended = (lambda: pending.exchange.ended) if peer.over_http else (lambda: peer.link.ended)
    ctx.eventually("the end of the stream", ended)
