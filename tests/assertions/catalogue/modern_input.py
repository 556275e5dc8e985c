"""2026-07-28: questions of a task and of a call (E59 to E65, E82, E83)."""

from harness import TERMINAL, accept, assertion, require, text_of
from outcome import Skip
from shapes import (
    answer_modern,
    check_call_result,
    create_modern,
    finish_modern,
    get_modern,
    until_modern,
)


def waiting(ctx, peer, role, **values):
    """Start the tool in `role` and poll until it waits for input; returns the task."""
    created = create_modern(peer, ctx.call(role, **values))
    return until_modern(ctx, peer, created["taskId"], ("input_required",))


def two_questions(ctx, peer):
    """A task with two questions outstanding at once."""
    task_id = waiting(ctx, peer, "ask2")["taskId"]

    def both():
        task = get_modern(peer, task_id)
        return task if len(task.get("inputRequests", {})) == 2 else None

    return ctx.eventually("two outstanding questions", both)


def outstanding(task):
    """The keys of the questions a task waits for."""
    return sorted(task.get("inputRequests", {}))


@assertion("E59", "modern", "http+stdio", "SEP-2663, input required")
def e59_all_questions_are_shown(ctx):
    """A task with two questions shows both in inputRequests, as elicitation/create."""
    task = two_questions(ctx, ctx.modern())
    for request in task["inputRequests"].values():
        require(request.get("method") == "elicitation/create", "a question must be elicitation/create", request)
        require(isinstance(request.get("params", {}).get("message"), str), "a question needs its message", request)


@assertion("E60", "modern", "http+stdio", "SEP-2663, input required")
def e60_questions_are_stable(ctx):
    """The next tasks/get shows the same keys and payloads, and reading changes nothing."""
    peer = ctx.modern()
    first = two_questions(ctx, peer)
    second = get_modern(peer, first["taskId"])
    require(first["inputRequests"] == second["inputRequests"], "the questions must be the same",
            [first["inputRequests"], second["inputRequests"]])
    require(first["lastUpdatedAt"] == second["lastUpdatedAt"], "tasks/get must not change lastUpdatedAt",
            [first["lastUpdatedAt"], second["lastUpdatedAt"]])


@assertion("E61", "modern", "http+stdio", "SEP-2663, tasks/update")
def e61_partial_answer(ctx):
    """An answer to one of two questions is acknowledged and leaves exactly the other; both end the task."""
    peer = ctx.modern()
    task = two_questions(ctx, peer)
    answered, other = outstanding(task)
    answer_modern(peer, task["taskId"], {answered: accept(task["inputRequests"][answered])})

    def partly():
        now = get_modern(peer, task["taskId"])
        require(now["status"] == "input_required", "the task must stay in input_required", now)
        return outstanding(now) == [other]

    ctx.eventually("the answered key to go and the other to stay", partly)
    answer_modern(peer, task["taskId"], {other: accept(task["inputRequests"][other])})
    final = finish_modern(ctx, peer, task["taskId"])
    require(final["status"] == "completed", "the task must complete once both are answered", final)


@assertion("E62", "modern", "http+stdio", "SEP-2663, tasks/update")
def e62_first_answer_wins(ctx):
    """A second answer to the same key is acknowledged and changes nothing."""
    peer = ctx.modern()
    task = two_questions(ctx, peer)
    key, other = outstanding(task)
    request = task["inputRequests"][key]
    answer_modern(peer, task["taskId"], {key: accept(request, marker="first-answer")})
    before = get_modern(peer, task["taskId"])
    answer_modern(peer, task["taskId"], {key: accept(request, marker="second-answer")})
    answer_modern(peer, task["taskId"], {key: {"action": "decline"}})
    require(key not in outstanding(get_modern(peer, task["taskId"])) or key in outstanding(before),
            "an answered question must not come back", key)
    answer_modern(peer, task["taskId"], {other: accept(task["inputRequests"][other])})
    final = finish_modern(ctx, peer, task["taskId"])
    require(final["status"] == "completed", "the task must complete", final)
    text = text_of(final["result"])
    require("second-answer" not in text, "the first answer must win", final["result"])
    expected = ctx.profile.roles["ask2"].get("accepted_text")
    require(expected is None or expected in text, f"the first answer must count: {expected!r}", final["result"])


