"""What a run has done so far, summed up: small steps that together are a large one raise the risk of the next."""

from __future__ import annotations

from typing import Any

from agent.domain import Outcome, Value
from agent.facts.model import Facts
from agent.state import ActionState, RunState

_NO_EFFECT = frozenset({Outcome.REFUSED, Outcome.DENIED, Outcome.EXPIRED, Outcome.WITHDRAWN, Outcome.CANCELLED})


class Chain(Value):
    """Sums over the actions of a run that had an effect or may have had one, and over the one that is rated."""

    rows: int = 0
    files: int = 0
    spend: int = 0
    """Micro-units of whatever currency."""
    irreversible: int = 0
    actions: int = 0
    denied: int = 0
    """Actions that people denied or let expire."""

    def as_rule_input(self) -> dict[str, Any]:
        """A plain map for the rule engine."""
        return {name: getattr(self, name) for name in _SUMS}


_SUMS = tuple(Chain.model_fields)


def chain_of(state: RunState, rated: str, facts: Facts) -> Chain:
    """The run so far with this action added as if it had happened."""
    done = [item for key, item in state.actions.items() if key != rated and _counts(item)]
    return Chain(
        rows=sum(item.rows for item in done) + facts.counts.get("rows", 0),
        files=sum(item.files for item in done) + facts.counts.get("files", 0),
        spend=sum(item.amount for item in done) + facts.amount,
        irreversible=sum(item.irreversible for item in done) + (facts.reversibility == "irreversible"),
        actions=len(done) + 1,
        denied=sum(item.outcome in {Outcome.DENIED, Outcome.EXPIRED} for item in state.actions.values()),
    )


def _counts(item: ActionState) -> bool:
    return item.phase == "started" or (item.phase == "finished" and item.outcome not in _NO_EFFECT)
