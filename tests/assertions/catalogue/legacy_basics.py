"""2025-11-25: negotiation, creation and tasks/get (E1 to E11, E20, E21, E40, E41)."""

from client import EXTENSION, LEGACY, RELATED
from harness import assertion, require, unknown_id
from outcome import Skip, Violation
from shapes import (
    check_call_result,
    check_legacy_task,
    create_legacy,
    finish_legacy,
    get_legacy,
    parse_time,
    related_task,
)


def list_tools(peer):
    """All tools by name, over all pages."""
    tools, cursor = {}, None
    while True:
        page = peer.request("tools/list", {"cursor": cursor} if cursor else {}).result
        tools.update({tool["name"]: tool for tool in page["tools"]})
        cursor = page.get("nextCursor")
        if not cursor:
            return tools


@assertion("E1", "legacy", "http+stdio", "2025-11-25 tasks, Server Capabilities; SEP-2663, compatibility")
def e01_initialize_declares_tasks(ctx):
    """initialize declares tasks.requests.tools.call and tasks.cancel, and not the 2026-07-28 extension."""
    answer = ctx.legacy().initialized
    require(answer.get("protocolVersion") == LEGACY, "the requested version must be accepted", answer)
    capabilities = answer.get("capabilities", {})
    tasks = capabilities.get("tasks") or {}
    call = (tasks.get("requests") or {}).get("tools", {}).get("call")
    require(isinstance(call, dict), "capabilities.tasks.requests.tools.call must be declared", capabilities)
    require(isinstance(tasks.get("cancel"), dict), "capabilities.tasks.cancel must be declared", capabilities)
    require(EXTENSION not in (capabilities.get("extensions") or {}),
            "the 2026-07-28 extension must not be declared in 2025-11-25", capabilities)


@assertion("E2", "legacy", "http", "2025-11-25 tasks, Task Isolation and Access Control")
def e02_no_listing_for_unidentified_requestors(ctx):
    """Without identity, tasks.list is not declared over HTTP and tasks/list answers -32601."""
    if ctx.has_users:
        raise Skip("the server identifies its requestors")
    peer = ctx.legacy()
    tasks = peer.initialized.get("capabilities", {}).get("tasks") or {}
    require("list" not in tasks, "tasks.list must not be declared where requestors cannot be told apart", tasks)
    peer.request("tasks/list", {}).expect_error(-32601)


@assertion("E3", "legacy", "http+stdio", "2025-11-25 tasks, Tool-Level Negotiation")
def e03_tools_carry_task_support(ctx):
    """tools/list says taskSupport of required and optional tools; a forbidden tool has none or forbidden."""
    tools = list_tools(ctx.legacy())

    def support(role):
        name = ctx.call(role)["name"]
        require(name in tools, f"tools/list must contain {name}")
        return (tools[name].get("execution") or {}).get("taskSupport")

    require(support("slow") == "optional", "the tool in role slow must be optional", support("slow"))
    require(support("req") == "required", "the tool in role req must be required", support("req"))
    require(support("forb") in (None, "forbidden"), "the tool in role forb must be forbidden", support("forb"))


@assertion("E4", "legacy", "http+stdio", "2025-11-25 tasks, Creating Tasks")
def e04_create_task_is_nested(ctx):
    """A call with task answers with a nested, working Task: times, ttl, no operation result, no resultType."""
    peer = ctx.legacy()
    result = peer.request("tools/call", {**ctx.call("slow", seconds=1), "task": {"ttl": 60_000}}).result
    require(isinstance(result.get("task"), dict), "the result must hold the task under `task`", result)
    check_legacy_task(result["task"])
    require(result["task"]["status"] == "working", "a task must begin in working", result)
    require(not result.get("content"), "a CreateTaskResult must not hold the operation's result", result)
    require("structuredContent" not in result, "a CreateTaskResult must not hold the operation's result", result)
    require("resultType" not in result, "resultType does not belong in 2025-11-25", result)


@assertion("E5", "legacy", "http+stdio", "2025-11-25 tasks, TTL and Resource Management")
def e05_ttl_is_optional(ctx):
    """task:{} without a ttl is accepted; the ttl that holds is reported, a number or null."""
    peer = ctx.legacy()
    task = create_legacy(peer, ctx.call("slow", seconds=0), ttl=None)
    get_legacy(peer, task["taskId"])


