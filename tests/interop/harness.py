"""Runs the checks of one foreign client against one server and reports each of them.

Every check opens its own connections, so a broken one spoils no other. A check
passes, fails with a reason, or skips with a reason; nothing is left out silently.
A check never compares clock times: it polls a condition up to a deadline that only
a hung server reaches.

This file uses the standard library alone, because each driver that imports it runs
in its own client's virtual environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

#: How long a condition may take to come true. Far above what a healthy server
#: needs, so that a busy machine does not fail a check.
DEADLINE = 60.0

#: How long a whole check may take before it counts as hung.
CHECK_DEADLINE = 180.0

#: What the fixture server's tools take, and whether a call of them may, must or
#: must not be a task. A set lists the allowed answers.
TOOLS: dict[str, tuple[dict[str, str], set[str]]] = {
    "greet": ({"name": "string"}, {"forbidden"}),
    "add": ({"a": "integer", "b": "integer"}, {"optional"}),
    "slow_compute": ({"seconds": "number", "label": "string"}, {"optional"}),
    "slow_progress": ({"steps": "integer", "step_ms": "integer"}, {"optional"}),
    "failing_job": ({}, {"required"}),
    "protocol_error_job": ({}, {"optional"}),
    "confirm_delete": ({"filename": "string"}, {"optional", "required"}),
    "multi_input": ({}, {"optional", "required"}),
    "test_tool_with_task": ({}, {"required"}),
}

#: The call that one client starts and other clients fetch.
HANDOVER = ("slow_progress", {"steps": 10, "step_ms": 100})

#: What the client under test answers when it is asked for a name, for a text of its model, and for its
#: folders, and what the fixture's tools make of the last two.
NAME, SAMPLED, ROOT = "Alice", "Paris", "file:///home/alice/project"

#: The tools that ask for these while their caller waits: for each alone, and for all at once.
ASKING = {
    "test_input_required_result_sampling": {SAMPLED},
    "test_input_required_result_list_roots": {ROOT},
    "test_input_required_result_multiple_inputs": {NAME, SAMPLED, ROOT},
}

#: The same as a task.
ASKING_TASK = "ask_around"

#: Long enough that a task of this many seconds never ends by itself in a check.
FOREVER = 600

TERMINAL = {"completed", "failed", "cancelled"}


class Failed(Exception):
    """An answer was not what it has to be."""


class Skipped(Exception):
    """The check does not apply here; the text says why."""


@dataclass(frozen=True)
class Target:
    """The server under test: a URL, or a command that speaks on stdin and stdout."""

    url: str | None
    command: tuple[str, ...]

    @property
    def stdio(self) -> bool:
        return self.url is None


Check = Callable[[Target], Awaitable[None]]

#: Starts a task and leaves; returns the id.
Start = Callable[[Target], Awaitable[str]]

#: Waits for the end of a task that someone else started; returns its result as JSON.
Fetch = Callable[[Target, str], Awaitable[dict[str, Any]]]


class Suite:
    """The checks of one client, in the order in which they were added."""

    def __init__(self, client: str) -> None:
        self.client = client
        self._checks: list[tuple[str, Check]] = []
        self._start: Start | None = None
        self._fetch: Fetch | None = None

    def check(self, name: str) -> Callable[[Check], Check]:
        """Adds the decorated function as a check."""

        def add(function: Check) -> Check:
            self._checks.append((name, function))
            return function

        return add

    def hands_over(self, start: Start, fetch: Fetch) -> None:
        """Gives the client its part in a handover: one starts a task, others fetch it."""
        self._start = start
        self._fetch = fetch

    def main(self) -> None:
        """Parses the command line, does what it asks for and exits with 0 or 1."""
        parser = argparse.ArgumentParser(
            description=f"Drives a server's tasks to their end with {self.client}.",
            allow_abbrev=False,
        )
        parser.add_argument("--only", metavar="TEXT", help="run only checks whose name contains TEXT")
        parser.add_argument("--trace", action="store_true", help="print the stack of every failure")
        parser.add_argument("--start", action="store_true", help="only start a task, print its id and leave")
        parser.add_argument("--fetch", metavar="ID", help="only fetch a task's result, once it has one, and print it")
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--url", help="address of the server's MCP endpoint")
        where.add_argument(
            "--stdio",
            nargs=argparse.REMAINDER,
            metavar="COMMAND",
            help="command of a stdio server, with its arguments; must come last",
        )
        options = parser.parse_args()
        if options.url is None and not options.stdio:
            parser.error("--stdio needs a command")
        target = Target(options.url, tuple(options.stdio or ()))
        if options.start or options.fetch:
            if self._start is None or self._fetch is None:
                parser.error("this client has no tasks to hand over")
            sys.exit(asyncio.run(self._hand_over(target, options.fetch)))
        chosen = [(n, f) for n, f in self._checks if not options.only or options.only in n]
        if not chosen:
            parser.error(f"no check's name contains {options.only!r}")
        sys.exit(asyncio.run(self._run(target, chosen, options.trace)))

    async def _hand_over(self, target: Target, task_id: str | None) -> int:
        try:
            async with asyncio.timeout(CHECK_DEADLINE):
                if task_id is None:
                    print(await self._start(target))
                else:
                    print(json.dumps(canonical(await self._fetch(target, task_id)), sort_keys=True))
        except BaseException as error:  # noqa: BLE001 - a group of errors is one too
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            print(f"{self.client}: {_describe(error)}", file=sys.stderr)
            return 1
        return 0

    async def _run(self, target: Target, checks: list[tuple[str, Check]], trace: bool) -> int:
        passed = failed = skipped = 0
        for name, function in checks:
            try:
                async with asyncio.timeout(CHECK_DEADLINE):
                    await function(target)
            except BaseException as error:  # noqa: BLE001 - a group of errors is one too
                if isinstance(error, (KeyboardInterrupt, SystemExit)):
                    raise
                skip = _find(error, Skipped)
                if skip is not None:
                    skipped += 1
                    print(f"skip {self.client}: {name}: {skip}", flush=True)
                    continue
                failed += 1
                print(f"FAIL {self.client}: {name}: {_describe(error)}", flush=True)
                if trace:
                    traceback.print_exception(error)
            else:
                passed += 1
                print(f"ok   {self.client}: {name}", flush=True)
        print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
        return 1 if failed else 0


def _find(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The first error of `kind` in `error`, in a group of errors or behind another one.

    A transport that breaks while a check's own error passes through it replaces that
    error by its own, and keeps it as the context.
    """
    # Errors that were raised again and again can stand behind themselves.
    waiting, seen = [error], set[int]()
    while waiting:
        candidate = waiting.pop(0)
        if candidate is None or id(candidate) in seen:
            continue
        if isinstance(candidate, kind):
            return candidate
        seen.add(id(candidate))
        inner = candidate.exceptions if isinstance(candidate, BaseExceptionGroup) else ()
        waiting += [*inner, candidate.__context__]
    return None


