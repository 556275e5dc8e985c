"""The double in 2025-11-25."""

import json
import uuid

from double_streams import Streamed, answer
from double_tasks import TERMINAL, RpcError, broken
from double_tools import TASK_SUPPORT, text

LEGACY = "2025-11-25"
EXTENSION, RELATED = "io.modelcontextprotocol/tasks", "io.modelcontextprotocol/related-task"
INFO = {"name": "double", "version": "1"}


class Session:
    """What a 2025-11-25 client said at initialize, and its open GET streams (over stdio: standard output)."""

    def __init__(self, capabilities):
        self.id = uuid.uuid4().hex
        self.capabilities = capabilities
        self.streams = []
        self.tasks = set()

    def push(self, message):
        """Send a message that belongs to no request on one open stream, if there is any."""
        open_streams = [stream for stream in self.streams if not stream.closed]
        for stream in open_streams if broken("broadcasts") else open_streams[:1]:
            stream.send(message)


class Watcher:
    """Tells the session that made a task about its status and progress."""

    def __init__(self, session, token):
        self._session, self._token, self._last = session, token, None

    def __call__(self, task):
        state = (task.status, task.message)
        if state == self._last:
            return
        self._last = state
        params = task.legacy()
        if broken("status-is-related"):
            params["_meta"] = {RELATED: {"taskId": task.id}}
        self._session.push({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": params})

    def progress(self, task, done, total):
        """One step."""
        if self._token is None or broken("no-progress"):
            return
        params = {"progressToken": self._token, "progress": done, "total": total}
        if not broken("progress-is-unrelated"):
            params["_meta"] = {RELATED: {"taskId": task.id}}
        self._session.push({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


class LegacyEra:
    """The methods of 2025-11-25; a part of `Double`."""

    def _legacy(self, message, params, meta, session):
        method = message["method"]
        known = {
            "initialize": self._initialize, "ping": lambda *_: {}, "tools/list": self._list_tools,
            "tools/call": self._call_legacy, "tasks/get": self._get_legacy, "tasks/result": self._result_legacy,
            "tasks/cancel": self._cancel_legacy, "tasks/list": self._list_legacy,
        }
        listing = not self.over_http or broken("lists-without-identity")
        if method not in known or method == "tasks/list" and not listing:
            raise RpcError(-32601, f"unknown method {method}")
        return known[method](message, params, meta, session)

    def _initialize(self, message, params, meta, session):
        session = Session(params.get("capabilities") or {})
        self.sessions[session.id] = session
        tasks = {"cancel": {}, "requests": {"tools": {"call": {}}}}
        if not self.over_http or broken("lists-without-identity"):
            tasks["list"] = {}
        capabilities = {"tools": {}} if broken("no-capability") else {"tools": {}, "tasks": tasks}
        return {"protocolVersion": LEGACY, "capabilities": capabilities, "serverInfo": INFO, "_session": session}

    def _list_tools(self, message, params, meta, session):
        return {"tools": [
            {"name": name, "inputSchema": {"type": "object"},
             **({} if broken("no-task-support") else {"execution": {"taskSupport": support}})}
            for name, support in TASK_SUPPORT.items()
        ]}

    def _call_legacy(self, message, params, meta, session):
        self._tool(params)
        support = TASK_SUPPORT[params["name"]]
        if broken("extension-in-2025") and EXTENSION in session.capabilities.get("extensions", {}):
            return {"resultType": "task", **self._create(params).modern(detailed=False)}
        if "task" not in params and not (broken("optional-is-always-a-task") and support == "optional"):
            if support == "required" and not broken("required-runs-inline"):
                raise RpcError(-32601, "the tool requires a task")
            return self._call_inline(params, meta, message["id"], modern=False)
        if support == "forbidden" and not broken("forbidden-makes-a-task"):
            raise RpcError(-32601, "the tool does not run as a task")
        ttl = params.get("task", {}).get("ttl")
        if ttl is None and broken("ttl-is-required"):
            raise RpcError(-32602, "ttl is missing")
        task = self._create(params, ttl)
        session.tasks.add(task.id)
        task.watchers.append(Watcher(session, meta.get("progressToken")))
        return task.legacy() if broken("create-is-flat") else {"task": task.legacy()}

    def _find_legacy(self, params, meta, session):
        if not isinstance(params.get("taskId"), str) and broken("bad-id-is-internal"):
            raise RpcError(-32603, "internal error")
        related = (meta.get(RELATED) or {}).get("taskId")
        task = self.tasks.get(related if related and broken("meta-names-the-task") else params.get("taskId"))
        if broken("session-owns-tasks") and task.id not in session.tasks:
            raise RpcError(-32602, "not found")
        return task

    def _get_legacy(self, message, params, meta, session):
        task = self._find_legacy(params, meta, session)
        shown = task.legacy()
        if broken("stays-working") and shown["status"] == "input_required":
            shown["status"] = "working"
        if broken("eras-mix") and task.status == "completed":
            shown.update(task.outcome)
        if broken("ttl-differs"):
            shown["ttl"] = 60_000
        if broken("get-streams"):
            return Streamed(lambda stream: stream.send(answer(message["id"], lambda: shown)))
        return {"task": shown} if broken("get-is-nested") else shown

    def _result_legacy(self, message, params, meta, session):
        task = self._find_legacy(params, meta, session)
        if task.status in TERMINAL:
            return self._final(task, session)
        if broken("result-does-not-block"):
            raise RpcError(-32602, "the task is not completed yet")

        def run(stream):
            sent = set()

            def look(_):
                fresh = set(task.outstanding()) - sent
                return fresh if fresh and task.status == "input_required" else task.status in TERMINAL

            while task.status not in TERMINAL and not stream.closed:
                self.tasks.wait(task, look)
                for key in set(task.outstanding()) - sent:
                    self._ask(task, key, session, stream)
                    sent.add(key)
            if not stream.closed:
                stream.send(answer(message["id"], lambda: self._final(task, session)))

        return Streamed(run)

    def _ask(self, task, key, session, stream):
        once = (task.id, key)
        if broken("question-comes-once") and once in session.tasks:
            return
        session.tasks.add(once)
        if task.status in TERMINAL or "elicitation" not in session.capabilities and not broken("asks-anyone"):
            return
        self._deliveries += 1
        request = json.loads(json.dumps(task.questions[key]))
        if not broken("question-is-unrelated"):
            request["params"]["_meta"] = {RELATED: {"taskId": task.id}}
        stream.send({"jsonrpc": "2.0", "id": f"{task.id}/{key}/{self._deliveries}", **request})

    def _final(self, task, session):
        meta = {} if broken("result-is-unrelated") else {"_meta": {RELATED: {"taskId": task.id}}}
        if broken("result-changes"):
            meta["structuredContent"] = {"read": uuid.uuid4().hex}
        if task.status == "cancelled":
            if broken("cancelled-has-no-result"):
                raise RpcError(-32602, "the task is not completed yet")
            return {**text("the task was cancelled"), "isError": True, **meta}
        if "error" in task.outcome:
            if broken("error-is-a-result"):
                return {**text(task.outcome["error"]["message"]), "isError": True, **meta}
            raise RpcError(**task.outcome["error"])
        return {**task.outcome["result"], **meta}

    def _cancel_legacy(self, message, params, meta, session):
        task = self._find_legacy(params, meta, session)
        if broken("cancel-lags") and task.status not in TERMINAL:
            before = task.legacy()
            self.tasks.cancel(task)
            return before
        if not self.tasks.cancel(task) and not broken("cancel-always-works"):
            raise RpcError(-32602, f"the task is {task.status}")
        return task.legacy()

    def _list_legacy(self, message, params, meta, session):
        tasks, page = [] if broken("list-is-empty") else self.tasks.all(), 10
        cursor = params.get("cursor", "0")
        if not (isinstance(cursor, str) and cursor.isdigit()):
            if not broken("any-cursor"):
                raise RpcError(-32602, "invalid cursor")
            cursor = "0"
        start = int(cursor)
        first = start - 1 if start and broken("pages-overlap") else start
        shown = {"tasks": [task.legacy() for task in tasks[first:start + page]]}
        if start + page < len(tasks) and not broken("list-ends-early"):
            shown["nextCursor"] = str(start + page)
        return shown

    def take_answer(self, message):
        """An answer of a client to a question: `task/key/delivery` is its id."""
        task_id, _, rest = str(message.get("id")).partition("/")
        key = rest.rpartition("/")[0]
        if broken("answers-are-lost"):
            return
        result = message.get("result", {"action": "cancel"})
        if broken("decline-is-lost") and result.get("action") != "accept":
            return
        self.tasks.answer(self.tasks.get(task_id), key, result)
