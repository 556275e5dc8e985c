"""The double in 2026-07-28."""

import hashlib
import hmac
import json
import threading

from double_streams import Streamed
from double_tasks import RpcError, broken
from double_tools import FIRST_QUESTIONS, TASK_SUPPORT, TOOLS

MODERN = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
EXTENSION, SUBSCRIPTION = PREFIX + "tasks", PREFIX + "subscriptionId"
INFO = {"name": "double", "version": "1"}
STATE_KEY = b"the key of the double"


class ModernEra:
    """The methods of 2026-07-28; a part of `Double`."""

    def _modern(self, message, params, meta):
        method = message["method"]
        known = {
            "server/discover": self._discover, "tools/list": self._list_modern, "tools/call": self._call_modern,
            "tasks/get": self._get_modern, "tasks/update": self._update, "tasks/cancel": self._cancel_modern,
            "subscriptions/listen": self._listen,
        }
        if method in ("tasks/list", "tasks/result") and broken("legacy-methods-stay"):
            return {"resultType": "complete", "tasks": []}
        if method not in known:
            raise RpcError(-32601, f"unknown method {method}")
        extensions = (meta.get(PREFIX + "clientCapabilities") or {}).get("extensions") or {}
        declared = EXTENSION in extensions
        if broken("declaration-carries-over"):
            self._declared_before = declared = declared or self._declared_before
        if method.startswith("tasks/") and not declared:
            if broken("looks-up-first"):
                self.tasks.get(params.get("taskId"))
            raise missing_extension()
        return known[method](message, params, meta, declared)

    def _discover(self, message, params, meta, declared):
        settings = {"list": {}} if broken("extension-has-settings") else {}
        return {"resultType": "complete", "supportedVersions": [MODERN], "ttlMs": 0, "cacheScope": "private",
                "capabilities": {"tools": {}, "extensions": {EXTENSION: settings}}, "serverInfo": INFO}

    def _list_modern(self, message, params, meta, declared):
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
        return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": tools}

    def _call_modern(self, message, params, meta, declared):
        self._tool(params)
        support = TASK_SUPPORT[params["name"]]
        wanted = declared or broken("always-a-task") or broken("task-parameter-counts") and "task" in params
        if support == "required" and not declared:
            if broken("required-is-32601"):
                raise RpcError(-32601, "the tool requires a task")
            raise missing_extension()
        if support == "forbidden" and not (broken("task-parameter-counts") and "task" in params) or not wanted:
            return self._call_inline(params, meta, message["id"], modern=True)
        first = FIRST_QUESTIONS.get(params["name"])
        answers = params.get("inputResponses")
        if first and not answers and not broken("task-before-questions"):
            state = json.dumps([params["name"], params.get("arguments", {})])
            return {"resultType": "input_required", "inputRequests": first, "requestState": seal(state)}
        if first and not broken("state-is-unchecked"):
            unseal(params.get("requestState", ""))
        task = self._create(params, answers=answers if first else None)
        if broken("progress-of-tasks") and "progressToken" in meta:
            task.watchers.append(Gossip(self, task, meta["progressToken"]))
        if broken("announces-early"):
            threading.Timer(0.3, self.tasks._tasks.__setitem__, (task.id, task)).start()
            del self.tasks._tasks[task.id]
        if broken("drops-tasks") and len(self.tasks.all()) % 20 == 0:
            self.tasks.cancel(task)
            return {"resultType": "task", **task.modern(detailed=False), "status": "working"}
        shown = {"resultType": "task", **task.modern(detailed=False), "status": "working"}
        return {"resultType": "task", "task": shown} if broken("create-is-nested") else shown

    def _get_modern(self, message, params, meta, declared):
        shown = self.tasks.get(params.get("taskId")).modern()
        if broken("one-question-at-a-time") and "inputRequests" in shown:
            shown["inputRequests"] = dict(list(shown["inputRequests"].items())[:1])
        if broken("eras-mix"):
            shown["ttl"] = shown["ttlMs"]
        return {"resultType": "complete", **shown}

    def _update(self, message, params, meta, declared):
        task = self.tasks.get(params.get("taskId"))
        if not isinstance(params.get("inputResponses"), dict):
            raise RpcError(-32602, "inputResponses must be an object")
        if not params["inputResponses"] and broken("unknown-answer-updates"):
            self.tasks.update(task)
        for key, value in params["inputResponses"].items():
            self.tasks.answer(task, key, value)
        return self._ack(task)

    def _cancel_modern(self, message, params, meta, declared):
        task = self.tasks.get(params.get("taskId"))
        if not self.tasks.cancel(task) and broken("cancel-of-finished-fails"):
            raise RpcError(-32602, f"the task is {task.status}")
        return self._ack(task)

    def _ack(self, task):
        return {"resultType": "complete", **(task.modern() if broken("ack-has-a-task") else {})}

    def _listen(self, message, params, meta, declared):
        asked = (params.get("notifications") or {}).get("taskIds") or []
        if asked and not declared and not broken("listens-undeclared"):
            raise missing_extension()
        return Streamed(lambda stream: Subscription(self, message["id"], asked, stream).run())


