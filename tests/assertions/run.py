#!/usr/bin/env python3
"""Check an MCP server's tasks against numbered black-box assertions, in both protocol eras, over HTTP and stdio.

    run.py --url http://127.0.0.1:PORT/mcp
    run.py --server-command "target/release/conformance-server --listen 127.0.0.1:{port} --store sqlite:{store}"
    run.py --stdio target/release/conformance-server --stdio --store sqlite:{store}

Prints one line for each assertion and transport (`E12 http PASS`), then a summary. Exit status: 0 all is as it
should be, 1 something is not, 2 the command line or a file it names is wrong.
"""

import argparse
import collections
import json
import pathlib
import shutil
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import catalogue  # noqa: E402, F401  (registers the assertions)
from harness import ASSERTIONS, Context, Profile, Target  # noqa: E402
from hosts import OwnHttpServer, kill_holders  # noqa: E402
from outcome import Skip, Violation, short  # noqa: E402

PASS, FAIL, SKIP, EXPECTED, SURPRISE = "PASS", "FAIL", "SKIP", "XFAIL", "XPASS"
DEFAULT_PROFILE = HERE / "profiles" / "conformance-server.json"


@dataclass
class Verdict:
    """What became of one assertion on one transport."""

    name: str
    transport: str
    outcome: str
    message: str
    seconds: float
    function: str
    requires: str

    def line(self):
        """The line that is printed."""
        text = f"{self.name} {self.transport} {self.outcome}"
        return f"{text} {self.message}" if self.message else text


@dataclass
class Listed:
    """A line of a list: `E12 http`, `E12 *` or `* *`, then optionally `: text` that must be in the message."""

    name: str
    transport: str
    text: str

    def fits(self, verdict):
        """Whether this line is about `verdict`."""
        return self.name in ("*", verdict.name) and self.transport in ("*", verdict.transport)


def read_listed(path):
    """The lines of an expectation or skip file."""
    if path is None:
        return []
    lines = []
    try:
        content = pathlib.Path(path).read_text()
    except OSError as failure:
        raise SystemExit(f"cannot read {path}: {failure}") from failure
    for number, line in enumerate(content.splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        head, _, text = line.partition(":")
        words = head.split()
        if len(words) != 2 or words[0] not in ("*", *ASSERTIONS) or words[1] not in ("http", "stdio", "*"):
            raise SystemExit(f"{path}:{number}: write `E12 http: text of the message`, not {line!r}")
        lines.append(Listed(words[0], words[1], text.strip()))
    return lines


def check(assertion, target, transport):
    """Run one assertion over one transport."""
    began = time.monotonic()
    ctx = Context(target, transport)
    outcome, message = PASS, ""
    try:
        lacking = assertion.lacks_era(target.profile.eras)
        if lacking:
            raise Skip(lacking)
        assertion.check(ctx)
    except Skip as skip:
        outcome, message = SKIP, str(skip)
    except Violation as violation:
        outcome, message = FAIL, str(violation)
    except Exception as failure:  # noqa: BLE001  A shape nobody foresaw is a finding too, with the place it was met.
        place = traceback.extract_tb(failure.__traceback__)[-1]
        where = f"{pathlib.Path(place.filename).name}:{place.lineno}"
        outcome, message = FAIL, f"unforeseen answer, {type(failure).__name__} at {where}: {short(str(failure))}"
    finally:
        ctx.close()
    return Verdict(
        assertion.name, transport, outcome, message, round(time.monotonic() - began, 3),
        assertion.check.__name__, assertion.requires,
    )


def run_all(chosen, target, transports, jobs, report):
    """Run the chosen assertions; each verdict goes to `report` in the order of the numbers."""
    pairs = [(one, transport) for one in chosen for transport in transports if transport in one.transports]
    shared = [pair for pair in pairs if not pair[0].exclusive]
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {id(pair): pool.submit(check, pair[0], target, pair[1]) for pair in shared}
        for pair in shared:
            report(waiting[id(pair)].result())
    for one, transport in pairs:
        if one.exclusive:
            report(check(one, target, transport))


def judge(verdict, expected, skippable, strict_skips):
    """Apply the expectation files to a verdict; returns whether it counts against the server or the lists."""
    lines = [line for line in expected if line.fits(verdict)]
    if lines:
        # Several lines for one verdict are alternatives.
        if verdict.outcome == FAIL and any(line.text in verdict.message for line in lines):
            verdict.outcome = EXPECTED
            return False
        if verdict.outcome == FAIL:
            verdict.message += f" (expected to fail with {' or '.join(repr(line.text) for line in lines)})"
            return True
        verdict.message = f"expected to fail, got {verdict.outcome}: take it off the list. {verdict.message}".strip()
        verdict.outcome = SURPRISE
        return True
    if verdict.outcome == SKIP and strict_skips:
        return not any(line.fits(verdict) and line.text in verdict.message for line in skippable)
    return verdict.outcome == FAIL


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="endpoint of a server that runs already")
    parser.add_argument("--server-command", metavar="CMD",
                        help="starts a server over HTTP; {port} and {store} are filled in. Needed by the assertions "
                             "that kill it; without --url it also serves the others")
    parser.add_argument("--path", default="/mcp", help="path of the endpoint of --server-command (default /mcp)")
    parser.add_argument("--stdio", nargs=argparse.REMAINDER, metavar="CMD",
                        help="command and arguments of a stdio server, last on the line; {store} is filled in")
    parser.add_argument("--profile", default=DEFAULT_PROFILE, help="JSON file: which tool plays which role")
    parser.add_argument("--only", help="comma-separated numbers, for instance E12,E20")
    parser.add_argument("--token", action="append", default=[], metavar="USER=TOKEN",
                        help="bearer token of a user of the server; alice and bob are used")
    parser.add_argument("--expect-failures", metavar="FILE",
                        help="failures that are known; one that passes or fails otherwise is an error")
    parser.add_argument("--strict-skips", metavar="FILE", help="skips that are allowed; any other is a failure")
    parser.add_argument("--json", metavar="FILE", help="write all verdicts to FILE")
    parser.add_argument("--jobs", type=int, default=4, help="assertions at a time (default 4)")
    parser.add_argument("--deadline", type=float, default=30, help="seconds to wait for anything (default 30)")
    parser.add_argument("--idle-seconds", type=float, default=0, help="length of the waiting result of E44")
    parser.add_argument("--list", action="store_true", help="print the assertions and end")
    parsed = parser.parse_args()
    if not (parsed.list or parsed.url or parsed.server_command or parsed.stdio):
        parser.error("name a server: --url, --server-command or --stdio")
    return parsed


