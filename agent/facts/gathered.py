"""What a text of commands was found to do, gathered while it is read; and how a command's words are told apart."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.domain import Effect, Intent
from agent.facts.path import path_flags, written_flags

UNKNOWN: Final = "?"
"""What stands for a word that is computed."""
#: Whose words are looked for and never executed, and what such a search is handed on to.
_SEARCHES: Final = frozenset(
    {"git", "grep", "egrep", "fgrep", "rg", "git grep", "git log", "cat", "head", "tail", "wc", "sort", "uniq", "cut"}
)
_ROOT = "/workspace"


@dataclass(slots=True)
class Gathered:
    """What was gathered over all commands of a text."""

    cwd: str = ""
    effects: dict[Intent, None] = field(default_factory=dict[Intent, None])
    verbs: dict[str, None] = field(default_factory=dict[str, None])
    flags: dict[str, None] = field(default_factory=dict[str, None])
    why: dict[str, None] = field(default_factory=dict[str, None])
    hosts: dict[str, None] = field(default_factory=dict[str, None])
    ran: dict[str, None] = field(default_factory=dict[str, None])
    """Files that are run, as canonical targets."""

    def only_searches(self, names: Collection[str]) -> bool:
        """Whether all was understood, defines no `names`, and only looks for words: those are then not executed."""
        nothing_else = not (self.why or self.flags or self.effects or names)
        return bool(self.verbs) and nothing_else and set(self.verbs) <= _SEARCHES

    def runs(self, path: str) -> None:
        """A file is run of which the text says nothing."""
        self.ran[self.place(path)] = None
        self.why["It runs a file that was not read."] = None

    def place(self, path: str) -> str:
        """The canonical target of a path as the shell would find it: `workspace:a/b`, `host:/etc/x`, or with `?`."""
        if UNKNOWN in (path, self.cwd):
            return f"workspace:{UNKNOWN}"
        if path.startswith("~"):
            return f"host:{path}"
        full = posixpath.normpath(posixpath.join(_ROOT, self.cwd, path))
        if full == _ROOT or full.startswith(f"{_ROOT}/"):
            return f"workspace:{full[len(_ROOT) + 1 :]}"
        return f"host:{full}"

    def touches(self, effect: Effect, path: str) -> None:
        """One effect on one path."""
        if path in {"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "-"} or path.startswith("/dev/fd/"):
            return
        if path.startswith(("/dev/tcp/", "/dev/udp/")):
            self.flags["network"] = None
            return
        target = self.place(path)
        if UNKNOWN in target:
            self.why["It computes the name of what it changes."] = None
        if target.startswith("host:") and not target.startswith("host:/tmp/"):
            self.flags["outside"] = None
        self.effects[Intent(effect=effect, target=target)] = None
        if "touches_git" in written_flags(target.partition(":")[2]):
            self.flags["touches_git"] = None
        if effect is Effect.DELETE:
            self.flags["destructive"] = None
        self.looks_at(path)

    def looks_at(self, path: str) -> None:
        """Note down a path that is only read."""
        plain_path = path.strip("/").lstrip("~").lstrip("/")
        for flag in path_flags(plain_path, f"{plain_path}/x"):  # a folder stands for what is in it
            self.flags[flag] = None
        if re.match(r"^/(?:etc/(?:shadow|sudoers|gshadow)|proc/(?:\d+|self)/environ|root(?:/|$))", path):
            self.flags["touches_credentials"] = None


def plain(args: Sequence[str]) -> list[str]:
    """The arguments that are no options."""
    found: list[str] = []
    rest = False
    for word in args:
        if word == "--":
            rest = True
        elif rest or not word.startswith("-") or word == "-":
            found.append(word)
    return found


def has_option(args: Sequence[str], short: str, *long: str) -> bool:
    """Whether a short letter (also among others, as in `-rf`) or one of the long options is there."""
    for word in args:
        if word == "--":
            return False
        if word.startswith("--"):
            if word.partition("=")[0] in long:
                return True
        elif word.startswith("-") and any(letter in word[1:] for letter in short):
            return True
    return False
