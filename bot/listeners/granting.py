"""Approve and allow: the form, the exact scope to be confirmed, and the yes with its grant; listing and revoking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.domain import Principal
from agent.errors import AlreadyDecided, DecisionError, GrantRefused, NotEntitled, OwnRequest, UnknownSubject
from agent.facts.model import Facts
from agent.grants import Terms
from bot.blocks import grants as blocks
from bot.blocks.call import title_of
from bot.blocks.kit import Block, modal, section
from bot.blocks.message import Look
from bot.blocks.text import inline
from bot.identity import DECIDING_FRESH_S, Person
from bot.listeners import replies
from bot.listeners.payload import Body, Click, Submission, mapping, submission_of, text_of, who_of
from bot.listeners.services import Bolt, Services
from bot.listeners.visibility import is_admin
from bot.words import INCOMPLETE, sentence
from storage.views import ApprovalView

_log = structlog.get_logger("listeners")
MOST_LISTED = 20
_CENT = 10_000


class Chosen(BaseModel):
    """What the windows carry through Slack and back: whose card it is, what it showed, and what was chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    digest: str
    terms: Terms | None = None

    @classmethod
    def read(cls, metadata: object) -> Chosen | None:
        """What a submitted window carried; None when it is not ours."""
        try:
            return cls.model_validate_json(metadata) if isinstance(metadata, str) else None
        except ValidationError:
            return None


def register(app: Bolt, services: Services) -> None:
    """Listen to the two windows; the button is one of `decisions`."""
    for callback_id, step in ((blocks.FORM, _next), (blocks.CONFIRM, _give)):
        app.view(callback_id)(_listener(services, step))


async def offer(services: Services, click: Click, principal: Principal) -> None:
    """Show the form to who could approve this."""
    view = _fresh(services, click.subject, "")
    _refuse_own(services, view, principal)
    if "approve" in view.approval.reason_for:
        raise GrantRefused("Each yes to this needs a reason of its own, so it cannot be allowed beforehand.")
    kept = Chosen(subject=view.approval.id, digest=view.approval.digest).model_dump_json()
    rating = view.action.rating
    spends = rating is not None and blocks.spends_of(_counts(services, rating.facts_blob), rating.intents)
    shown = blocks.form(view, Look(), kept, spends=spends)
    otherwise = "The window could not be opened in time. Please press the button once more."
    services.tasks.start(replies.open_modal(services, click.who, click.trigger_id, shown, otherwise))


def _counts(services: Services, facts_blob: str) -> dict[str, int]:
    body = services.queries.body(facts_blob)
    try:
        return dict(Facts.model_validate_json(body).counts) if body else {}
    except ValidationError:
        return {}


def _fresh(services: Services, approval: str, digest: str) -> ApprovalView:
    view = services.queries.approval_view(approval)
    if view is None or (digest and view.approval.digest != digest):
        raise UnknownSubject
    if view.approval.state != "pending":
        row = view.approval
        raise AlreadyDecided(state=row.state, by=row.decided_by, at=row.decided_at)
    return view


def _refuse_own(services: Services, view: ApprovalView, principal: Principal) -> None:
    """A word at once, rather than after a form was filled in; the vote itself looks again."""
    if principal.key in view.co_requesters:
        raise OwnRequest
    if principal.key not in view.approval.deciders or not services.identity.may_decide(principal):
        raise NotEntitled


def _listener(services: Services, step: Any) -> Any:  # noqa: ANN401  # Bolt's listeners are typed only in part
    async def submitted(ack: AsyncAck, body: dict[str, Any]) -> None:
        sent = submission_of(body)
        chosen = Chosen.read(sent.metadata) if sent else None
        if sent is None or chosen is None:
            services.tasks.start(replies.audit(services, "bad_payload", who_of(body), detail="view_submission"))
            await _notice(ack, INCOMPLETE)
            return
        try:
            answer = await services.tasks.within(step(services, chosen, sent, body))
        except TimeoutError as error:
            await ack()
            services.tasks.start(replies.tell(services, sent.who, sentence(error)))
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            if not isinstance(error, DecisionError):
                _log.warning("grant_form_failed", exc_info=error)
            await _notice(ack, sentence(error, command=services.command))
        else:
            await ack(**answer)

    return submitted


