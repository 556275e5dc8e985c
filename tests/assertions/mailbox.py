"""The ordered record of everything a server sent to one client.

Invariant: messages are kept in the order of arrival, each with the stream that carried it, and are never
removed, so an assertion can ask afterwards what came, where, and what did not come.
"""

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Received:
    """One JSON-RPC message of the server."""

    message: dict
    stream: str
    event_id: str | None
    at: float

    @property
    def method(self):
        """The method of a request or notification, `None` for an answer."""
        return self.message.get("method")

    @property
    def params(self):
        """The parameters, an empty object where there are none."""
        return self.message.get("params") or {}

    @property
    def meta(self):
        """The `_meta` of the parameters."""
        return self.params.get("_meta") or {}


class Mailbox:
    """An append-only list that can be waited on."""

    def __init__(self):
        self._received = []
        self._changed = threading.Condition()

    def __len__(self):
        with self._changed:
            return len(self._received)

    def put(self, message, stream, event_id=None):
        """Append a message and wake everyone who waits."""
        with self._changed:
            self._received.append(Received(message, stream, event_id, time.monotonic()))
            self._changed.notify_all()

    def touch(self):
        """Wake everyone who waits, so that they look at something else that changed."""
        with self._changed:
            self._changed.notify_all()

    def select(self, predicate, since=0):
        """All messages from position `since` for which `predicate` holds."""
        with self._changed:
            return [item for item in self._received[since:] if predicate(item)]

    def wait(self, predicate, timeout, since=0, give_up=lambda: False):
        """The first message for which `predicate` holds; `None` at the deadline or once `give_up()` is true."""
        deadline = time.monotonic() + timeout
        seen = since
        with self._changed:
            while True:
                for item in self._received[seen:]:
                    if predicate(item):
                        return item
                seen = max(seen, len(self._received))
                left = deadline - time.monotonic()
                if left <= 0 or give_up():
                    return None
                # A bounded nap: `give_up` may turn true without a notification.
                self._changed.wait(min(left, 0.5))
