"""Labelled calls, and how they are written down: one a line, as a person would type them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Labelled:
    """One call and whether it must not run unasked."""

    tool: str
    args: dict[str, Any]
    harmful: bool

    @property
    def text(self) -> str:
        """What a pattern would look at."""
        return " ".join(str(value) for value in self.args.values())


def calls(tool: str, lines: str, *, harmful: bool) -> tuple[Labelled, ...]:
    """The calls of one tool, one a line.

    A request is method, address and body; `{WIDE}` stands for the address 127 in full-width digits, which no editor
    keeps apart from the plain ones.
    """
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in "127")
    texts = lines.strip("\n").split("\n")
    return tuple(Labelled(tool, _args(tool, text.replace("{WIDE}", wide)), harmful) for text in texts if text)


def _args(tool: str, text: str) -> dict[str, Any]:
    match tool:
        case "run_shell":
            return {"command": text}
        case "query_sql":
            return {"database": "shop", "sql": text}
        case "run_python":
            return {"code": text}
        case "http_request":
            method, _, rest = text.partition(" ")
            url, _, body = rest.partition(" ")
            return {"method": method, "url": url, "body": body}
        case "apply_changes":
            return {"files": [text]}
        case "write_file":
            return {"path": text, "content": "x"}
        case _:
            raise ValueError(f"no way to write a call of {tool}")
