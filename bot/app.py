"""The composition root: the only place where concrete objects are built. Start, recover, stop.

The order stands here; how each part is built stands in `bot/composition/`, which nothing else may import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from agent.errors import ConfigurationError
from agent.ports import ChatModel, Clock
from agent.runbooks import Runbooks
from bot.channels import find_channels
from bot.checks import check_tokens, prepare_folders
from bot.composition.deciding import Deciding, note_reloads
from bot.composition.driving import drive, sweep
from bot.composition.ground import Ground
from bot.composition.materials import Materials
from bot.composition.slack import Slack, bolt_of, client_of, speak
from bot.composition.terminal import local_door
from bot.config import Settings
from bot.link import preflight
from bot.local import GONE, must_be_alone
from bot.observability import configure_logging
from bot.policies import Policies
from bot.running import Running
from bot.watching import watch_loop
from bot.web import serve

_log = structlog.get_logger(__name__)


class App(Running):
    """A running Second Key, and how it is started."""

    __slots__ = ()

    @classmethod
    async def start_local(
        cls,
        settings: Settings,
        *,
        environment: Mapping[str, str],
        clock: Clock | None = None,
        model: ChatModel | None = None,
    ) -> App:
        """The same house without Slack, for one terminal and its runs only.

        Raises ConfigurationError when another process drives the runs of this data folder.
        """
        return await _build_local(Materials(settings, environment, clock=clock, model=model))

    @classmethod
    async def start(
        cls,
        settings: Settings,
        *,
        environment: Mapping[str, str],
        over_http: bool = False,
        stop: asyncio.Event | None = None,
        clock: Clock | None = None,
        model: ChatModel | None = None,
        log: bool = False,
    ) -> App | None:
        """Start everything; raises ConfigurationError with the fix. None when stopped while standing by.

        `clock` and `model` replace the machine's clock and the wire, for tests and benchmarks. `log` sets up logging:
        every line goes through the redaction first.
        """
        materials = Materials(settings, environment, clock=clock, model=model)
        if log:
            configure_logging(materials.redact)
        return await _build(materials, stop or asyncio.Event(), over_http=over_http)


async def _build(materials: Materials, stop: asyncio.Event, *, over_http: bool) -> App | None:
    settings = materials.settings
    check_tokens(settings, over_http=over_http)
    client = client_of(materials)
    deciding = Deciding(materials, client)
    policies, runbooks = Policies(deciding.policy), Runbooks.load(settings.runbooks)
    prepare_folders(settings)
    installation = await preflight(client, "" if over_http else settings.slack_app_token.get_secret_value())
    await deciding.groups.refresh(policies().groups)
    channels = await find_channels(client, settings)
    ground = await Ground.open(materials, deciding, policies, runbooks)
    db = ground.db
    deciding.roster.look(db)
    if not policies().everybody(installation.team):
        await db.close()
        fix = "Name at least one Slack user id as `approvers` in secondkey.toml, or in the policy's [people]."
        raise ConfigurationError(f"Nobody may approve anything. {deciding.groups.problem}".strip(), fix=fix)
    app: App | None = None
    keeper = ground.keeper(lambda: _wake_all(app, ground))
    slack = Slack(client, bolt_of(settings, client, over_http=over_http), installation, channels, over_http)
    try:
        web = await serve(
            settings.host,
            settings.port,
            bolt=slack.bolt if over_http else None,
            checks=lambda: app.problems() if app is not None else {"start": "not finished"},
            metrics=materials.metrics.page,
            warnings=lambda: app.warnings() if app is not None else {},
        )
    except ConfigurationError:
        await db.close()
        raise
    app = App(settings, db, keeper, web, materials.watch(db), policies=policies, groups=deciding.groups)
    try:
        if not await keeper.acquire(stop):
            await app.stop()
            return None
        app.traces.start()
        app.looks.append(asyncio.create_task(watch_loop(materials.metrics, materials.clock), name="loop lag"))
        await drive(app, ground)
        await speak(app, ground, slack)
    except BaseException:
        await app.stop()
        raise
    if channels.problem:
        _log.warning("cards_have_no_channel", problem=channels.problem)
    if (models := materials.environment.get("SECONDKEY_MODELS")) and not materials.chain:
        _log.warning("no_model_has_a_key", models=models)
    _log.info("ready", url=web.url, team=installation.team, models=list(materials.chain), policy=policies().version)
    return app


async def _build_local(materials: Materials) -> App:
    """Driver, gate, journal and deadlines without Slack; raises ConfigurationError."""
    settings = materials.settings
    deciding = Deciding(materials, AsyncWebClient())  # never asked: nobody of a group is at a terminal
    policies, runbooks = Policies(deciding.policy), Runbooks.load(settings.runbooks)
    prepare_folders(settings)
    ground = await Ground.open(materials, deciding, policies, runbooks, is_local=True)
    app: App | None = None
    keeper = ground.keeper(lambda: _wake_all(app, ground))
    app = App(settings, ground.db, keeper, None, materials.watch(ground.db), policies=policies)
    try:
        deciding.roster.look(ground.db)
        if not await app.keeper.try_acquire():
            must_be_alone(ground.lease, settings.data)
        app.traces.start()
        app.local = local_door(ground)
        for run in app.local.left_over():
            await app.local.stop(run, GONE)
        await drive(app, ground)
        note_reloads(app, policies)
        sweep(app, ground, app.local.decisions)
    except BaseException:
        await app.stop()
        raise
    return app


def _wake_all(app: App | None, ground: Ground) -> None:
    """Look at every run again, such as when a pause ended."""
    if app is not None and app.runtime is not None:
        for run in ground.to_drive():
            app.runtime.wake(run)