def select(only):
    """The assertions to run, in order."""
    everything = sorted(ASSERTIONS.values(), key=lambda one: one.order)
    if not only:
        return everything
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in ASSERTIONS]
    if unknown:
        raise SystemExit(f"--only names unknown assertions: {', '.join(unknown)}; see --list")
    return [one for one in everything if one.name in names]


def main():
    """Run, print, and return the exit status."""
    # Nobody may lose a number by deleting a function.
    missing = [f"E{number}" for number in range(1, 91) if f"E{number}" not in ASSERTIONS]
    if missing:
        raise SystemExit(f"assertions without a function: {', '.join(missing)}")
    options = arguments()
    chosen = select(options.only)
    if options.list:
        for one in chosen:
            print(f"{one.name} [{one.eras}; {'+'.join(one.transports)}] {one.requires} ({one.cites})")
        return 0
    expected, skippable = read_listed(options.expect_failures), read_listed(options.strict_skips)
    tokens = dict(pair.partition("=")[::2] for pair in options.token)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="wire-assertions-"))
    target = Target(
        profile=Profile(options.profile), url=options.url, stdio=options.stdio, server_command=options.server_command,
        path=options.path, tokens=tokens, scratch=scratch, deadline=options.deadline,
        idle_seconds=options.idle_seconds,
    )
    transports = [name for name, there in (("http", options.url or options.server_command), ("stdio", options.stdio))
                  if there]
    verdicts, wrong = [], []
    lock = threading.Lock()

    def report(verdict):
        with lock:
            verdicts.append(verdict)
            if judge(verdict, expected, skippable, options.strict_skips is not None):
                wrong.append(verdict)
            print(verdict.line(), flush=True)

    server = None
    try:
        if not options.url and options.server_command:
            server = OwnHttpServer(options.server_command, scratch, options.path, options.deadline)
            target.url = server.url
        run_all(chosen, target, transports, options.jobs, report)
    except Violation as violation:
        # Only the start of the shared server can get here; assertions catch their own.
        raise SystemExit(str(violation)) from violation
    finally:
        if server is not None:
            server.close()
        kill_holders(scratch)
        shutil.rmtree(scratch, ignore_errors=True)

    counts = collections.Counter(verdict.outcome for verdict in verdicts)
    summary = f"{counts[PASS]} passed, {counts[FAIL]} failed, {counts[SKIP]} skipped"
    if expected:
        summary += f", {counts[EXPECTED]} failed as expected, {counts[SURPRISE]} did not fail as expected"
    if wrong:
        summary += f"; wrong: {' '.join(f'{v.name}/{v.transport}' for v in wrong)}"
    print(summary)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as end:
        if isinstance(end.code, str):
            print(f"run.py: {end.code}", file=sys.stderr)
            sys.exit(2)
        raise
