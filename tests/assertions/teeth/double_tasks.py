"""The tasks of the double: a small, correct task runner on one SQLite file, with faults that can be switched on.

Invariant: without faults every change is in the file before anybody is told, so that a killed double goes on where
its file says. A task that was interrupted runs again from its top, with the answers it had.

`broken("name")` is true when the double was started with `--fault name`; each is used in one place.
"""

import datetime
import itertools
import json
import sqlite3
import threading
import time
import uuid

TERMINAL = ("completed", "failed", "cancelled")
MAX_TTL_MS = 30 * 86_400_000
FAULTS = set()
_counter = itertools.count(1)


def broken(name):
    """Whether the fault `name` is switched on."""
    return name in FAULTS


def now():
    """The time, as it is written on the wire."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z")


class RpcError(Exception):
    """A JSON-RPC error."""

    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    def as_json(self):
        """The error object."""
        error = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


class Cancelled(Exception):
    """The run was cancelled from outside."""


class Task:
    """One task; `record` is what the file holds."""

    def __init__(self, record):
        self.record = record
        self.watchers = []

    def __getattr__(self, name):
        try:
            return self.record[name]
        except KeyError:
            raise AttributeError(name) from None

    def legacy(self):
        """The Task of 2025-11-25."""
        failed = self.status == "completed" and self.outcome.get("result", {}).get("isError")
        task = {
            "taskId": self.id,
            "status": "failed" if failed and not broken("tool-error-is-completed") else self.status,
            "createdAt": self.created,
            "lastUpdatedAt": now() if broken("reading-updates") else self.updated,
            "ttl": self.ttl,
            "pollInterval": 100,
        }
        if self.message and not broken("no-status-message"):
            task["statusMessage"] = self.message
        return task

    def modern(self, detailed=True):
        """The Task of 2026-07-28, with its payload if `detailed`."""
        task = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": self.created,
            "lastUpdatedAt": now() if broken("reading-updates") else self.updated,
            "ttlMs": self.ttl,
            "pollIntervalMs": 100,
        }
        if self.message and not broken("no-status-message"):
            task["statusMessage"] = self.message
        if detailed and self.status == "input_required":
            task["inputRequests"] = self.outstanding()
        if detailed and self.status in ("completed", "failed"):
            task.update(self.outcome)
            if broken("tool-error-is-failed") and self.outcome.get("result", {}).get("isError"):
                task.update({"status": "failed", "error": {"code": -32603, "message": "tool error"}})
                del task["result"]
        return task

    def outstanding(self):
        """The questions without an answer."""
        return {key: request for key, request in self.questions.items() if key not in self.answers}


class Tasks:
    """All tasks and the threads that run them. `tools` maps a name to a function of (run, arguments)."""

    def __init__(self, path, tools):
        self.changed = threading.Condition(threading.RLock())
        self._tools = tools
        self._tasks = {}
        self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._file.execute("PRAGMA synchronous=FULL")
        self._file.execute("CREATE TABLE IF NOT EXISTS task (id TEXT PRIMARY KEY, record TEXT)")
        for (record,) in self._file.execute("SELECT record FROM task ORDER BY rowid").fetchall():
            task = Task(json.loads(record))
            self._tasks[task.id] = task
            if task.status not in TERMINAL:
                self._start(task)

    def create(self, tool, arguments, ttl=None, retention_ms=86_400_000, answers=None):
        """Make a task durable, then start it."""
        stamp = now()
        task_id = f"{next(_counter):032x}" if broken("ids-count") else str(uuid.uuid4())
        task = Task({
            "id": task_id, "tool": tool, "arguments": arguments, "status": "working", "message": "", "created": stamp,
            "updated": stamp, "ttl": ttl if broken("ttl-is-echoed") else None, "asked_ttl": ttl or 0,
            "retention": retention_ms, "finished": None, "outcome": None, "questions": {},
            "answers": answers or {}, "rounds": 0,
        })
        with self.changed:
            self._tasks[task.id] = task
            if not broken("memory-only"):
                self._write(task)
        self._start(task)
        return task

    def get(self, task_id):
        """The task, or -32602."""
        if not isinstance(task_id, str):
            raise RpcError(-32602, "taskId must be a string")
        with self.changed:
            task = self._tasks.get(task_id)
            if task is None or self._expired(task):
                raise RpcError(-32600 if broken("unknown-is-32600") else -32602, f"task {task_id} not found")
            return task

    def all(self):
        """All tasks that have not expired."""
        with self.changed:
            return [task for task in self._tasks.values() if not self._expired(task)]

    def cancel(self, task):
        """End a task as cancelled; `False` if it had ended before."""
        with self.changed:
            if task.status in TERMINAL:
                return False
            self.update(task, status="cancelled", message="cancelled")
            return True

    def answer(self, task, key, value):
        """Store the first answer to an outstanding question."""
        with self.changed:
            known = key in task.questions and (key not in task.answers or broken("last-answer-wins"))
            if task.status in TERMINAL or not known:
                if broken("unknown-answer-updates"):
                    self.update(task)
                return
            answers = {**task.answers, key: value}
            done = all(name in answers for name in task.questions) or broken("any-answer-resumes")
            self.update(task, answers=answers, status="working" if done else "input_required")

    def update(self, task, **fields):
        """Change a task, in the file first, and tell everyone who watches."""
        with self.changed:
            ended = task.status in TERMINAL
            if ended and not broken("terminal-is-not-final") and not broken("unknown-answer-updates"):
                return
            fields.setdefault("updated", now())
            if fields.get("status") in TERMINAL and not ended:
                fields["finished"] = time.time()
                created = datetime.datetime.fromisoformat(task.created.replace("Z", "+00:00")).timestamp()
                granted = max(fields["finished"] * 1000 + task.retention - created * 1000, task.asked_ttl)
                fields["ttl"] = task.asked_ttl if broken("ttl-without-limit") else int(min(granted, MAX_TTL_MS))
            task.record.update(fields)
            if not broken("memory-only"):
                self._write(task)
            self.changed.notify_all()
            for watcher in list(task.watchers):
                watcher(task)

    def wait(self, task, ready):
        """Block until `ready(task)` is true."""
        with self.changed:
            while not ready(task):
                self.changed.wait(0.5)

    def _expired(self, task):
        if task.finished is None or broken("never-expires"):
            return False
        created = datetime.datetime.fromisoformat(task.created.replace("Z", "+00:00")).timestamp()
        early = 500 if broken("expires-early") else 0
        return time.time() * 1000 > created * 1000 + task.ttl - early

    def _write(self, task):
        self._file.execute("INSERT OR REPLACE INTO task VALUES (?, ?)", (task.id, json.dumps(task.record)))

    def _start(self, task):
        threading.Thread(target=self._run, args=(task,), daemon=True).start()

    def _run(self, task):
        try:
            outcome = {"result": self._tools[task.tool](Run(self, task), task.arguments)}
            status, message = "completed", ""
        except Cancelled:
            return
        except RpcError as error:
            status, message, outcome = "failed", error.message, {"error": error.as_json()}
        except Exception as failure:  # noqa: BLE001  The double's panic.
            if broken("panic-hangs"):
                return
            status, message = "failed", f"the handler failed: {failure}"
            outcome = {"error": {"code": -32603, "message": message}}
        self.update(task, status=status, message=message, outcome=outcome)


class Run:
    """What a tool of the double works with when it runs as a task."""

    def __init__(self, tasks, task):
        self._tasks, self.task = tasks, task
        self.on_progress = None

    def sleep(self, seconds):
        """Sleep, or end at once when the task is cancelled."""
        deadline = time.monotonic() + seconds
        with self._tasks.changed:
            while (left := deadline - time.monotonic()) > 0:
                if self.task.status == "cancelled" and not broken("terminal-is-not-final"):
                    raise Cancelled
                self._tasks.changed.wait(min(left, 0.5))

    def progress(self, done, total):
        """Report progress."""
        for watcher in list(self.task.watchers):
            if hasattr(watcher, "progress"):
                watcher.progress(self.task, done, total)

    def ask(self, requests):
        """Ask, wait, and return the answers by key."""
        keys = {name if broken("keys-repeat") else f"{name}-{self.task.id[:8]}": request
                for name, request in requests.items()}
        with self._tasks.changed:
            if broken("keys-repeat") and set(keys) & set(self.task.answers):
                self.task.record["answers"] = {}
            if not set(keys) <= set(self.task.answers):
                fresh = {f"{key}-{uuid.uuid4().hex[:4]}": request for key, request in keys.items()} \
                    if broken("keys-change-on-restart") else keys
                keys = fresh
                self._tasks.update(self.task, questions={**self.task.questions, **keys}, status="input_required")
                self._tasks.wait(self.task, lambda task: task.status in TERMINAL or
                                 any(key in task.answers for key in keys) and task.status == "working")
            if self.task.status == "cancelled":
                raise Cancelled
            return {name: self.task.answers.get(key, {"action": "cancel"})
                    for name, key in zip(requests, keys)}
