"""2025-11-25: questions that a task asks (E30 to E36)."""

from harness import TERMINAL, accept, assertion, require, text_of
from shapes import check_call_result, create_legacy, get_legacy, related_task, until_legacy


def is_question(item):
    """Whether a message is an elicitation/create request."""
    return item.method == "elicitation/create" and "id" in item.message


def ask(ctx, peer, timeout=None):
    """Start the asking tool, wait for input_required, open tasks/result and take the question from its stream."""
    task_id = create_legacy(peer, ctx.call("ask1"))["taskId"]
    until_legacy(ctx, peer, task_id, ("input_required",))
    return task_id, *open_question(peer, task_id, timeout)


def open_question(peer, task_id, timeout=None):
    """Open tasks/result of a task that waits for input; returns it and the question."""
    pending = peer.start("tasks/result", {"taskId": task_id})

    def fits(item):
        # On stdio all streams are one; a question pushed there before is as good.
        return is_question(item) and item.stream == pending.stream

    question = peer.wait_message(fits, "elicitation/create on the stream of tasks/result", timeout)
    return pending, question


@assertion("E30", "legacy", "http+stdio", "2025-11-25 tasks, Input Required Status")
def e30_status_becomes_input_required(ctx):
    """A task that asks goes from working to input_required for everyone who polls."""
    peer = ctx.legacy()
    task_id = create_legacy(peer, ctx.call("ask1"))["taskId"]
    until_legacy(ctx, peer, task_id, ("input_required",))
    peer.request("tasks/cancel", {"taskId": task_id})


@assertion("E31", "legacy", "http", "2025-11-25 tasks, Input Required Status; Associating Task-Related Messages")
def e31_question_on_the_result_stream(ctx):
    """tasks/result of a task that asks is an event stream and carries elicitation/create with related-task."""
    peer = ctx.legacy()
    task_id, pending, question = ask(ctx, peer)
    require(pending.exchange.content_type == "text/event-stream", "tasks/result must be an event stream here",
            pending.exchange.content_type)
    require(related_task(question.params) == task_id, "the question must carry related-task", question.message)
    peer.request("tasks/cancel", {"taskId": task_id})


@assertion("E32", "legacy", "stdio", "2025-11-25 tasks, Input Required Status; Associating Task-Related Messages")
def e32_question_on_stdio(ctx):
    """After tasks/result of a task that asks, elicitation/create with related-task comes on standard output."""
    peer = ctx.legacy()
    task_id, _, question = ask(ctx, peer)
    require(related_task(question.params) == task_id, "the question must carry related-task", question.message)
    peer.request("tasks/cancel", {"taskId": task_id})


@assertion("E33", "legacy", "http+stdio", "2025-11-25 tasks, Input Required Status; Transports, Sending Messages")
def e33_accepted_answer_resumes(ctx):
    """An accepting answer is taken (202), the task leaves input_required, and tasks/result ends with the result."""
    peer = ctx.legacy()
    task_id, pending, question = ask(ctx, peer)
    exchange = peer.answer(question.message["id"], accept(question.message))
    if exchange is not None:
        require(exchange.status == 202, "an answer must be accepted with 202", exchange.status)
    result = pending.wait().result
    check_call_result(result, modern=False)
    require(not result.get("isError"), "the tool must see the answer", result)
    require(get_legacy(peer, task_id)["status"] == "completed", "the task must be completed after its result")


@assertion("E34", "legacy", "http+stdio", "2025-11-25 elicitation, Response Actions")
def e34_declined_answer_is_seen(ctx):
    """A declining answer reaches the tool: the task ends, and not as if it had been accepted."""
    peer = ctx.legacy()
    task_id, pending, question = ask(ctx, peer)
    peer.answer(question.message["id"], {"action": "decline"})
    reply = pending.wait()
    require(get_legacy(peer, task_id)["status"] in TERMINAL, "the task must have ended")
    accepted_text = ctx.profile.roles["ask1"].get("accepted_text")
    if accepted_text and not reply.is_error:
        require(accepted_text not in text_of(reply.result), "a declined question must not count as accepted",
                reply.result)


@assertion("E35", "legacy", "http", "2025-11-25 tasks, Input Required Status; Transports, Multiple Connections")
def e35_question_is_delivered_again(ctx):
    """A question whose stream died unanswered is delivered once on the next tasks/result, and can be answered."""
    peer = ctx.legacy()
    task_id, pending, _ = ask(ctx, peer)
    pending.drop()
    pending.exchange.wait_end(ctx.deadline)
    again, question = open_question(peer, task_id)
    exchange = peer.answer(question.message["id"], accept(question.message))
    require(exchange.status == 202, "an answer must be accepted with 202", exchange.status)
    check_call_result(again.wait().result, modern=False)
    delivered = [item for item in again.messages() if is_question(item)]
    require(len(delivered) == 1, "the question must be delivered exactly once on a stream",
            [item.message for item in delivered])


@assertion("E36", "legacy", "http+stdio", "2025-11-25 elicitation, Capabilities")
def e36_no_question_without_the_capability(ctx):
    """A client without elicitation is never asked: the task fails, handles it, or waits for somebody else."""
    peer = ctx.legacy(capabilities={})
    if peer.over_http:
        peer.listen()
    task_id = create_legacy(peer, ctx.call("ask1"))["taskId"]
    until_legacy(ctx, peer, task_id, ("input_required", *TERMINAL))
    peer.start("tasks/result", {"taskId": task_id})

    def not_asked():
        asked = peer.mailbox.select(is_question)
        require(not asked, "a client that did not declare elicitation must not be asked",
                asked and asked[0].message)

    ctx.watch(1.5, not_asked)
    peer.request("tasks/cancel", {"taskId": task_id})


