"""What another policy would have said of a recorded run: every rating made again from its recorded facts; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from agent import events as ev
from agent.chain import chain_of
from agent.domain import Outcome, Risk, Tier
from agent.errors import DeniedIntent
from agent.facts.model import Facts
from agent.gate import decide
from agent.policy import Policy
from agent.ports import Stored
from agent.state import ActionState, RunState, fold
from agent.terms import Scope

_DOORS = {Tier.LOW: "go", Tier.MEDIUM: "ask", Tier.HIGH: "person"}


@dataclass(frozen=True, slots=True)
class Said:
    """A rating and what follows from it: `go`, `ask`, `person` or `refuse`, and how people are asked."""

    door: str
    tier: str
    reasons: tuple[tuple[str, str], ...] = ()
    """Rule and sentence."""
    quorum: int = 0
    """0 where nobody is asked."""
    timeout_s: float = 0.0
    deciders: tuple[str, ...] = ()
    reason_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rerated:
    """One rating of the journal, made again."""

    seq: int
    action: str
    tool: str
    arguments: dict[str, Any]
    headline: str
    then: Said
    now: Said
    decided: str = ""
    """What people said then: approved, denied, done …; empty when nobody was asked."""

    @property
    def changed(self) -> bool:
        """Whether it would come out otherwise; the words of the reasons alone change nothing."""
        return replace(self.then, reasons=()) != replace(self.now, reasons=())

    def as_json(self) -> dict[str, Any]:
        """Plain data for scripts."""
        return asdict(self) | {"changed": self.changed}


def rerate(
    run: str, stored: Sequence[Stored], policy: Policy, body: Callable[[str], str], *, reading: Collection[str]
) -> tuple[tuple[Rerated, ...], int]:
    """Every rating again, and how many could not be (facts dropped, or of another release).

    `reading` names the tools that only read. Raises IllegalTransition when the journal does not fold.
    """
    found: list[Rerated] = []
    skipped = 0
    state = RunState(run=run)
    for at, item in enumerate(stored):
        if isinstance(item.event, ev.ActionRated):
            try:
                facts = Facts.model_validate_json(body(item.event.facts_blob))
            except (KeyError, ValueError):
                skipped += 1
            else:
                found.append(_one(state, item, item.event, facts, stored[at + 1 :], policy, reading))
        state = fold(run, (item,), state)
    return tuple(replace(one, decided=_decided(state, one.action)) for one in found), skipped


def _one(  # noqa: PLR0917  # the moment, and what follows it
    state: RunState,
    item: Stored,
    rated: ev.ActionRated,
    facts: Facts,
    after: Sequence[Stored],
    policy: Policy,
    reading: Collection[str],
) -> Rerated:
    known = state.actions[rated.action]
    action, task = known.action, state.task
    assert task is not None  # noqa: S101  # a run without a task is no state
    risk = policy.rate(
        action.tool, action.arguments, facts, task.principal, read_only=action.tool in reading,
        channel=task.place.channel, at=item.at, chain=chain_of(state, action.id, facts),
    )  # fmt: skip
    edited = action.revision is not None and action.revision.cause == "edit"
    verdict = decide(state, risk, facts.effects, undecidable=bool(facts.undecidable), edited=edited)
    then = _then(rated, after)
    now = _now(verdict.door, verdict.risk, policy, task.principal.team, Scope(
        tool=action.tool, channel=task.place.channel, tier=verdict.risk.tier.value,
    ))  # fmt: skip
    if then.door == "grant" and now.door == "ask":  # a permission given beforehand answers, whatever the terms
        now = replace(now, door="grant", quorum=0, timeout_s=0.0, deciders=(), reason_for=())
    if any(reason.rule == "analyser_failed" for reason in rated.reasons) and now.tier != Tier.HIGH.value:
        now = then  # the analyser failed then; its facts are not whole
    return Rerated(item.seq, action.id, action.tool, action.arguments, rated.headline, then, now)


def _then(rated: ev.ActionRated, after: Sequence[Stored]) -> Said:
    """What was journalled: the rating, and the request that stands right behind it."""
    reasons = tuple((reason.rule, reason.text) for reason in rated.reasons)
    if rated.grant:
        return Said("grant", rated.tier.value, reasons)
    for item in after[:20]:
        event = item.event
        if isinstance(event, ev.ApprovalRequested) and event.action == rated.action:
            return Said(
                "ask", rated.tier.value, reasons, event.quorum, event.timeout_s, tuple(sorted(event.deciders)),
                tuple(event.reason_for),
            )  # fmt: skip
        if isinstance(event, ev.ActionFinished) and event.action == rated.action:
            if event.outcome is Outcome.REFUSED and event.code == DeniedIntent.code:
                return Said("refuse", rated.tier.value, reasons)
            break
        if isinstance(event, ev.ActionRated) and event.action == rated.action:
            break
    return Said(_DOORS[rated.tier], rated.tier.value, reasons)


def _now(door: str, risk: Risk, policy: Policy, team: str, scope: Scope) -> Said:
    reasons = tuple((reason.rule, reason.text) for reason in risk.reasons)
    if door != "ask":
        return Said(door, risk.tier.value, reasons)
    terms = risk.terms
    deciders = tuple(sorted(policy.deciders(team, terms, scope)))
    return Said(door, risk.tier.value, reasons, terms.quorum, terms.timeout_s, deciders, tuple(terms.reason_for))


def _decided(state: RunState, action: str) -> str:
    item: ActionState | None = state.actions.get(action)
    if item is None:
        return ""
    approval, takeover = state.approvals.get(item.approval), state.takeovers.get(item.takeover)
    if takeover is not None:
        return takeover.state.value
    return approval.state.value if approval is not None else ""
