"""Drives a server with the MCP Inspector's two command lines, in both eras.

`inspector --cli` sends one request and ends; `mcpdo`, in the same package, keeps a
connection in a daemon of its own and drives tasks. Every check has its own daemon in
its own home folder, so nothing is left behind and nothing is shared.

`mcpdo` serves one request of a connection at a time: a running task cannot be
cancelled through it, which is why no check here tries.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp1_client
from harness import Failed, Suite, Target, check_tools, eventually, need, same

NODE = Path(__file__).resolve().parents[2] / ".deps" / "node"
CLIENTS = NODE / "node_modules" / "@modelcontextprotocol" / "inspector" / "clients"
CLI = CLIENTS / "launcher" / "build" / "index.js"
MCPDO = CLIENTS / "mcpdo" / "build" / "mcp-bin.js"

suite = Suite("Inspector")

ERAS = {"modern": "2026-07-28", "legacy": "2025-11-25"}


async def run(program: Path, *arguments: str, home: str | None = None) -> tuple[int, Any]:
    """The exit code of a command and the JSON it printed."""
    with tempfile.TemporaryDirectory(prefix="outlast-inspector-") as fresh:
        environment = {**os.environ, "HOME": home or fresh, "MCP_INSPECTOR_SECRET_STORE": "file"}
        process = await asyncio.create_subprocess_exec(
            NODE / "bin" / "node", program, *arguments,
            env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
    text = (out.strip() or err.strip().splitlines()[-1] if err.strip() else out).decode()
    try:
        return process.returncode or 0, json.loads(text)
    except ValueError as error:
        raise Failed(f"{program.name} {' '.join(arguments)} printed no JSON: {text[:500]!r}") from error


async def cli(target: Target, era: str, method: str, *more: str) -> tuple[int, Any]:
    """One request with a connection of its own."""
    if target.stdio:
        # What the server gets and what the Inspector gets is told apart by the dashes.
        where, more = ("--protocol-era", era), (*more, "--", *target.command)
    else:
        where = (str(target.url), "--transport", "http", "--protocol-era", era)
    return await run(CLI, "--cli", *where, "--method", method, "--format", "json", "-q", *more)


@asynccontextmanager
async def connection(target: Target, era: str) -> AsyncIterator[Any]:
    """A connection that lives in a daemon; yields what runs one command over it."""
    with tempfile.TemporaryDirectory(prefix="outlast-mcpdo-") as home:
        common = ("--plain", "--format", "json")
        where = (
            ("--transport", "stdio", "--", *target.command)
            if target.stdio
            else ("--server-url", str(target.url), "--transport", "http")
        )
        try:
            code, said = await run(MCPDO, *common, "connect", "@c", "--era", era, *where, home=home)
            same(code, 0, f"exit code of connect, which said {said}")
            same(said.get("protocolEra"), era, "era of the connection")

            async def command(*arguments: str) -> tuple[int, Any]:
                return await run(MCPDO, *common, "--connection", "c", *arguments, home=home)

            yield command
        finally:
            await run(MCPDO, *common, "daemon", "stop", home=home)


def text_of(result: Any) -> str:
    need(isinstance(result, dict) and result.get("content"), f"not a result of a tool: {result}")
    return result["content"][0]["text"]


for era, version in ERAS.items():

    @suite.check(f"one request a process: handshake, tools, a call, {version}")
    async def requests(target: Target, era: str = era, version: str = version) -> None:
        _, said = await cli(target, era, "initialize")
        same(said["result"]["protocolVersion"], version, "protocol version")
        _, said = await cli(target, era, "tools/list")
        check_tools(said["result"]["tools"], with_support=era == "legacy")
        arguments = ("--tool-name", "add", "--tool-args-json", '{"a": 19, "b": 23}')
        code, said = await cli(target, era, "tools/call", *arguments)
        same((code, text_of(said["result"])), (0, "42"), "exit code and the sum")

    @suite.check(f"a task to its end, and one that fails, {version}")
    async def task(target: Target, era: str = era) -> None:
        async with connection(target, era) as command:
            code, said = await command("tools/call", "slow_compute", "seconds:=1", 'label:="i"', "--task")
            need(code == 0 and text_of(said), f"exit code {code}: {said}")
            code, said = await command("tools/call", "failing_job", "--task")
            need(code != 0 or said.get("isError"), f"a tool that fails succeeded: {said}")

    @suite.check(f"a question inside a task, {version}")
    async def question(target: Target, era: str = era) -> None:
        async with connection(target, era) as command:
            _, said = await command("tools/call", "confirm_delete", 'filename:="i.txt"', "--task")
            pending = said.get("elicitationPending")
            need(pending, f"no question came: {said}")
            _, said = await command("elicitation/respond", pending["elicitationId"], "confirm:=true")
            same(text_of(said.get("result", said)), "deleted i.txt", "the result after the answer")

    @suite.check(f"tasks that another client of the older era started: progress, cancel, result, {version}")
    async def followed(target: Target, era: str = era) -> None:
        async with mcp1_client.connect(target) as session:
            done = await mcp1_client.start(session, "add", {"a": 19, "b": 23})
            # It ends because it is told to.
            lasting = await mcp1_client.start(session, "slow_progress", {"steps": 100_000, "step_ms": 100})
        async with connection(target, era) as command:
            told: dict[str, None] = {}

            async def look() -> str:
                code, said = await command("tasks/get", lasting)
                same(code, 0, f"exit code of tasks/get, which said {said}")
                told[said["task"].get("statusMessage") or ""] = None
                return said["task"]["status"]

            await eventually(look, lambda _: len([message for message in told if message]) > 1, "the progress moves")
            code, said = await command("tasks/cancel", lasting)
            same((code, said.get("cancelled")), (0, True), f"exit code and answer, {said}")
            await eventually(look, lambda status: status == "cancelled", "the task is cancelled")
            code, said = await command("tasks/result", done)
            same((code, text_of(said)), (0, "42"), "exit code and the sum")


if __name__ == "__main__":
    suite.main()
