"""What people press in a task's thread: Stop on the progress message, and the two buttons under an answer."""

from __future__ import annotations

from typing import Any

import structlog
from slack_bolt import BoltResponse

from agent.domain import Principal
from agent.errors import NotEntitled, SecondKeyError, StorageUnavailable, UnknownRun
from bot.blocks.answer import FEEDBACK
from bot.blocks.feedback import FEEDBACK_FORM, WORD, feedback_form
from bot.blocks.modals import Kept
from bot.blocks.progress import STOP
from bot.blocks.text import inline
from bot.identity import DECIDING_FRESH_S, Person
from bot.listeners import replies
from bot.listeners.decisions import Handler, listener
from bot.listeners.forms import form_listener
from bot.listeners.payload import Body, Click, Submission, Who, mapping, text_of, user_of
from bot.listeners.services import Bolt, Services
from bot.listeners.visibility import is_in_charge, may_see
from bot.words import RUN, sentence
from storage.feedback import Vote, add_word, vote
from storage.views import RunLine

NOT_IN_CHARGE = "Only who asked for it, who may decide, or an admin can stop a run."
_VOTES: dict[str, Vote] = {"good": "good", "bad": "bad"}
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Listen to the buttons, their form, and the stop button of Slack's own."""
    for action_id, handler in HANDLERS.items():
        app.action(action_id)(listener(services, handler))
    app.view(FEEDBACK_FORM)(form_listener(services, _word, {}))

    async def stopped(body: dict[str, Any]) -> BoltResponse | None:
        return await session_stopped(services, body)

    app.event("agent_session_stopped")(stopped)


async def _person(services: Services, who: Who) -> Person:
    return await services.identity.person(who.user, who.team, fresh_s=DECIDING_FRESH_S)


async def stop_run(services: Services, click: Click, principal: Principal) -> None:
    """End a run from its progress message."""
    run = services.queries.run(click.subject)
    person = await _person(services, click.who)
    if run is None or not await may_see(services, person, run):
        raise UnknownRun
    await _stop(services, click.who, person, run, "the Stop button")
    del principal


async def _stop(services: Services, who: Who, person: Person, run: RunLine, how: str) -> None:
    """Stop it for those in charge, at once; what waits is withdrawn when the run's driver ends it."""
    if not is_in_charge(services, person, run):
        await replies.audit(services, "not_entitled", who, run.id, "stop")
        raise NotEntitled(NOT_IN_CHARGE)
    if run.status.is_final:
        text = f"This run is over already: {RUN[run.status]}. Your click changed nothing."
        services.tasks.start(replies.tell(services, who, text))
        return
    view = services.queries.run_view(run.id)
    if view is not None and view.stop is not None:
        services.tasks.start(replies.tell(services, who, "This run is stopping already. Your click changed nothing."))
        return
    await services.control.stop(run.id, by=person.principal.key, reason=how)


async def session_stopped(services: Services, body: Body) -> BoltResponse | None:
    """Slack's own stop button: ends the run of the thread; 503 when that could not be made durable in two seconds."""
    event = mapping(body.get("event"))
    user, channel = user_of(event.get("user")), text_of(event.get("channel")) or text_of(event.get("channel_id"))
    thread_ts = text_of(event.get("thread_ts"))
    if not user or not channel:
        services.tasks.start(
            replies.audit(services, "bad_payload", None, text_of(body.get("event_id")), "agent_session_stopped")
        )
        return None
    who = Who(user=user, team=text_of(body.get("team_id")), channel=channel, thread_ts=thread_ts)
    try:
        await services.tasks.within(_session_stopped(services, who, text_of(body.get("event_id"))))
    except (TimeoutError, StorageUnavailable):
        return BoltResponse(status=503, body="")  # no ack: Slack delivers it again
    except SecondKeyError as error:
        services.tasks.start(replies.tell(services, who, sentence(error, command=services.command)))
    return None


async def _session_stopped(services: Services, who: Who, event_id: str) -> None:
    person = await _person(services, who)
    run = services.queries.find_run_by_thread(services.identity.home_team, who.channel, who.thread_ts)
    if run is None:
        return  # a session of no run
    if not await may_see(services, person, run) and not person.refusal:
        raise UnknownRun
    services.sessions_moved(run.id)  # whatever comes of it, Slack's own display must follow the run
    if is_in_charge(services, person, run):
        view = services.queries.run_view(run.id)
        if not run.status.is_final and (view is None or view.stop is None):
            await services.control.stop(run.id, by=person.principal.key, reason="Slack's stop button")
    elif not event_id or not await services.inbox.seen(f"event:{event_id}"):
        await replies.audit(services, "not_entitled", who, run.id, "stop")
        raise NotEntitled(person.refusal or NOT_IN_CHARGE)


async def feedback(services: Services, click: Click, principal: Principal) -> None:
    """Keep how somebody liked an answer; whoever may see the run may say so."""
    how = _VOTES.get(click.shown)
    run = services.queries.run(click.subject)
    person = await _person(services, click.who)
    if how is None or run is None or not await may_see(services, person, run):
        await replies.audit(services, "not_entitled", click.who, click.subject, "feedback")
        raise UnknownRun
    before = await services.db.write(lambda tx: vote(tx, run.id, principal.key, how))
    if how == "bad" and before != "bad" and click.trigger_id:
        services.tasks.start(
            replies.open_modal(services, click.who, click.trigger_id, feedback_form(run.id), "Thank you, noted.")
        )
        return
    same = "You said so already; it is noted once." if before == how else "Thank you, noted."
    services.tasks.start(replies.tell(services, click.who, same if before in {None, how} else "Changed, thank you."))


async def _word(services: Services, kept: Kept, principal: Principal, sent: Submission) -> object:
    word = services.redact(sent.values.get(WORD, "").strip())
    if not word:
        return None
    kept_it = await services.db.write(lambda tx: add_word(tx, kept.subject, principal.key, word))
    if not kept_it:
        raise UnknownRun(f"There is no vote of yours on run {inline(kept.subject, 40)}.")
    services.tasks.start(replies.tell(services, sent.who, "Thank you, noted."))
    return None


HANDLERS: dict[str, Handler] = {STOP: stop_run, FEEDBACK: feedback}
"""Action id → what it does. Raises what `bot.words.sentence` turns into a private word."""
