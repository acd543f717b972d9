"""Feeds the metrics: what stands in the database at each scrape, Slack's answers, the sandbox's verdicts, the loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from agent.errors import StorageUnavailable
from agent.ports import Clock, Sandbox, SandboxCall, SandboxResult
from bot.metrics import BREAKER_STATES, OTHER, Metrics, codes
from bot.posting import fault_of
from bot.tracing import Traces
from storage.database import Database
from storage.ledger import Budgets
from storage.outbox import LANES
from storage.standing import Standing, read_standing, refused_since

LAG_EVERY_S = 0.25
_STATUSES = ("queued", "running", "waiting")
_REASONS = {code.lower() for code in codes()}
_OWN_REQUEST = "own_request"
_CLICKS = (
    "already_decided", "not_entitled", "self_approval", "reason_required", "not_claimed", "not_editable",
    "grant_refused", "still_possible", "unknown_subject",
)  # fmt: skip
"""Why a click was refused, as a closed set; the audit calls the third `own_request`."""
_NO_LIMITS = Budgets()


class Watch:
    """What stands, looked at once a scrape."""

    def __init__(self, db: Database, clock: Clock, *, budget_micro_usd: int, days: Budgets = _NO_LIMITS) -> None:
        """`budget_micro_usd` is a run's, `days` are those of a person and of everybody on one UTC day."""
        self._db, self._clock, self._budget, self._days = db, clock, budget_micro_usd, days
        self._now = Standing()
        self._refused: Counter[str] = Counter()
        self._last = 0

    def into(self, metrics: Metrics) -> None:
        """Have the metrics read it."""
        metrics.before(self.refresh)
        look = metrics.watch
        look("agent.approvals.pending", "Approvals that wait for people.", lambda: _one(self._now.approvals))
        look(
            "agent.approval.oldest.age", "How long the oldest approval has waited.",
            lambda: _one(self._now.oldest_approval_s), unit="s",
        )  # fmt: skip
        look("agent.takeovers.open", "Takeovers that are not over.", lambda: _one(self._now.takeovers))
        look(
            "agent.takeover.oldest.age", "How long the oldest takeover has waited for somebody to claim it.",
            lambda: _one(self._now.oldest_takeover_s), unit="s",
        )  # fmt: skip
        look(
            "agent.runs.active", "Runs that are not over.",
            lambda: [(self._now.runs.get(status, 0), {"status": status}) for status in _STATUSES],
        )  # fmt: skip
        look("agent.queue.depth", "Runs that nobody has taken up yet.", lambda: _one(self._now.runs.get("queued", 0)))
        look(
            "agent.queue.oldest.age", "How long the oldest of them has waited.",
            lambda: _one(self._now.oldest_queued_s), unit="s",
        )  # fmt: skip
        look(
            "agent.budget.used.ratio",
            "Spent and reserved money as a share of the budget: of the run and of the person that used most, and of "
            "everybody on this UTC day. 0 where there is no limit.",
            self._used,
        )
        look(
            "agent.budget.limit.usd", "The budgets, USD. 0 where there is no limit.",
            lambda: [(limit / 1_000_000, {"scope": scope}) for scope, _, limit in self._budgets()],
        )  # fmt: skip
        look(
            "agent.outbox.pending", "Messages that Slack does not have yet, by lane.",
            lambda: [(self._now.outbox.get(lane, (0, 0.0))[0], {"lane": lane}) for lane in LANES],
        )  # fmt: skip
        look(
            "agent.outbox.oldest.age", "How long the oldest of them has waited, by lane.",
            lambda: [(self._now.outbox.get(lane, (0, 0.0))[1], {"lane": lane}) for lane in LANES], unit="s",
        )  # fmt: skip
        look(
            "agent.approval.rejected.clicks", "Attempts to decide that were refused, by reason.",
            lambda: [(self._refused[reason], {"reason": reason}) for reason in (*_CLICKS, OTHER)], counts=True,
        )  # fmt: skip

    def _budgets(self) -> Iterable[tuple[str, int, int]]:
        """Each scope, what was taken under it and its limit, micro-USD."""
        now, days = self._now, self._days
        return (
            ("run", now.most_spent_micro_usd, self._budget),
            ("person_day", now.person_day_micro_usd, days.person_day),
            ("everybody_day", now.everybody_day_micro_usd, days.everybody_day),
        )

    def _used(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        return [(taken / limit if limit else 0.0, {"scope": scope}) for scope, taken, limit in self._budgets()]

    def refresh(self) -> None:
        """Look; what cannot be read stays as it was."""
        try:
            self._now = self._db.read(lambda conn: read_standing(conn, self._clock.now(), self._clock.transport()))
            found, self._last = self._db.read(lambda conn: refused_since(conn, self._last))
        except StorageUnavailable:
            return
        for kind, count in found.items():
            if kind in _REASONS:  # the audit keeps other things too, which are no refusals
                reason = "self_approval" if kind == _OWN_REQUEST else kind
                self._refused[reason if reason in _CLICKS else OTHER] += count


def watch_breakers(
    metrics: Metrics, states: Callable[[], Mapping[str, str]], known: Callable[[], Iterable[str]]
) -> None:
    """1 for the state in which each circuit is, 0 for the others.

    `known` names models and tools. The places that a tool reaches are whatever agents ask for, so a tool with several
    circuits (`http_request https://…`) shows the worst of them under its own name; what nobody knows is `other`.
    """

    def read() -> Iterable[tuple[float, Mapping[str, str]]]:
        worst = dict.fromkeys(known(), BREAKER_STATES[0])
        for name, state in states().items():
            label = next((one for one in (name, name.partition(" ")[0]) if one in worst), OTHER)
            worst[label] = max(worst.get(label, state), state, key=BREAKER_STATES.index)
        return [
            (float(now == state), {"dependency": label, "state": state})
            for label, now in worst.items()
            for state in BREAKER_STATES
        ]

    metrics.watch("agent.circuit.state", "Where each circuit breaker stands.", read)


def watch_traces(metrics: Metrics, traces: Traces) -> None:
    """Spans that were taken, and those that nobody took."""
    metrics.watch(
        "agent.telemetry.spans", "Spans, by what became of them.",
        lambda: [(traces.exported, {"result": "exported"}), (traces.dropped, {"result": "dropped"})], counts=True,
    )  # fmt: skip


async def watch_loop(metrics: Metrics, clock: Clock) -> None:
    """Measure for ever how late the event loop is."""
    while True:
        began = clock.monotonic()
        await asyncio.sleep(LAG_EVERY_S)
        metrics.lagged(max(0.0, clock.monotonic() - began - LAG_EVERY_S))


class CountedSlack(AsyncWebClient):
    """slack_sdk's client, telling how each call went. `told` is set once there is somebody to tell."""

    told: Callable[[str, str], None] | None = None

    async def api_call(self, api_method: str, **given: Any) -> Any:  # noqa: ANN401  # as slack_sdk has it
        """As slack_sdk's."""
        status = "unclear"
        try:
            answer = await super().api_call(api_method, **given)  # pyright: ignore[reportUnknownMemberType]  # slack_sdk types it in part
            status = "ok"
        except SlackClientError as error:
            status = fault_of(error).kind.value
            raise
        finally:
            if self.told is not None:
                self.told(api_method, status)
        return answer


class CountedSandbox:
    """A sandbox, telling what programs were ended for."""

    def __init__(self, inner: Sandbox, told: Callable[[str], None]) -> None:
        self._inner, self._told = inner, told

    @property
    def name(self) -> str:
        """As the inner one's."""
        return self._inner.name

    async def self_test(self) -> str:
        """As the inner one's."""
        return await self._inner.self_test()

    async def run(self, call: SandboxCall) -> SandboxResult:
        """Run it, and tell."""
        result = await self._inner.run(call)
        kind = result.excess or ("output" if result.truncated else "time" if result.timed_out else "")
        if kind:
            self._told(kind)
        return result


def _one(value: float) -> list[tuple[float, Mapping[str, str]]]:
    return [(value, {})]