async def _notice(ack: AsyncAck, text: str) -> None:
    await ack(response_action="update", view=modal("notice", "Nothing was changed", [section(text)]))


async def _person(services: Services, sent: Submission, subject: str) -> Principal:
    person = await services.identity.person(sent.who.user, sent.who.team, fresh_s=DECIDING_FRESH_S)
    if person.refusal:
        await replies.audit(services, "not_entitled", sent.who, subject, "view_submission")
        raise NotEntitled(person.refusal)
    return person.principal


async def _next(services: Services, chosen: Chosen, sent: Submission, body: Body) -> dict[str, Any]:
    """Show the exact scope of what was chosen; nothing is given yet."""
    principal = await _person(services, sent, chosen.subject)
    view = _fresh(services, chosen.subject, chosen.digest)
    _refuse_own(services, view, principal)
    terms = _terms(body)
    if isinstance(terms, dict):
        return {"response_action": "errors", "errors": terms}
    try:
        grant = services.grants.drafted(view.approval.id, principal, terms)
    except GrantRefused as error:
        if terms.free:
            return {"response_action": "errors", "errors": {blocks.FREE: str(error)}}
        raise
    kept = chosen.model_copy(update={"terms": terms}).model_dump_json()
    if len(kept) > 3000:  # noqa: PLR2004  # what Slack carries with a window
        raise GrantRefused
    return {"response_action": "update", "view": blocks.confirm(grant, title_of(view.action), Look(), kept)}


async def _give(services: Services, chosen: Chosen, sent: Submission, body: Body) -> dict[str, Any]:
    """Approve, and give what the window showed."""
    del body
    principal = await _person(services, sent, chosen.subject)
    if chosen.terms is None:
        raise UnknownSubject
    _fresh(services, chosen.subject, chosen.digest)
    await services.decisions.vote(chosen.subject, principal, "approve", via="grant", allow=chosen.terms)
    return {}


def _terms(body: Body) -> Terms | dict[str, str]:
    """What was chosen in the form, or what is wrong with it by field."""
    values = mapping(mapping(mapping(body.get("view")).get("state")).get("values"))

    def element(block: str) -> Body:
        return mapping(mapping(values.get(block)).get("value"))

    span = blocks.SPANS.get(text_of(mapping(element(blocks.HOW_LONG).get("selected_option")).get("value")))
    if span is None:
        return {blocks.HOW_LONG: "Please choose one."}
    uses = text_of(mapping(element(blocks.USES).get("selected_option")).get("value"))
    if uses not in {str(n) for n in blocks.TIMES}:
        return {blocks.USES: "Please choose one."}
    given = element(blocks.FREE).get("selected_options")
    ticked = cast("list[object]", given) if isinstance(given, list) else []
    free = tuple(text_of(mapping(item).get("value")) for item in ticked)
    spent = text_of(element(blocks.SPENT).get("value")).strip().lstrip("$")
    try:
        micro = round(float(spent) * 100) * _CENT if spent else 0
        return Terms(this_run_only=span[1], seconds=span[2], uses=int(uses), spend_micro_usd=micro, free=free)
    except (ValueError, OverflowError):
        return {blocks.SPENT: "Please write an amount such as 5 or 2.50."}


async def list_grants(services: Services, person: Person) -> list[Block]:
    """For `grants`: all of them for who may decide and admins, else those for one's own runs. Raises NotEntitled."""
    principal = person.full_member()
    sees_all = services.identity.may_decide(principal) or is_admin(services, person)
    rows = services.grants.rows(requester="" if sees_all else principal.key, limit=MOST_LISTED)
    look = Look(command=services.command)
    return blocks.listed(rows, look, services.clock.now())


async def revoke(services: Services, person: Person, words: Sequence[str]) -> list[Block]:
    """For `grants revoke <id>`: by its giver, whoever may decide, or an admin.

    Raises NotEntitled, UnknownSubject or AlreadyDecided.
    """
    principal = person.full_member()
    row = services.grants.find(words[0].strip("`<>")) if words else None
    if row is None:
        raise UnknownSubject
    if principal.key != row.by and not services.identity.may_decide(principal) and not is_admin(services, person):
        raise NotEntitled
    await services.grants.revoke(row.id, principal)
    return [section(f"`{inline(row.id, 40)}` is taken back; nothing starts under it any more.")]
