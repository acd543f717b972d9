"""`secondkey demo`: a simulated Slack, the bot and an agent in one process, on a project and a sample shop."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import SecretStr, ValidationError

from agent.errors import ConfigurationError
from agent.model import chain_from
from agent.runbooks import Runbooks
from agent.sandbox.select import choose
from agent.secrets import redact
from bot import config_words
from bot.app import App
from bot.config import Settings
from bot.demo_place import RUNBOOKS, Place, alone, prepare
from bot.observability import configure_logging
from bot.tour import Tour
from simulator.driver import Driver
from simulator.server import Simulator

DEFAULT_DATA = Path(".secondkey") / "demo"
DEFAULT_PORT = 3700
APPROVERS, ADMINS = ("U0OMAR", "U0INES"), ("U0OMAR",)
TOUR_RATE = 120.0
"""Business seconds a real second on the tour: 30 minutes without an answer last 15 s."""
RUNS_AN_HOUR = 500
"""Whoever tries things out is not to be stopped by the quota that a team needs."""
_KEYS = ("SECONDKEY_MODELS", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")
_TIERS = ("low", "medium", "medium", "high")
"""Of the suggested tasks, in order."""


@dataclass(frozen=True)
class DemoOptions:
    """What was asked for on the command line; None stands for the default."""

    project: Path | None = None
    data: Path | None = None
    in_place: bool = False
    port: int | None = None
    clock_rate: float | None = None
    tour: bool = False
    http: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """Read the parsed command line."""
        return cls(
            project=arguments.project,
            data=arguments.data,
            in_place=arguments.in_place,
            port=arguments.port,
            clock_rate=arguments.clock_rate,
            tour=arguments.tour,
            http=arguments.http,
        )

    @property
    def rate(self) -> float:
        """Business seconds a real second."""
        return self.clock_rate if self.clock_rate is not None else TOUR_RATE if self.tour else 1.0


def run(options: DemoOptions) -> int:
    """Demonstrate until Ctrl-C (0), or play the tour (0 when all was as expected, else 1).

    Raises ConfigurationError.
    """
    environment = {key: value for key, value in os.environ.items() if not options.tour or key not in _KEYS}
    data = (options.data or DEFAULT_DATA).resolve()
    with alone(data, fresh=options.data is None, tour=options.tour):
        place = prepare(options.project, data, in_place=options.in_place)
        configure_logging(redact, file=place.log)
        return asyncio.run(_demonstrate(options, place, environment))


async def _demonstrate(options: DemoOptions, place: Place, environment: Mapping[str, str]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with await _simulator(options) as simulator:
        settings = _settings(options, place, simulator)
        prompts = Runbooks.load(settings.runbooks).prompts
        simulator.workspace.prompts = [{"title": title, "message": task} for title, task in prompts]
        app = await App.start(settings, environment=environment, over_http=options.http, stop=stop)
        if app is None:
            return 0
        try:
            if options.http:
                simulator.set_request_url(f"{app.url}/slack/events")
            if options.tour:
                return await _tour(options, place, simulator, stop)
            _say(await _welcome(options, place, simulator, environment))
            return 1 if await app.until(stop) else 0
        finally:
            await app.stop()


async def _simulator(options: DemoOptions) -> Simulator:
    """Serve Slack on the port that was named, else on the usual one or any; raises ConfigurationError."""
    wanted = options.port if options.port is not None else 0 if options.tour else DEFAULT_PORT
    try:
        return await Simulator.start(port=wanted, clock_rate=options.rate)
    except (OSError, OverflowError) as error:
        if options.port is not None:
            raise ConfigurationError(
                f"Port {wanted} cannot be listened on.", fix="Name another one with --port, or leave it out."
            ) from error
        return await Simulator.start(port=0, clock_rate=options.rate)


def _settings(options: DemoOptions, place: Place, simulator: Simulator) -> Settings:
    slack = simulator.workspace.app
    try:
        return Settings(
            data=place.data,
            project=place.project,
            databases={"shop": place.shop},
            runbooks=(RUNBOOKS,),
            approvers=APPROVERS,
            admins=ADMINS,
            runs_an_hour=RUNS_AN_HOUR,
            runs_an_hour_global=RUNS_AN_HOUR,
            host="127.0.0.1",
            port=0,
            clock_rate=options.rate,
            slack_api_url=simulator.api_url,
            slack_bot_token=SecretStr(slack.bot_token),
            slack_app_token=SecretStr("" if options.http else slack.app_token),
            slack_signing_secret=SecretStr(slack.signing_secret if options.http else ""),
            models="" if options.tour else os.environ.get("SECONDKEY_MODELS", ""),
        )
    except ValidationError as error:
        raise ConfigurationError(
            config_words.said(error.errors(include_url=False)), fix="Mend the option or the environment."
        ) from error


async def _tour(options: DemoOptions, place: Place, simulator: Simulator, stop: asyncio.Event) -> int:
    async with Driver(simulator.url) as driver:
        playing = asyncio.ensure_future(Tour(driver, place.project, place.shop, rate=options.rate).play())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if playing.done():
            return 0 if playing.result() else 1
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        _say("The tour was ended early.")
        return 1


async def _welcome(
    options: DemoOptions, place: Place, simulator: Simulator, environment: Mapping[str, str]
) -> str:  # fmt: skip
    chain = chain_from(environment)
    model = (
        f"{', '.join(chain)}: any task works"
        if chain
        else "none, so known tasks only (OPENAI_API_KEY or ANTHROPIC_API_KEY: any)"
    )
    sandbox = await choose()
    tasks = "\n".join(
        f"    {tier:7} {prompt['message']}" for tier, prompt in zip(_TIERS, simulator.workspace.prompts, strict=False)
    )
    changes = "itself: changes land in it" if options.in_place else f"a copy of it: {_near(place.project)}"
    lines = [
        "",
        f"  Second Key is at  {simulator.url}",
        "",
        "  Try this, as Maya, in a direct message or with @Second Key in #data-team:",
        tasks,
        "  Then switch to Omar or Ines, who decide in #ai-actions.",
        "",
        f"  model     {model}",
        f"  project   {_near(place.origin)}, {changes}",
        f"  database  {_near(place.shop)}, a sample shop",
        f"  data      {_near(place.data)}, {'kept' if options.data else 'fresh at each start; --data FOLDER keeps it'}",
        f"  log       {_near(place.log)}",
    ]
    if sandbox.name == "none":
        why = await sandbox.self_test()
        lines.append(f"  sandbox   none, so no code runs: {why} (apt-get install bubblewrap)")
    if options.rate != 1:
        lines.append(f"  clock     {options.rate:g} times as fast: 30 minutes last {1800 / options.rate:.0f} s")
    return "\n".join([*lines, "", "  Ctrl-C ends it.", ""])


def _near(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
