"""The people of a crash scenario: they ask, press what is still to be pressed, look things up, and let time pass.

They go by what stands in Slack alone, and press again when Slack said that the app did not respond.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import re
import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.driver import Driver
from simulator.errors import WaitTimedOut

Json = dict[str, Any]
MAYA, OMAR, INES, BOT = "U0MAYA", "U0OMAR", "U0INES", "U0SECONDKEY"
DATA, ACTIONS = "C0DATA", "C0ACTIONS"
LOOK_S = 0.15
"""How long people look at a Slack in which nothing happens before they look again, real seconds."""
LAPSE_S = 7300.0
"""Longer than any approval may wait, business seconds."""
REASON_S = 61.0
_NAME = re.compile(r"crash (?:low|medium|high) ([a-z0-9]+)|have the effect ([a-z0-9]+)-", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ask:
    """One task: the runbook, the name in it, and what people do with what it asks."""

    book: str
    name: str
    wish: str
    ends: str = ""
    """How its run must end; empty when that is not known beforehand."""
    effects: tuple[str, ...] = ()
    """What must have happened in the end, each once; nothing else may."""

    @property
    def text(self) -> str:
        """What is typed."""
        return f"crash {self.book} {self.name}"


SCENARIO = (
    Ask("low", "low", "", "completed", ("low-again", "low-once")),
    Ask("medium", "yes", "approve", "completed", ("yes-asked",)),
    Ask("medium", "no", "deny", "partial"),
    Ask("high", "person", "done", "completed", ("person-after",)),
    Ask("medium", "late", "nothing", "partial"),
)


class Page:
    """The shared page that says how far business time is ahead."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.ahead = 0.0

    def advance(self, seconds: float) -> None:
        """Let business time pass at once."""
        self.ahead += seconds
        self._page[:8] = struct.pack("d", self.ahead)

    def close(self) -> None:
        """Give the page back."""
        self._page.close()


class People:
    """Everybody who takes part."""

    def __init__(self, slack: Driver, asks: Sequence[Ask], database: Path, effects: Path, page: Page) -> None:
        self._slack, self._asks, self._database, self._effects, self._page = slack, asks, database, effects, page
        self._pressed: dict[tuple[str, str, str], int] = {}
        self.places: dict[str, str] = {}
        """Name of a task → the ts of its message."""

    async def ask(self) -> None:
        """Post every task at once."""
        for ask in self._asks:
            self.places[ask.name] = await self._slack.post(MAYA, DATA, f"<@{BOT}> {ask.text}")

    async def see_it_through(self) -> None:
        """Press and wait until every run is over and every message stands."""
        while True:
            seen = len(self._slack.pushes)
            acted = False
            for (channel, _), message in tuple(self._slack.messages.items()):
                if channel == ACTIONS:
                    acted = await self._look_at(message) or acted
            acted = await self._give_reason() or acted
            left = self._left()
            if left == "nothing":
                return
            if not acted and left == "late":
                self._page.advance(LAPSE_S)
            elif not acted and left == "reason":
                self._page.advance(REASON_S)
            try:
                await self._slack.wait_for_push(lambda _: True, after=seen, timeout=LOOK_S)
            except WaitTimedOut:
                continue

    async def _look_at(self, message: Json) -> bool:
        buttons = [item["action_id"] for item in _elements(message)]
        found = _NAME.search(json.dumps([message.get("text"), message.get("blocks")]))
        ask = next((ask for ask in self._asks if found and ask.name in found.groups()), None)
        if ask is None or not buttons:
            return False
        if "approve" in buttons and ask.wish in {"approve", "deny"}:
            return await self._press(OMAR, message, ask.wish)
        if "unknown_happened" in buttons:
            happened = self._has_effect(str(message.get("text")))
            # Not Ines: what she told the agent after her takeover makes her a co-requester of that run.
            return await self._press(OMAR, message, "unknown_happened" if happened else "unknown_run_again")
        if "takeover_claim" in buttons:
            return await self._press(INES, message, "takeover_claim")
        if "takeover_done" in buttons:
            return await self._close(message)
        return False

    async def _give_reason(self) -> bool:
        asked = [view for view in self._slack.views.get(OMAR, ()) if view["callback_id"] == "deny_reason"]
        if not asked:
            return False
        self._slack.views.pop(OMAR)
        return bool((await self._slack.submit(OMAR, asked[-1]["id"], {"reason": {"value": "Not now."}})).get("ok"))

    async def _press(self, who: str, message: Json, button: str) -> bool:
        answer = await self._slack.click(who, message["channel"], message["ts"], button)
        if answer.get("ok"):  # what follows is shown soon; pressing again at once would be a second click
            try:
                await self._slack.wait_for_message(
                    message["channel"],
                    lambda m: m["ts"] == message["ts"] and m.get("blocks") != message.get("blocks"),
                    timeout=0.5,
                )
            except WaitTimedOut:
                return False
        else:
            await asyncio.sleep(LOOK_S / 3)
        return bool(answer.get("ok"))

    async def _close(self, message: Json) -> bool:
        """Do what a high action asked for, and say so."""
        self._slack.views.pop(INES, None)
        answer = await self._slack.click(INES, message["channel"], message["ts"], "takeover_done")
        if not answer.get("ok"):
            return False
        try:
            view = await self._slack.wait_for_view(INES, timeout=0.7)
        except WaitTimedOut:
            return False
        fields = {field: {"value": "As the file says."} for field in ("what", "reference", "evidence")}
        return bool((await self._slack.submit(INES, view["id"], fields)).get("ok"))

    def _has_effect(self, title: str) -> bool:
        """Whether what a packet is about stands in the effects' file: the person looks."""
        words = self._effects.read_text().split() if self._effects.exists() else []
        return title.rpartition(" ")[2] in words

    def _left(self) -> str:
        """What is still to come: nothing, only what time brings (late, reason), or more."""
        if not self._database.exists():
            return "start"
        try:
            with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=1)) as conn:
                return _left(
                    conn,
                    {self.places.get(ask.name, "") for ask in self._asks if ask.wish == "nothing"},
                    len(self._asks),
                )
        except sqlite3.Error as error:
            return str(error)


def _left(conn: sqlite3.Connection, lapse: set[str], asked: int) -> str:
    rows = conn.execute(
        "SELECT t.message_ts, r.status, r.id FROM runs r JOIN tasks t ON t.run = r.id"
    ).fetchall()  # fmt: skip
    over = {"completed", "partial", "failed", "cancelled"}
    open_runs = {run: ts for ts, status, run in rows if status not in over}
    if len(rows) < asked:
        return "tasks"
    if not open_runs:
        unsent = conn.execute("SELECT count(*) FROM outbox WHERE sent < wanted").fetchone()[0]
        return "messages" if unsent else "nothing"
    pending = {run for (run,) in conn.execute("SELECT run FROM approvals WHERE state = 'pending'")}
    if set(open_runs) <= pending and set(open_runs.values()) <= lapse:
        return "late"
    reasons = {run for (run,) in conn.execute("SELECT run FROM approvals WHERE reason_until IS NOT NULL")}
    if set(open_runs) <= pending | reasons and reasons:
        return "reason"
    return "runs"


def _elements(message: Json) -> list[Json]:
    rows = [block for block in message.get("blocks") or () if block["type"] == "actions"]
    return [item for row in rows for item in row["elements"]]
