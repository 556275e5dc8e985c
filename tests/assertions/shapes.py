"""What a task looks like in each era, and the short verbs the assertions are written in.

Invariant: these checks require only what the specification requires of every task; anything finer is in the
assertion that needs it.
"""

import datetime
import re

from client import RELATED
from harness import TERMINAL
from outcome import Violation, require, short

STATUSES = ("working", "input_required", *TERMINAL)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def parse_time(text):
    """An RFC 3339 time; `Violation` if `text` is none."""
    require(isinstance(text, str) and RFC3339.fullmatch(text), "a time must be RFC 3339", text)
    # Python reads at most six digits of a second's fraction.
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))


def is_integer(value):
    """Whether `value` is a JSON integer (a boolean is not)."""
    return isinstance(value, int) and not isinstance(value, bool)


def _check_common(task):
    require(isinstance(task, dict), "a task must be an object", task)
    require(isinstance(task.get("taskId"), str) and task["taskId"], "taskId must be a non-empty string", task)
    require(task.get("status") in STATUSES, "status must be one of the five", task)
    require(parse_time(task.get("createdAt")) <= parse_time(task.get("lastUpdatedAt")),
            "lastUpdatedAt must not be before createdAt", task)


def check_legacy_task(task):
    """A Task object of 2025-11-25."""
    _check_common(task)
    require("ttl" in task and (task["ttl"] is None or is_integer(task["ttl"]) and task["ttl"] >= 0),
            "ttl must be there, a number or null", task)
    require("pollInterval" not in task or is_integer(task["pollInterval"]) and task["pollInterval"] > 0,
            "pollInterval must be a positive integer where it is given", task)
    for name in ("ttlMs", "pollIntervalMs", "resultType", "inputRequests"):
        require(name not in task, f"{name} belongs to 2026-07-28", task)


def check_modern_task(task):
    """A Task object of the 2026-07-28 extension."""
    _check_common(task)
    require("ttlMs" in task and (task["ttlMs"] is None or is_integer(task["ttlMs"]) and task["ttlMs"] >= 0),
            "ttlMs must be there, an integer or null", task)
    require("pollIntervalMs" not in task or is_integer(task["pollIntervalMs"]) and task["pollIntervalMs"] > 0,
            "pollIntervalMs must be a positive integer where it is given", task)
    for name in ("ttl", "pollInterval", "task", "requestState"):
        require(name not in task, f"{name} does not belong in a task of 2026-07-28", task)
    require(RELATED not in (task.get("_meta") or {}), "related-task does not belong in a task of 2026-07-28", task)


def check_detailed(answer):
    """A tasks/get result of 2026-07-28: exactly the payload its status calls for."""
    require(answer.get("resultType") == "complete", "tasks/get must have resultType complete", answer)
    check_modern_task(answer)
    payload = {"input_required": "inputRequests", "completed": "result", "failed": "error"}.get(answer["status"])
    for name in ("inputRequests", "result", "error"):
        require((name in answer) == (name == payload), f"a {answer['status']} task and {name!r} do not fit", answer)
    return answer


def check_ack(reply):
    """An empty acknowledgement of 2026-07-28: resultType complete and nothing of a task."""
    result = reply.result
    require(result.get("resultType") == "complete", f"the ack of {reply.asked} must have resultType complete", result)
    for name in ("taskId", "status", "result", "error", "inputRequests", "task"):
        require(name not in result, f"the ack of {reply.asked} must not contain {name!r}", result)


def check_call_result(result, modern):
    """A plain CallToolResult in the shape of its era."""
    require(isinstance(result.get("content"), list), "a CallToolResult must have content", result)
    require("task" not in result and "taskId" not in result, "a plain result must not contain a task", result)
    if modern:
        require(result.get("resultType") == "complete", "a plain result must have resultType complete", result)
    else:
        require("resultType" not in result, "resultType does not belong in 2025-11-25", result)


def related_task(holder):
    """The id in the related-task `_meta` of a result or of parameters, `None` without one."""
    return ((holder.get("_meta") or {}).get(RELATED) or {}).get("taskId")


# --- 2025-11-25 -------------------------------------------------------------------------------------------------


def create_legacy(peer, call, ttl=60_000, meta=None):
    """Run a tool as a task of 2025-11-25; returns the Task."""
    params = {**call, "task": {} if ttl is None else {"ttl": ttl}}
    if meta:
        params["_meta"] = meta
    result = peer.request("tools/call", params).result
    require(isinstance(result.get("task"), dict), "tools/call with a task must answer with result.task", result)
    check_legacy_task(result["task"])
    return result["task"]


def get_legacy(peer, task_id):
    """tasks/get of 2025-11-25."""
    task = peer.request("tasks/get", {"taskId": task_id}).result
    require("task" not in task, "tasks/get must answer with a flat Task", task)
    check_legacy_task(task)
    require(task["taskId"] == task_id, "tasks/get must answer with the task that was asked for", task)
    return task


def finish_legacy(ctx, peer, task_id, timeout=None):
    """Poll a 2025-11-25 task to its end."""
    return until_legacy(ctx, peer, task_id, TERMINAL, timeout)


def until_legacy(ctx, peer, task_id, statuses, timeout=None):
    """Poll a 2025-11-25 task until its status is one of `statuses`; another end is a `Violation`."""

    def probe():
        task = get_legacy(peer, task_id)
        if task["status"] in statuses:
            return task
        if task["status"] in TERMINAL:
            raise Violation(f"the task must reach {' or '.join(statuses)}; got {short(task)}")
        return None

    return ctx.eventually(f"status {' or '.join(statuses)} of a {task_id[:8]} task", probe, timeout)


# --- 2026-07-28 -------------------------------------------------------------------------------------------------


def create_modern(peer, call, meta=None, **options):
    """Call a tool that answers with a task of 2026-07-28; returns the CreateTaskResult."""
    params = dict(call)
    if meta:
        params["_meta"] = meta
    result = peer.request("tools/call", params, **options).result
    require(result.get("resultType") == "task", "the call must answer with a task", result)
    check_modern_task(result)
    return result


def get_modern(peer, task_id):
    """tasks/get of 2026-07-28."""
    answer = check_detailed(peer.request("tasks/get", {"taskId": task_id}).result)
    require(answer["taskId"] == task_id, "tasks/get must answer with the task that was asked for", answer)
    return answer


def finish_modern(ctx, peer, task_id, timeout=None):
    """Poll a 2026-07-28 task to its end."""
    return until_modern(ctx, peer, task_id, TERMINAL, timeout)


def until_modern(ctx, peer, task_id, statuses, timeout=None):
    """Poll a 2026-07-28 task until its status is one of `statuses`; another end is a `Violation`."""

    def probe():
        task = get_modern(peer, task_id)
        if task["status"] in statuses:
            return task
        if task["status"] in TERMINAL:
            raise Violation(f"the task must reach {' or '.join(statuses)}; got {short(task)}")
        return None

    return ctx.eventually(f"status {' or '.join(statuses)} of a {task_id[:8]} task", probe, timeout)


def answer_modern(peer, task_id, responses):
    """tasks/update; requires the empty acknowledgement."""
    check_ack(peer.request("tasks/update", {"taskId": task_id, "inputResponses": responses}))


