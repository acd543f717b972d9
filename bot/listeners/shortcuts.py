"""The shortcuts: a question about a message, and a task for any channel; each opens a window, and that starts a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.domain import content_hash
from agent.errors import NotEntitled, SecondKeyError
from bot.anchoring import Refused
from bot.blocks import asking, modals
from bot.blocks.kit import modal, section
from bot.identity import Person
from bot.listeners import replies
from bot.listeners.payload import Body, Submission, Who, mapping, plain, submission_of, text_of, user_of, who_of
from bot.listeners.services import COMMIT_S, Bolt, Services
from bot.words import INCOMPLETE, STILL_SAVING, sentence
from storage.anchors import Anchor, Anchors

QUOTE_CHARS: Final = 6000
"""Characters of a message that are quoted; what is longer says so."""
RUN_S: Final = 1.6
"""How long a new run is waited for before the window closes, seconds."""
TOO_OLD: Final = "This window is too old, so nothing was started. Please open it once more."
Open = Callable[[Services, Body, Who, Person], Awaitable[None]]
Save = Callable[[Services, Submission, modals.Kept, Person], Awaitable[None]]
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Listen to the two shortcuts and to their windows."""
    app.shortcut(asking.ASK_ABOUT_MESSAGE)(_opener(services, _open_question))
    app.shortcut(asking.GIVE_TASK)(_opener(services, _open_task))
    app.view(asking.ASK_FORM)(_sender(services, _ask, asking.QUESTION))
    app.view(asking.GIVE_FORM)(_sender(services, _give, asking.TASK))

    async def closed(ack: AsyncAck, body: dict[str, Any]) -> None:
        sent = submission_of(body)
        kept = modals.Kept.read(sent.metadata) if sent else None
        if sent and kept:
            key = services.identity.principal(sent.who.user, sent.who.team).key
            try:
                await services.tasks.within(Anchors(services.db).drop(kept.subject, key))
            except (TimeoutError, SecondKeyError) as error:
                _log.info("draft_not_dropped", error=str(error))  # it is forgotten within the hour all the same
        await ack()

    app.view_closed(asking.ASK_FORM)(closed)


