"""The other buttons of a card: Edit, Details with its pages, Ask again, Decide all."""

from __future__ import annotations

import asyncio

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError

from agent.domain import ApprovalState, Principal
from agent.errors import AlreadyDecided, DecisionError, NotEditable, NotEntitled, ToolError, UnknownSubject
from agent.revising import Unfit
from bot.blocks.approval import may_be_asked_again
from bot.blocks.details import BEFORE, NEXT, details, page_of
from bot.blocks.edit_form import edit_form
from bot.blocks.kit import Block
from bot.blocks.together import together_form
from bot.listeners import replies
from bot.listeners.decisions import Handler, approval_of, listener, open_window
from bot.listeners.payload import Click
from bot.listeners.services import NOW_OR_NEVER_S, Bolt, Services
from bot.listeners.visibility import may_see
from storage.views import ApprovalView, RunLine

_log = structlog.get_logger("listeners")


class CannotAskAgain(DecisionError):
    """It cannot be asked again as it is. Please give me the task anew."""

    code = "CANNOT_ASK_AGAIN"


def register(app: Bolt, services: Services) -> None:
    """Put one matcher on each action id."""
    for action_id, handler in HANDLERS.items():
        app.action(action_id)(listener(services, handler))


async def show_details(services: Services, click: Click, principal: Principal) -> None:
    """Show everything about the call to those who may see its run (invariant 15)."""
    del principal
    open_window(services, click, await _details(services, click, 0))


async def turn_page(services: Services, click: Click, principal: Principal) -> None:
    """Show another page of the details in the same window."""
    del principal
    view = await _details(services, click, page_of(click.shown))
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            await services.client.views_update(view_id=click.view_id, view=view)
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        _log.info("modal_failed", error=str(error).partition("\n")[0])
        await replies.tell(services, click.who, "The page could not be turned. Please open Details once more.")


async def _details(services: Services, click: Click, page: int) -> Block:
    approval = services.queries.approval_view(click.subject)
    takeover = services.queries.takeover_view(click.subject) if approval is None else None
    found = approval or takeover
    if found is None:
        raise UnknownSubject
    run = approval.run if approval is not None else takeover.view.run if takeover is not None else None
    assert run is not None  # noqa: S101  # one of the two was found
    await _must_see(services, click, run)
    return details(found.action, run.id, found.preview, subject=click.subject, page=page)


async def _must_see(services: Services, click: Click, run: RunLine) -> None:
    """Raise NotEntitled, and keep a row, when this person may not see the run."""
    person = await services.identity.person(click.who.user, click.who.team)
    if not await may_see(services, person, run):
        await replies.audit(services, "not_entitled", click.who, click.subject, click.action_id)
        raise NotEntitled(
            "Only who asked for it, who may decide, admins and the members of the channel where it was asked may see "
            "all of it."
        )


async def edit(services: Services, click: Click, principal: Principal) -> None:
    """Open the arguments as fields; what is sent is checked when it is sent."""
    view = approval_of(services, click)
    await _must_be_in_charge(services, click, principal, view)
    must_be_pending(view)
    if services.reviser is None:
        raise NotEditable
    open_window(services, click, edit_form(view, services.reviser.form(view.action.action), editor=principal.key))


async def _must_be_in_charge(services: Services, click: Click, principal: Principal, view: ApprovalView) -> None:
    decides = principal.key in view.approval.deciders and services.identity.may_decide(principal, view.approval)
    if not decides and principal.key not in view.co_requesters:
        await replies.audit(services, "not_entitled", click.who, click.subject, click.action_id)
        raise NotEntitled


def must_be_pending(view: ApprovalView) -> None:
    """Raise AlreadyDecided, with who did what when, unless it waits for an answer."""
    row, new = view.approval, view.successor
    if new is not None:
        raise AlreadyDecided(state=new.cause, by=new.by, at=new.at)
    if row.state != ApprovalState.PENDING:
        raise AlreadyDecided(state=row.state, by=row.decided_by, at=row.decided_at)


async def ask_again(services: Services, click: Click, principal: Principal) -> None:
    """Ask once more for what expired or was withdrawn: within its run, or in a new one when that is over."""
    view = approval_of(services, click)
    action = None
    if may_be_asked_again(view) and not view.run.status.is_final:
        try:
            reviser = services.reviser
            action = await reviser.again(view.run.id, view.action.id, principal.key) if reviser else None
        except (ToolError, Unfit) as error:
            raise CannotAskAgain(f"It cannot be asked again as it is: {error}") from error
    asked = await services.decisions.ask_again(view.approval.id, principal, action, quota=services.quota)
    if asked.is_new_run:
        await services.on_run(asked.run)
    where = "in a new run; its thread shows how it goes" if asked.is_new_run else "in its run"
    text = f"Asked again, {where}. You asked for it, so somebody else must approve."
    services.tasks.start(replies.tell(services, click.who, text))


async def decide_all(services: Services, click: Click, principal: Principal) -> None:
    """Open everything of the run that waits, to be decided item by item."""
    view = approval_of(services, click)
    await _must_be_in_charge(services, click, principal, view)
    waiting = [services.queries.approval_view(key) for key in view.waiting]
    views = [item for item in waiting if item is not None]
    if not views:
        must_be_pending(view)
    open_window(services, click, together_form(views, view.run.id))


HANDLERS: dict[str, Handler] = {
    "edit": edit,
    "details": show_details,
    NEXT: turn_page,
    BEFORE: turn_page,
    "ask_again": ask_again,
    "decide_all": decide_all,
}
"""Action id → what it does. Raises what `bot.words.sentence` turns into a private word."""
