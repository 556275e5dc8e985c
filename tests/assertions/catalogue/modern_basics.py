"""2026-07-28: discovery, creation, tasks/get and error codes (E46 to E52, E54 to E58, E72)."""

import datetime
import http.client
import json

from client import EXTENSION, MODERN
from harness import assertion, require, unknown_id
from outcome import Skip
from shapes import (
    check_call_result,
    check_modern_task,
    create_modern,
    finish_modern,
    get_modern,
    is_integer,
    parse_time,
)


def expect_missing_capability(reply):
    """-32021 with the extension in its data, HTTP 400."""
    error = reply.expect_error(-32021, status=400)
    required = ((error.get("data") or {}).get("requiredCapabilities") or {}).get("extensions") or {}
    require(EXTENSION in required, "data.requiredCapabilities.extensions must name the extension", error)


@assertion("E46", "modern", "http+stdio", "SEP-2663, capability negotiation; 2026-07-28 discovery, caching")
def e46_discover_declares_the_extension(ctx):
    """server/discover declares the extension as {}, no capabilities.tasks, with ttlMs and cacheScope."""
    result = ctx.modern().undeclared("server/discover").result
    require(result.get("resultType") == "complete", "resultType must be complete", result)
    require(MODERN in result.get("supportedVersions", []), f"supportedVersions must hold {MODERN}", result)
    capabilities = result.get("capabilities") or {}
    extensions = capabilities.get("extensions") or {}
    require(extensions.get(EXTENSION) == {}, "the extension must be declared as an empty object", capabilities)
    require("tasks" not in capabilities, "capabilities.tasks belongs to 2025-11-25", capabilities)
    require(is_integer(result.get("ttlMs")) and result["ttlMs"] >= 0, "ttlMs must be an integer >= 0", result)
    require(result.get("cacheScope") in ("public", "private"), "cacheScope must be public or private", result)


@assertion("E47", "modern", "http+stdio", "SEP-2663, task creation")
def e47_create_task_is_flat(ctx):
    """A declaring call of a slow tool answers with a flat task: resultType task, ttlMs, no legacy names, no payload."""
    peer = ctx.modern()
    task = create_modern(peer, ctx.call("slow", seconds=2))
    require(task["status"] == "working", "a task must begin in working", task)
    for name in ("result", "error", "inputRequests", "content"):
        require(name not in task, f"a CreateTaskResult must not contain {name!r}", task)


@assertion("E48", "modern", "http+stdio", "SEP-2663, capability negotiation")
def e48_undeclared_call_is_synchronous(ctx):
    """A call that does not declare the extension is served synchronously; no taskId is on the wire."""
    result = ctx.modern().undeclared("tools/call", ctx.call("slow", seconds=1)).result
    check_call_result(result, modern=True)
    require('"taskId"' not in json.dumps(result), "no taskId may be on the wire", result)


@assertion("E49", "modern", "http+stdio", "SEP-2663, capability negotiation and errors")
def e49_required_tool_needs_the_extension(ctx):
    """A call of a required tool that does not declare the extension answers -32021 with its data, HTTP 400."""
    expect_missing_capability(ctx.modern().undeclared("tools/call", ctx.call("req")))


@assertion("E50", "modern", "http+stdio", "SEP-2663, capability negotiation; 2026-07-28 versioning")
def e50_declaration_is_not_carried_over(ctx):
    """A declaration holds for its own request only, on the same connection too."""
    peer = ctx.modern()
    create_modern(peer, ctx.call("slow", seconds=0.5))
    if not peer.over_http:
        check_call_result(peer.undeclared("tools/call", ctx.call("slow", seconds=0.5)).result, modern=True)
        return
    connection = http.client.HTTPConnection(peer.link.host, peer.link.port, timeout=ctx.deadline)
    try:
        results = []
        for declares in (True, False):
            params = {**ctx.call("slow", seconds=0.5), "_meta": peer.meta(declares)}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            headers = {
                "Accept": "application/json, text/event-stream",
                "Content-Type": "application/json",
                "MCP-Protocol-Version": MODERN,
                "Mcp-Method": "tools/call",
                "Mcp-Name": params["name"],
                **peer.link.headers,
            }
            connection.request("POST", peer.link.path, json.dumps(message), headers)
            body = connection.getresponse().read().decode()
            lines = [line[5:] for line in body.splitlines() if line.startswith("data:") and line[5:].strip()]
            results.append(json.loads(lines[-1] if lines else body).get("result", {}))
    finally:
        connection.close()
    require(results[0].get("resultType") == "task", "the declaring call must answer with a task", results[0])
    check_call_result(results[1], modern=True)


