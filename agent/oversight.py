"""What people's decisions, and their waiting for them, do to a state that is still private to its fold."""

from __future__ import annotations

from agent import events as ev
from agent.domain import ApprovalState, Outcome, TakeoverState
from agent.parts import ActionState, Approval, IllegalTransition, Takeover, changed, found
from agent.runstate import RunState, put, put_action


def approval_changed(
    state: RunState,
    event: ev.ApprovalRequested
    | ev.ApprovalDelivered
    | ev.ApprovalReminded
    | ev.DecidersChanged
    | ev.VoteCast
    | ev.ApprovalDecided
    | ev.DenialExplained,
) -> RunState:
    """Change an approval and its action; raises IllegalTransition."""
    if isinstance(event, ev.ApprovalRequested):
        approval = Approval(
            id=event.approval,
            action=event.action,
            digest=event.digest,
            epoch=event.epoch,
            expires_at=event.expires_at,
            quorum=event.quorum,
        )
        item = changed(
            found(state.actions, event.action), phase="asked", approval=event.approval, outcome=None, feedback=""
        )
        return put_action(put(state, approvals={**state.approvals, approval.id: approval}), item)
    approval = found(state.approvals, event.approval)
    item = found(state.actions, approval.action)
    match event:
        case ev.ApprovalDelivered():
            approval = changed(approval, expires_at=event.expires_at)
        case ev.ApprovalReminded() | ev.DecidersChanged():
            pass
        case ev.VoteCast():  # a vote alone changes nothing; the decision follows at quorum
            others = tuple(key for key in approval.yes if key != event.principal.key)
            approval = changed(approval, yes=(*others, event.principal.key) if event.vote == "approve" else others)
        case ev.ApprovalDecided():
            withdraws_a_yes = approval.state is ApprovalState.APPROVED and event.state is ApprovalState.WITHDRAWN
            if approval.state is not ApprovalState.PENDING and not withdraws_a_yes:
                raise IllegalTransition(f"approval {approval.id} decided twice")
            approval = changed(
                approval,
                state=event.state,
                by=event.by,
                reason=event.reason,
                start_before=event.start_before,
                reason_open=event.reason_until > 0,
            )
            item = _decided(item, event)
        case ev.DenialExplained():
            approval = changed(approval, reason_open=False, reason=event.reason or approval.reason)
            item = changed(item, feedback=event.reason or item.feedback)
    return put_action(put(state, approvals={**state.approvals, approval.id: approval}), item)


_OUTCOME_OF = {
    ApprovalState.DENIED: Outcome.DENIED,
    ApprovalState.EXPIRED: Outcome.EXPIRED,
    ApprovalState.WITHDRAWN: Outcome.WITHDRAWN,
    ApprovalState.SUPERSEDED: Outcome.WITHDRAWN,
}


def _decided(item: ActionState, event: ev.ApprovalDecided) -> ActionState:
    if event.state is ApprovalState.APPROVED:
        return changed(item, phase="approved")
    if item.phase == "finished":
        return item
    return changed(item, phase="finished", outcome=_OUTCOME_OF[event.state], feedback=event.reason)


def takeover_changed(state: RunState, event: ev.Event) -> RunState:
    """Change a takeover and its action; raises IllegalTransition, also for what is no event of a takeover."""
    if isinstance(event, ev.TakeoverOpened):
        takeover = Takeover(id=event.takeover, action=event.action, cause=event.cause)
        item = changed(found(state.actions, event.action), phase="with_person", takeover=takeover.id)
        return put_action(put(state, takeovers={**state.takeovers, takeover.id: takeover}), item)
    if not isinstance(event, ev.TakeoverClaimed | ev.TakeoverReleased | ev.TakeoverReminded | ev.TakeoverClosed):
        raise IllegalTransition(f"nothing is known of {event.type}")
    takeover = found(state.takeovers, event.takeover)
    if takeover.state.is_final:
        raise IllegalTransition(f"takeover {takeover.id} is over")
    match event:
        case ev.TakeoverClaimed():
            takeover = changed(
                takeover, state=TakeoverState.CLAIMED, by=event.by.key, claim_token=event.claim_token
            )  # fmt: skip
        case ev.TakeoverReleased():
            takeover = changed(takeover, state=TakeoverState.OPEN, by="", claim_token="")
        case ev.TakeoverReminded():
            return state
        case ev.TakeoverClosed():
            takeover = changed(takeover, state=TakeoverState(event.state), by=event.by)
            item = found(state.actions, takeover.action)
            item = changed(
                item,
                phase="finished",
                outcome=_OUTCOME_OF_TAKEOVER[takeover.cause, event.state],
                feedback=event.what,
                again=event.again,
                summary="; ".join(part for part in (event.what, event.reference, event.evidence) if part),
            )
            state = put_action(put(state, epoch=max(state.epoch, event.epoch)), item)
    return put(state, takeovers={**state.takeovers, takeover.id: takeover})


# An unknown that a person says has happened did happen: by the agent, before the crash.
_OUTCOME_OF_TAKEOVER = {
    ("high", "done"): Outcome.DONE_BY_HUMAN,
    ("unknown", "done"): Outcome.SUCCEEDED,
    ("high", "handed_back"): Outcome.WITHDRAWN,
    ("unknown", "handed_back"): Outcome.WITHDRAWN,
    ("high", "aborted"): Outcome.CANCELLED,
    ("unknown", "aborted"): Outcome.UNKNOWN,
}
