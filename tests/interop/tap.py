#!/usr/bin/env python3
"""Stands between a client and our server and writes down every message that the server sent.

    tap.py --record FILE --listen PORT --to PORT        between HTTP clients and a server
    tap.py --record FILE --stdio COMMAND ARGUMENT...    around a stdio server

Bytes pass through unchanged and at once, a break of either side included; what is read
from them is a copy. Each line of the record is one JSON object: the message, the protocol
version that its connection speaks, and, for a response, the request that it answers.
schemas.mjs reads such records.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

#: Where a 2026-07-28 request says its version.
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"

#: One read. What passes is never held back for more.
CHUNK = 1 << 16


class Record:
    """The file, and what is known about the conversations in it."""

    def __init__(self, path: str) -> None:
        # Several taps append to one file; a line is one write.
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        #: The request of each id, for each session or connection.
        self._requests: dict[tuple[str, str], dict[str, Any]] = {}
        self._versions: dict[str, str] = {}

    def request(self, place: str, message: Any) -> None:
        """A client sent this."""
        for one in message if isinstance(message, list) else [message]:
            if isinstance(one, dict) and "method" in one and "id" in one:
                self._requests[place, json.dumps(one["id"])] = one
                # What belongs to no request speaks the version that was spoken last.
                if version := version_of(one):
                    self._versions[place] = version

    def response(self, place: str, message: Any, header: str | None, moved: Callable[[], str | None]) -> None:
        """The server sent this. `moved` names the session that an `initialize` opened."""
        for one in message if isinstance(message, list) else [message]:
            if not isinstance(one, dict):
                self._write({"version": None, "message": one})
                continue
            line: dict[str, Any] = {"message": one}
            request = None
            if "method" not in one and one.get("id") is not None:
                request = self._requests.get((place, json.dumps(one["id"])))
            version = version_of(request) or header
            if request:
                params = request.get("params")
                task = isinstance(params, dict) and "task" in params
                line["request"] = {"method": request["method"], "task": task}
                if request["method"] == "initialize" and "result" in one:
                    version = one["result"].get("protocolVersion")
                    self._versions[moved() or place] = version
            line["version"] = version or self._versions.get(place)
            self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


def version_of(request: dict[str, Any] | None) -> str | None:
    """The version that a request says itself."""
    params = (request or {}).get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def parsed(text: bytes) -> Any:
    """A message, or the text itself where it is none: the record must show that too."""
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")


# ---- HTTP/1.1


async def bodies(reader: asyncio.StreamReader) -> AsyncIterator[tuple[str, dict[str, str], AsyncIterator[bytes]]]:
    """The start line, the headers and the body's pieces of one HTTP message after the other."""
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return
        start, *lines = head.strip().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        yield start, headers, pieces(reader, start, headers)


async def pieces(reader: asyncio.StreamReader, start: str, headers: dict[str, str]) -> AsyncIterator[bytes]:
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
    elif length := int(headers.get("content-length", 0)):
        yield await reader.readexactly(length)
    elif start.startswith("HTTP/") and "content-length" not in headers and start.split()[1] not in ("202", "204", "304"):
        while piece := await reader.read(CHUNK):
            yield piece


class Connection:
    """One connection of a client, and the one to the server that stands behind it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.asked: deque[dict[str, str]] = deque()

    async def requests(self, copy: asyncio.StreamReader) -> None:
        async for start, headers, body in bodies(copy):
            text = b"".join([piece async for piece in body])
            headers[":method"] = start.split()[0]
            self.asked.append(headers)
            if text and start.startswith("POST"):
                self.record.request(self.place(headers), parsed(text))

    def place(self, headers: dict[str, str]) -> str:
        """Whose ids these are: the session's, or without one this connection's."""
        return headers.get("mcp-session-id") or str(id(self))

    async def responses(self, copy: asyncio.StreamReader) -> None:
        async for start, headers, body in bodies(copy):
            if start.split()[1].startswith("1"):
                continue
            request = self.asked.popleft()
            kind = headers.get("content-type", "")

            def sent(text: bytes) -> None:
                version = request.get("mcp-protocol-version")
                self.record.response(self.place(request), parsed(text), version, lambda: headers.get("mcp-session-id"))

            if kind.startswith("text/event-stream"):
                async for data in events(body):
                    sent(data)
            else:
                text = b"".join([piece async for piece in body])
                if text and kind.startswith("application/json") and request[":method"] == "POST":
                    sent(text)


async def events(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event that has some."""
    rest = b""
    data: list[bytes] = []
    async for piece in body:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                if text := b"\n".join(data):
                    yield text
                data = []


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, copy: asyncio.StreamReader) -> None:
    try:
        while data := await source.read(CHUNK):
            copy.feed_data(data)
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        copy.feed_eof()
        sink.close()


async def http(record: Record, port: int, to: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", to)
        except ConnectionError:
            writer.close()
            return
        connection = Connection(record)
        # The copies are read as fast as they are fed; the limit is for a head, not for a body.
        asked, answered = (asyncio.StreamReader(limit=1 << 26) for _ in range(2))
        done = await asyncio.gather(
            pump(reader, up_writer, asked),
            pump(up_reader, writer, answered),
            connection.requests(asked),
            connection.responses(answered),
            return_exceptions=True,
        )
        for error in done:
            # A side that breaks off in the middle of a message is no fault of the tap's.
            if isinstance(error, Exception) and not isinstance(error, (asyncio.IncompleteReadError, ConnectionError)):
                print(f"tap: {error!r}", file=sys.stderr)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


# ---- stdio


async def stdio(record: Record, command: list[str]) -> int:
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26
    )
    # A client that ends its server ends the tap; the server must get the same signal.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, child.send_signal, number)
    stdin = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)

    async def ask() -> None:
        assert child.stdin is not None
        try:
            while line := await stdin.readline():
                record.request("stdio", parsed(line))
                child.stdin.write(line)
                await child.stdin.drain()
        except ConnectionError:
            pass
        child.stdin.close()

    async def answer() -> None:
        assert child.stdout is not None
        while line := await child.stdout.readline():
            record.response("stdio", parsed(line), None, lambda: None)
            try:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                break

    asking = asyncio.create_task(ask())
    await answer()
    code = await child.wait()
    asking.cancel()
    return code


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--record", required=True, metavar="FILE")
    parser.add_argument("--listen", type=int, metavar="PORT")
    parser.add_argument("--to", type=int, metavar="PORT")
    parser.add_argument("--stdio", nargs=argparse.REMAINDER, metavar="COMMAND")
    options = parser.parse_args()
    record = Record(options.record)
    if options.stdio:
        code = asyncio.run(stdio(record, options.stdio))
        sys.stdout = None  # A closed pipe is not worth a complaint at exit.
        os._exit(max(code, 0))
    if options.listen is None or options.to is None:
        parser.error("give either --listen and --to or --stdio")
    asyncio.run(http(record, options.listen, options.to))


if __name__ == "__main__":
    main()
