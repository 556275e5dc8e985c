"""What the double sends over time: streams, answers that take time, and answers as JSON-RPC."""

import threading

from double_tasks import RpcError


class Stream:
    """Messages in order, which a reader may follow from any place."""

    def __init__(self, name):
        self.name, self.events, self.closed = name, [], False
        self.changed = threading.Condition()

    def send(self, message):
        """Append a message."""
        with self.changed:
            if not self.closed:
                self.events.append((f"{self.name}.{len(self.events) + 1}", message))
                self.changed.notify_all()

    def close(self):
        """No more messages come."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class Streamed:
    """An answer that takes time: `run(stream)` sends whatever comes, the answer last."""

    def __init__(self, run):
        self.run = run


def answer(request_id, work):
    """The JSON-RPC answer of `work()`, its error included."""
    try:
        return {"jsonrpc": "2.0", "id": request_id, "result": work()}
    except RpcError as error:
        return {"jsonrpc": "2.0", "id": request_id, "error": error.as_json()}
