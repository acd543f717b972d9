"""What speaks Slack: the client and Bolt, people, delivery, listeners and the link."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from agent.domain import Principal
from agent.errors import ConfigurationError
from agent.workspace import Workspace
from bot.blocks.render import Renderer
from bot.blocks.text import inline
from bot.bolt import GuardedApp
from bot.channels import Channels
from bot.composition.deciding import note_reloads
from bot.composition.driving import sweep
from bot.composition.entries import keep_entries
from bot.composition.ground import Ground
from bot.composition.materials import Materials
from bot.config import Settings
from bot.deciders import PolicyEntitlement, Voters
from bot.delivery import Delivery
from bot.fetching import Fetching
from bot.identity import Identity
from bot.link import Installation, SocketLink
from bot.listeners import home, register, replies, takeover_talk
from bot.listeners.services import Services
from bot.posting import Poster
from bot.running import Running
from bot.sessions import Sessions
from bot.streams import Streams
from bot.watching import CountedSlack
from storage.attachments import Attachments
from storage.decisions import Decisions
from storage.inbox import Inbox
from storage.outbox import Outbox
from storage.queries import Queries
from storage.rows import ApprovalRow

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Slack:
    """What the preflight found."""

    client: AsyncWebClient
    bolt: AsyncApp
    installation: Installation
    channels: Channels
    over_http: bool


def client_of(materials: Materials) -> CountedSlack:
    """The client with which everything asks Slack; retries are our own."""
    settings = materials.settings
    token = settings.slack_bot_token.get_secret_value()
    client = CountedSlack(token=token, base_url=settings.slack_api_url, timeout=10, retry_handlers=[])
    client.told = materials.metrics.asked_slack
    return client


def bolt_of(settings: Settings, client: AsyncWebClient, *, over_http: bool) -> AsyncApp:
    """Bolt, which checks signatures when Slack comes over HTTP."""
    # The listener persists before Slack is answered; else a crash in between would lose what was acked.
    return GuardedApp(
        name="secondkey",  # else Bolt walks the whole stack to find one, for 80 ms
        client=client,
        signing_secret=settings.slack_signing_secret.get_secret_value() or None,
        process_before_response=True,
        request_verification_enabled=over_http,
        ignoring_self_events_enabled=True,
    )


async def speak(running: Running, ground: Ground, slack: Slack) -> None:
    """Deliver, listen, and connect; raises ConfigurationError."""
    materials, db, client = ground.materials, running.db, slack.client
    identity = await _identity(ground, slack)
    entitlement = PolicyEntitlement(ground.policies, identity)
    queries, outbox = Queries(db), Outbox(db)
    ground.deciding.known(Voters(queries, entitlement, identity.on_decision), identity)
    policies, groups = ground.policies, ground.deciding.groups
    note_reloads(running, policies)
    running.looks.append(asyncio.create_task(groups.keep(lambda: policies().groups), name="groups"))

    def named(approval: ApprovalRow, escalated: bool) -> tuple[str, ...]:  # noqa: FBT001  the shape of Named
        return entitlement.named_at(approval, escalated=escalated)

    decisions = Decisions(db, materials.clock, materials.ids, entitlement, named=named)
    renderer = _renderer(running, ground, slack, identity)
    poster = Poster(client, materials.clock)
    running.sessions = Sessions(client, queries, materials.clock)
    running.streams = Streams(client, materials.clock, outbox.want, stopped=running.sessions.asked)
    running.delivery = Delivery(
        outbox=outbox,
        poster=poster,
        render=renderer,
        delivered=decisions.delivered,
        clock=materials.clock,
        count=materials.metrics.count,
        streams=running.streams,
        telemetry=materials.telemetry(running.traces),
    )
    running.delivery.problem = slack.channels.problem
    db.subscribe("outbox", running.delivery.wake)
    db.subscribe("head", running.sessions.moved)
    running.fetching = _fetching(running, ground, client)
    sweep(running, ground, decisions)
    services = _services(running, ground, slack, identity=identity, decisions=decisions, renderer=renderer)
    services = running.services = keep_entries(services, poster)
    loops = [
        ("delivery", running.delivery.run()),
        ("sessions", running.sessions.run()),
        ("files", running.fetching.run()),
        ("homes", home.keep(services)),
    ]
    if services.anchoring is not None:
        loops.append(("anchors", services.anchoring.run()))
    running.tasks += [asyncio.create_task(run, name=name) for name, run in loops]
    register(slack.bolt, services)
    takeover_talk.resume(services)
    if not slack.over_http:
        running.link = SocketLink(slack.bolt, materials.settings.slack_app_token.get_secret_value(), client)
        await running.link.connect()


async def _identity(ground: Ground, slack: Slack) -> Identity:
    """Who people are; raises ConfigurationError when none of the approvers may decide."""
    policies, roster, db = ground.policies, ground.deciding.roster, ground.db
    team, on_call = slack.installation.team, ground.materials.settings.on_call
    deciders = policies().everybody(team)
    clock = ground.materials.clock
    identity = Identity(slack.client, team, clock, decides=lambda who: who.key in policies().everybody(team))
    identity.on_decision = lambda: roster.look(db)
    await identity.learn(deciders)
    able = [key for key in deciders if identity.may_decide(Principal.parse(key))]
    if not able:
        named = ", ".join(sorted(deciders))
        raise ConfigurationError(
            f"None of the approvers ({named}) is a full member of {slack.installation.team_name}.",
            fix="Name Slack user ids such as U0123 of full members (profile, Copy member ID).",
        )
    if missing := deciders - set(able):
        _log.warning("approvers_who_cannot_decide", approvers=sorted(missing))
    if on_call and not on_call.startswith("S") and not any(key.endswith(on_call) for key in able):
        _log.warning("on_call_may_not_take_over", on_call=on_call)
    return identity


def _renderer(running: Running, ground: Ground, slack: Slack, identity: Identity) -> Renderer:
    policies, team, channels = ground.policies, slack.installation.team, slack.channels
    return Renderer(
        queries=Queries(running.db),
        outbox=Outbox(running.db),
        names=identity.name,
        channels={"approval": channels.actions, "takeover": channels.takeovers},
        workspace_url=slack.installation.url,
        place=running.turns.place if running.turns is not None else _no_place,
        look=ground.materials.look(),
        everybody=lambda: tuple(policies().everybody(team)),
    )


def _services(
    running: Running, ground: Ground, slack: Slack, *, identity: Identity, decisions: Decisions, renderer: Renderer
) -> Services:
    materials, db = ground.materials, running.db
    settings, admins = materials.settings, ground.policies().admins(slack.installation.team)
    assert running.sessions is not None  # noqa: S101  made before
    assert running.fetching is not None  # noqa: S101  made before
    return Services(
        db=db,
        inbox=Inbox(db, materials.ids, limited=materials.metrics.limited),
        outbox=Outbox(db),
        decisions=decisions,
        control=ground.control,
        identity=identity,
        queries=Queries(db),
        client=slack.client,
        clock=materials.clock,
        ids=materials.ids,
        bot_user=slack.installation.bot_user,
        approvals_channel=slack.channels.actions,
        workspace_url=slack.installation.url,
        command=settings.command,
        task_characters=settings.task_characters,
        quota=materials.quotas(),
        budgets=settings.budgets,
        place=running.turns.place if running.turns is not None else _no_place,
        redact=materials.redact,
        reviser=running.reviser,
        explain=running.runtime.explain if running.runtime is not None else _nobody_explains,
        links=renderer.waits_at,
        sessions_moved=running.sessions.asked,
        files_owed=running.fetching.wake,
        admins=frozenset(Principal.parse(key).user for key in admins),
        prompts=ground.runbooks.prompts[:4],
        problems=running.problems,
        budget_micro_usd=materials.budget_micro_usd,
        groups_changed=ground.deciding.groups.changed,
        rush=running.rush,
    )


def _fetching(running: Running, ground: Ground, client: AsyncWebClient) -> Fetching:
    settings, queries = ground.materials.settings, Queries(running.db)
    workspaces, project = (settings.data / "workspaces").resolve(), settings.project.resolve()

    async def attach(run: str, name: str, data: bytes) -> str:
        return await Workspace(workspaces / run, project).attach(name, data)

    async def late(run: str, text: str) -> None:
        line = queries.run(run)
        if line is not None and running.services is not None:
            await replies.say(running.services, line.channel, line.thread_ts, inline(text, 300))

    return Fetching(
        rows=Attachments(running.db),
        client=client,
        token=settings.slack_bot_token.get_secret_value(),
        api_url=settings.slack_api_url,
        attach=attach,
        late=late,
        clock=ground.materials.clock,
    )


def _no_place(run: str) -> int:
    del run
    return 0


async def _nobody_explains(run: str, question: str) -> str:
    del run, question
    return ""
