"""What must hold when hosts are cut off, one scenario a function; they run in order on one fleet.

Each begins with `worker-a` as the only worker, so that it is known who runs what, and leaves it so.
"""

import concurrent.futures
import os

from fleet import Failed, eventually, lines

STEPS = 40


def check(holds, what):
    """`Failed` if it does not."""
    if not holds:
        raise Failed(what)


class Work:
    """A task of steps, a command that may be run once and one that may be run again: all begun on `worker-a`."""

    def __init__(self, fleet, name):
        self.fleet, self.name = fleet, name
        self.ledgers = {what: fleet.folder / f"{name}-{what}" for what in ("steps", "once", "again")}
        arguments = {"count": STEPS, "step_ms": 50, "ledger": str(self.ledgers["steps"])}
        self.tasks = {"steps": fleet.steps.create("steps", arguments)}
        for tool in ("once", "again"):
            self.tasks[tool] = fleet.commands.create(tool, {"ledger": str(self.ledgers[tool])})
        eventually("the first steps", lambda: len(lines(self.ledgers["steps"])) >= 3)
        for tool in ("once", "again"):
            eventually(f"the beginning of {tool}", lambda tool=tool: lines(self.ledgers[tool]))

    def client(self, what):
        """The server of a task."""
        return self.fleet.steps if what == "steps" else self.fleet.commands

    def ended(self, what):
        """A task once it has ended."""
        return self.client(what).ended(self.tasks[what])

    def told(self):
        """All that is told of all of them."""
        return {what: self.client(what).everything(task) for what, task in self.tasks.items()}

    def pids(self, host):
        """The processes of commands that were begun on a host."""
        all_lines = [line.split() for tool in ("once", "again") for line in lines(self.ledgers[tool])]
        return [int(pid) for event, where, pid in all_lines if event == "begun" and where == host]


def is_alive(pid):
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def check_steps(client, task, ledger):
    """Each step ran, and none more often than once and once for each time that its task was taken over."""
    attempts = len(client.get(f"/tasks/{task}/attempts")["attempts"])
    ran = lines(ledger)
    check(len(set(ran)) == STEPS, f"{len(set(ran))} of {STEPS} steps of {task} ran")
    check(len(ran) < STEPS + attempts, f"{STEPS} steps of {task} ran {len(ran)} times in {attempts} attempts")


def taken_over(fleet, work):
    """`worker-b` has all of it while `worker-a` is cut off: what was recorded is not done again, what may not be
    repeated is not, and nothing of the other counts any more."""
    task = work.ended("steps")
    check(task["status"] == "completed", f"the steps ended as {task}")
    check_steps(fleet.steps, work.tasks["steps"], work.ledgers["steps"])
    task = work.ended("once")
    check(task["status"] == "failed", f"a command that was begun elsewhere ended as {task}")
    check(fleet.network.name("worker-a") in task["statusMessage"], f"nobody says where it was begun: {task}")
    check(len(lines(work.ledgers["once"])) == 1, f"it was begun again: {lines(work.ledgers['once'])}")
    eventually("the second run of a repeatable command", lambda: work.pids("worker-b"))
    (fleet.gates / "worker-b").touch()
    task = work.ended("again")
    check(task["status"] == "completed", f"a repeatable command ended as {task}")
    (fleet.gates / "worker-b").unlink()


def serves_again(fleet, work, told):
    """`worker-a` has changed nothing, has stopped what is no longer its own, and works."""
    for pid in work.pids("worker-a"):
        eventually("the end of a command that is no longer worker-a's", lambda pid=pid: not is_alive(pid))
    fleet.stop_worker("worker-b")
    # What worker-a asked for before may be answered late yet: first something that may run twice.
    first = fleet.steps.create("steps", {"count": 1, "step_ms": 0, "ledger": str(fleet.folder / "any")})
    check(fleet.steps.ended(first)["status"] == "completed", "worker-a does not work")
    (fleet.gates / "worker-a").touch()
    after = Work(fleet, f"{work.name}-after")
    for what in after.tasks:
        task = after.ended(what)
        check(task["status"] == "completed", f"after the healing {what} ended as {task}")
    check(not after.pids("worker-b"), "worker-b was stopped")
    check_steps(fleet.steps, after.tasks["steps"], after.ledgers["steps"])
    (fleet.gates / "worker-a").unlink()
    check(work.told() == told, f"the records have changed: {told} is now {work.told()}")
    for tool in ("once", "again"):
        ends = [line for line in lines(work.ledgers[tool]) if line.startswith("ended worker-a")]
        check(not ends, f"{tool} went on after it was no longer worker-a's: {ends}")


