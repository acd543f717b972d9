"""The modals that people send: the reason for a denial, and what is done with a claimed takeover."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.domain import Principal
from agent.errors import AlreadyDecided, DecisionError, NotEntitled
from bot.blocks import modals
from bot.blocks.kit import modal, section
from bot.identity import DECIDING_FRESH_S
from bot.listeners import replies
from bot.listeners.payload import Submission, submission_of, who_of
from bot.listeners.services import Bolt, Services
from bot.listeners.visibility import is_admin
from bot.words import INCOMPLETE, sentence

LONGEST = 2000
"""Characters of one field."""
Save = Callable[[Services, modals.Kept, Principal, Submission], Awaitable[object]]
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Listen to each form, and to the closing of the one that keeps the agent waiting."""
    for callback_id, (save, required) in FORMS.items():
        app.view(callback_id)(form_listener(services, save, required))

    async def closed(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        sent = submission_of(body)
        kept = modals.Kept.read(sent.metadata) if sent else None
        if sent and kept:
            services.tasks.start(_no_reason(services, kept, sent))

    app.view_closed(modals.DENY_REASON)(closed)


def form_listener(services: Services, save: Save, required: dict[str, str]) -> Callable[..., Awaitable[None]]:
    """A listener that reads a form, saves it, and shows what is wrong in the form's own place."""

    async def submitted(ack: AsyncAck, body: dict[str, Any]) -> None:
        sent = submission_of(body)
        kept = modals.Kept.read(sent.metadata) if sent else None
        if sent is None or kept is None:
            services.tasks.start(replies.audit(services, "bad_payload", who_of(body), detail="view_submission"))
            await _notice(ack, INCOMPLETE)
            return
        if errors := _errors(sent, required):
            await ack(response_action="errors", errors=errors)
            return
        try:
            await services.tasks.within(_save(services, save, kept, sent))
        except TimeoutError as error:
            await ack()
            services.tasks.start(replies.tell(services, sent.who, sentence(error)))
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            if not isinstance(error, DecisionError):
                _log.warning("form_failed", exc_info=error)
            await _notice(ack, sentence(error, command=services.command))
        else:
            await ack()

    return submitted


async def _notice(ack: AsyncAck, text: str) -> None:
    """Show a sentence in place of the form."""
    await ack(response_action="update", view=modal("notice", "Nothing was changed", [section(text)]))


def _errors(sent: Submission, required: dict[str, str]) -> dict[str, str]:
    """What is wrong, by field."""
    errors = {block: text for block, text in required.items() if not sent.values.get(block, "").strip()}
    too_long = f"At most {LONGEST} characters, please."
    return errors | {block: too_long for block, value in sent.values.items() if len(value) > LONGEST}


async def _save(services: Services, save: Save, kept: modals.Kept, sent: Submission) -> None:
    person = await services.identity.person(sent.who.user, sent.who.team, fresh_s=DECIDING_FRESH_S)
    if person.refusal:
        await replies.audit(services, "not_entitled", sent.who, kept.subject, "view_submission")
        raise NotEntitled(person.refusal)
    try:
        await save(services, kept, person.principal, sent)
    except AlreadyDecided as error:
        if error.by != person.principal.key:
            raise
        # The same form sent twice: the first one was saved.


async def _no_reason(services: Services, kept: modals.Kept, sent: Submission) -> None:
    """The window was closed: the agent need not wait for a reason any longer."""
    try:
        person = await services.identity.person(sent.who.user, sent.who.team, fresh_s=DECIDING_FRESH_S)
        await services.decisions.explain_denial(kept.subject, person.principal, "")
    except DecisionError as error:
        _log.info("reason_not_closed", error=str(error))


def _text(services: Services, sent: Submission, block: str) -> str:
    return services.redact(sent.values.get(block, "").strip())


async def _explain(services: Services, kept: modals.Kept, principal: Principal, sent: Submission) -> object:
    return await services.decisions.explain_denial(kept.subject, principal, _text(services, sent, modals.REASON))


async def _done(services: Services, kept: modals.Kept, principal: Principal, sent: Submission) -> object:
    return await services.decisions.close_takeover(
        kept.subject,
        principal,
        "done",
        token=kept.token,
        what=_text(services, sent, modals.WHAT),
        reference=_text(services, sent, modals.REFERENCE),
        evidence=_text(services, sent, modals.EVIDENCE),
    )


async def _hand_back(services: Services, kept: modals.Kept, principal: Principal, sent: Submission) -> object:
    instruction = _text(services, sent, modals.INSTRUCTION)
    return await services.decisions.close_takeover(
        kept.subject, principal, "handed_back", token=kept.token, what=instruction
    )


async def _abort(services: Services, kept: modals.Kept, principal: Principal, sent: Submission) -> object:
    reason = _text(services, sent, modals.REASON)
    return await services.decisions.close_takeover(kept.subject, principal, "aborted", token=kept.token, what=reason)


async def _reassign(services: Services, kept: modals.Kept, principal: Principal, sent: Submission) -> object:
    """The new holder is looked up afresh; whoever Slack does not know as a full member gets nothing."""
    giver = await services.identity.person(sent.who.user, sent.who.team, fresh_s=DECIDING_FRESH_S)
    taker = await services.identity.person(sent.values.get(modals.PERSON, ""), fresh_s=DECIDING_FRESH_S)
    if taker.refusal:
        await replies.audit(services, "not_entitled", sent.who, kept.subject, "reassign to somebody refused")
        raise NotEntitled("They cannot take it: only full members of this workspace can.")
    return await services.decisions.reassign(
        kept.subject, principal, taker.principal, token=kept.token, is_admin=is_admin(services, giver)
    )


FORMS: dict[str, tuple[Save, dict[str, str]]] = {
    modals.DENY_REASON: (_explain, {}),
    modals.DONE_FORM: (
        _done,
        {
            modals.WHAT: "Please say what you did.",
            modals.REFERENCE: "Please say where it can be looked up.",
            modals.EVIDENCE: "Please say what shows that it is done.",
        },
    ),
    modals.HAND_BACK_FORM: (_hand_back, {modals.INSTRUCTION: "Please say what the agent should do instead."}),
    modals.ABORT_FORM: (_abort, {modals.REASON: "Please say why."}),
    modals.REASSIGN_FORM: (_reassign, {modals.PERSON: "Please choose somebody."}),
}
"""Callback id → what saves it, and the fields that must not be empty with what is said when they are."""
