"""Only the composition root builds the parts that live as long as the process."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = frozenset(
    [
        "Anchoring",
        "GuardedApp",
        "Deadlines",
        "Decisions",
        "Delivery",
        "Fetching",
        "Inbox",
        "Keeper",
        "KeptBreakers",
        "LocalDoor",
        "Metrics",
        "Policies",
        "Poster",
        "Renderer",
        "Reviser",
        "Roster",
        "Runtime",
        "Services",
        "Sessions",
        "Signer",
        "SocketLink",
        "SqliteJournal",
        "Streams",
        "Tidying",
        "Traces",
        "Turns",
        "Undo",
        "Voters",
        "WireModel",
    ]
)
"""Each of them exists once in a process, and holds state or a task."""
FAKES = ROOT / "storage" / "fakes.py"


def made(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PARTS:
            yield node.func.id


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


ROOTS = (ROOT / "bot" / "app.py", *modules("bot/composition"))


def test_only_the_composition_root_builds_the_parts_of_a_process() -> None:
    elsewhere = {
        str(file.relative_to(ROOT)): sorted(set(made(file)))
        for file in modules("agent", "storage", "bot")
        if file not in ROOTS and file != FAKES and any(made(file))
    }
    assert elsewhere == {}


def test_each_of_these_parts_is_built_in_the_composition_root() -> None:
    assert {name for file in ROOTS for name in made(file)} == PARTS
