"""A raw MCP client for both protocol eras, which reads and writes exactly what the assertion says.

Invariant: nothing is validated, repaired or hidden here; an answer is handed on as it came. The client shares no
code with any server, so a mistake cannot be made on both sides at once.

`LegacyPeer` speaks 2025-11-25 (initialize, session, GET stream), `ModernPeer` the stateless 2026-07-28.
"""

import base64
import itertools

from outcome import Violation, short

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
META_VERSION = "io.modelcontextprotocol/protocolVersion"
META_CLIENT = "io.modelcontextprotocol/clientInfo"
META_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO = {"name": "wire-assertions", "version": "1"}
ELICITATION = {"elicitation": {"form": {}}}


class Reply:
    """The answer to one request: the message, and for HTTP its status and media type."""

    def __init__(self, asked, message, stream, exchange, at):
        self.asked = asked
        self.message = message
        self.stream = stream
        self.status = exchange.status if exchange else None
        self.content_type = exchange.content_type if exchange else None
        self.at = at

    @property
    def is_error(self):
        """Whether this is a JSON-RPC error."""
        return "error" in self.message

    @property
    def result(self):
        """The result; `Violation` if the server answered with an error or with neither."""
        if not isinstance(self.message.get("result"), dict):
            raise Violation(f"{self.asked} must be answered with a result; got {short(self.message)}")
        return self.message["result"]

    @property
    def error(self):
        """The error object; `Violation` if the server answered with a result."""
        if not isinstance(self.message.get("error"), dict):
            raise Violation(f"{self.asked} must be answered with an error; got {short(self.message)}")
        return self.message["error"]

    def expect_error(self, code, status=None):
        """Require the error `code`, and over HTTP the `status` where one is given."""
        error = self.error
        if error.get("code") != code:
            raise Violation(f"{self.asked} must be answered with error {code}; got {short(self.message)}")
        if status is not None and self.status is not None and self.status != status:
            raise Violation(f"{self.asked} with error {code} must have HTTP status {status}; got {self.status}")
        return error


class Pending:
    """A request under way."""

    def __init__(self, peer, request_id, asked, exchange, since):
        self.id = request_id
        self.asked = asked
        self.exchange = exchange
        self.stream = exchange.label if exchange else "stdout"
        self._peer = peer
        self._since = since

    def _is_reply(self, item):
        if item.method is not None:
            return False
        if item.message.get("id") == self.id:
            return True
        # An error for a request whose id the server could not read comes with null, on the same exchange.
        return item.message.get("id") is None and self.exchange is not None and item.stream == self.stream

    def _found(self):
        found = self._peer.mailbox.select(self._is_reply, self._since)
        return found[0] if found else None

    @property
    def answered(self):
        """Whether the answer is there."""
        return self._found() is not None

    def messages(self):
        """Everything else that came on this request's own stream."""
        return self._peer.mailbox.select(
            lambda item: item.stream == self.stream and not self._is_reply(item), self._since
        )

    def wait(self, timeout=None):
        """The answer; `Violation` if none comes before the deadline or the connection ends without one."""
        timeout = self._peer.deadline if timeout is None else timeout
        ended = (lambda: self.exchange.ended) if self.exchange else (lambda: self._peer.link.ended)
        item = self._peer.mailbox.wait(self._is_reply, timeout, self._since, ended) or self._found()
        self._peer.complain_of_garbage()
        if item is not None:
            return Reply(self.asked, item.message, item.stream, self.exchange, item.at)
        if self.exchange is not None and self.exchange.ended:
            raise Violation(
                f"{self.asked} was not answered with JSON-RPC: HTTP {self.exchange.status} "
                f"{self.exchange.content_type} {short(self.exchange.body.decode('utf-8', 'replace'), 120)} "
                f"{self.exchange.failure or ''}".strip()
            )
        if self.exchange is None and self._peer.link.ended:
            raise Violation(f"the server process ended before it answered {self.asked}")
        raise Violation(f"{self.asked} was not answered within {timeout:g} s")

    def drop(self):
        """Cut the connection that carries this request (HTTP only)."""
        self.exchange.cut()


