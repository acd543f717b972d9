"""The form with changed arguments: checked by the tool's own model, then put in the place of the pending call."""

from __future__ import annotations

from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.errors import AlreadyDecided, DecisionError, NotEditable, NotEntitled, UnknownSubject
from agent.revising import Unfit
from bot.blocks.edit_form import EDIT_FORM, changed_notice, errors_of, typed
from bot.blocks.kit import modal, section
from bot.blocks.modals import Kept
from bot.identity import DECIDING_FRESH_S
from bot.listeners import replies
from bot.listeners.cards import must_be_pending
from bot.listeners.decisions import AnotherCard
from bot.listeners.payload import Submission, submission_of, who_of
from bot.listeners.services import Bolt, Services
from bot.words import INCOMPLETE, sentence

_log = structlog.get_logger("listeners")


class BadFields(DecisionError):
    """Some of what you typed cannot be taken. Please mend it and send the form again."""

    code = "BAD_FIELDS"

    def __init__(self, errors: dict[str, str] | None = None) -> None:
        super().__init__()
        self.errors = errors or {}
        """What is wrong, by block."""


def register(app: Bolt, services: Services) -> None:
    """Listen to the form."""

    async def submitted(ack: AsyncAck, body: dict[str, Any]) -> None:
        sent = submission_of(body)
        kept = Kept.read(sent.metadata) if sent else None
        if sent is None or kept is None:
            services.tasks.start(replies.audit(services, "bad_payload", who_of(body), detail="view_submission"))
            await _notice(ack, INCOMPLETE)
            return
        try:
            await services.tasks.within(_save(services, kept, sent))
        except BadFields as error:
            await ack(response_action="errors", errors=error.errors)
        except TimeoutError as error:
            await ack()
            services.tasks.start(replies.tell(services, sent.who, sentence(error)))
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            if not isinstance(error, DecisionError):
                _log.warning("form_failed", exc_info=error)
            await _notice(ack, sentence(error, command=services.command))
        else:
            await ack(response_action="update", view=changed_notice())

    app.view(EDIT_FORM)(submitted)


async def _notice(ack: AsyncAck, text: str) -> None:
    await ack(response_action="update", view=modal("notice", "Nothing was changed", [section(text)]))


async def _save(services: Services, kept: Kept, sent: Submission) -> None:
    person = await services.identity.person(sent.who.user, sent.who.team, fresh_s=DECIDING_FRESH_S)
    if person.refusal:
        await replies.audit(services, "not_entitled", sent.who, kept.subject, EDIT_FORM)
        raise NotEntitled(person.refusal)
    view = services.queries.approval_view(kept.subject)
    if view is None:
        raise UnknownSubject
    if view.approval.digest != kept.token:
        raise AnotherCard
    if services.reviser is None:
        raise NotEditable
    principal = person.principal
    try:
        must_be_pending(view)
        fields = services.reviser.form(view.action.action)
        try:
            action = await services.reviser.edited(
                view.run.id, view.action.id, typed(fields, sent.values), principal.key
            )
        except Unfit as error:
            raise BadFields(errors_of(fields, error.problems)) from error
        await services.decisions.edit(kept.subject, principal, action, digest=kept.token)
    except AlreadyDecided as error:
        if error.by != principal.key or error.state not in {"edit", "superseded"}:
            raise
        # The same form sent twice: the first one was taken.