@assertion("E6", "legacy", "http+stdio", "2025-11-25 tasks, TTL and Resource Management")
def e06_ttl_is_capped(ctx):
    """A ttl beyond the server's maximum M is not granted: once the task has finished, its ttl is at most M."""
    maximum = ctx.profile.fact("max_ttl_ms")
    if maximum is None:
        raise Skip("the profile states no max_ttl_ms")
    peer = ctx.legacy()
    created = create_legacy(peer, ctx.call("slow", seconds=0), ttl=10 * maximum)
    task = finish_legacy(ctx, peer, created["taskId"])
    require(task["ttl"] is not None, "a server with a maximum must report a number", task)
    # The maximum counts from the end, the ttl from creation.
    ran = parse_time(task["lastUpdatedAt"]) - parse_time(task["createdAt"])
    require(task["ttl"] <= maximum + ran.total_seconds() * 1000 + 1, f"ttl must be at most {maximum}", task)


@assertion("E7", "legacy", "http+stdio", "2025-11-25 tasks, Tool-Level Negotiation")
def e07_forbidden_tool_refuses_a_task(ctx):
    """A task-augmented call of a tool without task support answers -32601."""
    ctx.legacy().request("tools/call", {**ctx.call("forb"), "task": {"ttl": 60_000}}).expect_error(-32601)


@assertion("E8", "legacy", "http+stdio", "2025-11-25 tasks, Tool-Level Negotiation")
def e08_required_tool_refuses_a_plain_call(ctx):
    """A plain call of a tool that requires a task answers -32601."""
    ctx.legacy().request("tools/call", ctx.call("req")).expect_error(-32601)


@assertion("E9", "legacy", "http+stdio", "2025-11-25 tasks, Tool-Level Negotiation")
def e09_optional_tool_answers_a_plain_call(ctx):
    """A plain call of an optional tool answers with a CallToolResult and no task."""
    check_call_result(ctx.legacy().request("tools/call", ctx.call("slow", seconds=1)).result, modern=False)


@assertion("E10", "legacy", "http+stdio", "2025-11-25 tasks, Getting Tasks; Associating Task-Related Messages")
def e10_get_is_flat(ctx):
    """tasks/get right after creation answers with the flat Task and without related-task."""
    peer = ctx.legacy()
    created = create_legacy(peer, ctx.call("slow", seconds=1))
    task = get_legacy(peer, created["taskId"])
    require(related_task(task) is None, "tasks/get must not carry related-task", task)
    require(task["createdAt"] == created["createdAt"], "createdAt must not change", [created, task])


@assertion("E11", "legacy", "http", "2025-11-25 tasks, Task Support and Handling")
def e11_get_is_not_a_stream(ctx):
    """tasks/get is answered as application/json, not as an event stream."""
    peer = ctx.legacy()
    task = create_legacy(peer, ctx.call("slow", seconds=1))
    reply = peer.request("tasks/get", {"taskId": task["taskId"]})
    require(reply.content_type == "application/json", "tasks/get must be application/json", reply.content_type)


@assertion("E20", "legacy", "http+stdio", "2025-11-25 tasks, Protocol Errors")
def e20_unknown_id(ctx):
    """get, result and cancel of an unknown task answer -32602."""
    peer = ctx.legacy()
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        for task_id in (unknown_id(), "no such task", ""):
            peer.request(method, {"taskId": task_id}).expect_error(-32602)


@assertion("E21", "legacy", "http+stdio", "2025-11-25 tasks, Protocol Errors")
def e21_malformed_id(ctx):
    """tasks/get with a missing taskId, or one that is not a string, answers -32602."""
    peer = ctx.legacy()
    for params in ({}, {"taskId": 7}, {"taskId": None}, {"taskId": ["a"]}):
        peer.request("tasks/get", params).expect_error(-32602)


@assertion("E40", "legacy", "http+stdio", "SEP-2663, compatibility with 2025-11-25")
def e40_extension_means_nothing_here(ctx):
    """A client that declares only the 2026-07-28 extension at initialize gets plain results, never a task."""
    peer = ctx.legacy({"extensions": {EXTENSION: {}}})
    check_call_result(peer.request("tools/call", ctx.call("slow", seconds=1)).result, modern=False)


@assertion("E41", "legacy", "http+stdio", "2025-11-25 tasks, Associating Task-Related Messages")
def e41_the_parameter_names_the_task(ctx):
    """tasks/get with a conflicting related-task `_meta` answers for params.taskId."""
    peer = ctx.legacy()
    first = create_legacy(peer, ctx.call("slow", seconds=0))["taskId"]
    second = create_legacy(peer, ctx.call("slow", seconds=0))["taskId"]
    params = {"taskId": first, "_meta": {RELATED: {"taskId": second}}}
    task = peer.request("tasks/get", params).result
    if task.get("taskId") != first:
        raise Violation(f"tasks/get of {first} with related-task {second} answered for {task.get('taskId')}")
