"""The form in which several actions of a run are decided: item by item, each through its own compare-and-swap."""

from __future__ import annotations

from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.domain import ApprovalState, Principal
from agent.errors import DecisionError, NotEntitled, ReasonRequired, StorageUnavailable, UnknownSubject
from bot.blocks.call import title_of
from bot.blocks.modals import REASON, Kept
from bot.blocks.text import inline
from bot.blocks.together import TOGETHER_FORM, read_block, together_notice
from bot.identity import DECIDING_FRESH_S
from bot.listeners import replies
from bot.listeners.decisions import AnotherCard
from bot.listeners.payload import Submission, submission_of, who_of
from bot.listeners.services import Bolt, Services
from bot.words import APPROVAL, INCOMPLETE, sentence

REASON_CHARACTERS = 1000
_ON_ITS_CARD = "Please press that on its card."
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Listen to the form."""

    async def submitted(ack: AsyncAck, body: dict[str, Any]) -> None:
        sent = submission_of(body)
        if sent is None or Kept.read(sent.metadata) is None:
            services.tasks.start(replies.audit(services, "bad_payload", who_of(body), detail="view_submission"))
            await ack(response_action="update", view=together_notice([INCOMPLETE]))
            return
        try:
            lines = await services.tasks.within(_decide(services, sent))
        except TimeoutError as error:
            await ack()
            services.tasks.start(replies.tell(services, sent.who, sentence(error)))
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            if not isinstance(error, DecisionError):
                _log.warning("form_failed", exc_info=error)
            await ack(response_action="update", view=together_notice([sentence(error, command=services.command)]))
        else:
            await ack(response_action="update", view=together_notice(lines))

    app.view(TOGETHER_FORM)(submitted)


async def _decide(services: Services, sent: Submission) -> list[str]:
    """Decide each item that is not left open; what became of it, one line each."""
    person = await services.identity.person(sent.who.user, sent.who.team, fresh_s=DECIDING_FRESH_S)
    if person.refusal:
        await replies.audit(services, "not_entitled", sent.who, "", TOGETHER_FORM)
        raise NotEntitled(person.refusal)
    reason = services.redact(sent.values.get(REASON, "").strip()[:REASON_CHARACTERS])
    lines: list[str] = []
    for block, answer in sent.values.items():
        item = read_block(block)
        if item is not None and answer in {"approve", "deny"}:
            lines.append(await _one(services, person.principal, *item, yes=answer == "approve", reason=reason))
    return lines


async def _one(services: Services, principal: Principal, approval: str, shown: str, *, yes: bool, reason: str) -> str:
    view = services.queries.approval_view(approval)
    title = inline(title_of(view.action), 150) if view is not None else inline(approval, 40)
    try:
        if view is None:
            raise UnknownSubject
        if not view.approval.digest.startswith(shown) or not shown:
            raise AnotherCard
        row = await services.decisions.vote(approval, principal, "approve" if yes else "deny", via="together")
        if row.state == ApprovalState.DENIED and row.decided_by == principal.key:
            await services.decisions.explain_denial(approval, principal, reason)
    except ReasonRequired:
        word = "Approve" if yes else "Deny"
        return f"*{title}*: {word} needs a reason of its own, so it is left open. {_ON_ITS_CARD}"
    except (DecisionError, StorageUnavailable) as error:
        return f"*{title}*: {sentence(error, command=services.command)}"
    if row.state == ApprovalState.PENDING:
        return f"*{title}*: your yes is counted; it needs {row.quorum} in all."
    return f"*{title}*: {APPROVAL[ApprovalState(row.state)]}."
