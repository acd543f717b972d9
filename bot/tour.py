"""`secondkey demo --tour`: plays five situations by itself, checks every claim against the real files and rows.

The people click as they would in the page; nothing here reaches around Slack but to look whether what was said is true.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape

from agent.domain import APPROVAL_TIMEOUT_S
from agent.tools.listing import list_project
from bot.transcript import ACTIONS, ASKED, BOT, CHANNELS, NAMES, Json, buttons, key_of, told

LOW = "How many lines of Python are in this project, and which files are the longest?"
FILES = "Add a getting-help section to the README"
ROWS = "Cancel the pending orders of customer 42"
HIGH = "Empty the abandoned carts table"
PATIENCE_S = 20.0
"""Real seconds in which whatever is awaited has to come, besides the time that is let pass on purpose."""
_PENDING = "SELECT id, status, total_cents FROM orders WHERE customer_id = 42 AND status = 'pending' ORDER BY id"
_CARTS = "SELECT count(*) FROM abandoned_carts"
_EMPTYING = "DELETE FROM abandoned_carts"

Predicate = Callable[[Json], bool]


class People(Protocol):
    """What the people of the simulated workspace can do and see; `simulator.driver.Driver` is one."""

    async def post(self, user: str, channel: str, text: str) -> str:
        """Post a message and return its ts."""
        ...

    async def click(self, user: str, channel: str, ts: str, action_id: str) -> Json:
        """Press a button."""
        ...

    async def submit(self, user: str, view_id: str, values: Json) -> Json:
        """Send a modal."""
        ...

    async def wait_for_message(
        self, channel: str, predicate: Predicate, *, thread_ts: str | None, timeout: float  # noqa: ASYNC109  as the driver has it
    ) -> Json:  # fmt: skip
        """The first message that is, or comes to be, as wanted."""
        ...

    async def wait_for_view(self, user: str, predicate: Predicate, *, timeout: float) -> Json:  # noqa: ASYNC109  as above
        """The person's open modal."""
        ...


class Differs(Exception):
    """Something is not as it was said to be."""


