"""Streamable HTTP on bare `http.client`: every message is one exchange on a connection of its own.

Invariant: an exchange never ends by itself while the server keeps its stream open, and can be cut from outside at
any moment, as a client that loses its network does. Nothing is retried, pooled or repaired on the way.
"""

import http.client
import itertools
import json
import socket
import threading
from urllib.parse import urlsplit

from outcome import Violation

ACCEPT = "application/json, text/event-stream"


class Exchange:
    """One HTTP request and whatever comes back for it. The answer is read on a thread of its own."""

    def __init__(self, link, verb, headers, body, label):
        self.label = label
        self.status = None
        self.headers = {}
        self.body = b""
        self.retry_ms = None
        self.last_event_id = None
        self.failure = None
        self._link = link
        self._headed = threading.Event()
        self._ended = threading.Event()
        self._socket = None
        self._cut = False
        thread = threading.Thread(target=self._run, args=(verb, headers, body), daemon=True)
        thread.start()

    @property
    def content_type(self):
        """The media type of the answer without its parameters."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    @property
    def ended(self):
        """Whether the answer has been read to its end, or the connection is gone."""
        return self._ended.is_set()

    def wait_headers(self, timeout):
        """Wait for the status line and headers; `Violation` if they do not come."""
        if not self._headed.wait(timeout):
            raise Violation(f"no HTTP answer to {self.label} within {timeout:g} s")
        if self.status is None:
            raise Violation(f"no HTTP answer to {self.label}: {self.failure}")
        return self

    def wait_end(self, timeout):
        """Wait for the end of the answer; `False` if it is still open at the deadline."""
        return self._ended.wait(timeout)

    def cut(self):
        """Close the connection at once, without a word to the server."""
        self._cut = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # The server was faster.

    def _run(self, verb, headers, body):
        link = self._link
        connection = http.client.HTTPConnection(link.host, link.port)
        try:
            connection.connect()
            self._socket = connection.sock
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.request(verb, link.path, body=body, headers=headers)
            answer = connection.getresponse()
            self.status = answer.status
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
            self._headed.set()
            if self.content_type == "text/event-stream":
                self._read_events(answer)
            else:
                self._read_body(answer)
        except (OSError, http.client.HTTPException, AttributeError, ValueError) as failure:
            # `http.client` turns a socket that was shut down under it into several of these.
            self.failure = "cut by the client" if self._cut else f"{type(failure).__name__}: {failure}"
        finally:
            self._headed.set()
            self._ended.set()
            connection.close()
            link.mailbox.touch()

    def _read_body(self, answer):
        self.body = answer.read()
        try:
            message = json.loads(self.body)
        except ValueError:
            return
        for one in message if isinstance(message, list) else [message]:
            if isinstance(one, dict):
                self._link.mailbox.put(one, self.label)

    def _read_events(self, answer):
        data, event_id = [], None
        while line := answer.readline():
            line = line.decode("utf-8", "replace").rstrip("\r\n")
            if line == "":
                if event_id is not None:
                    self.last_event_id = event_id
                if "".join(data).strip():
                    self._deliver("\n".join(data), event_id)
                data, event_id = [], None
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "id":
                event_id = value
            elif field == "retry" and value.isdigit():
                self.retry_ms = int(value)

    def _deliver(self, data, event_id):
        try:
            message = json.loads(data)
        except ValueError:
            self._link.garbage.append(data)
            return
        self._link.mailbox.put(message, self.label, event_id)


class HttpLink:
    """A client's side of one MCP endpoint. `headers` go out with every request (for instance `Authorization`)."""

    kind = "http"

    def __init__(self, url, mailbox, headers=None):
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise SystemExit(f"--url must look like http://127.0.0.1:PORT/mcp, not {url!r}")
        self.host, self.port, self.path = parts.hostname, parts.port or 80, parts.path or "/"
        self.mailbox = mailbox
        self.garbage = []
        self.headers = dict(headers or {})
        self._exchanges = []
        self._numbers = itertools.count(1)

    def exchange(self, verb, body=None, headers=None, label=""):
        """Start any request on the endpoint; a header given as `None` is left out."""
        merged = {"Accept": ACCEPT, **self.headers, **(headers or {})}
        if body is not None:
            merged.setdefault("Content-Type", "application/json")
        merged = {name: value for name, value in merged.items() if value is not None}
        exchange = Exchange(self, verb, merged, body, f"{verb}#{next(self._numbers)} {label}".strip())
        self._exchanges.append(exchange)
        return exchange

    def send(self, message, headers=None):
        """POST one JSON-RPC message; returns its exchange at once."""
        label = message.get("method") or "answer"
        return self.exchange("POST", json.dumps(message).encode(), headers, label)

    def close(self):
        """Cut every connection that is still open."""
        for exchange in self._exchanges:
            exchange.cut()