@assertion("E51", "modern", "http+stdio", "SEP-2663, compatibility with 2025-11-25")
def e51_legacy_task_parameter_is_ignored(ctx):
    """params.task means nothing here: a tool without task support answers with a plain result."""
    params = {**ctx.call("forb"), "task": {"ttl": 60_000}}
    peer = ctx.modern()
    for declares in (True, False):
        check_call_result(peer.request("tools/call", {**params, "_meta": peer.meta(declares)}).result, modern=True)
    plain = {**ctx.call("slow", seconds=0.2), "task": {"ttl": 60_000}}
    check_call_result(peer.undeclared("tools/call", plain).result, modern=True)


@assertion("E52", "modern", "http+stdio", "SEP-2663, task creation (durability)")
def e52_task_exists_when_announced(ctx):
    """tasks/get right after CreateTaskResult, on another connection, finds the task."""
    peer = ctx.modern()
    other = ctx.modern() if peer.over_http else peer
    for _ in range(10):
        task = create_modern(peer, ctx.call("slow", seconds=0.2))
        get_modern(other, task["taskId"])


@assertion("E54", "modern", "http+stdio", "SEP-2663, errors")
def e54_undeclared_task_requests(ctx):
    """tasks/get, update and cancel without the extension answer -32021, HTTP 400, whatever the id."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=2))["taskId"]
    for known in (task_id, unknown_id()):
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            params = {"taskId": known, "inputResponses": {}} if method == "tasks/update" else {"taskId": known}
            expect_missing_capability(peer.undeclared(method, params))
    task = finish_modern(ctx, peer, task_id)
    require(task["status"] == "completed", "a refused tasks/cancel must have no effect", task)


@assertion("E55", "modern", "http+stdio", "SEP-2663, errors")
def e55_unknown_id(ctx):
    """tasks/get, update and cancel of an unknown task answer -32602."""
    peer = ctx.modern()
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        params = {"taskId": unknown_id()}
        if method == "tasks/update":
            params["inputResponses"] = {}
        peer.request(method, params).expect_error(-32602)


@assertion("E56", "modern", "http+stdio", "SEP-2663, compatibility with 2025-11-25")
def e56_removed_methods(ctx):
    """tasks/result and tasks/list do not exist here: -32601, HTTP 404."""
    peer = ctx.modern()
    peer.request("tasks/result", {"taskId": unknown_id()}).expect_error(-32601, status=404)
    peer.request("tasks/list").expect_error(-32601, status=404)


@assertion("E57", "modern", "http+stdio", "SEP-2663, task status")
def e57_tool_error_is_completed(ctx):
    """A tool error ends the task as completed, with isError in its result and no error."""
    peer = ctx.modern()
    task = finish_modern(ctx, peer, create_modern(peer, ctx.call("toolerr"))["taskId"])
    require(task["status"] == "completed", "a task with a tool error must be completed", task)
    require(task["result"].get("isError") is True, "the result must have isError", task)
    require(isinstance(task["result"].get("content"), list), "the result must have content", task)


@assertion("E58", "modern", "http+stdio", "SEP-2663, task status")
def e58_protocol_error_is_failed(ctx):
    """A JSON-RPC error ends the task as failed, with the error's code and message and a statusMessage."""
    peer = ctx.modern()
    task = finish_modern(ctx, peer, create_modern(peer, ctx.call("rpcerr"))["taskId"])
    require(task["status"] == "failed", "a task with a JSON-RPC error must be failed", task)
    error = task["error"]
    require(is_integer(error.get("code")) and isinstance(error.get("message"), str), "error needs both fields", task)
    require(task.get("statusMessage"), "a failed task should say why in statusMessage", task)


@assertion("E72", "modern", "http+stdio", "SEP-2663, time to live")
def e72_not_before_its_time(ctx):
    """Before createdAt + ttlMs a task is always there; after it, it is failed or -32602."""
    peer = ctx.modern(host=ctx.expiring_host())
    task_id = create_modern(peer, ctx.call("expiring"))["taskId"]
    last = finish_modern(ctx, peer, task_id)
    if last["ttlMs"] is None:
        raise Skip("the task in role expiring never expires")

    def gone():
        # The clock is read after the answer, so an answer that is late for us alone is never held against it.
        nonlocal last
        reply = peer.request("tasks/get", {"taskId": task_id})
        if not reply.is_error:
            check_modern_task(reply.result)
            last = reply.result
            return False
        reply.expect_error(-32602)
        return datetime.datetime.now(datetime.timezone.utc)

    at = ctx.eventually("expiry of a finished task", gone)
    due = parse_time(last["createdAt"]) + datetime.timedelta(milliseconds=last["ttlMs"])
    require(at >= due, f"a task must not expire before {due.isoformat()}", at.isoformat())
