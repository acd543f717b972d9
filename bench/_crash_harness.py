"""One life of the simulated workspace: bots that are forked, killed and started again, people, and a verdict."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench._crash_check import Evidence, check, states
from bench._crash_people import SCENARIO, Ask, Page, People
from bench._crash_tools import RUNBOOKS
from bench._crash_zygote import Bot, Zygote
from simulator.clock import Timing
from simulator.driver import Driver
from simulator.people import Person
from simulator.server import Simulator

PATIENCE_S = 25.0
TIMING = Timing(ack=1.0, redeliver=0.2, redeliveries=100)
SECOND = tuple(
    (kind, moment)
    for kind in ("append", "commit", "post", "update", "stream", "tool")
    for moment in ("before", "after")
)
SOON = 8
"""A second kill comes at one of so many first instants of its kind."""
Json = dict[str, Any]
Point = tuple[str, str, int, str]
"""Kind, before or after, its number among its kind, and what it was."""


@dataclass(slots=True)
class Verdict:
    """What came of one point."""

    point: Point | None
    reached: bool = False
    deaths: int = 0
    problems: list[str] = field(default_factory=list[str])
    points: list[Point] = field(default_factory=list[Point])
    seconds: float = 0.0
    unknown: bool = False
    states: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Life:
    """Everything in one workspace."""

    simulator: Simulator
    driver: Driver
    people: People
    keeper: Keeper
    page: Page


class Harness:
    """Plays one point after the other."""

    def __init__(self, zygote: Zygote, folder: Path, *, plant: str, keep: Path | None, is_twice: bool = False) -> None:
        self._zygote, self._folder, self._plant, self._keep = zygote, folder, plant, keep
        self._count = 0
        self._is_twice = is_twice
        self._runbooks = folder / "runbooks.toml"
        self._runbooks.write_text(RUNBOOKS, encoding="utf-8")
        self._project = folder / "project"
        self._project.mkdir()
        (self._project / "README.md").write_text("# A project\n", encoding="utf-8")

    async def play(self, point: Point | None) -> Verdict:
        """Play the scenario with a kill at this point (None: without, and note all points), and judge."""
        began = asyncio.get_running_loop().time()
        verdict = Verdict(point)
        folder = self._next()
        async with self.life(folder, SCENARIO, verdict, point) as life:
            await life.people.ask()
            await life.people.see_it_through()
        verdict.deaths = life.keeper.deaths
        verdict.reached, verdict.points = bool(life.keeper.killed_at), life.keeper.points
        await self.judge(life, folder, verdict, SCENARIO)
        verdict.seconds = asyncio.get_running_loop().time() - began
        return verdict

    @asynccontextmanager
    async def life(
        self,
        folder: Path,
        asks: Sequence[Ask],
        verdict: Verdict,
        point: Point | None,
        *,
        patience_s: float = PATIENCE_S,
        approvers: Sequence[str] = ("U0OMAR", "U0INES"),
    ) -> AsyncGenerator[Life]:
        """A fresh workspace with a bot that is up; what takes too long is noted in the verdict, and ends it."""
        async with await Simulator.start(rates=False, timing=TIMING) as simulator, Driver(simulator.url) as driver:
            page = Page(folder / "page")
            people = People(driver, asks, folder / "data" / "secondkey.db", folder / "effects", page)
            order = self._order(folder, simulator.api_url, point, approvers)
            keeper = Keeper(self._zygote, order, self._second() if point and self._is_twice else None)
            hire(simulator, approvers)
            watch = asyncio.create_task(keeper.keep_up())
            try:
                async with asyncio.timeout(patience_s):
                    await keeper.first_ready()
                    yield Life(simulator, driver, people, keeper, page)
            except TimeoutError:
                verdict.problems.append(f"the scenario did not end within {patience_s:g} s {keeper.trouble}".rstrip())
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
                await keeper.end()
                page.close()

    async def judge(self, life: Life, folder: Path, verdict: Verdict, asks: Sequence[Ask]) -> None:
        """Have the checker look at what is left; keep it when something is wrong."""
        messages = [
            {**message, "channel": channel.id}
            for channel in life.simulator.workspace.channels.values()
            for message in channel.messages.values()
        ]
        entries: list[Json] = life.simulator.services.log.after(0)["entries"]
        evidence = Evidence(
            database=folder / "data" / "secondkey.db",
            effects=folder / "effects",
            posts=[item["args"] for item in entries if item["method"] == "chat.postMessage" and item["ok"]],
            streams=[item["args"] for item in entries if item["method"] == "chat.startStream" and item["ok"]],
            messages=messages,
            asked=life.people.places,
            ends={ask.name: ask.ends for ask in asks if ask.ends},
            wanted=frozenset(name for ask in asks for name in ask.effects) if all(ask.ends for ask in asks) else None,
        )
        verdict.problems += await asyncio.to_thread(check, evidence)
        verdict.states = await asyncio.to_thread(states, evidence.database)
        verdict.unknown = "Did this happen" in json.dumps(messages)
        if self._keep is not None and verdict.problems:
            (folder / "slack.jsonl").write_text("\n".join(map(json.dumps, entries)))
            (folder / "problems").write_text("\n".join(map(str, [verdict.point, *verdict.problems])))
            shutil.copytree(
                folder, self._keep / "-".join(map(str, (verdict.point or ("none",))[:3])), dirs_exist_ok=True
            )

    def _second(self) -> Point:
        """Where the successor is killed in its turn: while it recovers, or soon after."""
        kind, moment = SECOND[self._count % len(SECOND)]
        return kind, moment, 1 + self._count // len(SECOND) % SOON, "the successor"

    def new_folder(self) -> Path:
        """A folder for one life."""
        return self._next()

    def _next(self) -> Path:
        self._count += 1
        folder = self._folder / f"point{self._count}"
        folder.mkdir()
        return folder

    def _order(self, folder: Path, api: str, point: Point | None, approvers: Sequence[str]) -> Json:
        return {
            "log": str(folder / "bot.log"),
            "page": str(folder / "page"),
            "effects": str(folder / "effects"),
            "generation": 0,
            "kill": list(point) if point else None,
            "records": point is None,
            "plant": self._plant,
            "settings": {
                "data": str(folder / "data"),
                "project": str(self._project),
                "runbooks": [str(self._runbooks)],
                "approvers": list(approvers),
                "admins": ["U0OMAR"],
                "port": 0,
                "runs_at_once": 100_000,
                "runs_at_once_global": 0,
                "runs_an_hour": 100_000,
                "runs_an_hour_global": 100_000,
                "slack_api_url": api,
                "slack_bot_token": "xoxb-simulator",
                "slack_app_token": "xapp-simulator",
                "slack_signing_secret": "simulator-signing-secret",
            },
        }


def hire(simulator: Simulator, people: Sequence[str]) -> None:
    """Have these people in the workspace, and in the channel of the cards."""
    workspace = simulator.workspace
    for user in people:
        if user not in workspace.people:
            workspace.people[user] = Person(user, user.lower(), user.title())
            workspace.channels["C0ACTIONS"].members.append(user)


class Keeper:
    """Starts the bot, and another whenever one is gone."""

    def __init__(self, zygote: Zygote, order: Json, second: Point | None = None) -> None:
        self._zygote = zygote
        self._order: Json = order
        self._second = second
        self._bot: Bot | None = None
        self.deaths = 0
        self._begun = asyncio.Event()
        self.killed_at = ""
        self.trouble = ""
        self.points: list[Point] = []
        self.bots = 0

    async def keep_up(self) -> None:
        """Until cancelled; only the first one is killed."""
        while True:
            bot = self._bot = self._zygote.spawn(self._order)
            self._begun.set()
            self.bots += 1
            await bot.gone.wait()
            self.killed_at = self.killed_at or bot.killed_at
            self.deaths += bool(bot.killed_at)
            if bot.failed:
                self.trouble = f"(a bot failed: {bot.failed})"
                await asyncio.sleep(0.5)
            second, self._second = self._second, None
            self._order["generation"] += 1
            self._order |= {"kill": list(second) if second else None, "records": False}

    async def first_ready(self) -> None:
        """Wait until the first bot is up, or gone."""
        await self._begun.wait()
        bot = self._bot
        if bot is None:
            return
        waits = [asyncio.ensure_future(bot.ready.wait()), asyncio.ensure_future(bot.gone.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def up(self) -> None:
        """Wait until a bot is up."""
        while self._bot is None or self._bot.gone.is_set() or not self._bot.ready.is_set():
            await self.first_ready()
            await asyncio.sleep(0.02)  # the next one is being forked

    async def kill(self) -> None:
        """End the bot that lives now; the next one is started at once."""
        bot = self._bot
        if bot is not None:
            await bot.kill()

    async def end(self) -> None:
        """End the last bot as a power cut would."""
        if self._bot is not None:
            await self._bot.kill()
            self.points = self._bot.points
