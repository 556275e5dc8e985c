"""What concerns both eras at once, or the server as a whole (E84 to E86, E88, E90)."""

import base64
import math
import re
from concurrent.futures import ThreadPoolExecutor

from client import LEGACY, MODERN
from harness import TERMINAL, assertion, require
from outcome import Skip, Violation, short
from shapes import (
    check_call_result,
    check_detailed,
    check_legacy_task,
    check_modern_task,
    create_legacy,
    create_modern,
    finish_legacy,
    finish_modern,
    get_modern,
)

SAMPLE = 1000
NEEDED_BITS = 122


def any_peer(ctx):
    """A client of an era the server speaks, and the way it creates a task."""
    if "modern" in ctx.profile.eras:
        return ctx.modern(), create_modern
    return ctx.legacy(), create_legacy


def bits_of(task_id):
    """The bits that an id encodes: hexadecimal with separators (UUIDs too), base64url, or else its characters."""
    digits = re.sub(r"[-:._]", "", task_id).lower()
    if re.fullmatch(r"[0-9a-f]+", digits):
        return "".join(f"{int(digit, 16):04b}" for digit in digits)
    try:
        raw = base64.urlsafe_b64decode(task_id + "=" * (-len(task_id) % 4))
    except ValueError:
        raw = task_id.encode()
    return "".join(f"{byte:08b}" for byte in raw)


@assertion("E84", "legacy|modern", "http+stdio", "SEP-2663, security; 2025-11-25 tasks, Task ID Requirements",
           exclusive=True)
def e84_ids_are_unguessable(ctx):
    """1,000 ids are unique, hold 122 random bits, and show neither counter nor time."""
    peer, create = any_peer(ctx)
    call = ctx.call("sample")
    with ThreadPoolExecutor(8 if peer.over_http else 1) as pool:
        ids = list(pool.map(lambda _: create(peer, call)["taskId"], range(SAMPLE)))
    require(len(set(ids)) == SAMPLE, "ids must be unique")
    rows = [bits_of(task_id) for task_id in ids]
    width = min(map(len, rows))
    require(width == max(map(len, rows)), "ids must have one form", ids[:3])
    # A fair bit lies within six standard deviations of one half; a counter's or a clock's high bits do not.
    margin = 6 * 0.5 / math.sqrt(SAMPLE)
    fair = [i for i in range(width) if abs(sum(row[i] == "1" for row in rows) / SAMPLE - 0.5) < margin]
    require(len(fair) >= NEEDED_BITS, f"ids must hold {NEEDED_BITS} random bits, {len(fair)} found", ids[:3])
    # A counter's low bits are fair one by one, but neighbours differ in few of them; random ones in half.
    distances = [sum(a[i] != b[i] for i in fair) for a, b in zip(rows, rows[1:])]
    mean = sum(distances) / len(distances) / len(fair)
    require(abs(mean - 0.5) < 0.02, f"neighbouring ids must differ in half of their bits, not {mean:.3f}", ids[:3])
    rising = sum(a < b for a, b in zip(rows, rows[1:]))
    require(abs(rising - SAMPLE / 2) < 6 * math.sqrt(SAMPLE / 12), f"{rising} of {SAMPLE} ids rise", ids[:3])


@assertion("E85", "legacy+modern", "stdio", "2026-07-28 versioning, dual-era servers")
def e85_eras_side_by_side(ctx):
    """One stdio process answers 2025-11-25 and 2026-07-28 interleaved, in both orders, each in its own shape."""
    for modern_first in (False, True):
        host = ctx.own_stdio()
        legacy = ctx.legacy_raw(host=host)
        modern = ctx.modern_on(legacy)
        if modern_first:
            check_modern_task(create_modern(modern, ctx.call("slow", seconds=0.2)))
        answer = legacy.initialize()
        require(answer.get("protocolVersion") == LEGACY and "resultType" not in answer,
                "initialize must be answered in its own era", answer)
        for _ in range(2):
            old = create_legacy(legacy, ctx.call("slow", seconds=0.2))
            discovered = modern.request("server/discover").result
            require(MODERN in discovered.get("supportedVersions", []), "server/discover must answer", discovered)
            new = create_modern(modern, ctx.call("slow", seconds=0.2))
            finish_modern(ctx, modern, new["taskId"])
            finish_legacy(ctx, legacy, old["taskId"])
            check_call_result(legacy.request("tasks/result", {"taskId": old["taskId"]}).result, modern=False)
            check_detailed(get_modern(modern, new["taskId"]))


@assertion("E86", "legacy+modern", "http", "SEP-2663, compatibility with 2025-11-25")
def e86_task_of_the_other_era(ctx):
    """A task of one era asked for in the other is shown in the asker's shape or unknown, never in a mixed one."""
    modern, legacy = ctx.modern(), ctx.legacy()
    new = create_modern(modern, ctx.call("slow", seconds=0.2))["taskId"]
    old = create_legacy(legacy, ctx.call("slow", seconds=0.2))["taskId"]
    finish_modern(ctx, modern, new)
    finish_legacy(ctx, legacy, old)
    reply = legacy.request("tasks/get", {"taskId": new})
    if reply.is_error:
        reply.expect_error(-32602)
    else:
        check_legacy_task(reply.result)
        for name in ("result", "error"):
            require(name not in reply.result, f"{name} does not belong in a 2025-11-25 Task", reply.result)
        result = legacy.request("tasks/result", {"taskId": new}).result
        check_call_result(result, modern=False)
    reply = modern.request("tasks/get", {"taskId": old})
    if reply.is_error:
        reply.expect_error(-32602)
    else:
        check_detailed(reply.result)


@assertion("E88", "modern", "http+stdio", "SEP-2663, task status and errors")
def e88_panic_is_failed(ctx):
    """A handler that panics ends its task as failed with -32603; the server goes on."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("panic"))["taskId"]
    task = finish_modern(ctx, peer, task_id)
    require(task["status"] == "failed", "a task whose handler panicked must be failed", task)
    require(task["error"].get("code") == -32603, "the error must be -32603", task)
    check_call_result(peer.undeclared("tools/call", ctx.call("slow", seconds=0)).result, modern=True)


@assertion("E90", "legacy|modern", "http+stdio", "SEP-2663, security; 2025-11-25 tasks, Resource Management",
           exclusive=True)
def e90_no_task_is_dropped(ctx):
    """Of many tasks at once, beyond any cap, each is refused with an error or runs to its end."""
    peer, _ = any_peer(ctx)
    legacy = "modern" not in ctx.profile.eras
    call = ctx.call("slow", seconds=0.3)
    params = {**call, "task": {"ttl": 60_000}} if legacy else call
    waiting = [peer.start("tools/call", params) for _ in range(ctx.profile.fact("burst", 60))]
    accepted = []
    for pending in waiting:
        reply = pending.wait()
        if reply.is_error:
            require(reply.error.get("message"), "a refusal must say why", reply.message)
            continue
        task = reply.result.get("task", reply.result)
        if "taskId" not in task:
            raise Violation(f"a call must be answered with a task or an error; got {short(reply.message)}")
        accepted.append(task["taskId"])
    if not accepted:
        raise Skip("the server refused every task")
    finish = finish_legacy if legacy else finish_modern
    for task_id in accepted:
        task = finish(ctx, peer, task_id, timeout=4 * ctx.deadline)
        require(task["status"] == "completed", f"an accepted task must complete, not {'/'.join(TERMINAL[1:])}", task)