def _opener(services: Services, open_: Open) -> Callable[..., Awaitable[None]]:
    async def used(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        who = who_of(body)
        if who is None:
            return  # the guard has said so and kept a row
        try:
            await services.tasks.within(_open(services, open_, body, who), COMMIT_S)
        except TimeoutError:
            text = "The window could not be opened in time. Please try once more."
            services.tasks.start(replies.tell(services, who, text))
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            if not isinstance(error, SecondKeyError):
                _log.warning("shortcut_failed", exc_info=error)
            services.tasks.start(replies.tell(services, who, sentence(error, command=services.command)))

    return used


async def _open(services: Services, open_: Open, body: Body, who: Who) -> None:
    person = await services.identity.person(who.user, who.team)
    if person.refusal:
        await replies.audit(services, "may_not_ask", who, text_of(body.get("callback_id")))
        raise NotEntitled(person.refusal)
    if services.anchoring is None:
        raise Refused("Tasks cannot be taken here just now. Please mention me in a channel.")
    await open_(services, body, who, person)


async def _open_question(services: Services, body: Body, who: Who, person: Person) -> None:
    """Keep what is quoted, and open the window: it carries an id only, and nobody can change the quote in it."""
    message = mapping(body.get("message"))
    ts = text_of(message.get("ts")) or text_of(body.get("message_ts"))
    quote = services.redact(plain(text_of(message.get("text")), ""))
    trigger_id = text_of(body.get("trigger_id"))
    if not ts or not who.channel or not trigger_id:
        raise Refused(INCOMPLETE)
    if not quote:
        raise Refused("This message has no text that I could read, so I cannot be asked about it.")
    if len(quote) > QUOTE_CHARS:
        quote = f"{quote[:QUOTE_CHARS]}… (cut; {len(quote):,} characters in all)"
    anchor = Anchor(
        id=f"message:{trigger_id}",
        via="message",
        team=person.principal.team,
        channel=who.channel,
        thread_ts=text_of(message.get("thread_ts")) or ts,
        principal=person.principal.key,
        author=_author(services, message),
        quote=quote,
        state="draft",
    )
    await Anchors(services.db).add(anchor)
    view = asking.ask_about_message(anchor.id, quote)
    services.tasks.start(replies.open_modal(services, who, trigger_id, view, _OTHERWISE))


_OTHERWISE = "The window could not be opened in time. Please try once more."


def _author(services: Services, message: Body) -> str:
    """Who wrote it, as the policy knows people: of the home team, so that no payload makes a decider somebody else."""
    user = user_of(message.get("user"))
    if not user or message.get("bot_id") or user == services.bot_user:
        return ""
    return services.identity.principal(user).key


async def _open_task(services: Services, body: Body, who: Who, person: Person) -> None:
    del person
    trigger_id = text_of(body.get("trigger_id"))
    if not trigger_id:
        raise Refused(INCOMPLETE)
    view = asking.give_task(trigger_id[:100])
    services.tasks.start(replies.open_modal(services, who, trigger_id, view, _OTHERWISE))


def _sender(services: Services, save: Save, field: str) -> Callable[..., Awaitable[None]]:
    async def sent(ack: AsyncAck, body: dict[str, Any]) -> None:
        form = submission_of(body)
        kept = modals.Kept.read(form.metadata) if form else None
        if form is None or kept is None:
            services.tasks.start(replies.audit(services, "bad_payload", who_of(body), detail="view_submission"))
            await _notice(ack, INCOMPLETE)
            return
        if problem := _problem(services, form.values.get(field, "")):
            await ack(response_action="errors", errors={field: problem})
            return
        try:
            await services.tasks.within(_sent(services, save, form, kept))
        except TimeoutError:
            await ack()
            services.tasks.start(replies.tell(services, form.who, STILL_SAVING.replace("card", "run's thread")))
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            if not isinstance(error, SecondKeyError):
                _log.warning("form_failed", exc_info=error)
            await _notice(ack, sentence(error, command=services.command))
        else:
            await ack()

    return sent


def _problem(services: Services, text: str) -> str:
    if not text.strip():
        return "Please write what I should do."
    most = services.task_characters
    return f"At most {most:,} characters, please." if len(text) > most else ""


async def _notice(ack: AsyncAck, text: str) -> None:
    """Show a sentence in place of the form."""
    await ack(response_action="update", view=modal("notice", "Nothing was started", [section(text)]))


async def _sent(services: Services, save: Save, form: Submission, kept: modals.Kept) -> None:
    person = await services.identity.person(form.who.user, form.who.team)
    if person.refusal:
        await replies.audit(services, "may_not_ask", form.who, kept.subject, "view_submission")
        raise NotEntitled(person.refusal)
    await save(services, form, kept, person)


async def _ask(services: Services, form: Submission, kept: modals.Kept, person: Person) -> None:
    """The question joins the quote; sent twice, it is the same task."""
    anchors, question = Anchors(services.db), services.redact(form.values[asking.QUESTION].strip())
    await anchors.fill(kept.subject, person.principal.key, question)
    known = anchors.get(kept.subject)
    if known is None or known.principal != person.principal.key or known.state == "draft":
        raise Refused(TOO_OLD)
    await _start(services, known)


async def _give(services: Services, form: Submission, kept: modals.Kept, person: Person) -> None:
    del kept
    text, channel = services.redact(form.values[asking.TASK].strip()), form.values.get(asking.CHANNEL, "")
    # The same words sent twice are one task; after a refusal, other words or another channel are another.
    words = content_hash(f"{channel}\n{text}")[:16]
    await _start(services, Anchor(
        id=f"view:{form.view_id}:{words}",
        via="shortcut",
        team=person.principal.team,
        channel=channel,
        thread_ts="",
        principal=person.principal.key,
        text=text,
    ))  # fmt: skip


async def _start(services: Services, anchor: Anchor) -> None:
    """Wait a moment for the run; what takes longer goes on by itself, and its message shows it."""
    if services.anchoring is None:
        raise Refused("Tasks cannot be taken here just now. Please mention me in a channel.")
    try:
        await services.anchoring.asked(anchor, RUN_S)
    except TimeoutError:
        return
