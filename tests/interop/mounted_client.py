"""Drives an axum application that serves our tools beside its own routes, with FastMCP 4 in both eras.

The application is `examples/in_axum`. `--url` is its MCP endpoint; its own routes and those of REST are on the
same port, whose address the environment variable `OUTLAST_APPLICATION` names (the endpoint may stand behind
a tap).
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

import fastmcp_tasks
from fastmcp_tasks import call_tool_task

from fastmcp_shared import connect, outcome
from fastmcp4_client import finish
from harness import Suite, Target, need, same, text_of

assert fastmcp_tasks  # Imported for its effect: it declares the tasks extension.

suite = Suite("FastMCP 4 and an axum application")


def http(method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """A request to the application, and its JSON answer."""
    request = urllib.request.Request(
        os.environ["OUTLAST_APPLICATION"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def ordered(*items: str) -> set[int]:
    """Orders these by the application's own route; returns their numbers."""
    numbers = set()
    for item in items:
        status, answer = http("POST", "/orders", {"item": item})
        same(status, 201, "status of an order")
        numbers.add(answer["id"])
    return numbers


def check_packed(numbers: set[int]) -> None:
    """Checks that the application's own route shows these as packed."""
    _, orders = http("GET", "/orders")
    packed = {order["id"] for order in orders if order["packed"]}
    need(numbers <= packed, f"not packed: {numbers - packed}")


for mode, version in (("auto", "2026-07-28"), ("legacy", "2025-11-25")):

    @suite.check(f"a tool over the application's data, {version}")
    async def packs(target: Target, mode: str = mode, version: str = version) -> None:
        numbers = ordered("a chair", "a table")
        async with connect(target, mode=mode) as client:
            same(client.session.protocol_version, version, "protocol version")
            names = {tool.name for tool in await client.list_tools()}
            need({"waiting", "pack"} <= names, f"tools: {names}")
            need("packed" in text_of((await client.call_tool("pack", {"seconds": 0})).content), "the result")
            same((await client.call_tool("waiting", {})).structured_content, {"result": 0}, "orders that wait")
        check_packed(numbers)


@suite.check("a task over the application's data")
async def task(target: Target) -> None:
    numbers = ordered("a lamp")
    async with connect(target) as client:
        handle = await call_tool_task(client, "pack", {"seconds": 0.1})
        need("packed" in text_of((await outcome(handle)).content), "the result")
    check_packed(numbers)


@suite.check("a task of REST is the same task over MCP")
async def rest(target: Target) -> None:
    numbers = ordered("a shelf")
    status, created = http("POST", "/tasks", {"tool": "pack", "arguments": {"seconds": 0.1}})
    same(status, 202, "status of the new task")
    async with connect(target) as client:
        same((await finish(client, created["taskId"])).status, "completed", "status")
    check_packed(numbers)


@suite.check("no path is doubled")
async def doubled(_target: Target) -> None:
    for path in ("/mcp/mcp", "/orders/mcp", "/nowhere"):
        same(http("POST", path, {})[0], 404, f"status of {path}")


if __name__ == "__main__":
    suite.main()