@assertion("E63", "modern", "http+stdio", "SEP-2663, tasks/update")
def e63_unknown_key_is_ignored(ctx):
    """An answer to a key that was never issued is acknowledged and changes nothing."""
    peer = ctx.modern()
    task = two_questions(ctx, peer)
    answer_modern(peer, task["taskId"], {"zz": {"action": "accept", "content": {"zz": True}}})
    after = get_modern(peer, task["taskId"])
    for name in ("status", "inputRequests", "lastUpdatedAt"):
        require(after[name] == task[name], f"{name} must not change", [task[name], after[name]])


@assertion("E64", "modern", "http+stdio", "SEP-2663, input required")
def e64_keys_are_never_reused(ctx):
    """Over the whole life of a task that asks in rounds no key names two questions, after a restart neither."""
    role = "ask_loop" if "ask_loop" in ctx.profile.roles else "ask2"
    host = None
    try:
        host = ctx.own_server() if role == "ask_loop" else None
    except Skip:
        pass  # Without a restart the rest of the assertion still holds.
    peer = ctx.modern(host=host)
    task = waiting(ctx, peer, role)
    task_id, answered = task["taskId"], set()
    while task["status"] not in TERMINAL:
        fresh = outstanding(task)
        if fresh:
            require(not answered & set(fresh), "an answered key must not be used again", fresh)
            if host is not None and len(answered) == 1:
                host.kill()
                host.start()
                peer = ctx.modern(host=host)
            answer_modern(peer, task_id, {fresh[0]: accept(task["inputRequests"][fresh[0]])})
            answered.add(fresh[0])

        def moved():
            now = get_modern(peer, task_id)
            require(not answered & set(outstanding(now)), "an answered key must not come back", now)
            return now if now["status"] in (*TERMINAL, "input_required") else None

        task = ctx.eventually("the next question or the end", moved)
    require(task["status"] == "completed" and len(answered) >= 2, "every round must be asked and answered", task)


@assertion("E65", "modern", "http+stdio", "SEP-2663, tasks/update")
def e65_update_of_a_finished_task(ctx):
    """tasks/update of a completed task is acknowledged and changes nothing, lastUpdatedAt included."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=0.2))["taskId"]
    before = finish_modern(ctx, peer, task_id)
    answer_modern(peer, task_id, {})
    answer_modern(peer, task_id, {"zz": {"action": "cancel"}})
    after = get_modern(peer, task_id)
    for name in ("status", "result", "lastUpdatedAt", "createdAt"):
        require(before[name] == after[name], f"{name} must not change", [before[name], after[name]])


def first_round(ctx, peer):
    """The first call of the tool that asks before there is a task."""
    call = ctx.call("mrtr")
    result = peer.request("tools/call", call).result
    require(result.get("resultType") == "input_required", "the call must first ask", result)
    require("taskId" not in result, "no task may exist before the questions are answered", result)
    require(result.get("inputRequests") or result.get("requestState"), "a question needs its payload", result)
    responses = {key: accept(request, marker="Alice") for key, request in result.get("inputRequests", {}).items()}
    retry = {**call, "inputResponses": responses}
    if "requestState" in result:
        retry["requestState"] = result["requestState"]
    return retry


@assertion("E82", "modern", "http+stdio", "SEP-2663, composition with input required; 2026-07-28 multi round-trip")
def e82_questions_before_the_task(ctx):
    """A tool that asks first answers input_required without a task, and with a task once it has its answers."""
    peer = ctx.modern()
    task = create_modern(peer, first_round(ctx, peer))
    final = finish_modern(ctx, peer, task["taskId"])
    require(final["status"] == "completed", "the task must complete", final)
    require("Alice" in text_of(final["result"]), "the task must know the answer", final["result"])
    check_call_result({"resultType": "complete", **final["result"]}, modern=True)


@assertion("E83", "modern", "http+stdio", "2026-07-28 multi round-trip, request state")
def e83_tampered_state_is_refused(ctx):
    """A retry with a changed requestState answers with a JSON-RPC error and makes no task."""
    peer = ctx.modern()
    retry = first_round(ctx, peer)
    state = retry.get("requestState")
    if state is None:
        raise Skip("the tool in role mrtr uses no requestState")
    middle = len(state) // 2
    flipped = "A" if state[middle] != "A" else "B"
    for tampered in (state[:middle] + flipped + state[middle + 1:], state[:middle], "x" + state):
        reply = peer.request("tools/call", {**retry, "requestState": tampered})
        require(reply.is_error, "a tampered requestState must be refused with an error", reply.message)
