"""Decisions that the policy takes only with a reason: the window is offered, and what is sent is the vote."""

from __future__ import annotations

from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.domain import ApprovalState, Principal
from agent.errors import AlreadyDecided, DecisionError, NotEntitled, ReasonRequired, UnknownSubject
from bot.blocks.kit import Block, modal, section
from bot.blocks.modals import REASON
from bot.blocks.reason_form import LONGEST, REASON_FORM, Decided, counted, reason_form
from bot.blocks.text import clean
from bot.identity import DECIDING_FRESH_S
from bot.listeners import replies
from bot.listeners.payload import Click, Submission, submission_of, who_of
from bot.listeners.services import Bolt, Services
from bot.words import INCOMPLETE, sentence
from storage.approvals import Vote
from storage.rows import ApprovalRow

_EMPTY = "Please say why; the policy wants a reason."
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Listen to the window."""

    async def submitted(ack: AsyncAck, body: dict[str, Any]) -> None:
        sent = submission_of(body)
        decided = Decided.read(sent.metadata) if sent else None
        if sent is None or decided is None:
            services.tasks.start(replies.audit(services, "bad_payload", who_of(body), detail="view_submission"))
            await ack(response_action="update", view=_notice(INCOMPLETE))
            return
        if error := _error(sent):
            await ack(response_action="errors", errors={REASON: error})
            return
        try:
            row = await services.tasks.within(_vote(services, decided, sent))
        except TimeoutError as error:
            await ack()
            services.tasks.start(replies.tell(services, sent.who, sentence(error)))
        except ReasonRequired:  # all of it was taken out as secret
            await ack(response_action="errors", errors={REASON: _EMPTY})
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            if not isinstance(error, DecisionError):
                _log.warning("form_failed", exc_info=error)
            await ack(response_action="update", view=_notice(sentence(error, command=services.command)))
        else:
            if row.state == ApprovalState.PENDING:
                await ack(response_action="update", view=counted(row.quorum))
            else:
                await ack()

    app.view(REASON_FORM)(submitted)


async def vote_or_ask(services: Services, click: Click, principal: Principal, vote: Vote) -> ApprovalRow | None:
    """Vote; None when the policy wants a reason first: then nothing is decided, and a window asks for it.

    Whoever may not decide, or comes too late, is told so at the click. Raises as `Decisions.vote`.
    """
    try:
        return await services.decisions.vote(click.subject, principal, vote, via="card", key=click.key)
    except ReasonRequired:
        otherwise = "The window for your reason could not be opened in time. Please press the button once more."
        view = services.queries.approval_view(click.subject)
        if view is None:
            raise UnknownSubject from None
        form = reason_form(view, vote)
        services.tasks.start(replies.open_modal(services, click.who, click.trigger_id, form, otherwise))
        return None


def _notice(text: str) -> Block:
    return modal("notice", "Nothing was changed", [section(text)])


def _error(sent: Submission) -> str:
    """What is wrong with what was sent; a reason that nobody can see is none."""
    reason = sent.values.get(REASON, "")
    if len(reason) > LONGEST:
        return f"At most {LONGEST} characters, please."
    return "" if _reason(reason) else _EMPTY


def _reason(text: str) -> str:
    return clean(text).strip().strip("\u200c\u200d")


async def _vote(services: Services, decided: Decided, sent: Submission) -> ApprovalRow:
    """The vote, by a person who is looked up now, on exactly the call that the window showed."""
    person = await services.identity.person(sent.who.user, sent.who.team, fresh_s=DECIDING_FRESH_S)
    if person.refusal:
        await replies.audit(services, "not_entitled", sent.who, decided.subject, REASON_FORM)
        raise NotEntitled(person.refusal)
    view = services.queries.approval_view(decided.subject)
    if view is None or view.approval.digest != decided.digest:
        raise UnknownSubject
    reason = services.redact(_reason(sent.values.get(REASON, "")))
    # An earlier yes counts only while its voter may decide, as at a click on the card.
    await services.identity.learn((who for who, _, _ in view.votes), fresh_s=DECIDING_FRESH_S)
    try:
        return await services.decisions.vote(
            decided.subject, person.principal, decided.vote, via="reason", reason=reason
        )
    except AlreadyDecided as error:
        found = services.queries.approval_view(decided.subject)
        wanted = ApprovalState.APPROVED if decided.vote == "approve" else ApprovalState.DENIED
        is_same = error.by == person.principal.key and error.state == wanted
        if found is None or not is_same or found.approval.reason != reason:
            raise
        return found.approval  # the same window sent twice: the first one was saved
