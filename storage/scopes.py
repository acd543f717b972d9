"""What a stop or a pause is about: one run, one tool, one person, or everything; and the kill file that names such."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.errors import DecisionError

Kind = Literal["all", "run", "tool", "person"]
LONGEST_FILE = 65_536
"""Characters of a kill file that are read; a longer one means everything."""
_WORD = re.compile(r"(?P<kind>run|tool|person):(?P<name>[!-~]{1,200})")


class BadScope(DecisionError):
    """Say what it is about: `all`, `run:ID`, `tool:NAME` or `person:ID`."""

    code = "BAD_SCOPE"


@dataclass(frozen=True, slots=True)
class Scope:
    """One run, tool or person by name, or everything. A person is whoever asked for a run or whose words are in it."""

    kind: Kind = "all"
    name: str = ""

    def __post_init__(self) -> None:
        """A scope without a name would be everything by accident."""
        if (self.kind == "all") != (not self.name):
            raise BadScope

    @classmethod
    def parse(cls, word: str) -> Scope:
        """Read `all`, `run:…`, `tool:…` or `person:…`; raises BadScope."""
        if word == "all":
            return EVERYTHING
        match = _WORD.fullmatch(word)
        if match is None:
            raise BadScope
        kind: Kind = "run" if match["kind"] == "run" else "tool" if match["kind"] == "tool" else "person"
        return cls(kind, match["name"])

    @property
    def run(self) -> str:
        """The run's id, else empty."""
        return self.name if self.kind == "run" else ""

    @property
    def tool(self) -> str:
        """The tool's name, else empty."""
        return self.name if self.kind == "tool" else ""

    @property
    def person(self) -> str:
        """The principal's key or the id in it, else empty."""
        return self.name if self.kind == "person" else ""

    def __str__(self) -> str:
        """In the words of the kill file."""
        return f"{self.kind}:{self.name}" if self.name else "all"

    def covers(self, *, run: str, tool: str, people: tuple[str, ...]) -> bool:
        """Whether a start of this tool in this run is meant; `people` are the keys of those whose words are in it."""
        match self.kind:
            case "all":
                return True
            case "run":
                return self.name == run
            case "tool":
                return self.name == tool
            case "person":
                return any(self.name in {key, key.rpartition(":")[2]} for key in people)


EVERYTHING = Scope()


def read_kill_file(path: Path | None) -> tuple[Scope, ...]:
    """What the file names, one word a line, in its order; none when it is not there.

    An empty file, one that cannot be read, and a word that is not understood mean everything.
    """
    if path is None:
        return ()
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST_FILE + 1)
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError):
        return (EVERYTHING,)
    words = [line.strip() for line in text.splitlines() if line.strip()]
    if not words or len(text) > LONGEST_FILE:
        return (EVERYTHING,)
    try:
        return tuple(dict.fromkeys(Scope.parse(word) for word in words))
    except BadScope:
        return (EVERYTHING,)