def a_worker_is_cut_off(fleet):
    """a worker is cut off, another goes on with its tasks, and the first serves again"""
    work = Work(fleet, "cut")
    fleet.start_worker("worker-b")
    fleet.network.cut("worker-a")
    taken_over(fleet, work)
    told = work.told()
    fleet.network.heal("worker-a")
    serves_again(fleet, work, told)


def a_worker_hears_nothing(fleet):
    """a worker's writes arrive and no answer does: the other goes on, and the first serves again"""
    work = Work(fleet, "deaf")
    fleet.start_worker("worker-b")
    fleet.network.deafen("worker-a")
    taken_over(fleet, work)
    told = work.told()
    fleet.network.cure("worker-a")
    serves_again(fleet, work, told)


def a_server_is_cut_off(fleet):
    """a server is cut off from Redis: callers hear to try again, its tasks go on, and it heals"""
    _without_the_server(fleet, "server-cut", fleet.network.cut, fleet.network.heal)


def a_server_hears_nothing(fleet):
    """a server's writes arrive and no answer does: a repeated call makes one task"""
    _without_the_server(fleet, "server-deaf", fleet.network.deafen, fleet.network.cure)


def _without_the_server(fleet, name, harm, mend):
    ledgers = [fleet.folder / f"{name}-{number}" for number in (1, 2)]
    first, second = ({"count": STEPS, "step_ms": 50, "ledger": str(ledger)} for ledger in ledgers)
    task = fleet.steps.create("steps", first)
    eventually("the first steps", lambda: len(lines(ledgers[0])) >= 3)
    harm("server")
    asked = [
        ("POST", "/tasks", {"tool": "steps", "arguments": second}, name),
        ("GET", f"/tasks/{task}", None, None),
    ]
    with concurrent.futures.ThreadPoolExecutor() as callers:
        answers = callers.map(lambda words: fleet.steps.ask(*words), asked)
        for (method, path, *_), (status, headers, said) in zip(asked, answers, strict=True):
            check(status == 503 and headers["Retry-After"], f"{method} {path} was answered with {status} {said}")
    eventually("the rest of the steps, without a server", lambda: len(set(lines(ledgers[0]))) == STEPS)
    mend("server")
    eventually("the server's healing", lambda: fleet.steps.ask("GET", f"/tasks/{task}")[0] == 200)
    check(fleet.steps.ended(task)["status"] == "completed", "its task completed without it")
    again = eventually("a create that is answered", lambda: _created(fleet, second, name))
    check(fleet.steps.ended(again)["status"] == "completed", "the repeated call completes")
    for made, ledger in zip((task, again), ledgers, strict=True):
        check_steps(fleet.steps, made, ledger)


def _created(fleet, arguments, key):
    status, _, task = fleet.steps.ask("POST", "/tasks", {"tool": "steps", "arguments": arguments}, key)
    check(status in (202, 503), f"a create was answered with {status} {task}")
    return task["taskId"] if status == 202 else None


def redis_is_cut_off(fleet):
    """Redis is cut off from all for longer than leases run: nothing is lost, and all heal"""
    fleet.start_worker("worker-b")
    ledgers = [fleet.folder / f"all-{number}" for number in range(6)]
    tasks = [
        fleet.steps.create("steps", {"count": STEPS, "step_ms": 50, "ledger": str(ledger)}) for ledger in ledgers
    ]
    for ledger in ledgers:
        eventually("the first steps", lambda ledger=ledger: len(lines(ledger)) >= 3)
    fleet.network.cut("redis")
    status, _, said = fleet.steps.ask("GET", f"/tasks/{tasks[0]}")
    check(status == 503, f"without Redis a task was answered with {status} {said}")
    fleet.network.heal("redis")
    eventually("the server's healing", lambda: fleet.steps.ask("GET", f"/tasks/{tasks[0]}")[0] == 200)
    for task, ledger in zip(tasks, ledgers, strict=True):
        check(fleet.steps.ended(task)["status"] == "completed", f"{task} did not complete")
        check_steps(fleet.steps, task, ledger)
    fleet.stop_worker("worker-b")


def worker_a_works(fleet):
    """Redis, a server without work of its own and two workers on four hosts"""
    fleet.start_worker("worker-a")


ALL = (
    worker_a_works,
    a_worker_is_cut_off,
    a_worker_hears_nothing,
    a_server_is_cut_off,
    a_server_hears_nothing,
    redis_is_cut_off,
)
