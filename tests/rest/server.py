"""Starts `outlast serve` in a folder of its own, and ends it."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 120


class Receiver:
    """An HTTP server that keeps what is sent to it: path, headers and body of each request."""

    def __init__(self):
        self.got = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append((self.path, dict(self.headers.items()), body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


class Server:
    def __init__(self, outlast, config, **environment):
        self.outlast = os.path.realpath(outlast)
        self.folder = tempfile.TemporaryDirectory()
        self.environment = {**os.environ, **environment}
        with open(f"{self.folder.name}/outlast.toml", "w") as file:
            file.write(config)
        self.log_path = f"{self.folder.name}/serve.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [self.outlast, "serve"], cwd=self.folder.name, env=self.environment, stdout=log, stderr=log
            )
        self.url = eventually(self.address, f"the server says where it listens: {self.log()}")

    def log(self):
        with open(self.log_path) as file:
            return file.read()

    def address(self):
        assert self.process.poll() is None, self.log()
        found = re.search(r"http://127\.0\.0\.1:\d+", self.log())
        return found and found[0]

    def ask(self, method, path, body=None, headers={}):
        data = None if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
        request = urllib.request.Request(self.url + path, data, given, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def run(self, *words):
        """What a command prints about this server."""
        done = subprocess.run(
            [self.outlast, *words], cwd=self.folder.name, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ended(self, task):
        return eventually(
            lambda: (found := self.ask("GET", f"/tasks/{task}?wait=20s")).get("finishedAt") and found,
            f"task {task} ends",
        )

    def stop(self):
        """Ends it cleanly."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


def eventually(look, what):
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)
    return found
