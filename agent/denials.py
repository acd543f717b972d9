"""Whether people said no to a wanted effect, in another spelling or for another tool (invariant 10). Pure."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable
from urllib.parse import unquote

from agent.domain import Effect, Intent

#: The run's own copy of a file and the file itself are one target: the copy is how the file is reached.
_FILES = ("workspace:", "file:")
_ANY = "?"


def denied_by(wanted: Iterable[Intent], denied: Iterable[Intent]) -> Intent | None:
    """The first wanted intent that was denied, however it is spelt, or None. Reading is never denied."""
    said_no = [(item.effect, canonical_target(item.target)) for item in denied if item.effect is not Effect.READ]
    for intent in wanted:
        if intent.effect is Effect.READ:
            continue
        target = canonical_target(intent.target)
        if any(effect is intent.effect and _same(target, other) for effect, other in said_no):
            return intent
    return None


def canonical_target(target: str) -> tuple[str, str]:
    """Kind and name in the one spelling that targets are compared in."""
    for prefix in _FILES:
        if target.startswith(prefix):
            path = posixpath.normpath(target[len(prefix) :] or ".")
            return "file", "" if path == "." else path
    kind, _, name = target.partition(":")
    if kind == "db":
        return "db", name.strip().lower().replace('"', "").replace("`", "")
    if kind == "net":
        return kind, _address(name)
    return kind, name.rstrip("/").lower() if kind == "mail" else name


def _address(name: str) -> str:
    """An address as most servers take it, whatever is written in escapes, doubled or hung on to a part of its path."""
    parts = [part.partition(";")[0] for part in unquote(name).split("/")]
    return "/".join(part for part in parts if part not in {"", "."}).lower()


def _same(wanted: tuple[str, str], denied: tuple[str, str]) -> bool:
    (kind, name), (other_kind, other) = wanted, denied
    if kind != other_kind:
        return False
    match kind:
        case "file":
            return _covers(name, other) or _covers(other, name)
        case "db":
            return _same_table(name, other)
        case _:
            return name == other


def _covers(path: str, other: str) -> bool:
    """Whether one path is the other, a folder that holds it, or a pattern that fits it."""
    if _ANY in (path, other):
        return False  # what cannot be told is asked, not refused
    return path in {"", other} or other.startswith(f"{path}/") or fnmatch.fnmatchcase(other, path)


def _same_table(name: str, other: str) -> bool:
    """Tables of databases; a database that is not known may be any, and one without a table is all of its tables."""
    (base, _, table), (other_base, _, other_table) = name.partition("/"), other.partition("/")
    if base != other_base and _ANY not in (base, other_base):
        return False
    tables = {one.rpartition(".")[2] for one in (table, other_table)}
    return len(tables) == 1 or not table or not other_table