class Tour:
    """Five situations and what must come of them."""

    def __init__(
        self, people: People, project: Path, shop: Path, *, rate: float, console: Console | None = None
    ) -> None:
        self._people, self._project, self._shop, self._rate = people, project, shop, rate
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._seen: set[str] = set()
        self._wrong: list[str] = []

    async def play(self) -> bool:
        """Play all; True when every one came out as expected."""
        began = time.perf_counter()
        phases: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("Low risk: it runs and answers at once", self._low),
            ("Medium risk, files: approved, so the file changes", self._approved),
            ("Medium risk, database: denied, so the rows stay", self._denied),
            ("Medium risk, database: nobody answers, so the rows stay", self._expired),
            ("High risk: a person takes it over", self._taken_over),
        )
        good = 0
        for number, (title, phase) in enumerate(phases, 1):
            self._console.print(f"\n[bold]Phase {number} of {len(phases)}. {escape(title)}[/bold]")
            good += await self._one(number, phase)
        seconds = time.perf_counter() - began
        for line in self._wrong:
            self._console.print(f"[red]differs:[/red] {escape(line)}")
        self._console.print(f"\n{good} of {len(phases)} phases as expected in {seconds:.0f} s")
        return good == len(phases)

    async def _one(self, number: int, phase: Callable[[], Awaitable[None]]) -> bool:
        try:
            await phase()
        except Differs as error:
            self._wrong.append(f"phase {number}: {error}")
        except Exception as error:  # noqa: BLE001  # what is awaited and never comes is told like any other difference
            self._wrong.append(f"phase {number}: {type(error).__name__}: {error}")
        else:
            return True
        self._console.print(f"  [red]not as expected:[/red] {escape(self._wrong[-1])}")
        return False

    # -- the five ------------------------------------------------------------------------------------------------

    async def _low(self) -> None:
        asked = await self._ask(LOW)
        began = time.perf_counter()
        answer = await self._answer(asked, "Completed")
        self._note(f"answered after {time.perf_counter() - began:.1f} s")
        files = [self._project / path for path in list_project(self._project) if path.endswith(".py")]
        lines = sum(len(file.read_bytes().splitlines()) for file in files)
        self._check(f"{lines:,} lines of Python in {len(files):,} files", in_=answer, why="the files say the same")

    async def _approved(self) -> None:
        before = self._readme()
        asked = await self._ask(FILES)
        card = await self._card()
        self._check("+## Getting help", in_=told(card), why="the card shows the exact diff")
        self._same(before, self._readme(), "the README before anybody decided")
        await self._click("U0OMAR", card, "approve")
        await self._becomes(card, "Approved, done")
        await self._answer(asked, "Completed")
        after = self._readme()
        added = [f"+{line}" for line in after.splitlines()[len(before.splitlines()) :] if line]
        self._true(after.startswith(before.rstrip("\n")) and "Getting help" in after, "the README has the section now")
        self._true(all(line in told(card) for line in added), "and nothing that was not on the card")

    async def _denied(self) -> None:
        before = self._rows(_PENDING)
        asked = await self._ask(ROWS)
        card = await self._card()
        self._check(f"Change {len(before)} rows of orders", in_=told(card), why="as many as are pending")
        await self._click("U0OMAR", card, "deny")
        reason = "Customer 42 called: they still want them."
        form = await self._people.wait_for_view("U0OMAR", _is("deny_reason"), timeout=PATIENCE_S)
        await self._submit("U0OMAR", form, {"reason": reason})
        card = await self._becomes(card, "Denied, not run", within=reason)
        answer = await self._answer(asked, "Ended")
        self._check("denied", in_=answer.lower(), why="the answer says who stopped it")
        self._true("expired" not in answer.lower(), "and does not call it expired")
        self._same(before, self._rows(_PENDING), "the rows")

    async def _expired(self) -> None:
        before = self._rows(_PENDING)
        asked = await self._ask(ROWS)
        card = await self._card()
        wait_s = APPROVAL_TIMEOUT_S / self._rate
        self._note(f"nobody answers; 30 minutes pass, which are {wait_s:.0f} s here")
        await self._becomes(card, "Expired, nobody answered: not run", patience=wait_s + PATIENCE_S)
        answer = await self._answer(asked, "Ended")
        self._check("expired", in_=answer.lower(), why="the answer says that nobody answered")
        self._true("denied" not in answer.lower(), "and does not call it denied")
        self._same(before, self._rows(_PENDING), "the rows")

    async def _taken_over(self) -> None:
        before = self._rows(_CARTS)
        asked = await self._ask(HIGH)
        packet = await self._card("takeover:")
        self._same(before, self._rows(_CARTS), "the table while nobody has acted")
        await self._click("U0OMAR", packet, "takeover_claim")
        packet = await self._becomes(packet, "", within="has it")
        with closing(sqlite3.connect(self._shop)) as connection, connection:
            gone = connection.execute(_EMPTYING).rowcount
        self._note(f"Omar empties the table by hand: {gone} rows")
        await self._click("U0OMAR", packet, "takeover_done")
        form = await self._people.wait_for_view("U0OMAR", _is("takeover_done_form"), timeout=PATIENCE_S)
        said = {
            "what": "Emptied abandoned_carts by hand, after a backup.",
            "reference": "OPS-311",
            "evidence": f"{_EMPTYING}: {gone} rows",
        }
        await self._submit("U0OMAR", form, said)
        await self._becomes(packet, "", within="OPS-311")
        answer = await self._answer(asked, "Completed")
        counted = f"had {gone} rows and has {self._rows(_CARTS)[0][0]} now"
        self._check(counted, in_=answer, why="counted again")
        self._check("a person took it over", in_=answer, why="the agent does not claim it for itself")

    # -- what people do ------------------------------------------------------------------------------------------

    async def _ask(self, task: str) -> str:
        ts = await self._people.post("U0MAYA", ASKED, f"<@{BOT}> {task}")
        self._say("U0MAYA", ASKED, f"@Second Key {task}")
        return ts

    async def _click(self, user: str, card: Json, action: str) -> None:
        label = next((item["text"]["text"] for item in buttons(card) if item["action_id"] == action), action)
        self._say(user, card["channel"], f"\\[presses {label}]")
        done = await self._people.click(user, card["channel"], card["ts"], action)
        if not done.get("ok"):
            raise Differs(f"pressing {label} was answered with {done.get('error')}")

    async def _submit(self, user: str, form: Json, said: dict[str, str]) -> None:
        for name, text in said.items():
            self._say(user, "", f"\\[{form['title']['text']}] {name}: {escape(text)}")
        values = {name: {"value": text} for name, text in said.items()}
        done = await self._people.submit(user, form["id"], values)
        if not done.get("ok"):
            raise Differs(f"the form was answered with {done.get('errors') or done.get('error')}")

    # -- what people see -----------------------------------------------------------------------------------------

    async def _card(self, kind: str = "card:") -> Json:
        def new(message: Json) -> bool:
            return key_of(message).startswith(kind) and message["ts"] not in self._seen and bool(buttons(message))

        card = await self._people.wait_for_message(ACTIONS, new, thread_ts=None, timeout=PATIENCE_S)
        self._seen.add(card["ts"])
        self._show(card)
        return card

    async def _becomes(self, card: Json, start: str, *, within: str = "", patience: float = PATIENCE_S) -> Json:
        """The card once its text begins so and it says `within`."""

        def changed(message: Json) -> bool:
            is_it = message["ts"] == card["ts"]
            return is_it and message["text"].startswith(start) and within in told(message)

        card = await self._people.wait_for_message(card["channel"], changed, thread_ts=None, timeout=patience)
        self._show(card, most=4)
        return card

    async def _answer(self, asked: str, start: str) -> str:
        def is_answer(message: Json) -> bool:
            return key_of(message).startswith("answer:")

        answer = await self._people.wait_for_message(ASKED, is_answer, thread_ts=asked, timeout=PATIENCE_S)
        self._show(answer, most=16)
        if not answer["text"].startswith(start):
            raise Differs(f"the answer is {answer['text'][:200]!r}")
        return told(answer)

    # -- what is true --------------------------------------------------------------------------------------------

    def _readme(self) -> str:
        for path in ("README.md", "README.rst", "README.txt", "README", "readme.md"):
            if (self._project / path).is_file():
                return (self._project / path).read_text(encoding="utf-8")
        return ""

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self._shop}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def _check(self, text: str, *, in_: str, why: str) -> None:
        self._true(text in in_, f"“{text}”: {why}")

    def _same(self, before: object, now: object, what: str) -> None:
        self._true(before == now, f"{what}: unchanged")

    def _true(self, holds: bool, what: str) -> None:  # noqa: FBT001  # an assertion reads so
        if not holds:
            raise Differs(f"this does not hold: {what}")
        self._console.print(f"    [green]checked[/green]  {escape(what)}")

    # -- the transcript ------------------------------------------------------------------------------------------

    def _say(self, user: str, channel: str, text: str) -> None:
        where = f" [dim]{CHANNELS.get(channel, '')}[/dim]" if channel else ""
        self._console.print(f"  [bold cyan]{NAMES[user]}[/bold cyan]{where}  {text}")

    def _note(self, text: str) -> None:
        self._console.print(f"    [dim]({escape(text)})[/dim]")

    def _show(self, message: Json, most: int = 14) -> None:
        lines = [line for line in told(message).split("\n") if line.strip()]
        shown = lines[:most] + ([f"… {len(lines) - most} more lines"] if len(lines) > most else [])
        if len(lines) > most and (row := buttons(message)):
            shown.append("  ".join(f"[{item['text']['text']}]" for item in row))
        where = CHANNELS.get(message["channel"], "")
        self._console.print(f"  [bold magenta]Second Key[/bold magenta] [dim]{where}[/dim]")
        for line in shown:
            self._console.print(f"    [magenta]│[/magenta] {escape(line)}")


def _is(callback: str) -> Predicate:
    return lambda view: view.get("callback_id") == callback
