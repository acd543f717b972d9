"""The buttons: approve, deny, withdraw, and those of a takeover. Decided first, then acked, then told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.domain import ApprovalState, Principal
from agent.errors import DecisionError, NotClaimed, Redelivered, UnknownSubject
from bot.blocks import modals
from bot.blocks.approval import DIGEST_SHOWN
from bot.blocks.call import title_of
from bot.blocks.kit import Block
from bot.identity import DECIDING_FRESH_S
from bot.listeners import granting, reasons, replies
from bot.listeners.payload import Click, click_of, who_of
from bot.listeners.services import COMMIT_S, Bolt, Services
from bot.listeners.visibility import is_admin
from bot.words import INCOMPLETE, STILL_SAVING, sentence
from storage.rows import ApprovalRow
from storage.views import ApprovalView, TakeoverView


class AnotherCard(DecisionError):
    """This card is older than the request behind it, so your click changed nothing. Please use the newest card."""

    code = "ANOTHER_CARD"


Handler = Callable[[Services, Click, Principal], Awaitable[None]]
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Put one matcher on each action id."""
    for action_id, handler in HANDLERS.items():
        app.action(action_id)(listener(services, handler))


def listener(services: Services, handler: Handler) -> Callable[..., Awaitable[None]]:
    """A listener that acks, reads the click, and handles it so that the person is always answered."""

    async def clicked(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        click = click_of(body)
        if click is None:
            who = who_of(body)
            services.tasks.start(replies.audit(services, "bad_payload", who, detail="click"))
            if who is not None:
                services.tasks.start(replies.tell(services, who, INCOMPLETE))
            return
        task = services.tasks.start(_handle(services, handler, click))
        done, _ = await asyncio.wait({task}, timeout=COMMIT_S)
        if not done:
            services.tasks.start(replies.tell(services, click.who, STILL_SAVING))

    return clicked


async def _handle(services: Services, handler: Handler, click: Click) -> None:
    """Whatever goes wrong, the person is told: a click is never silently ignored."""
    try:
        with services.rush:
            await _answer(services, handler, click)
    except Redelivered:
        return
    except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
        if not isinstance(error, DecisionError):
            _log.warning("click_failed", action=click.action_id, exc_info=error)
        services.tasks.start(replies.tell(services, click.who, sentence(error, command=services.command)))


async def _answer(services: Services, handler: Handler, click: Click) -> None:
    person = await services.identity.person(click.who.user, click.who.team, fresh_s=DECIDING_FRESH_S)
    # A vote keeps the click's key in its own transaction.
    if (handler not in VOTES or person.refusal) and click.key and await services.inbox.seen(click.key):
        raise Redelivered
    if person.refusal:
        await replies.audit(services, "not_entitled", click.who, click.subject, click.action_id)
    if handler not in VOTES:  # a vote looks by itself
        await services.decisions.look_again(click.subject)
    await handler(services, click, person.full_member())


def _same_card(click: Click, digest: str) -> None:
    """Raise AnotherCard when the button showed another call than the one that would be decided."""
    if click.shown != digest[:DIGEST_SHOWN]:
        raise AnotherCard


def approval_of(services: Services, click: Click) -> ApprovalView:
    """The approval of a card as it stands now; raises UnknownSubject, or AnotherCard when another call was shown."""
    view = services.queries.approval_view(click.subject)
    if view is None:
        raise UnknownSubject
    _same_card(click, view.approval.digest)
    return view


def _row_of(services: Services, click: Click) -> ApprovalRow:
    """As `approval_of`, but without what only a card shows: one SELECT, since whoever clicked waits for it."""
    row = services.queries.approval(click.subject)
    if row is None:
        raise UnknownSubject
    _same_card(click, row.digest)
    return row


def _takeover(services: Services, click: Click) -> TakeoverView:
    view = services.queries.takeover_view(click.subject)
    if view is None:
        raise UnknownSubject
    _same_card(click, view.action.action.digest)
    return view


async def approve(services: Services, click: Click, principal: Principal) -> None:
    """Say yes."""
    if _row_of(services, click).quorum > 1:
        # An earlier yes counts only while its voter may decide; nobody is taken at their word of half an hour ago.
        votes = approval_of(services, click).votes
        await services.identity.learn((who for who, _, _ in votes), fresh_s=DECIDING_FRESH_S)
    row = await reasons.vote_or_ask(services, click, principal, "approve")
    if row is not None and row.state == ApprovalState.PENDING:
        text = f"Your yes is counted. It needs {row.quorum} in all, from different people."
        services.tasks.start(replies.tell(services, click.who, text))


async def deny(services: Services, click: Click, principal: Principal) -> None:
    """Say no: decided at once, then a reason is asked for; first, where the policy wants one."""
    _row_of(services, click)
    row = await reasons.vote_or_ask(services, click, principal, "deny")
    if row is None:
        return
    if row.state == ApprovalState.DENIED and row.decided_by == principal.key and not row.reason:
        view = services.queries.approval_view(click.subject)
        services.tasks.start(_ask_reason(services, click, principal, title_of(view.action) if view else ""))


async def allow(services: Services, click: Click, principal: Principal) -> None:
    """Offer to say yes to this and to the same again."""
    approval_of(services, click)
    await granting.offer(services, click, principal)


async def _ask_reason(services: Services, click: Click, principal: Principal, headline: str) -> None:
    opened = click.trigger_id and await replies.open_modal(
        services, click.who, click.trigger_id, modals.deny_reason(click.subject, headline), otherwise=""
    )
    if not opened:
        # Nobody will give a reason in a modal that is not there, so the agent need not wait for one.
        await services.decisions.explain_denial(click.subject, principal, "")


async def withdraw(services: Services, click: Click, principal: Principal) -> None:
    """Take one's own request back."""
    view = approval_of(services, click)
    await services.decisions.withdraw(view.approval.id, principal)


def open_window(services: Services, click: Click, view: Block) -> None:
    """Open a modal beside the listener, while the click's trigger is young."""
    otherwise = "The window could not be opened in time. Please press the button once more."
    services.tasks.start(replies.open_modal(services, click.who, click.trigger_id, view, otherwise))


async def claim(services: Services, click: Click, principal: Principal) -> None:
    """Take a takeover; the packet says who has it, and until when."""
    view = _takeover(services, click)
    await services.decisions.claim(view.takeover.id, principal)


async def release(services: Services, click: Click, principal: Principal) -> None:
    """Give a claim up, so that somebody else can take it."""
    view = _takeover(services, click)
    await services.decisions.release(view.takeover.id, principal, view.takeover.claim_token)


Form = Callable[[str, str, str], Block]


def _form(form: Form) -> Handler:
    """Show its holder a form about a takeover, bound to their claim."""

    async def shown(services: Services, click: Click, principal: Principal) -> None:
        view = _takeover(services, click)
        row = view.takeover
        if row.claimed_by != principal.key:
            raise NotClaimed
        open_window(services, click, form(row.id, row.claim_token, title_of(view.action)))

    return shown


async def reassign(services: Services, click: Click, principal: Principal) -> None:
    """Ask its holder, or an admin, to whom it goes."""
    view = _takeover(services, click)
    row = view.takeover
    person = await services.identity.person(click.who.user, click.who.team, fresh_s=DECIDING_FRESH_S)
    if not row.claimed_by or (row.claimed_by != principal.key and not is_admin(services, person)):
        raise NotClaimed
    open_window(services, click, modals.takeover_reassign(row.id, row.claim_token, title_of(view.action)))


async def happened(services: Services, click: Click, principal: Principal) -> None:
    """Say that a lost action did happen."""
    await services.decisions.answer_unknown(_takeover(services, click).takeover.id, principal, "happened")


async def run_again(services: Services, click: Click, principal: Principal) -> None:
    """Say that it did not, and have it proposed anew."""
    await services.decisions.answer_unknown(_takeover(services, click).takeover.id, principal, "run_again")


async def stop_run(services: Services, click: Click, principal: Principal) -> None:
    """End the run, since nobody can tell."""
    await services.decisions.answer_unknown(_takeover(services, click).takeover.id, principal, "stop")


HANDLERS: dict[str, Handler] = {
    "approve": approve,
    "allow": allow,
    "deny": deny,
    "withdraw": withdraw,
    "takeover_claim": claim,
    "takeover_release": release,
    "takeover_reassign": reassign,
    "takeover_done": _form(modals.takeover_done),
    "takeover_hand_back": _form(modals.takeover_hand_back),
    "takeover_abort": _form(modals.takeover_abort),
    "unknown_happened": happened,
    "unknown_run_again": run_again,
    "unknown_stop": stop_run,
}
"""Action id → what it does. Raises what `bot.words.sentence` turns into a private word."""
VOTES: frozenset[Handler] = frozenset({approve, deny})
"""Those that keep the click's key themselves."""