class Gossip:
    """The fault `progress-of-tasks`: sends progress of a task on its listen streams."""

    def __init__(self, double, task, token):
        self._double, self._token = double, token

    def __call__(self, task):
        pass

    def progress(self, task, done, total):
        """One step."""
        for subscription in self._double.listening:
            subscription.send("notifications/progress", {"progressToken": self._token, "progress": done})


class Subscription:
    """One subscriptions/listen."""

    def __init__(self, double, request_id, asked, stream):
        self._double, self.id, self._stream = double, request_id, stream
        self._ended = threading.Event()
        known = {task.id: task for task in double.tasks.all()}
        self._agreed = [task_id for task_id in asked if task_id in known or broken("agrees-to-everything")]
        self._tasks = [known[task_id] for task_id in self._agreed if task_id in known]
        if broken("tells-of-every-task"):
            self._tasks = list(known.values())

    def send(self, method, params):
        """Send a tagged notification."""
        meta = {} if broken("notices-are-untagged") else {SUBSCRIPTION: self.id}
        self._stream.send({"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": meta}})

    def run(self):
        """Acknowledge, then tell of every change until the end."""
        with self._double.tasks.changed:
            self._double.listening.append(self)
            self.send("notifications/subscriptions/acknowledged", {"notifications": {"taskIds": self._agreed}})
            for task in self._tasks:
                self._tell(task)
                task.watchers.append(self._tell)
        self._ended.wait()
        with self._double.tasks.changed:
            for task in self._tasks:
                task.watchers.remove(self._tell)

    def _tell(self, task):
        self.send("notifications/tasks", task.modern(detailed=not broken("notices-are-bare")))

    def cancel(self):
        """End without a word."""
        if not broken("listens-for-ever"):
            self._ended.set()

    def end(self):
        """End gracefully."""
        if not broken("ends-abruptly"):
            result = {"resultType": "complete", "_meta": {SUBSCRIPTION: self.id}}
            self._stream.send({"jsonrpc": "2.0", "id": self.id, "result": result})
        self._ended.set()


def missing_extension():
    """The error of a request that needs the extension."""
    return RpcError(-32021, "the tasks extension is required",
                    {"requiredCapabilities": {"extensions": {EXTENSION: {}}}})


def seal(state):
    """`state` with its signature."""
    return state + "." + hmac.new(STATE_KEY, state.encode(), hashlib.sha256).hexdigest()


def unseal(sealed):
    """The state; -32602 if it was changed."""
    state = sealed.rpartition(".")[0]
    if not hmac.compare_digest(sealed, seal(state)):
        raise RpcError(-32602, "requestState was changed")
    return state