class Peer:
    """What both eras have in common: ids, sending, waiting."""

    def __init__(self, link, deadline):
        self.link = link
        self.mailbox = link.mailbox
        self.deadline = deadline
        self._ids = itertools.count(1)

    @property
    def over_http(self):
        """Whether the transport is HTTP."""
        return self.link.kind == "http"

    def complain_of_garbage(self):
        """Raise `Violation` if the server sent something that is not a message."""
        if self.link.garbage:
            raise Violation(f"not a JSON-RPC message on the protocol stream: {short(self.link.garbage[0], 160)}")

    def _headers(self, message):
        raise NotImplementedError

    def _params(self, params):
        return params

    def start(self, method, params=None, headers=None, request_id=None):
        """Send a request and return at once."""
        request_id = next(self._ids) if request_id is None else request_id
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": self._params(params)}
        if message["params"] is None:
            del message["params"]
        since = len(self.mailbox)
        exchange = self.link.send(message, {**self._headers(message), **(headers or {})})
        return Pending(self, request_id, method, exchange, since)

    def request(self, method, params=None, timeout=None, **options):
        """Send a request and wait for its answer."""
        return self.start(method, params, **options).wait(timeout)

    def notify(self, method, params=None):
        """Send a notification; over HTTP wait for its status and return the exchange."""
        message = {"jsonrpc": "2.0", "method": method, "params": self._params(params)}
        if message["params"] is None:
            del message["params"]
        exchange = self.link.send(message, self._headers(message))
        if exchange is not None:
            exchange.wait_headers(self.deadline)
        return exchange

    def wait_message(self, predicate, what, timeout=None, since=0):
        """The first message that satisfies `predicate`; `Violation` naming `what` if none comes."""
        timeout = self.deadline if timeout is None else timeout
        item = self.mailbox.wait(predicate, timeout, since)
        self.complain_of_garbage()
        if item is None:
            raise Violation(f"{what} did not come within {timeout:g} s")
        return item

    def close(self):
        """Leave without a word."""
        self.link.close()


class LegacyPeer(Peer):
    """A 2025-11-25 client. `initialize` comes first; over HTTP it holds the session id."""

    def __init__(self, link, deadline):
        super().__init__(link, deadline)
        self.session = None
        self.initialized = None

    def initialize(self, capabilities=None, version=LEGACY):
        """The handshake; returns the InitializeResult."""
        pending = self.start(
            "initialize",
            {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": CLIENT_INFO},
            headers={"MCP-Protocol-Version": None},
        )
        self.initialized = pending.wait().result
        if pending.exchange is not None:
            self.session = pending.exchange.headers.get("mcp-session-id")
        self.notify("notifications/initialized")
        return self.initialized

    def _headers(self, message):
        headers = {"MCP-Protocol-Version": LEGACY}
        if self.session:
            headers["Mcp-Session-Id"] = self.session
        return headers

    def listen(self, last_event_id=None):
        """Open a GET stream (HTTP only); returns the exchange once the server has answered it."""
        headers = {**self._headers({}), "Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        return self.link.exchange("GET", None, headers, "stream").wait_headers(self.deadline)

    def answer(self, request_id, result):
        """Answer a request of the server; over HTTP returns the exchange of the POST."""
        message = {"jsonrpc": "2.0", "id": request_id, "result": result}
        exchange = self.link.send(message, self._headers(message))
        if exchange is not None:
            exchange.wait_headers(self.deadline)
        return exchange


def encode_header(value):
    """The Base64 form of a header value."""
    return "=?base64?" + base64.b64encode(value.encode()).decode() + "?="


class ModernPeer(Peer):
    """A 2026-07-28 client: no handshake, every request carries its version, name and capabilities.

    `declares` says whether requests declare the tasks extension, unless a single request says otherwise.
    """

    def __init__(self, link, deadline, capabilities=None, ids=None):
        super().__init__(link, deadline)
        if ids is not None:
            self._ids = (f"{ids}{number}" for number in itertools.count(1))
        self.declares = True
        self.capabilities = ELICITATION if capabilities is None else capabilities

    def meta(self, declares=None):
        """The `_meta` of a request."""
        capabilities = dict(self.capabilities)
        if self.declares if declares is None else declares:
            capabilities["extensions"] = {**capabilities.get("extensions", {}), EXTENSION: {}}
        return {META_VERSION: MODERN, META_CLIENT: CLIENT_INFO, META_CAPABILITIES: capabilities}

    def _params(self, params):
        params = dict(params or {})
        params["_meta"] = {**self.meta(), **params.get("_meta", {})}
        return params

    def _headers(self, message):
        params = message.get("params") or {}
        headers = {"MCP-Protocol-Version": MODERN}
        if message.get("method"):
            headers["Mcp-Method"] = message["method"]
        name = params.get("name") or params.get("uri") or params.get("taskId")
        if isinstance(name, str):
            plain = name.isascii() and name.isprintable() and name == name.strip()
            headers["Mcp-Name"] = name if plain else encode_header(name)
        return headers

    def undeclared(self, method, params=None, **options):
        """A request that does not declare the tasks extension."""
        return self.start_undeclared(method, params, **options).wait()

    def start_undeclared(self, method, params=None, **options):
        """Like `undeclared`, without waiting."""
        params = {**(params or {})}
        params["_meta"] = {**self.meta(declares=False), **params.get("_meta", {})}
        return self.start(method, params, **options)
