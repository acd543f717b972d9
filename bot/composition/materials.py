"""What every part is built from: settings, clock, ids, secrets, tools, prompts and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from agent.broker import Broker
from agent.clock import RandomIds, SystemClock
from agent.errors import ConfigurationError, ToolNotAllowed
from agent.model import chain_from
from agent.ports import ChatModel, Clock
from agent.prompting import Prompts
from agent.secrets import find_secret, redact
from agent.telemetry import Telemetry
from agent.tools.databases import named_databases
from agent.tools.egress import Egress
from agent.tools.http import HttpRequest
from agent.tools.own import load_tools
from agent.tools.packages import load_packages
from agent.tools.registry import Registry, default_tools
from bot.blocks.message import Look
from bot.checks import known_secrets
from bot.config import Settings
from bot.exporting import exporter_from
from bot.mcp_servers import McpServers
from bot.metrics import Metrics
from bot.tracing import Traces
from bot.watching import Watch, watch_traces
from storage.database import Database
from storage.quotas import Quotas


class Materials:
    """Made once, before anything is opened or asked; raises ConfigurationError."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], *, clock: Clock | None, model: ChatModel | None
    ) -> None:
        self.settings = settings
        chosen = {"SECONDKEY_MODELS": settings.models} if settings.models else {}
        self.environment = {**environment, **chosen}
        self.clock = clock or SystemClock(settings.clock_rate)
        self.model = model
        self.chain = model.chain if model is not None else chain_from(self.environment)
        self.ids = RandomIds()
        self.broker = Broker(settings.secrets, environment)
        self.egress = Egress(settings.egress)
        self.databases = named_databases(settings.databases, self.broker)
        self.registry = self._tools()
        self.prompts = Prompts.load(settings.prompts)
        self.mcp = McpServers.read(settings.mcp, data=settings.data, broker=self.broker, clock=self.clock)
        self._own_secrets = known_secrets(settings, environment)
        self.metrics = Metrics(tools=self.registry.names, models=self.chain)

    @property
    def known(self) -> Mapping[str, str]:
        """Secret values by their names, those of tools and our own."""
        return {**self._own_secrets, **self.broker.known}

    @property
    def budget_micro_usd(self) -> int:
        """What one run may cost."""
        return int(self.settings.budget_usd * 1_000_000)

    def redact(self, text: str) -> str:
        """The text without secret values and token shapes."""
        return redact(text, self.known)

    def kind_of_secret(self, text: str) -> str:
        """What kind of secret is in the text; empty when there is none."""
        return find_secret(text, self.known)

    def quotas(self) -> Quotas:
        """How many runs people may start."""
        settings = self.settings
        return Quotas(
            per_person=settings.runs_an_hour,
            everybody=settings.runs_an_hour_global,
            at_once=settings.runs_at_once,
            follow_ups=settings.follow_ups_an_hour,
            waiting=settings.runs_waiting,
        )

    def look(self) -> Look:
        """What all cards have in common."""
        called = self.settings.on_call
        mention = f"<!subteam^{called}>" if called.startswith("S") else f"<@{called}>" if called else ""
        command, budget = self.settings.command, self.budget_micro_usd
        return Look(command=command, rate=self.clock.rate, on_call=mention, budget_micro_usd=budget)

    def watch(self, db: Database) -> Traces:
        """What keeps watch over the database: metrics of what stands in it, and spans of what is written."""
        settings, metrics = self.settings, self.metrics
        db.observe = metrics.committed
        Watch(db, self.clock, budget_micro_usd=self.budget_micro_usd, days=settings.budgets).into(metrics)
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

    def telemetry(self, traces: Traces) -> Telemetry:
        """What the agent's own spans are made with."""
        provider = traces.provider
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
