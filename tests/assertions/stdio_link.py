"""Newline-delimited JSON-RPC over the standard streams of a child process.

Invariant: whatever the process prints on standard output is taken for protocol; a line that is not JSON is kept as
`garbage` and fails the assertion that sees it, because the specification reserves the stream for messages.
"""

import json
import os
import signal
import subprocess
import threading

from outcome import Violation


class StdioLink:
    """One server process and the pipe to it."""

    kind = "stdio"

    def __init__(self, argv, mailbox, log):
        self.mailbox = mailbox
        self.garbage = []
        self._write_lock = threading.Lock()
        try:
            # A session of its own, so that a kill reaches the children and spares us.
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        except OSError as failure:
            raise SystemExit(f"cannot start the stdio server {argv[0]!r}: {failure}") from failure
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self):
        """Whether the process has closed its standard output."""
        return not self._reader.is_alive()

    def send(self, message, headers=None):
        """Write one line. Headers belong to HTTP and are dropped. Returns `None`: there is no exchange."""
        line = json.dumps(message).encode() + b"\n"
        try:
            with self._write_lock:
                self.process.stdin.write(line)
                self.process.stdin.flush()
        except (OSError, ValueError) as failure:
            raise Violation(f"the server process is gone (exit status {self.process.poll()})") from failure

    def close_input(self):
        """End of input: the polite way to end a stdio server."""
        try:
            self.process.stdin.close()
        except OSError:
            pass  # The process is already gone.

    def signal(self, number):
        """Send a signal to the process and everything in its group, unless it has ended."""
        if self.process.poll() is not None:
            return  # Its number may belong to somebody else by now.
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass  # Already gone.

    def close(self):
        """End the process: end of input first, SIGKILL after two seconds."""
        self.close_input()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait(10)

    def _read(self):
        for line in self.process.stdout:
            if not line.strip():
                continue
            try:
                message = json.loads(line)
            except ValueError:
                self.garbage.append(line.decode("utf-8", "replace"))
                continue
            for one in message if isinstance(message, list) else [message]:
                if isinstance(one, dict):
                    self.mailbox.put(one, "stdout")
        self.mailbox.touch()
