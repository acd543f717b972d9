"""What a house is made of: people, places, a clock that is moved, a shop, a project, and how messages are read."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.fakes import ScriptedModel
from agent.tools.base import Tool
from simulator.clock import Timing
from tests.scenario.touch import Touch

MAYA, OMAR, INES, THEO, EVE, BOT = "U0MAYA", "U0OMAR", "U0INES", "U0THEO", "U0EVE", "U0SECONDKEY"
DATA, ACTIONS, GENERAL, TEAM = "C0DATA", "C0ACTIONS", "C0GENERAL", "T0SECONDKEY"
SECRET = "simulator-signing-secret"
Json = dict[str, Any]


class MovableClock(SystemClock):
    """Business time runs with the real one and is moved on by the test; transport time is real."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@dataclass
class Plan:
    """What a house is made with."""

    tools: Sequence[Touch] = ()
    replaced: Sequence[Tool[Any]] = ()
    """Tools that take the place of those with the same name."""
    model: ScriptedModel | None = None
    approvers: Sequence[str] = (OMAR, INES)
    policy: str = ""
    """Further TOML of the own policy."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    over_http: bool = False
    timing: Timing = field(default_factory=Timing)
    settings: Json = field(default_factory=Json)


def words(message: Mapping[str, Any]) -> str:
    """Everything that can be read in a message."""
    return json.dumps([message.get("text"), message.get("blocks")], ensure_ascii=False)


def buttons(message: Mapping[str, Any]) -> list[str]:
    """Action ids of a message's buttons."""
    rows = [block for block in message.get("blocks") or () if block["type"] == "actions"]
    return [str(item["action_id"]) for row in rows for item in row["elements"]]


def rules_of(tools: Sequence[Touch]) -> str:
    return "version = 1\n" + "".join(
        f"[[rule]]\nname = '{tool.name}'\nwhen = \"tool == '{tool.name}'\"\ntier = '{tool.tier}'\nsay = 'Its name.'\n"
        for tool in tools
        if tool.tier
    )


def make_shop(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE drinks (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL)")
    conn.executemany("INSERT INTO drinks VALUES (?, ?, ?)", [(1, "Oat flat", 400), (2, "Mocha", 450), (3, "Tea", 250)])
    conn.commit()
    conn.close()


def make_project(path: Path) -> None:
    path.mkdir()
    (path / "README.md").write_text("# Harbour Coffee\n\nRoasted by the sea.\n")
    (path / "prices.txt").write_text("Oat flat 4.00\n")
    for arguments in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"),
    ):
        subprocess.run(("git", *arguments), cwd=path, check=True, capture_output=True)  # noqa: S603, S607  # constants, and the git of this machine
