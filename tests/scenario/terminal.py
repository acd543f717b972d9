"""A terminal for one test: a project, a shop, the data of its runs, and somebody who types."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.fakes import ScriptedModel
from bot import cli_run
from bot.cli_run import Parts, Wanted
from bot.config import Settings
from storage.database import read_only
from tests.scenario.script import heard

RAISE = "UPDATE drinks SET price = 410 WHERE name = 'Oat flat'"
ME = f"local:{os.getuid()}"


class Typist:
    """Answers in turn; a callable is done instead of an answer. Then nobody is there any more."""

    def __init__(self, *answers: str | Callable[[], None]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def forget(self) -> None:
        pass

    async def line(self, question: str) -> str | None:
        self.asked.append(question)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else None
        if callable(answer):
            answer()
            await asyncio.Event().wait()  # until the question is taken back
        return answer if isinstance(answer, str) else None


@dataclass
class Terminal:
    """A folder with a project, a shop and the data of earlier runs."""

    folder: Path
    policy: str = ""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    said: str = ""
    heard: str = ""

    def run(
        self, replies: Sequence[Any] = (), typist: Typist | None = None, task: str = "Go on.", **wanted: Any
    ) -> int:
        """Do one task; what was printed is in `said` afterwards, what the model was told in `heard`."""
        model = ScriptedModel(list(replies))
        if not replies:
            model.chain = ()
        out = io.StringIO()
        policy = self.folder / "policy.toml"
        policy.write_text(f"version = 1\n{self.policy}")
        given = {"data": self.folder / "data", "project": self.folder / "project", "policy": policy,
                 "databases": {"shop": self.folder / "shop.db"}}  # fmt: skip
        settings = Settings(**(given | self.settings))
        try:
            return cli_run.run(settings, {}, Wanted(task=task, **wanted), Parts(model=model, prompter=typist, out=out))
        finally:
            self.said = out.getvalue()
            self.heard = "\n".join(heard(request) for request in model.requests)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said.splitlines()]

    def price(self) -> int:
        with sqlite3.connect(self.folder / "shop.db") as conn:
            (price,) = conn.execute("SELECT price FROM drinks WHERE name = 'Oat flat'").fetchone()
        conn.close()
        return int(price)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        conn = read_only(self.folder / "data" / "secondkey.db")
        try:
            return conn.execute(query).fetchall()
        finally:
            conn.close()
