"""What is wrong with a setting, in an operator's words: a plain sentence a field, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agent.secrets import find_secret

Fault = Mapping[str, Any]
"""One error as pydantic lists it."""

_NUMBER: Final = "must be a number"
_WHOLE: Final = "must be a whole number"
_TEXT: Final = "must be a text in quotes"
_LIST: Final = "must be a list in square brackets"
_TABLE: Final = "must be a table"
_KINDS: Final = {
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": _TEXT,
    "path_type": "must be a path in quotes",
    "tuple_type": _LIST,
    "list_type": _LIST,
    "dict_type": _TABLE,
    "mapping_type": _TABLE,
    "missing": "has too few values",
    "too_long": "has too many values",
}
_BOUNDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "greater_than_equal": lambda bound: f"must be at least {_plain(bound['ge'])}",
    "greater_than": lambda bound: f"must be more than {_plain(bound['gt'])}",
    "less_than_equal": lambda bound: f"must be at most {_plain(bound['le'])}",
    "literal_error": lambda bound: f"must be {bound['expected']}",
    "less_than": lambda bound: f"must be less than {_plain(bound['lt'])}",
}
_PATTERNS: Final = {
    "command": "must be a slash and up to 31 small letters, digits, hyphens or underscores",
    "on_call": "must be the Slack id of a person (U…) or a user group (S…)",
}
_WRITTEN: Final = {
    "admins": 'admins = ["U0123ABCD"]',
    "approvers": 'approvers = ["U0123ABCD"]',
    "command": 'command = "/agent"',
    "databases": 'databases = { shop = "shop.db" }',
    "egress": '[egress."https://api.example.com"] with methods = ["GET"] under it',
    "mcp": '[mcp.NAME] with command = ["…"] or url = "…" under it',
    "models": 'models = "anthropic:claude-sonnet-5-5,openai:gpt-6-luna"',
    "on_call": 'on_call = "U0123ABCD"',
    "prices": 'prices = { "openai:my-model" = [3.0, 15.0] }, USD a million tokens in and out',
    "runbooks": 'runbooks = ["runbooks.toml"]',
    "secrets": '[secrets.NAME] with from = "env:NAME" and hosts = ["api.example.com"] under it',
    "tool_timeouts": "tool_timeouts = { run_python = 60 }",
    "tools": 'tools = ["my_tools.py"]',
}
"""How a setting is written where its kind alone does not tell."""


def said(faults: Sequence[Fault]) -> str:
    """All that is wrong, a sentence each; beyond five they are counted."""
    more = f" {len(faults) - 5} more are not usable either." if len(faults) > 5 else ""  # noqa: PLR2004  as said above
    return " ".join(_sentence(fault) for fault in faults[:5]) + more


def fix(fault: Fault, source: str, environment: Mapping[str, str]) -> str:
    """Where it is mended, and how it is written there."""
    name = str(fault["loc"][0]) if fault["loc"] else ""
    variable = "PORT" if name == "port" and environment.get("PORT") else f"SECONDKEY_{name.upper()}"
    where = f"{variable} in the environment" if variable in environment else source
    written = _WRITTEN.get(name)
    return f"Mend it in {where}; it is written like {written}." if written else f"Mend it in {where}."


def _sentence(fault: Fault) -> str:
    """Such as "The setting 'port' is not usable: it must be at most 65535, not 70000."."""
    place, kind = fault["loc"], str(fault["type"])
    name = str(place[0]) if place else ""
    if kind == "string_pattern_mismatch" and name in _PATTERNS:
        wanted = _PATTERNS[name]
    elif kind in _BOUNDS:
        wanted = _BOUNDS[kind](fault["ctx"])
    elif kind in _KINDS:
        wanted = _KINDS[kind]
    else:
        return f"The setting {_spelled(place)} is not usable: {fault['msg']}."
    return f"The setting {_spelled(place)} is not usable: it {wanted}{_given(fault)}."


def _given(fault: Fault) -> str:
    """What stands there, as long as it is short; never of a table, which may hold what nobody else should read."""
    value = fault.get("input")
    if fault["type"] == "missing" or not isinstance(value, str | int | float) or find_secret(str(value), {}):
        return ""
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return f", not {text}" if len(text) <= 40 else ""  # noqa: PLR2004  a line's worth


def _spelled(place: Sequence[object]) -> str:
    """Such as 'approvers' (value 1) or 'tool_timeouts.run_python'."""
    words = [str(part) for part in place if not isinstance(part, int)]
    number = next((f" (value {part + 1})" for part in place if isinstance(part, int)), "")
    return f"{'.'.join(words)!r}{number}"


def _plain(bound: object) -> str:
    """A bound without an exponent."""
    return f"{bound:f}".rstrip("0").rstrip(".") if isinstance(bound, float) else str(bound)
