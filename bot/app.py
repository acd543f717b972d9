"""The composition root: the only place where concrete objects are built. Start, recover, stop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from agent.broker import Broker
from agent.clock import RandomIds, SystemClock
from agent.domain import Principal
from agent.equipment import Equipment
from agent.errors import ConfigurationError, ModelError, SecondKeyError, StorageUnavailable, ToolNotAllowed
from agent.model import WireModel, chain_from
from agent.policy import Policy, load_policy
from agent.ports import ChatModel, Clock
from agent.prompting import Prompts
from agent.resilience import Breakers
from agent.revising import Reviser
from agent.runbooks import Runbooks
from agent.runtime import Runtime
from agent.rush import Rush
from agent.sandbox.select import choose
from agent.secrets import find_secret, redact
from agent.state import RunState
from agent.supervisor import Limits
from agent.telemetry import Telemetry
from agent.tools.base import ToolContext
from agent.tools.databases import named_databases
from agent.tools.egress import Egress
from agent.tools.http import HttpRequest
from agent.tools.own import load_tools
from agent.tools.packages import load_packages
from agent.tools.registry import Registry, default_tools
from agent.workspace import Workspace
from bot.blocks.message import Look
from bot.blocks.render import Renderer
from bot.blocks.text import inline
from bot.channels import Channels, find_channels
from bot.checks import check_tokens, known_secrets, prepare_folders
from bot.config import Settings
from bot.deadlines import Deadlines
from bot.deciders import PolicyEntitlement, Roster, Voters
from bot.delivery import Delivery
from bot.entries import keep_entries
from bot.exporting import exporter_from
from bot.fetching import Fetching
from bot.groups import UserGroups
from bot.identity import DECIDING_FRESH_S, Identity, NotVerified
from bot.keeper import Keeper
from bot.link import Installation, SocketLink, preflight
from bot.listeners import home, register, replies, takeover_talk
from bot.listeners.services import Services
from bot.local import GONE, LocalDoor, TerminalEntitlement, must_be_alone
from bot.mcp_servers import McpServers
from bot.metrics import Metrics
from bot.observability import configure_logging
from bot.policies import Policies
from bot.posting import Poster
from bot.sessions import Sessions
from bot.streams import Streams
from bot.tidying import Tidying
from bot.tracing import Traces
from bot.turns import Turns
from bot.undo import Undo
from bot.watching import CountedSlack, Watch, watch_breakers, watch_loop, watch_traces
from bot.web import WebServer, serve
from storage.attachments import Attachments
from storage.breakers import KeptBreakers
from storage.control import Control
from storage.database import Database
from storage.decisions import Decisions
from storage.grants import Grants
from storage.inbox import Inbox
from storage.journal import SqliteJournal
from storage.lease import Lease
from storage.outbox import Outbox
from storage.policies import note_policy
from storage.queries import Queries
from storage.quotas import Quotas
from storage.retention import Retention
from storage.rows import ApprovalRow
from storage.signer import Signer
from storage.terminal_decisions import TerminalDecisions

GRACE_S = 5.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class App:
    """A running Second Key."""

    settings: Settings
    db: Database
    keeper: Keeper
    web: WebServer | None
    """None in a terminal's house."""
    traces: Traces
    runtime: Runtime | None = None
    deadlines: Deadlines | None = None
    delivery: Delivery | None = None
    link: SocketLink | None = None
    sessions: Sessions | None = None
    fetching: Fetching | None = None
    streams: Streams | None = None
    services: Services | None = None
    reviser: Reviser | None = None
    policies: Policies | None = None
    mcp: McpServers | None = None
    groups: UserGroups | None = None
    sandbox: str | None = None
    """Why no sandbox holds, empty when one does; None until that was tried."""
    local: LocalDoor | None = None
    """What a terminal works through; None in a house with Slack."""
    turns: Turns | None = None
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list[Callable[[], Awaitable[None]]])
    """What is closed when no run is driven any more."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    looks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    """Tasks that only look something up now and then: nothing is lost when they are cut off."""
    rush: Rush = field(default_factory=Rush)

    @property
    def url(self) -> str:
        """Address of the web server."""
        return self.web.url if self.web is not None else ""

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
        return await _Builder(settings, environment, over_http=False, clock=clock, model=model).build_local()

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
        builder = _Builder(settings, environment, over_http=over_http, clock=clock, model=model)
        if log:
            configure_logging(builder.redact)
        return await builder.build(stop or asyncio.Event())

    async def until(self, stop: asyncio.Event) -> bool:
        """Wait for `stop` or the loss of the lease; True when this process must be started anew."""
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self.keeper.lost.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self.keeper.lost.is_set()

    async def stop(self) -> None:
        """Take no more in, let what runs end, deliver what is due, let a successor in; within ten seconds."""
        if self.link is not None:
            await self.link.close()
        if self.deadlines is not None:
            self.deadlines.stop()
        if self.services is not None:
            await self.services.tasks.drain(1.0)
            self.services.homes.close()
            if self.services.anchoring is not None:
                self.services.anchoring.stop()
        if self.runtime is not None:
            await self.runtime.close(GRACE_S)
        for part in (self.delivery, self.sessions, self.fetching, self.mcp):
            if part is not None:
                part.stop()
        if self.streams is not None:
            await self.streams.close()
        await self._end_tasks()
        for close in self.closing:
            await close()
        await self.traces.stop()
        await self.keeper.stop()
        await asyncio.gather(*(web.stop() for web in (self.web,) if web is not None))
        await self.db.close()

    async def _end_tasks(self) -> None:
        for task in self.looks:
            task.cancel()
        late = (await asyncio.wait(self.tasks, timeout=2.0))[1] if self.tasks else set[asyncio.Task[None]]()
        if late:
            _log.warning("cut_off", tasks=sorted(task.get_name() for task in late))
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, *self.looks, return_exceptions=True)

    def reload_policy(self) -> None:
        """Read the policy again; a broken one changes nothing but what `warnings` say."""
        if self.policies is not None and self.policies.reload() and self.groups is not None:
            self.groups.changed()

    def warnings(self) -> dict[str, str]:
        """What an operator should mend although everything works."""
        return {
            "policy": self.policies.problem if self.policies is not None else "",
            "user_groups": self.groups.problem if self.groups is not None else "",
            "sandbox": f"none, so no code runs: {self.sandbox}" if self.sandbox else "",
        }

    def problems(self) -> dict[str, str]:
        """Each part and what is wrong with it; empty texts when all is well."""
        return {
            "database": self.db.problem,
            "stand_by": "another process drives the runs" if self.keeper.standing_by else "",
            "slack": self.link.problem if self.link is not None else "",
            "delivery": self.delivery.problem if self.delivery is not None else "not started",
            "deadlines": "" if self.deadlines is not None and self.deadlines.last_sweep else "no sweep yet",
            "sandbox": "not tried yet" if self.sandbox is None else "",
        }


@dataclass(frozen=True, slots=True)
class _Slack:
    """What the preflight found."""

    client: AsyncWebClient
    bolt: AsyncApp
    installation: Installation
    channels: Channels


class _Builder:
    """Builds an App, part by part."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        *,
        over_http: bool,
        clock: Clock | None,
        model: ChatModel | None,
    ) -> None:
        self.settings = settings
        chosen = {"SECONDKEY_MODELS": settings.models} if settings.models else {}
        self.environment = {**environment, **chosen}
        self.over_http = over_http
        self.clock = clock or SystemClock(settings.clock_rate)
        self.model = model
        self.ids = RandomIds()
        self.broker = Broker(settings.secrets, environment)
        self.egress = Egress(settings.egress)
        self.databases = named_databases(settings.databases, self.broker)
        self.registry = self._tools()
        self.prompts = Prompts.load(settings.prompts)
        self.mcp = McpServers.read(settings.mcp, data=settings.data, broker=self.broker, clock=self.clock)
        self.own_secrets = known_secrets(settings, environment)
        self.metrics = Metrics(tools=self.registry.names, models=model.chain if model else chain_from(self.environment))
        self.app: App | None = None
        self.identity: Identity | None = None
        self.groups: UserGroups
        self.traces: Traces
        self.roster: Roster
        self.voters: Voters | TerminalEntitlement
        self.can_ask = asyncio.Event()
        self.is_local = False

    @property
    def known(self) -> Mapping[str, str]:
        return {**self.own_secrets, **self.broker.known}

    def redact(self, text: str) -> str:
        return redact(text, self.known)

    def _watched(self, db: Database) -> Traces:
        """What keeps watch over the database: metrics of what stands in it, and spans of what is written."""
        settings, metrics = self.settings, self.metrics
        db.observe = metrics.committed
        budget = int(settings.budget_usd * 1_000_000)
        Watch(db, self.clock, budget_micro_usd=budget, days=settings.budgets).into(metrics)
        traces = Traces(
            db,
            self.clock,
            self.redact,
            exporter=exporter_from(self.environment, settings.trace_file, self.redact),
            told=metrics.told,
            content=settings.trace_content,
            version=metadata.version("secondkey"),
        )
        watch_traces(metrics, traces)
        return traces

    @property
    def telemetry(self) -> Telemetry:
        provider = self.traces.provider
        tracer = provider.get_tracer("secondkey") if provider is not None else None
        return Telemetry(tracer, called_mcp=self.metrics.called_mcp, monotonic=self.clock.monotonic)

    def _tools(self) -> Registry:
        """What comes with Second Key, and what the operator added."""
        try:
            http = (HttpRequest(egress=self.egress, broker=self.broker),) if self.egress else ()
            wanted = self.settings.python_packages
            packages = load_packages(wanted) if wanted is not None else None
            named = (*default_tools(self.databases, packages), *http, *load_tools(self.settings.tools))
            return Registry(named, timeouts=self.settings.tool_timeouts)
        except ToolNotAllowed as error:
            raise ConfigurationError(str(error), fix="Mend `tools` or `tool_timeouts`.") from error

    async def build(self, stop: asyncio.Event) -> App | None:
        settings = self.settings
        check_tokens(settings, over_http=self.over_http)
        client = CountedSlack(
            token=settings.slack_bot_token.get_secret_value(),
            base_url=settings.slack_api_url,
            timeout=10,
            retry_handlers=[],
        )
        client.told = self.metrics.asked_slack
        self.groups = UserGroups(client, self.clock)
        self.roster = Roster(self.groups, self.clock)
        policies = Policies(self._policy)
        runbooks = Runbooks.load(settings.runbooks)
        chain = self.model.chain if self.model is not None else chain_from(self.environment)
        prepare_folders(settings)
        installation = await preflight(client, "" if self.over_http else settings.slack_app_token.get_secret_value())
        await self.groups.refresh(policies().groups)
        channels = await find_channels(client, settings)
        db = await Database.open(settings.database, clock=self.clock)
        self.roster.look(db)
        if not policies().everybody(installation.team):
            await db.close()
            fix = "Name at least one Slack user id as `approvers` in secondkey.toml, or in the policy's [people]."
            raise ConfigurationError(f"Nobody may approve anything. {self.groups.problem}".strip(), fix=fix)
        lease = Lease(db, self.ids, holder=f"{socket.gethostname()}:{os.getpid()}")
        control = Control(db, kill_file=settings.kill_file)
        keeper = self._keeper(db, lease, control)
        bolt = self._bolt(client)
        try:
            web = await serve(
                settings.host,
                settings.port,
                bolt=bolt if self.over_http else None,
                checks=self._checks,
                metrics=self.metrics.page,
                warnings=lambda: self.app.warnings() if self.app is not None else {},
            )
        except ConfigurationError:
            await db.close()
            raise
        self.traces = self._watched(db)
        app = self.app = App(settings, db, keeper, web, self.traces, policies=policies, groups=self.groups)
        try:
            if not await keeper.acquire(stop):
                await app.stop()
                return None
            self.traces.start()
            app.looks.append(asyncio.create_task(watch_loop(self.metrics, self.clock), name="loop lag"))
            journal = SqliteJournal(
                db,
                lease,
                kill_file=settings.kill_file,
                budgets=settings.budgets,
                room=None if self.is_local else settings.room,  # a terminal drives its own run alone
            )
            slack = _Slack(client, bolt, installation, channels)
            await self._drive(app, journal, policies, control, chain=chain, runbooks=runbooks)
            await self._speak(app, policies, control, slack, runbooks)
        except BaseException:
            await app.stop()
            raise
        if channels.problem:
            _log.warning("cards_have_no_channel", problem=channels.problem)
        if self.environment.get("SECONDKEY_MODELS") and not chain:
            _log.warning("no_model_has_a_key", models=self.environment["SECONDKEY_MODELS"])
        _log.info("ready", url=web.url, team=installation.team, models=list(chain), policy=policies().version)
        return app

    def _keeper(self, db: Database, lease: Lease, control: Control) -> Keeper:
        settings = self.settings
        signer = Signer(db, folder=settings.data, heads_file=settings.heads_file)
        db.subscribe("head", signer.moved)
        return Keeper(
            lease,
            control,
            self.clock,
            resumed=lambda: self._wake_all(db),
            signer=signer,
            retention=Retention(db, days=settings.retention_days),
            undo=Undo(db, control, settings.data / "workspaces", settings.project).carry_out,
            tidy=Tidying(db, settings.data / "workspaces", days=settings.workspace_days).tidy,
        )

    async def build_local(self) -> App:
        """Driver, gate, journal and deadlines without Slack; raises ConfigurationError."""
        settings, self.is_local = self.settings, True
        self.groups = UserGroups(AsyncWebClient(), self.clock)  # never asked: nobody of a group is at a terminal
        self.roster = Roster(self.groups, self.clock)
        policies, runbooks = Policies(self._policy), Runbooks.load(settings.runbooks)
        chain = self.model.chain if self.model is not None else chain_from(self.environment)
        prepare_folders(settings)
        db = await Database.open(settings.database, clock=self.clock)
        lease = Lease(db, self.ids, holder=f"{socket.gethostname()}:{os.getpid()} (a terminal)")
        control = Control(db, kill_file=settings.kill_file)
        self.traces = self._watched(db)
        app = self.app = App(settings, db, self._keeper(db, lease, control), None, self.traces, policies=policies)
        try:
            self.roster.look(db)
            if not await app.keeper.try_acquire():
                must_be_alone(lease, settings.data)
            self.traces.start()
            app.local = self._local_door(db, policies, control)
            for run in app.local.left_over():
                await app.local.stop(run, GONE)
            journal = SqliteJournal(db, lease, kill_file=settings.kill_file)
            await self._drive(app, journal, policies, control, chain=chain, runbooks=runbooks)
            self._keep_policy(app, policies)
            self._arm(app, app.local.decisions)
        except BaseException:
            await app.stop()
            raise
        return app

    def _local_door(self, db: Database, policies: Policies, control: Control) -> LocalDoor:
        settings, who = self.settings, Principal(kind="local", user=str(os.getuid()))
        entitlement = TerminalEntitlement(policies, who)
        self.voters = entitlement
        self.can_ask.set()
        return LocalDoor(
            db=db,
            inbox=Inbox(db, self.ids),
            decisions=TerminalDecisions(db, self.clock, self.ids, entitlement),
            queries=Queries(db),
            control=control,
            clock=self.clock,
            ids=self.ids,
            quota=self._quotas(),
            who=who,
            redact=self.redact,
            data=settings.data,
            project=settings.project.resolve(),
            task_characters=settings.task_characters,
            budget_micro_usd=int(settings.budget_usd * 1_000_000),
        )

    def _quotas(self) -> Quotas:
        settings = self.settings
        return Quotas(
            per_person=settings.runs_an_hour,
            everybody=settings.runs_an_hour_global,
            at_once=settings.runs_at_once,
            follow_ups=settings.follow_ups_an_hour,
            waiting=settings.runs_waiting,
        )

    def _arm(self, app: App, decisions: Decisions) -> None:
        """Start the deadlines."""

        async def sweep(limit: int) -> int:
            return await decisions.sweep(self.clock.now(), limit)

        app.deadlines = Deadlines(sweep, decisions.next_deadline, self.clock)
        app.db.subscribe("deadline", app.deadlines.arm)
        app.deadlines.start()

    # -- the agent -----------------------------------------------------------------------------------------------

    async def _drive(
        self,
        app: App,
        journal: SqliteJournal,
        policies: Policies,
        control: Control,
        *,
        chain: tuple[str, ...],
        runbooks: Runbooks,
    ) -> None:
        settings = self.settings
        sandbox = await choose()
        app.sandbox = await sandbox.self_test() if sandbox.name == "none" else ""
        if app.sandbox:
            _log.warning("sandbox_unavailable", reason=app.sandbox)
        self.mcp.sandbox, self.mcp.telemetry, app.mcp = sandbox, self.telemetry, self.mcp
        self.mcp.refresh(self.registry, app.db)
        app.tasks.append(asyncio.create_task(self.mcp.keep(self.registry, app.db), name="mcp"))
        workspaces, project = (settings.data / "workspaces").resolve(), settings.project.resolve()

        def context(state: RunState) -> ToolContext:
            return ToolContext(
                run=state.run,
                workspace=workspaces / state.run,
                project=project,
                sandbox=sandbox,
                databases=self.databases,
                max_files=policies().limits.max_files,
                egress=self.egress,
                broker=self.broker,
            )

        kept = KeptBreakers(app.db)
        breakers = Breakers(self.clock, kept=kept.load(), changed=kept.keep)

        def kind_of_secret(text: str) -> str:
            return find_secret(text, self.known)

        equipment = Equipment(
            journal=journal,
            clock=self.clock,
            ids=self.ids,
            registry=self.registry,
            policy=policies,
            runbooks=runbooks,
            context=context,
            find_secret=kind_of_secret,
            redact=self.redact,
            telemetry=self.telemetry,
            breakers=breakers,
            grants=lambda tool, requester: Grants(app.db).standing(tool, requester, self.clock.now()),
            may_still=self._may_still,
            still_entitled=self._still_entitled,
            prompts=self.prompts,
        )
        app.closing.append(kept.aclose)
        app.reviser = Reviser(equipment)
        watch_breakers(self.metrics, breakers.states, lambda: (*chain, *self.registry.services))
        model = self.model or WireModel(
            chain,
            environment=self.environment,
            prices=settings.prices,
            clock=self.clock,
            breakers=breakers,
        )
        if isinstance(model, WireModel) and chain:
            app.closing.append(model.aclose)
            app.tasks.append(asyncio.create_task(_warm_up(model), name="models"))
        limits = Limits(
            chain=chain,
            micro_usd=int(settings.budget_usd * 1_000_000),
            tokens=settings.tokens_a_run,
            call_s=settings.model_timeout,
        )
        app.runtime = Runtime(equipment, model, limits, rush=app.rush)
        wake = app.runtime.wake
        app.db.subscribe("run", lambda run: wake(run) if self._is_ours(app.db, run) else None)
        if not self.is_local:
            draw = Outbox(app.db).want
            app.turns = Turns(app.db, settings.room, wake=wake, draw=lambda run: draw(f"progress:{run}"))
            app.db.subscribe("queue", app.turns.look)
            app.looks.append(asyncio.create_task(app.turns.run(), name="queue"))
        app.db.subscribe("control", app.keeper.look)
        app.keeper.start()
        await control.take()
        await app.runtime.recover(self._to_drive(app.db))

    # -- Slack ---------------------------------------------------------------------------------------------------

    async def _speak(self, app: App, policies: Policies, control: Control, slack: _Slack, runbooks: Runbooks) -> None:
        client, installation, channels = slack.client, slack.installation, slack.channels
        settings, db = self.settings, app.db
        team = installation.team
        deciders = policies().everybody(team)
        identity = Identity(client, team, self.clock, decides=lambda who: who.key in policies().everybody(team))
        identity.on_decision = lambda: self.roster.look(db)
        await identity.learn(deciders)
        self.identity = identity
        able = [key for key in deciders if identity.may_decide(Principal.parse(key))]
        if not able:
            raise ConfigurationError(
                f"None of the approvers ({', '.join(sorted(deciders))}) is a full member of {installation.team_name}.",
                fix="Name Slack user ids such as U0123 of full members (profile, Copy member ID).",
            )
        if missing := deciders - set(able):
            _log.warning("approvers_who_cannot_decide", approvers=sorted(missing))
        if (called := settings.on_call) and not called.startswith("S") and not any(k.endswith(called) for k in able):
            _log.warning("on_call_may_not_take_over", on_call=called)
        entitlement = PolicyEntitlement(policies, identity)
        self.voters = Voters(Queries(db), entitlement, identity.on_decision)
        self.can_ask.set()

        def named(approval: ApprovalRow, escalated: bool) -> tuple[str, ...]:  # noqa: FBT001  the shape of Named
            return entitlement.named_at(approval, escalated=escalated)

        decisions = Decisions(db, self.clock, self.ids, entitlement, named=named)
        self._keep_policy(app, policies)
        queries, outbox = Queries(db), Outbox(db)
        renderer = Renderer(
            queries=queries,
            outbox=outbox,
            names=identity.name,
            channels={"approval": channels.actions, "takeover": channels.takeovers},
            workspace_url=installation.url,
            place=app.turns.place if app.turns is not None else _no_place,
            look=self._look(),
            everybody=lambda: tuple(policies().everybody(team)),
        )
        poster = Poster(client, self.clock)
        app.sessions = Sessions(client, queries, self.clock)
        app.streams = Streams(client, self.clock, outbox.want, stopped=app.sessions.asked)
        app.delivery = Delivery(
            outbox=outbox,
            poster=poster,
            render=renderer,
            delivered=decisions.delivered,
            clock=self.clock,
            count=self.metrics.count,
            streams=app.streams,
            telemetry=self.telemetry,
        )
        app.delivery.problem = channels.problem
        db.subscribe("outbox", app.delivery.wake)
        app.tasks.append(asyncio.create_task(app.delivery.run(), name="delivery"))

        db.subscribe("head", app.sessions.moved)
        app.tasks.append(asyncio.create_task(app.sessions.run(), name="sessions"))

        app.fetching = self._fetching(app, client, queries)
        app.tasks.append(asyncio.create_task(app.fetching.run(), name="files"))

        self._arm(app, decisions)
        app.services = Services(
            db=db,
            inbox=Inbox(db, self.ids, limited=self.metrics.limited),
            outbox=outbox,
            decisions=decisions,
            control=control,
            identity=identity,
            queries=queries,
            client=client,
            clock=self.clock,
            ids=self.ids,
            bot_user=installation.bot_user,
            approvals_channel=channels.actions,
            workspace_url=installation.url,
            command=settings.command,
            task_characters=settings.task_characters,
            quota=self._quotas(),
            budgets=settings.budgets,
            place=app.turns.place if app.turns is not None else _no_place,
            redact=self.redact,
            reviser=app.reviser,
            explain=app.runtime.explain if app.runtime is not None else _nobody_explains,
            links=renderer.waits_at,
            sessions_moved=app.sessions.asked,
            files_owed=app.fetching.wake,
            admins=frozenset(Principal.parse(key).user for key in policies().admins(team)),
            prompts=runbooks.prompts[:4],
            problems=app.problems,
            budget_micro_usd=int(settings.budget_usd * 1_000_000),
            groups_changed=self.groups.changed,
            rush=app.rush,
        )
        app.services = keep_entries(app.services, poster)
        app.tasks.append(asyncio.create_task(home.keep(app.services), name="homes"))
        if app.services.anchoring is not None:
            app.tasks.append(asyncio.create_task(app.services.anchoring.run(), name="anchors"))
        register(slack.bolt, app.services)
        takeover_talk.resume(app.services)
        if not self.over_http:
            app.link = SocketLink(slack.bolt, settings.slack_app_token.get_secret_value(), client)
            await app.link.connect()

    def _fetching(self, app: App, client: AsyncWebClient, queries: Queries) -> Fetching:
        settings = self.settings
        workspaces, project = (settings.data / "workspaces").resolve(), settings.project.resolve()

        async def attach(run: str, name: str, data: bytes) -> str:
            return await Workspace(workspaces / run, project).attach(name, data)

        async def late(run: str, text: str) -> None:
            line = queries.run(run)
            if line is not None and app.services is not None:
                await replies.say(app.services, line.channel, line.thread_ts, inline(text, 300))

        return Fetching(
            rows=Attachments(app.db),
            client=client,
            token=settings.slack_bot_token.get_secret_value(),
            api_url=settings.slack_api_url,
            attach=attach,
            late=late,
            clock=self.clock,
        )

    def _bolt(self, client: AsyncWebClient) -> AsyncApp:
        # The listener persists before Slack is answered; else a crash in between would lose what was acked.
        return AsyncApp(
            name="secondkey",  # else Bolt walks the whole stack to find one, for 80 ms
            client=client,
            signing_secret=self.settings.slack_signing_secret.get_secret_value() or None,
            process_before_response=True,
            request_verification_enabled=self.over_http,
            ignoring_self_events_enabled=True,
        )

    async def _may_still(self, key: str) -> bool:
        """Whether this principal may decide now, looked up as at a click, the registry too; no answer is a no."""
        if self.identity is None:
            return False
        principal = Principal.parse(key)
        try:
            if principal.kind == "slack":
                await self.identity.person(principal.user, principal.team, fresh_s=DECIDING_FRESH_S)
        except (NotVerified, StorageUnavailable):
            return False
        return self.identity.may_decide(principal)

    def _checks(self) -> dict[str, str]:
        return self.app.problems() if self.app is not None else {"start": "not finished"}

    def _wake_all(self, db: Database) -> None:
        if self.app is not None and self.app.runtime is not None:
            for run in self._to_drive(db):
                self.app.runtime.wake(run)

    def _to_drive(self, db: Database) -> tuple[str, ...]:
        """Runs that this process drives: a terminal leaves alone what was asked in Slack."""
        return tuple(run for run in Queries(db).to_drive() if self._is_ours(db, run))

    def _is_ours(self, db: Database, run: str) -> bool:
        line = Queries(db).run(run) if self.is_local else None
        return not self.is_local or (line is not None and line.requester.startswith("local:"))

    def _look(self) -> Look:
        settings, called = self.settings, self.settings.on_call
        mention = f"<!subteam^{called}>" if called.startswith("S") else f"<@{called}>" if called else ""
        budget = int(settings.budget_usd * 1_000_000)
        return Look(command=settings.command, rate=self.clock.rate, on_call=mention, budget_micro_usd=budget)

    async def _still_entitled(self, approval: str, voters: Sequence[str]) -> frozenset[str]:
        """As Voters; a run that is taken up again at the start waits until Slack can be asked."""
        await self.can_ask.wait()
        return await self.voters.still_entitled(approval, voters)

    def _keep_policy(self, app: App, policies: Policies) -> None:
        """Note down which policy is in force, and keep the user groups that it names fresh."""
        db = app.db
        running: set[asyncio.Task[None]] = set()

        def told(version: str, problem: str) -> None:
            task = asyncio.create_task(_note(db, version, problem))
            running.add(task)
            task.add_done_callback(running.discard)

        policies.told = told
        told(policies().version, "")
        if not self.is_local:
            app.looks.append(asyncio.create_task(self.groups.keep(lambda: policies().groups), name="groups"))

    def _policy(self) -> Policy:
        policy = load_policy(self.settings.policy)
        approvers = tuple(dict.fromkeys((*policy.people.approvers, *self.settings.approvers)))
        admins = tuple(dict.fromkeys((*policy.people.admins, *self.settings.admins)))
        people = policy.people.model_copy(update={"approvers": approvers, "admins": admins})
        return replace(policy, people=people, directory=self.roster)


async def _note(db: Database, version: str, problem: str) -> None:
    try:
        await db.write(lambda tx: note_policy(tx, version, problem))
    except SecondKeyError as error:
        _log.warning("policy_not_noted", error=str(error))


def _no_place(run: str) -> int:
    del run
    return 0


async def _nobody_explains(run: str, question: str) -> str:
    del run, question
    return ""


async def _warm_up(model: WireModel) -> None:
    """Import providers and prices beside the start, so that the first call does not pay for it."""
    try:
        await model.prepare()
    except ModelError as error:
        _log.warning("model_not_usable", error=str(error))
