"""The metrics of one process: instruments with closed label sets, each series there from the start.

What runs do is counted from their spans (`told`), so that a counter and the trace never tell two stories; what the
process does is counted where it happens; what stands (`watch`) is read when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from agent import telemetry as t
from agent.domain import ApprovalState, Outcome, RunStatus
from agent.errors import PromptLeaked, SecondKeyError
from agent.span import Span

OTHER = "other"
"""The label of what is in no closed set."""
SOURCES = ("slack", "terminal", "grant", "deadline", "system")
LIMITERS = ("person", "everybody", "at_once", "follow_ups", "slack")
VIOLATIONS = ("processes", "memory", "disk", "output", "time")
FAULTS = ("ok", "limited", "unreachable", "missing", "shape", "refused", "unclear")
DELIVERIES = ("posted", "updated", "reconciled", "refused", "failed")
BREAKER_STATES = ("closed", "half_open", "open")
_DECIDED = tuple(state.value for state in ApprovalState if state is not ApprovalState.PENDING)
_FINAL = tuple(status.value for status in RunStatus if status.is_final)
_SHORT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALL_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_PEOPLE_S = (1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0)
_TOKENS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0)

Reading = Callable[[], Iterable[tuple[float, Mapping[str, str]]]]
"""Values with their labels, read at a scrape in the loop's thread."""


