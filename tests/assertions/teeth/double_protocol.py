"""The protocol of the double: both eras, without a transport.

Invariant: `Double.handle` answers one message with a result, raises `RpcError`, or returns a `Streamed`, which sends
its messages and at last its answer on a stream. What differs between HTTP and stdio stays in `double_server.py`.
"""

import threading

from double_legacy import LegacyEra
from double_modern import PREFIX, ModernEra
from double_streams import Streamed, answer
from double_tasks import RpcError, Tasks, broken
from double_tools import TOOLS

EXPIRING = "expiring"


class Inline:
    """What a tool works with when it runs without a task."""

    def __init__(self, report):
        self.progress = report
        self._never = threading.Event()

    def sleep(self, seconds):
        """Sleep."""
        self._never.wait(seconds)

    def ask(self, requests):
        """No questions here."""
        raise RpcError(-32603, "questions need a task")


class Double(LegacyEra, ModernEra):
    """The server."""

    def __init__(self, store, over_http):
        self.tasks = Tasks(store, TOOLS)
        self.sessions = {}
        self.over_http = over_http
        self.listening = []
        self._deliveries = 0
        self._era = None
        self._declared_before = False

    def handle(self, message, session):
        """Answer one request."""
        params = message.get("params") or {}
        meta = params.get("_meta") or {}
        modern = PREFIX + "protocolVersion" in meta
        if broken("one-era-per-process") and not self.over_http:
            self._era = self._era or ("modern" if modern else "legacy")
            if self._era != ("modern" if modern else "legacy"):
                raise RpcError(-32600, "the other era has been chosen")
        if modern:
            return self._modern(message, params, meta)
        if message["method"] != "initialize" and session is None:
            raise RpcError(-32602, "initialize first")
        return self._legacy(message, params, meta, session)

    def _call_inline(self, params, meta, request_id, modern):
        tool = self._tool(params)

        def finish(result):
            return {**result, "resultType": "complete"} if modern else result

        token = meta.get("progressToken")
        if token is None:
            return finish(tool(Inline(lambda *_: None), params.get("arguments", {})))

        def run(stream):
            def report(done, total):
                stream.send({"jsonrpc": "2.0", "method": "notifications/progress",
                             "params": {"progressToken": token, "progress": done, "total": total}})

            stream.send(answer(request_id, lambda: finish(tool(Inline(report), params.get("arguments", {})))))

        return Streamed(run)

    def _tool(self, params):
        if params.get("name") not in TOOLS:
            raise RpcError(-32602, f"unknown tool {params.get('name')!r}")
        return TOOLS[params["name"]]

    def _create(self, params, ttl=None, answers=None):
        arguments = params.get("arguments", {})
        seconds = arguments.get("seconds", 0)
        if not isinstance(seconds, (int, float)) and not broken("arguments-are-unchecked"):
            raise RpcError(-32602, "seconds must be a number")
        retention = 0 if arguments.get("label") == EXPIRING else 86_400_000
        # The floor of what expires in the assertions: long enough to be seen.
        return self.tasks.create(params["name"], arguments, ttl, retention or 400, answers)