def _broke_while_closing(error: BaseException) -> bool:
    """Whether nothing happened but that a transport found its own stream closed."""
    if isinstance(error, BaseExceptionGroup):
        return all(_broke_while_closing(inner) for inner in error.exceptions)
    return type(error).__name__ == "BrokenResourceError"


@asynccontextmanager
async def closing(connection: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
    """A connection whose end counts for nothing; what counts is how the check went.

    The stdio transport of the Python SDK breaks when a message arrives while it closes,
    which is no fault of the server.
    """
    failure: BaseException | None = None
    try:
        async with connection as entered:
            try:
                yield entered
            except BaseException as error:
                failure = error
                raise
    except BaseException as error:
        if not _broke_while_closing(error):
            raise
        if failure is not None:
            raise failure from None


def _describe(error: BaseException) -> str:
    """One line that says what went wrong, whatever it was wrapped in."""
    failure = _find(error, Failed)
    if failure is not None:
        return str(failure)
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_describe(inner) for inner in error.exceptions)
    if isinstance(error, TimeoutError) and not str(error):
        return "hung: an answer did not come in time"
    code = code_of(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{f' {code}' if code is not None else ''}: {text}"


def code_of(error: BaseException) -> int | None:
    """The JSON-RPC code of an error, whichever client raised it."""
    code = getattr(getattr(error, "error", None), "code", None)
    return code if code is not None else getattr(error, "code", None)


def need(condition: Any, what: str) -> None:
    """Fails the check with `what` unless `condition` holds."""
    if not condition:
        raise Failed(what)


def same(actual: Any, expected: Any, what: str) -> None:
    """Fails the check unless the two are equal; says which value was which."""
    if actual == expected:
        return
    if isinstance(actual, dict) and isinstance(expected, dict):
        raise Failed(f"{what}: " + "; ".join(_differences(actual, expected, "")))
    raise Failed(f"{what}: expected {expected!r}, got {actual!r}")


def _differences(actual: dict[str, Any], expected: dict[str, Any], path: str) -> list[str]:
    """What two objects do not have in common, one entry for each differing key."""
    found = []
    for key in sorted(actual.keys() | expected.keys()):
        left, right = actual.get(key), expected.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            found += _differences(left, right, f"{path}{key}.")
        elif left != right:
            found.append(f"{path}{key}: expected {right!r}, got {left!r}")
    return found


async def eventually(
    ask: Callable[[], Awaitable[Any]],
    holds: Callable[[Any], bool],
    what: str,
    interval: float = 0.05,
) -> Any:
    """Asks until the answer `holds` and returns it; fails with the last answer."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DEADLINE
    while True:
        answer = await ask()
        if holds(answer):
            return answer
        if loop.time() > end:
            raise Failed(f"{what}: still not so after {DEADLINE:.0f} s; last answer {answer!r}")
        await asyncio.sleep(interval)


async def refused(call: Awaitable[Any], codes: set[int], what: str) -> Any:
    """Awaits a call that must be refused with one of `codes`; returns the error."""
    try:
        answer = await call
    except Exception as error:  # noqa: BLE001 - every client has its own error class
        if code_of(error) in codes:
            return error
        raise Failed(f"{what}: expected an error of {sorted(codes)}, got {_describe(error)}") from error
    raise Failed(f"{what}: expected an error of {sorted(codes)}, got {answer!r}")


def check_tools(tools: list[dict[str, Any]], with_support: bool) -> None:
    """Checks the answer to tools/list; `with_support` where it names task support."""
    by_name = {tool["name"]: tool for tool in tools}
    same(len(by_name), len(tools), "every tool is listed once")
    for name, (arguments, support) in TOOLS.items():
        tool = by_name.get(name)
        need(tool is not None, f"tool {name} is missing from {sorted(by_name)}")
        need(tool.get("description"), f"tool {name} has no description")
        schema = tool["inputSchema"]
        same(schema.get("type"), "object", f"type of the input schema of {name}")
        properties = schema.get("properties") or {}
        same(set(properties), set(arguments), f"arguments of {name}")
        for argument, kind in arguments.items():
            same(properties[argument].get("type"), kind, f"type of {name}.{argument}")
        same(set(schema.get("required") or []), set(arguments), f"required arguments of {name}")
        if with_support:
            stated = (tool.get("execution") or {}).get("taskSupport") or "forbidden"
            need(stated in support, f"{name} declares taskSupport {stated}, expected {sorted(support)}")


def text_of(content: list[Any]) -> str:
    """The text of a result whose first block is a text block."""
    need(content, "the result has no content")
    need(content[0].type == "text", f"the first block is of type {content[0].type}, expected text")
    need(content[0].text, "the first block's text is empty")
    return content[0].text


def plain(model: Any) -> dict[str, Any]:
    """A parsed answer as the JSON it came from, for comparing two of them."""
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


def canonical(result: dict[str, Any]) -> dict[str, Any]:
    """The part of a tool's result that is the same in every era."""
    return {
        "content": result["content"],
        "structuredContent": result.get("structuredContent"),
        "isError": bool(result.get("isError")),
    }


def check_time(value: Any, what: str) -> datetime:
    """Checks that a timestamp is ISO 8601 with an offset, parsed or not."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    need(moment.tzinfo is not None, f"{what} {value!r} has no offset")
    return moment


def check_statuses(statuses: list[str], end: str) -> None:
    """Checks that a task was seen working and then ended in `end`, for good."""
    need("working" in statuses, f"never seen working: {statuses}")
    same(statuses[-1], end, "the last status")
    early = [s for s in statuses[:-1] if s in TERMINAL]
    need(not early, f"a finished task changed its status: {statuses}")


def check_messages(messages: list[str | None]) -> None:
    """Checks that a task's status message told its progress to whoever polled."""
    told = list(dict.fromkeys(m for m in messages if m))
    need(len(told) >= 2, f"the status message of a task that reports progress did not change: {told}")


def check_progress(seen: list[tuple[float, float | None]], steps: int) -> None:
    """Checks the progress notifications of a call of slow_progress."""
    need(seen, "no progress notification came")
    values = [value for value, _ in seen]
    need(all(a < b for a, b in zip(values, values[1:])), f"progress does not increase: {values}")
    need(len(values) >= 2, f"only one progress notification for {steps} steps: {values}")
    totals = {total for _, total in seen if total is not None}
    need(totals <= {float(steps), 1.0, 100.0}, f"total is neither the steps, 1 nor 100: {totals}")


def check_told(text: str, expected: set[str], tool: str) -> None:
    """Checks that a tool that asked was told these."""
    missing = {answer for answer in expected if answer not in text}
    need(not missing, f"{tool} was not told {sorted(missing)}: {text!r}")


def answer_to(schema: dict[str, Any]) -> dict[str, Any]:
    """An answer to an elicitation that fits its schema: everything, agreeing."""

    def value(field: dict[str, Any]) -> Any:
        if "enum" in field:
            return field["enum"][0]
        match field.get("type"):
            case "boolean":
                return True
            case "integer" | "number":
                return field.get("minimum", 1)
            case _:
                return NAME

    return {name: value(field) for name, field in (schema.get("properties") or {}).items()}