class Metrics:
    """Counters, histograms and gauges; `page` is what Prometheus is given."""

    def __init__(self, *, tools: Sequence[str] = (), models: Sequence[str] = ()) -> None:
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        self._provider = MeterProvider(
            [reader], resource=Resource({}), shutdown_on_exit=False, exemplar_filter=AlwaysOffExemplarFilter()
        )
        self._meter = self._provider.get_meter("secondkey")
        self._tools = frozenset(tools) | {OTHER}
        self._models = frozenset(name.partition(":")[2] or name for name in models) | {OTHER}
        self._providers = frozenset(name.partition(":")[0] for name in models) | {OTHER}
        self._errors = codes()
        self._refresh: list[Callable[[], None]] = []

        self._tokens = self._histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens of model calls, by type.", _TOKENS
        )
        self._calls = self._histogram(
            "gen_ai.client.operation.duration", "s", "How long model calls took, those that failed by their error.",
            _CALL_S,
        )  # fmt: skip
        self._mcp = self._histogram(
            "mcp.client.operation.duration", "s", "How long requests to MCP servers took.", _CALL_S
        )
        self._cost = self._counter("agent.llm.cost.usd", "What model calls cost, USD.")
        # Not a type of `gen_ai.client.token.usage`: they are among its input tokens, and a sum would count them twice.
        self._cached = self._counter(
            "agent.llm.cache.tokens", "Input tokens that a service read from its cache, or wrote into it."
        )
        self._runs = self._counter("agent.runs", "Runs that ended, by how.")
        self._tool_time = self._histogram("agent.tool.duration", "s", "How long tool calls took, by outcome.", _CALL_S)
        self._decisions = self._counter("agent.approval.decisions", "Approvals that were decided.")
        self._decision_time = self._histogram(
            "agent.approval.decision.duration", "s", "How long approvals waited for their decision.", _PEOPLE_S
        )
        self._violations = self._counter("agent.sandbox.violations", "Programs that were ended for what they took.")
        self._leaks = self._counter("agent.prompt.leaks", "Calls refused since they carried the agent's instructions.")
        self._limits = self._counter("agent.rate.limit.hits", "Requests that a limit turned away or put off.")
        self._slack = self._counter("agent.slack.requests", "Calls of Slack's Web API.")
        self._delivered = self._counter("agent.slack.deliveries", "Messages of the outbox, by what became of them.")
        self._lag = self._histogram(
            "agent.event.loop.lag", "s", "How late the event loop came to a due timer.", _SHORT_S
        )
        self._writes = self._histogram("agent.db.write.duration", "s", "How long a group commit took.", _SHORT_S)
        self._busy = self._counter("agent.db.busy", "Group commits that another process's lock held up or failed.")
        self._begin()

    def _begin(self) -> None:
        """Every series that counts trouble stands at 0, since `increase` does not see a series' first event."""
        for tool, decision, source in product(self._tools, _DECIDED, SOURCES):
            self._decisions.add(0, {"tool": tool, "decision": decision, "source": source})
        for counter, label, values in (
            (self._violations, "kind", VIOLATIONS),
            (self._limits, "limiter", LIMITERS),
            (self._runs, "status", _FINAL),
            (self._cost, "model", sorted(self._models)),
            (self._delivered, "result", DELIVERIES),
        ):
            for value in values:
                counter.add(0, {label: value})
        for model, kind in product(self._models, ("read", "write")):
            self._cached.add(0, {"model": model, "kind": kind})
        for status in FAULTS:
            self._slack.add(0, {"method": "chat.postMessage", "status": status})
        self._busy.add(0)
        self._leaks.add(0)

    # -- what happened -------------------------------------------------------------------------------------------

    def told(self, span: Span) -> None:
        """A span of a run has ended; from any thread."""
        what, took = span.attributes.get(t.OPERATION), span.end - span.start
        match what:
            case "chat":
                self._call(span, took)
            case "execute_tool":
                outcome = str(span.attributes[t.ACTION_OUTCOME])
                labels = {"tool": self._tool(span), "outcome": outcome if outcome in _OUTCOMES else OTHER}
                self._tool_time.record(took, labels)
                if span.error == PromptLeaked.code:
                    self._leaks.add(1)
            case "invoke_workflow":
                self._runs.add(1, {"status": str(span.attributes[t.RUN_STATUS])})
            case None if t.APPROVAL_SOURCE in span.attributes:
                decision = str(span.attributes[t.APPROVAL_DECISION])
                source = str(span.attributes[t.APPROVAL_SOURCE])
                self._decisions.add(1, {"tool": self._tool(span), "decision": decision, "source": source})
                self._decision_time.record(took, {"decision": decision})
            case _:
                pass

    def _call(self, span: Span, took: float) -> None:
        given = span.attributes
        model, provider = str(given[t.REQUEST_MODEL]), str(given[t.PROVIDER])
        labels = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider if provider in self._providers else OTHER,
            "gen_ai.request.model": model if model in self._models else OTHER,
        }
        error = span.error if span.error in self._errors or not span.error else OTHER
        self._calls.record(took, {**labels, "error.type": error})
        self._cost.add(float(str(given[t.COST])), {"model": labels["gen_ai.request.model"]})
        for kind, name in (("input", t.INPUT_TOKENS), ("output", t.OUTPUT_TOKENS)):
            if name in given:
                self._tokens.record(int(str(given[name])), {**labels, "gen_ai.token.type": kind})
        for kind, name in (("read", t.CACHE_READ), ("write", t.CACHE_WRITE)):
            if name in given:
                self._cached.add(int(str(given[name])), {"model": labels["gen_ai.request.model"], "kind": kind})

    def _tool(self, span: Span) -> str:
        name = str(span.attributes[t.TOOL_NAME])
        return name if name in self._tools else OTHER

    def count(self, name: str, label: str) -> None:
        """One more delivery: `secondkey_delivery_posted` and its like; the label is not kept."""
        del label
        result = name.rpartition("_")[2]
        self._delivered.add(1, {"result": result if result in DELIVERIES else OTHER})

    def violated(self, kind: str) -> None:
        """A program in the sandbox was ended for what it took."""
        self._violations.add(1, {"kind": kind if kind in VIOLATIONS else OTHER})

    def limited(self, limiter: str) -> None:
        """A limit turned somebody away."""
        self._limits.add(1, {"limiter": limiter if limiter in LIMITERS else OTHER})

    def asked_slack(self, method: str, status: str) -> None:
        """A call of Slack's API; the method is a constant of slack_sdk."""
        self._slack.add(1, {"method": method, "status": status if status in FAULTS else OTHER})
        if status == "limited":
            self.limited("slack")

    def lagged(self, seconds: float) -> None:
        """The event loop was this late."""
        self._lag.record(seconds)

    def committed(self, seconds: float, *, busy: bool) -> None:
        """A group commit took so long; `busy` when another process's lock was in the way. From the writer's thread."""
        self._writes.record(seconds)
        if busy:
            self._busy.add(1)

    def called_mcp(self, method: str, seconds: float, error: str = "") -> None:
        """A request to an MCP server; the method is one of the protocol's."""
        known = error if error in self._errors or not error else OTHER
        self._mcp.record(seconds, {"mcp.method.name": method, "error.type": known})

    # -- what stands ---------------------------------------------------------------------------------------------

    def watch(self, name: str, description: str, read: Reading, *, unit: str = "", counts: bool = False) -> None:
        """Read a gauge at each scrape, or (`counts`) a counter that something else keeps."""

        def observe(options: CallbackOptions) -> Iterator[Observation]:
            del options
            return (Observation(value, labels) for value, labels in read())

        make = self._meter.create_observable_counter if counts else self._meter.create_observable_gauge
        make(name, [observe], unit, description)

    def before(self, refresh: Callable[[], None]) -> None:
        """Call this first at each scrape: one look at the database for all that is watched."""
        self._refresh.append(refresh)

    def page(self) -> bytes:
        """Prometheus' text; in the loop's thread."""
        for refresh in self._refresh:
            refresh()
        return generate_latest(self._registry)

    def _counter(self, name: str, description: str) -> Counter:
        return self._meter.create_counter(name, "", description)

    def _histogram(self, name: str, unit: str, description: str, buckets: Sequence[float]) -> Histogram:
        return self._meter.create_histogram(
            name, unit, description, explicit_bucket_boundaries_advisory=list(buckets)
        )  # fmt: skip


_OUTCOMES = frozenset(outcome.value for outcome in Outcome)


def codes() -> frozenset[str]:
    """The code of every error that there is: the closed set behind `error_type`."""
    found, todo = {"INTERRUPTED", "CANCELLED", "INTERNAL"}, [SecondKeyError]
    while todo:
        kind = todo.pop()
        found.add(kind.code)
        todo.extend(kind.__subclasses__())
    return frozenset(found)
