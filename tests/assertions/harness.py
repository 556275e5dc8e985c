"""The registry of assertions and the context each of them runs in.

Invariant: an assertion sees nothing of another one's: it opens its own clients, makes its own tasks, and whatever it
opened is closed after it. What differs between servers is in the profile only.
"""

import copy
import json
import pathlib
import re
import shlex
import time
import uuid
from dataclasses import dataclass

from client import ELICITATION, LEGACY, MODERN, LegacyPeer, ModernPeer
from hosts import OwnHttpServer, OwnStdioServer, RunningHttp
from outcome import Skip, Violation, require, short

ASSERTIONS = {}
YEARS = {"legacy": LEGACY, "modern": MODERN}
TERMINAL = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Assertion:
    """One numbered requirement and the function that checks it."""

    name: str
    eras: str
    transports: tuple
    cites: str
    check: object
    exclusive: bool

    @property
    def requires(self):
        """The first line of the function's documentation."""
        return (self.check.__doc__ or "").strip().splitlines()[0]

    def lacks_era(self, spoken):
        """Why the assertion cannot concern a server that speaks only the eras in `spoken`, `None` if it does."""
        if "|" in self.eras:
            return None if set(self.eras.split("|")) & set(spoken) else f"the server speaks none of {self.eras}"
        missing = [era for era in self.eras.split("+") if era not in spoken]
        return f"the profile says the server does not speak {YEARS[missing[0]]}" if missing else None

    @property
    def order(self):
        """Sorts E2 before E10, and E before V."""
        return self.name[0], int(self.name[1:])


def assertion(name, eras, transports, cites, exclusive=False):
    """Register a function as assertion `name`.

    `eras` is "legacy", "modern", "legacy+modern" (needs both) or "legacy|modern" (needs either); `transports` "http",
    "stdio" or "http+stdio"; `cites` the place of the public specification; `exclusive` keeps everything else from
    running beside it.
    """

    def register(check):
        if name in ASSERTIONS:
            raise RuntimeError(f"{name} is defined twice")
        ASSERTIONS[name] = Assertion(
            name, eras, tuple(transports.split("+")), cites, check, exclusive
        )
        return check

    return register


class Profile:
    """What the server under test offers: tools by role, and facts about its configuration."""

    def __init__(self, path):
        try:
            data = json.loads(pathlib.Path(path).read_text())
        except (OSError, ValueError) as failure:
            raise SystemExit(f"cannot read the profile {path}: {failure}") from failure
        self.name = data.get("name", pathlib.Path(path).stem)
        self.eras = data.get("eras", ["legacy", "modern"])
        self.roles = data.get("roles", {})
        self.facts = data.get("facts", {})
        for role, entry in self.roles.items():
            if not isinstance(entry, dict) or not isinstance(entry.get("tool"), str):
                raise SystemExit(f"{path}: role {role!r} needs an object with a tool name under \"tool\"")

    def fact(self, name, default=None):
        """A fact about the server, `default` if the profile does not state it."""
        return self.facts.get(name, default)

    def call(self, role, **values):
        """The parameters of a `tools/call` of the tool in `role`; `Skip` if there is none."""
        entry = self.roles.get(role)
        if entry is None:
            raise Skip(f"the profile has no tool in the role {role!r}")
        values = {"label": "wire", "seconds": 1, "marker": "wire", **values}

        def filled(template):
            if isinstance(template, dict):
                return {key: filled(value) for key, value in template.items()}
            if isinstance(template, list):
                return [filled(value) for value in template]
            if isinstance(template, str):
                whole = re.fullmatch(r"\{(\w+)\}", template)
                if whole and whole[1] in values:
                    return values[whole[1]]
            return copy.deepcopy(template)

        return {"name": entry["tool"], "arguments": filled(entry.get("arguments", {}))}


@dataclass
class Target:
    """The server under test, as given on the command line."""

    profile: Profile
    url: str | None
    stdio: list | None
    server_command: str | None
    path: str
    tokens: dict
    scratch: pathlib.Path
    deadline: float
    idle_seconds: float


