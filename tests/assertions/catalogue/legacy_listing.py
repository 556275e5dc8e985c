"""2025-11-25: tasks/list and who may see what (E26 to E29)."""

from catalogue.legacy_results import all_tasks
from harness import assertion, require
from outcome import Skip
from shapes import check_call_result, check_legacy_task, create_legacy, finish_legacy, get_legacy


def require_listing(ctx, peer):
    """`Skip`, or `Violation` where the profile promises it, unless tasks.list is declared."""
    declared = (peer.initialized.get("capabilities", {}).get("tasks") or {}).get("list") is not None
    if not declared:
        require(not ctx.profile.fact("lists_over_" + ctx.transport), "tasks.list must be declared here")
        raise Skip("the server does not declare tasks.list here")


@assertion("E26", "legacy", "stdio", "2025-11-25 tasks, Listing Tasks")
def e26_listing_is_complete(ctx):
    """Following nextCursor lists each of 25 tasks exactly once; the last page has no cursor."""
    peer = ctx.legacy()
    require_listing(ctx, peer)
    created = [create_legacy(peer, ctx.call("slow", seconds=0))["taskId"] for _ in range(25)]
    for task_id in created:
        finish_legacy(ctx, peer, task_id)
    tasks = all_tasks(peer)
    for task in tasks:
        check_legacy_task(task)
    listed = [task["taskId"] for task in tasks]
    missing = [task_id for task_id in created if task_id not in listed]
    require(not missing, f"tasks/list must contain every task that tasks/get finds; {len(missing)} of 25 are missing")
    require(len(listed) == len(set(listed)), "no task may be listed twice", listed)


@assertion("E27", "legacy", "stdio", "2025-11-25 tasks, Protocol Errors")
def e27_bogus_cursor(ctx):
    """tasks/list with an invalid cursor answers -32602."""
    peer = ctx.legacy()
    require_listing(ctx, peer)
    peer.request("tasks/list", {"cursor": "bogus"}).expect_error(-32602)


@assertion("E28", "legacy", "http", "2025-11-25 tasks, Task Isolation and Access Control")
def e28_tasks_are_private(ctx):
    """Bob neither lists nor gets, fetches or cancels what Alice created: -32602, as for an unknown id."""
    ctx.token("alice"), ctx.token("bob")
    alice, bob = ctx.legacy(user="alice"), ctx.legacy(user="bob")
    task_id = create_legacy(alice, ctx.call("slow", seconds=2))["taskId"]
    if (bob.initialized["capabilities"].get("tasks") or {}).get("list") is not None:
        require(task_id not in [task["taskId"] for task in all_tasks(bob)], "bob must not see the task in the list")
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        bob.request(method, {"taskId": task_id}).expect_error(-32602)
    require(finish_legacy(ctx, alice, task_id)["status"] == "completed", "alice's task must not be touched")


@assertion("E29", "legacy", "http", "2025-11-25 tasks, Task Isolation and Access Control")
def e29_tasks_belong_to_the_principal(ctx):
    """A task created in one session is reached by the same principal in another session."""
    if not ctx.has_users and not ctx.profile.fact("one_principal"):
        raise Skip("needs users, or a profile that says all clients are one principal")
    task_id = create_legacy(ctx.legacy(), ctx.call("slow", seconds=0))["taskId"]
    other = ctx.legacy()
    get_legacy(other, task_id)
    finish_legacy(ctx, other, task_id)
    check_call_result(other.request("tasks/result", {"taskId": task_id}).result, modern=False)
