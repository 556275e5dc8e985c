"""A small, correct server of both eras over HTTP and stdio, and the faults that can be put into it.

    double_server.py http PORT STORE [--fault NAME]... | stdio STORE [--fault NAME]...

It exists for the assertions' own test: without faults all of them pass, with a fault the one meant for it fails. It
shares no code with the assertions nor with the server of this project.
"""

import base64
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from double_modern import MODERN, PREFIX
from double_protocol import Double
from double_streams import Stream, Streamed, answer
from double_tasks import FAULTS, RpcError, broken

STATUS = {-32020: 400, -32021: 400, -32022: 400, -32601: 404, -32700: 400, -32600: 400}
stopping = threading.Event()


def read_requests(double, message, session):
    """What a message other than a request does."""
    if "method" not in message:
        double.take_answer(message)
    elif message["method"] == "notifications/cancelled":
        request_id = (message.get("params") or {}).get("requestId")
        for subscription in double.listening:
            if subscription.id == request_id:
                subscription.cancel()
        if broken("cancelled-kills-tasks"):
            for task in double.tasks.all():
                double.tasks.cancel(task)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    streams = {}

    def log_message(self, *_):
        pass

    def _reply(self, status, body=None, session=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if body is not None:
            self.send_header("Content-Type", "application/json")
        if session is not None:
            self.send_header("Mcp-Session-Id", session.id)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _follow(self, stream, start, ids):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.connection.settimeout(None)
        at = start
        try:
            while True:
                with stream.changed:
                    while at >= len(stream.events) and not stream.closed:
                        stream.changed.wait(0.2)
                        self.wfile.write(b": alive\n\n")
                    if at >= len(stream.events):
                        return
                    event_id, message = stream.events[at]
                at += 1
                identity = f"id: {event_id}\n" if ids else ""
                self.wfile.write(f"{identity}data: {json.dumps(message)}\n\n".encode())
        except OSError:
            if broken("disconnect-cancels"):
                for task in self.server.double.tasks.all():
                    self.server.double.tasks.cancel(task)

    def do_GET(self):
        session = self._session()
        if session is None:
            return self._reply(404)
        last = self.headers.get("Last-Event-ID")
        if last:
            name, _, number = last.rpartition(".")
            start = 0 if broken("replays-everything") else int(number)
            return self._follow(self.streams[name], start, ids=True)
        stream = Stream(f"get{id(self)}")
        session.streams.append(stream)
        try:
            self._follow(stream, 0, ids=False)
        finally:
            stream.close()

    def _session(self):
        given = self.headers.get("Mcp-Session-Id")
        session = self.server.double.sessions.get(given)
        if session is None and broken("any-session") and self.server.double.sessions:
            return next(iter(self.server.double.sessions.values()))
        if session is None and broken("any-session"):
            self.server.double.handle({"method": "initialize", "params": {}}, None)
            return self._session()
        return session

    def do_POST(self):
        origin = self.headers.get("Origin")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if origin and "127.0.0.1" not in origin and not broken("any-origin"):
            return self._reply(403)
        message = json.loads(body)
        request_id = message.get("id")
        try:
            self._check_headers(message)
        except RpcError as error:
            return self._reply(400, {"jsonrpc": "2.0", "id": request_id, "error": error.as_json()})
        modern = PREFIX + "protocolVersion" in ((message.get("params") or {}).get("_meta") or {})
        session = None
        if not modern and message.get("method") != "initialize":
            session = self._session()
            if session is None:
                return self._reply(404)
        if "method" not in message or request_id is None:
            read_requests(self.server.double, message, session)
            return self._reply(200 if broken("answer-is-200") and "method" not in message else 202)
        reply = answer(request_id, lambda: self.server.double.handle(message, session))
        if isinstance(reply.get("result"), Streamed):
            stream = Stream(f"post{id(self)}-{request_id}")
            self.streams[stream.name] = stream
            threading.Thread(target=self._feed, args=(reply["result"], stream), daemon=True).start()
            if broken("idle-cut") and message["method"] == "tasks/result":
                threading.Timer(1, stream.close).start()
            return self._follow(stream, 0, ids=not modern)
        opened = reply.get("result", {}).pop("_session", None)
        status = STATUS.get(reply["error"]["code"], 200) if "error" in reply and modern else 200
        self._reply(status, reply, opened)
        if broken("disconnect-cancels") and message["method"] == "tools/call" and modern:
            for task in self.server.double.tasks.all():
                self.server.double.tasks.cancel(task)

    def _feed(self, streamed, stream):
        streamed.run(stream)
        stream.close()

    def _check_headers(self, message):
        params = message.get("params") or {}
        if self.headers.get("MCP-Protocol-Version") != MODERN:
            return
        method, name = self.headers.get("Mcp-Method"), self.headers.get("Mcp-Name")
        if method != message.get("method") and not broken("method-is-unchecked"):
            raise RpcError(-32020, "Mcp-Method does not fit the body")
        if name and name.startswith("=?base64?"):
            name = base64.b64decode(name[9:-2]).decode()
        expected = params.get("name") or params.get("taskId")
        if name is not None and name != expected and not broken("name-is-unchecked"):
            raise RpcError(-32020, "Mcp-Name does not fit the body")


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as the assertions open."""

    daemon_threads = True
    request_queue_size = 256


class Stdout(Stream):
    """Standard output as a stream."""

    def send(self, message):
        with self.changed:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()


def serve_stdio(double):
    """Read lines until the end of input."""
    out, session = Stdout("stdout"), None
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "initialize":
            reply = answer(message["id"], lambda: double.handle(message, None))
            session = reply.get("result", {}).pop("_session", None)
            if session is not None:
                session.streams.append(out)
            out.send(reply)
        elif "method" not in message or "id" not in message:
            read_requests(double, message, session)
        else:
            threading.Thread(target=answer_on, args=(double, message, session, out), daemon=True).start()
    stopping.set()


def answer_on(double, message, session, out):
    """Answer one request on standard output."""
    reply = answer(message["id"], lambda: double.handle(message, session))
    if isinstance(reply.get("result"), Streamed):
        reply["result"].run(out)
    else:
        out.send(reply)


def main(arguments):
    """Serve until the signal to stop."""
    while "--fault" in arguments:
        at = arguments.index("--fault")
        FAULTS.add(arguments[at + 1])
        del arguments[at:at + 2]
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    if arguments[:1] == ["http"] and len(arguments) == 3:
        double = Double(arguments[2], over_http=True)
        server = Server(("127.0.0.1", int(arguments[1])), Handler)
        server.double = double
        threading.Thread(target=server.serve_forever, daemon=True).start()
    elif arguments[:1] == ["stdio"] and len(arguments) == 2:
        double = Double(arguments[1], over_http=False)
        threading.Thread(target=serve_stdio, args=(double,), daemon=True).start()
    else:
        sys.exit("usage: double_server.py http PORT STORE | stdio STORE, then [--fault NAME]...")
    while not stopping.wait(0.2):
        pass  # A bare wait would not see the signal on every platform.
    for subscription in list(double.listening):
        subscription.end()
    # The streams are written by other threads; they have a moment to finish.
    threading.Event().wait(0.3)


if __name__ == "__main__":
    main(sys.argv[1:])
