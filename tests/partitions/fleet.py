"""A Redis, a server that runs nothing itself, and two workers, each on a host of its own.

Two stores on the one Redis: `steps`, whose tool records its steps, and `commands`, whose tools are commands. So a
host has two processes, and a cut concerns both.
"""

import http.client
import json
import os
import subprocess
import time

LEASE = 2
PATIENCE = 60
COMMANDS = """
[server]
name = "commands"
[tools.once]
description = "Writes into the ledger, waits to be let go on, and writes again."
command = ["sh", "{script}", "{{ledger}}"]
[tools.once.arguments.ledger]
type = "string"
[tools.again]
description = "The same, and may be run again."
command = ["sh", "{script}", "{{ledger}}"]
repeatable = true
[tools.again.arguments.ledger]
type = "string"
"""
SCRIPT = """
echo "begun $HERE $$" >> "$1"
while ! [ -e "$GATES/$HERE" ]; do sleep 0.05; done
echo "ended $HERE $$" >> "$1"
echo "done on $HERE"
"""


class Failed(Exception):
    """Something that must hold does not."""


def eventually(what, look):
    """Waits until `look` gives something; `Failed` if it never does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"never came: {what}")
        time.sleep(0.02)


def lines(path):
    """The lines of a ledger."""
    return path.read_text().splitlines() if path.exists() else []


class Process:
    """A process on a host, and where it says what it has to say."""

    def __init__(self, network, host, command, folder, environment=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self.child = network.start(
                host, command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self):
        """Ends it cleanly."""
        self.child.terminate()
        self.child.wait(PATIENCE)

    def kill(self):
        """Ends it."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


class Fleet:
    """All processes."""

    def __init__(self, network, folder, programs):
        self.network, self.folder, self._programs = network, folder, programs
        self.gates = folder / "gates"
        self.gates.mkdir()
        self._processes = {}
        socket = folder / "redis.sock"
        redis = ["redis-server", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        redis += ["--dir", str(folder), "--unixsocket", str(socket), *network.redis_options]
        self._processes["redis"] = Process(network, "redis", redis, folder / "redis")
        eventually("the socket of redis-server", socket.exists)
        if hasattr(network, "redis_at"):
            network.redis_at(str(socket))
        script = folder / "script"
        script.write_text(SCRIPT)
        (folder / "outlast.toml").write_text(COMMANDS.format(script=script))
        self.steps = self._serve("steps")
        self.commands = self._serve("commands")

    def start_worker(self, host):
        """Starts both processes of a worker, and waits until the servers know them."""
        before = {store: len(store.workers()) for store in (self.steps, self.commands)}
        for store in ("steps", "commands"):
            self._start(host, store, self._worker_arguments(store))
        for store, known in before.items():
            eventually(f"{host} among the workers", lambda store=store, known=known: len(store.workers()) > known)

    def stop_worker(self, host):
        """Stops both processes of a worker cleanly."""
        for store in ("steps", "commands"):
            self._processes.pop(f"{host} {store}").stop()

    def close(self):
        """Ends everything, commands that still wait too."""
        for host in ("worker-a", "worker-b"):
            (self.gates / host).touch()
        for process in self._processes.values():
            process.kill()
        self.network.close()

    def logs(self):
        """What all processes have said."""
        for name, process in self._processes.items():
            yield f"--- {name}\n{process.log.read_text()}"

    def _serve(self, store):
        listen = self.network.listen
        host, port = listen.rsplit(":", 1)
        if store == "commands" and port != "0":
            port = str(int(port) + 1)
        role = [] if store == "steps" else ["serve"]
        more = ["--listen", f"{host}:{port}", "--allow-unauthenticated=true", "--concurrency", "0"]
        process = self._start("server", store, role + more)

        def address():
            for line in process.log.read_text().splitlines():
                if "listening on http://" in line:
                    return line.split("listening on http://")[1].split("/")[0].split()[0]
            if process.child.poll() is not None:
                raise Failed(f"the server ended: {process.log.read_text()}")
            return None

        return Client(eventually(f"the server of {store}", address))

    def _worker_arguments(self, store):
        return ["--worker"] if store == "steps" else ["worker"]

    def _start(self, host, store, arguments):
        home = self.folder / host
        if store == "commands":
            arguments = [*arguments, "--config", str(self.folder / "outlast.toml")]
        address = f"{self.network.redis_address(host)}?prefix={store}"
        arguments = [*arguments, "--store", address, "--lease", f"{LEASE}s", "--shutdown-grace", "200ms"]
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(home / "state"),
            "HERE": host,
            "GATES": str(self.gates),
        }
        command = [str(self._programs[store]), *arguments]
        process = Process(self.network, host, command, home / store, environment)
        self._processes[f"{host} {store}"] = process
        return process


class Client:
    """Talks REST to one server; a connection a request."""

    def __init__(self, address):
        self._address = address

    def ask(self, method, path, body=None, key=None):
        """The status, the headers and the JSON of an answer."""
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, response.headers, json.loads(text or b"null")

    def get(self, path):
        """What stands at a path."""
        status, _, found = self.ask("GET", path)
        if status != 200:
            raise Failed(f"GET {path}: {status} {found}")
        return found

    def create(self, tool, arguments, key=None):
        """Creates a task and returns its id."""
        status, _, task = self.ask("POST", "/tasks", {"tool": tool, "arguments": arguments}, key)
        if status != 202:
            raise Failed(f"a create was answered with {status} {task}")
        return task["taskId"]

    def ended(self, task):
        """The task once it has ended."""

        def look():
            found = self.get(f"/tasks/{task}")
            return found if found["status"] not in ("working", "input_required") else None

        return eventually(f"the end of {task}", look)

    def everything(self, task):
        """All that the server tells of a task."""
        return [self.get(f"/tasks/{task}{path}") for path in ("", "/journal", "/attempts")]

    def workers(self):
        """The workers that have a place for tasks."""
        return [worker for worker in self.get("/workers")["workers"] if worker["slots"] > 0]

