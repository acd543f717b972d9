"""What is done about actions and calls that started and whose process is gone (DESIGN.md §3.8)."""

from __future__ import annotations

from agent import events as ev
from agent.equipment import Box
from agent.ports import Fact
from agent.rating import Rater


async def settle(box: Box, rater: Rater, *, foreign_to: str = "", only: str = "") -> None:
    """Close what a dead process left open: `foreign_to` is our lease token; `only` names one action of our own.

    A read-only or idempotent low action is run again; any other becomes `unknown` and is given to a person. An
    interrupted model call is settled at its reservation, since it may have been charged.
    """
    facts: list[ev.Event] = []
    if not only:
        facts += [
            ev.ModelCallFailed(
                call=call.id,
                code="INTERRUPTED",
                detail="The process died.",
                retryable=True,
                cost_micro_usd=call.reserved,
            )
            for call in box.state.calls.values()
            if call.phase == "started"
        ]
    unknown: list[str] = []
    for item in box.state.actions.values():
        mine = only == item.action.id if only else item.lease_token != foreign_to
        if item.phase != "started" or not mine:
            continue
        if item.action.idempotent and not item.approval and not only:
            facts.append(ev.ActionResumed(action=item.action.id))
        else:
            unknown.append(item.action.id)
    if facts:
        await box.commit(facts, Fact())
    for action in unknown:
        await box.commit(rater.unknown(box.state, box.state.actions[action]), Fact())
