"""How an assertion ends other than by returning: `Violation` (the server is wrong) or `Skip` (it cannot be checked)."""

import json


class Violation(Exception):
    """The server does not do what the assertion requires. The text holds what was observed."""


class Skip(Exception):
    """The assertion cannot be checked on this server. The text says why, and what would make it run."""


def short(value, limit=300):
    """`value` as one line of JSON, cut in the middle when it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def require(condition, message, observed=None):
    """Raise `Violation` with `message` and what was observed unless `condition` holds."""
    if not condition:
        raise Violation(message if observed is None else f"{message}; got {short(observed)}")
