#!/usr/bin/env python3
"""Proves that each assertion can fail: each fault of the double must be seen by the assertion meant for it.

    teeth/faults.py [--jobs N] [FAULT ...]

First all assertions must pass on the double without faults. Needs the Python standard library only.
"""

import argparse
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent

# fault: the assertions that must fail with it, on every transport they run on.
FAULTS = {
    "no-capability": "E1",
    "lists-without-identity": "E2",
    "no-task-support": "E3",
    "create-is-flat": "E4 V9",
    "ttl-is-required": "E5",
    "ttl-without-limit": "E6",
    "forbidden-makes-a-task": "E7",
    "required-runs-inline": "E8",
    "optional-is-always-a-task": "E9",
    "get-is-nested": "E10",
    "get-streams": "E11",
    "result-does-not-block": "E12 E14 E15 E16 E17",
    "result-is-unrelated": "E12 V3",
    "result-changes": "E13 E14",
    "disconnect-cancels": "E16 E69",
    "cancelled-kills-tasks": "E17 E68",
    "tool-error-is-completed": "E18",
    "error-is-a-result": "E19",
    "no-status-message": "E19 E58",
    "unknown-is-32600": "E20 E55",
    "bad-id-is-internal": "E21",
    "cancel-lags": "E22",
    "terminal-is-not-final": "E23",
    "cancel-always-works": "E24",
    "never-expires": "E25 E72",
    "list-ends-early": "E26",
    "pages-overlap": "E26",
    "any-cursor": "E27",
    "session-owns-tasks": "E29",
    "stays-working": "E30",
    "question-is-unrelated": "E31 E32 V4",
    "answers-are-lost": "E33",
    "answer-is-200": "E35",
    "decline-is-lost": "E34",
    "question-comes-once": "E35",
    "asks-anyone": "E36",
    "no-progress": "E37",
    "progress-is-unrelated": "E37",
    "broadcasts": "E38",
    "status-is-related": "E39",
    "extension-in-2025": "E40 V9",
    "meta-names-the-task": "E41",
    "memory-only": "E42 E53 E89",
    "any-session": "E43",
    "idle-cut": "E44",
    "replays-everything": "E45",
    "extension-has-settings": "E46",
    "create-is-nested": "E47",
    "always-a-task": "E48 E50",
    "required-is-32601": "E49",
    "declaration-carries-over": "E50",
    "task-parameter-counts": "E51",
    "announces-early": "E52",
    "looks-up-first": "E54",
    "legacy-methods-stay": "E56",
    "tool-error-is-failed": "E57",
    "one-question-at-a-time": "E59",
    "reading-updates": "E60 V1 V2",
    "any-answer-resumes": "E61",
    "last-answer-wins": "E62",
    "unknown-answer-updates": "E63 E65",
    "keys-repeat": "E64",
    "ack-has-a-task": "E66",
    "cancel-of-finished-fails": "E67",
    "name-is-unchecked": "E70",
    "method-is-unchecked": "E71",
    "expires-early": "E72",
    "listens-undeclared": "E75",
    "agrees-to-everything": "E76",
    "notices-are-untagged": "E76",
    "notices-are-bare": "E77",
    "tells-of-every-task": "E78",
    "progress-of-tasks": "E79",
    "listens-for-ever": "E80",
    "ends-abruptly": "E81",
    "task-before-questions": "E82",
    "state-is-unchecked": "E83",
    "ids-count": "E84",
    "one-era-per-process": "E85",
    "eras-mix": "E86",
    "any-origin": "E87",
    "panic-hangs": "E88",
    "keys-change-on-restart": "E89",
    "drops-tasks": "E90",
    "ttl-differs": "V5",
    "list-is-empty": "V6",
    "cancelled-has-no-result": "V7",
    "arguments-are-unchecked": "V8",
}
# These cannot be checked on the double: it has no users.
ELSEWHERE = {"E28", "E73", "E74"}


def run(fault, only):
    """Run the assertions `only` on the double with `fault`; returns the lines printed and the exit status."""
    faults = ["--fault", fault] if fault else []
    command = [sys.executable, str(HERE / "double_server.py")]
    argv = [
        sys.executable, str(HERE.parent / "run.py"),
        "--profile", str(HERE.parent / "profiles" / "double.json"),
        "--deadline", "4" if fault else "20",
        "--idle-seconds", "2",
        "--server-command", " ".join([*command, "http", "{port}", "{store}", *faults]),
        *(["--only", ",".join(only)] if only else []),
        "--stdio", *command, "stdio", "{store}", *faults,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines(), done.returncode


def unseen(fault):
    """What is wrong with the answer of the assertions to `fault`; empty if all of them saw it."""
    only = FAULTS[fault].split()
    lines, _ = run(fault, only)
    verdicts = [line for line in lines if line.split(" ")[0] in only and " SKIP" not in line]
    blind = [line for line in verdicts if " FAIL" not in line]
    missing = [name for name in only if not any(line.startswith(f"{name} ") for line in verdicts)]
    return blind + [f"{name} did not run: {' / '.join(lines[-2:])}" for name in missing]


def main():
    """Run, print, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("faults", nargs="*", metavar="FAULT")
    options = parser.parse_args()
    unknown = [fault for fault in options.faults if fault not in FAULTS]
    if unknown:
        parser.error(f"unknown faults: {', '.join(unknown)}")

    wrong = 0
    if not options.faults:
        lines, status = run(None, None)
        if status:
            print("\n".join(line for line in lines if " FAIL" in line or "failed" in line))
            wrong += 1
        print(f"no fault: {lines[-1]}", flush=True)
    chosen = options.faults or list(FAULTS)
    with ThreadPoolExecutor(options.jobs) as pool:
        for fault, blind in zip(chosen, pool.map(unseen, chosen)):
            wrong += bool(blind)
            print(f"{fault}: {'; '.join(blind) or 'seen by ' + FAULTS[fault]}", flush=True)
    if not options.faults:
        from_list = subprocess.run([sys.executable, str(HERE.parent / "run.py"), "--list"],
                                   capture_output=True, text=True, check=True).stdout.splitlines()
        covered = {name for names in FAULTS.values() for name in names.split()} | ELSEWHERE
        toothless = [line.split()[0] for line in from_list if line.split()[0] not in covered]
        if toothless:
            wrong += 1
            print(f"no fault for {' '.join(toothless)}")
    print(f"{len(chosen)} faults, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
