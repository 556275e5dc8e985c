"""Where the server under test runs: somewhere already, or in processes of ours that can be killed and started again.

Invariant: every process started here, and every process those left behind that holds their store open, is gone when
the host is closed. A store belongs to one host and lies in a folder of its own under the run's temporary folder.
"""

import itertools
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import time
from mailbox import Mailbox

from http_link import HttpLink
from outcome import Skip, Violation
from stdio_link import StdioLink

_numbers = itertools.count(1)


def free_port():
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def holders_of(folder):
    """The processes, other than this one, that have a file below `folder` open (Linux; elsewhere none)."""
    prefix = str(folder) + os.sep
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid == os.getpid():
            continue
        try:
            targets = [os.readlink(link) for link in (entry / "fd").iterdir()]
        except OSError:
            continue  # Gone, or not ours.
        if any(target.startswith(prefix) for target in targets):
            yield pid


def kill_holders(folder):
    """SIGKILL every process that has a file below `folder` open."""
    for pid in list(holders_of(folder)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # Ended in between.


class Host:
    """A server that clients can be linked to."""

    def __init__(self):
        self._links = []

    def link(self, headers=None):
        """A new client's link."""
        link = self._open(Mailbox(), headers)
        self._links.append(link)
        return link

    def close(self):
        """End what was started."""
        for link in self._links:
            link.close()


class RunningHttp(Host):
    """A server that somebody else runs."""

    def __init__(self, url):
        super().__init__()
        self.url = url

    def _open(self, mailbox, headers):
        return HttpLink(self.url, mailbox, headers)


class OwnServer(Host):
    """A server with a store of its own, which can be killed and started again on the same store."""

    def __init__(self, scratch):
        super().__init__()
        number = next(_numbers)
        self.folder = scratch / f"store-{number}"
        self.folder.mkdir()
        self.store = self.folder / "tasks.db"
        self.log_path = scratch / f"server-{number}.log"
        self._log = open(self.log_path, "ab")

    def _formatted(self, command, **values):
        # Not str.format: a command may hold braces of its own.
        for name, value in {"store": self.store, **values}.items():
            command = [word.replace("{" + name + "}", str(value)) for word in command]
        return command

    def close(self):
        super().close()
        self.kill()
        self._log.close()


class OwnHttpServer(OwnServer):
    """`command` (a string with `{port}` and `{store}`) as a process that listens on loopback."""

    def __init__(self, command, scratch, path, deadline):
        super().__init__(scratch)
        self._command = command
        self._deadline = deadline
        self._process = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{path}"
        self.start()

    def _open(self, mailbox, headers):
        return HttpLink(self.url, mailbox, headers)

    def start(self):
        """Start the process on the same port and store and wait until it listens."""
        argv = self._formatted(shlex.split(self._command), port=self.port)
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
            )
        except OSError as failure:
            raise SystemExit(f"cannot start the server {argv[0]!r}: {failure}") from failure
        deadline = time.monotonic() + self._deadline
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                pass  # Not yet.
            if self._process.poll() is not None:
                raise Violation(f"the server ended at start with status {self._process.returncode}: {self._tail()}")
            if time.monotonic() > deadline:
                raise Violation(f"the server did not listen within {self._deadline:g} s: {self._tail()}")
            time.sleep(0.02)

    def _tail(self):
        return self.log_path.read_text(errors="replace")[-200:]

    def kill(self):
        """SIGKILL, as a power cut would."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        kill_holders(self.folder)

    def terminate(self):
        """SIGTERM, as a service manager would; does not wait."""
        self._signal(signal.SIGTERM)

    def _signal(self, number):
        if self._process.poll() is not None:
            return  # Its number may belong to somebody else by now.
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass  # Already gone.


class OwnStdioServer(OwnServer):
    """`argv` (with an optional `{store}`) as a child process for every link."""

    def __init__(self, argv, scratch):
        super().__init__(scratch)
        self._argv = argv
        self.durable = any("{store}" in word for word in argv)

    def _open(self, mailbox, headers):
        if headers:
            raise Skip("tokens are a matter of HTTP")
        return StdioLink(self._formatted(self._argv), mailbox, self._log)

    def start(self):
        """Nothing: the next link starts the process."""

    def kill(self):
        """SIGKILL every process that was started, and whatever serves the store behind it."""
        for link in self._links:
            link.signal(signal.SIGKILL)
            link.process.wait()
        kill_holders(self.folder)

    def terminate(self):
        """SIGTERM to the server; does not wait.

        Where the processes that were started only pass lines on to a server behind them, that one is meant.
        """
        ours = {link.process.pid for link in self._links}
        behind = [pid for pid in holders_of(self.folder) if pid not in ours]
        for pid in behind:
            os.kill(pid, signal.SIGTERM)
        if not behind:
            for link in self._links:
                link.signal(signal.SIGTERM)