class Context:
    """What an assertion works with."""

    def __init__(self, target, transport):
        self.target = target
        self.profile = target.profile
        self.transport = transport
        self.deadline = target.deadline
        self._hosts = []
        self._shared = None

    @property
    def over_http(self):
        """Whether this run is over HTTP."""
        return self.transport == "http"

    def host(self):
        """The server this assertion shares with the others (over stdio: a process of its own)."""
        if self._shared is None:
            if self.over_http:
                self._shared = RunningHttp(self.target.url)
            else:
                self._shared = OwnStdioServer(self.target.stdio, self.target.scratch)
            self._hosts.append(self._shared)
        return self._shared

    def own_server(self, options=""):
        """A server on a new store that this assertion may kill; `Skip` if the command line cannot start one.

        `options` are added to its command line.
        """
        target = self.target
        if self.over_http:
            if not target.server_command:
                raise Skip("needs --server-command to kill and restart the server")
            command = f"{target.server_command} {options}"
            host = OwnHttpServer(command, target.scratch, target.path, self.deadline)
        else:
            host = OwnStdioServer([*target.stdio, *shlex.split(options)], target.scratch)
            if not host.durable:
                raise Skip("needs {store} in the --stdio command to restart on the same store")
        self._hosts.append(host)
        return host

    def expiring_host(self):
        """A server whose tasks in the role `expiring` expire soon after their end."""
        options = self.profile.fact("expiring_options")
        return self.host() if options is None else self.own_server(options)

    def own_stdio(self):
        """A fresh stdio process of this assertion's own, whatever its store."""
        host = OwnStdioServer(self.target.stdio, self.target.scratch)
        self._hosts.append(host)
        return host

    def token(self, user):
        """The bearer token of `user`; `Skip` if the command line names none."""
        if user not in self.target.tokens:
            raise Skip(f"needs --token {user}=... of a server with users")
        return self.target.tokens[user]

    @property
    def has_users(self):
        """Whether the server tells principals apart by tokens."""
        return self.over_http and bool(self.target.tokens)

    def _link(self, host, user):
        headers = {}
        if self.has_users:
            headers["Authorization"] = f"Bearer {self.token(user or next(iter(self.target.tokens)))}"
        return (host or self.host()).link(headers)

    def legacy_raw(self, host=None, user=None):
        """A 2025-11-25 client that has not said anything yet."""
        return LegacyPeer(self._link(host, user), self.deadline)

    def legacy(self, capabilities=None, host=None, user=None):
        """An initialized 2025-11-25 client; it declares elicitation unless `capabilities` says otherwise."""
        peer = self.legacy_raw(host, user)
        peer.initialize(ELICITATION if capabilities is None else capabilities)
        return peer

    def modern(self, capabilities=None, host=None, user=None):
        """A 2026-07-28 client."""
        return ModernPeer(self._link(host, user), self.deadline, capabilities)

    def modern_on(self, peer):
        """A 2026-07-28 client on the link of another peer; its request ids never meet the other's."""
        return ModernPeer(peer.link, self.deadline, ids="modern-")

    def call(self, role, **values):
        """See `Profile.call`."""
        return self.profile.call(role, **values)

    def eventually(self, what, probe, timeout=None, pause=0.05):
        """Repeat `probe` until it returns something true; `Violation` naming `what` and the last value otherwise."""
        timeout = self.deadline if timeout is None else timeout
        deadline = time.monotonic() + timeout
        while True:
            value = probe()
            if value:
                return value
            if time.monotonic() > deadline:
                raise Violation(f"{what} did not happen within {timeout:g} s")
            time.sleep(pause)

    def watch(self, seconds, probe=lambda: None, pause=0.05):
        """Call `probe` again and again for `seconds`: an observation window for things that must not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            probe()
            time.sleep(pause)

    def close(self):
        """Close every client and end every process of this assertion."""
        for host in self._hosts:
            host.close()


def unknown_id():
    """An id no server has issued."""
    return str(uuid.uuid4())


def text_of(result):
    """The text of a CallToolResult's text blocks."""
    return "\n".join(block.get("text", "") for block in result.get("content", []) if block.get("type") == "text")


def accept(request, marker="wire"):
    """An answer that accepts an `elicitation/create` request, filled in by its schema."""
    schema = (request.get("params") or {}).get("requestedSchema") or {}
    content = {}
    for name, field in (schema.get("properties") or {}).items():
        if "enum" in field:
            content[name] = field["enum"][0]
        elif field.get("oneOf"):
            content[name] = field["oneOf"][0]["const"]
        elif field.get("type") == "boolean":
            content[name] = True
        elif field.get("type") in ("integer", "number"):
            content[name] = field.get("minimum", 1)
        elif field.get("type") == "array":
            content[name] = []
        else:
            content[name] = marker
    return {"action": "accept", "content": content}


__all__ = [
    "ASSERTIONS", "TERMINAL", "Assertion", "Context", "Profile", "Skip", "Target", "Violation", "accept", "assertion",
    "require", "short", "text_of", "unknown_id",
]
