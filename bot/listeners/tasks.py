"""Messages to the bot: a mention or a direct message becomes a run, in one transaction, before Slack gets its ack."""

from __future__ import annotations

import re
from typing import Any, Final

import structlog
from slack_bolt import BoltResponse

from agent.domain import Place, Principal, Task
from agent.errors import NotEntitled, QuotaExceeded, StorageUnavailable
from bot.blocks.status import help_text
from bot.identity import NotVerified
from bot.listeners import replies, takeover_talk
from bot.listeners.attached import offered
from bot.listeners.payload import Body, Said, mapping, said_of, text_of
from bot.listeners.services import Bolt, Services
from bot.words import sentence
from storage.inbox import Accepted

_GREETING: Final = re.compile(
    r"(?:hi|hiya|hello|hey|yo|howdy|moin|hallo|good (?:morning|afternoon|evening|day))(?: there| all| everyone| bot)?",
    re.IGNORECASE,
)
_THANKS: Final = re.compile(
    r"(?:many )?(?:thanks|thank you|thx|ty|cheers|great|nice|perfect|awesome|well done|good (?:bot|job|work))"
    r"(?: a lot| so much| very much| again)?",
    re.IGNORECASE,
)
_HELP: Final = re.compile(
    r"(?:(?:hi|hello|hey)(?: there)?[,.!]? )?(?:so,? )?"
    r"(?:(?:please )?(?:show )?help(?: me)?(?: please)?|can you help(?: me| us)?"
    r"|what (?:can|do|could) you do(?: here| for (?:me|us))?|what (?:can|should) i ask(?: you)?"
    r"|who are you|what are you|how (?:do you|does this|does it) work)",
    re.IGNORECASE,
)
_ORNAMENT: Final = re.compile(r"[\s!.,?…]+$|^[\s!.,]+|:[\w+'-]+:|[\U0001f300-\U0001faff\u2600-\u27bf\ufe0f\u200d]")
_log = structlog.get_logger("listeners")
SMALL_TALK: Final = 40
"""A longer message is never small talk."""


def register(app: Bolt, services: Services) -> None:
    """Listen to mentions and messages."""

    async def mention(body: dict[str, Any]) -> BoltResponse | None:
        return await heard(services, body, is_mention=True)

    async def message(body: dict[str, Any]) -> BoltResponse | None:
        return await heard(services, body, is_mention=False)

    app.event("app_mention")(mention)
    app.event("message")(message)


async def heard(services: Services, body: Body, *, is_mention: bool) -> BoltResponse | None:
    """Take a message or drop it; 503 when it could not be made durable in two seconds, so that Slack sends it again."""
    said = said_of(body, services.bot_user)
    if said is None:
        if not text_of(mapping(body.get("event")).get("ts")):
            services.tasks.start(replies.audit(services, "bad_payload", None, text_of(body.get("event_id")), "message"))
        return None
    if not is_mention and not said.is_dm:
        return None  # in channels only what mentions the bot is for it, and that comes as app_mention as well
    try:
        await services.tasks.within(_take(services, said))
    except (TimeoutError, StorageUnavailable, NotVerified):
        return BoltResponse(status=503, body="")  # no ack: Slack delivers it again
    except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
        _log.exception("message_failed", event=said.event_id)
        services.tasks.start(replies.tell(services, said.who, sentence(error)))
    return None


async def _take(services: Services, said: Said) -> None:
    key = f"event:{said.event_id}" if said.event_id else f"message:{said.who.channel}:{said.ts}"
    try:
        principal = await services.identity.may_ask(said.who.user, said.who.team)
    except NotVerified:
        raise
    except NotEntitled as error:
        if not await services.inbox.seen(key):
            await replies.audit(services, "may_not_ask", said.who, said.ts, str(error))
            services.tasks.start(replies.tell(services, said.who, sentence(error, command=services.command)))
        return
    if takeover := takeover_talk.takeover_at(services, said):
        await takeover_talk.heard(services, said, principal, takeover, key)
        return
    if word := _word(services, said):
        if not await services.inbox.seen(key):
            thread_ts = said.thread_ts or ("" if said.is_dm else said.ts)
            services.tasks.start(replies.say(services, said.who.channel, thread_ts, word))
        return
    try:
        await _run(services, said, principal, key)
    except (QuotaExceeded, NotEntitled) as error:
        services.tasks.start(replies.tell(services, said.who, sentence(error, command=services.command)))


async def _run(services: Services, said: Said, principal: Principal, key: str) -> None:
    """Words for the thread's run when it goes on, else a new run; the run's own messages answer for it."""
    text, files = services.redact(said.text), offered(said.event)
    parent = services.queries.find_run_by_thread(principal.team, said.who.channel, said.thread_ts)
    if parent is not None and not parent.status.is_final:
        if await services.inbox.follow_up(parent.id, principal, text, key=key, quota=services.quota, files=files):
            services.files_owed()
            services.tasks.start(replies.react(services, said.who.channel, said.ts, "eyes"))
            return
        parent = services.queries.run(parent.id)
        if parent is None or not parent.status.is_final:
            return  # it was delivered before
    task = Task(
        id=services.ids.new("task"),
        text=text,
        principal=principal,
        place=Place(
            team=principal.team,
            channel=said.who.channel,
            thread_ts=said.thread_ts,
            message_ts=said.ts,
            is_dm=said.is_dm,
        ),
    )
    accepted = await services.inbox.accept(
        key, task, quota=services.quota, parent_run=parent.id if parent else "", files=files
    )
    if isinstance(accepted, Accepted):
        services.files_owed()
        await services.on_run(accepted.run)
        services.tasks.start(replies.react(services, said.who.channel, said.ts, "eyes"))


def _word(services: Services, said: Said) -> str:
    """What is answered to a message that is no task; empty for a task."""
    if not said.text:
        if said.has_files:
            return "I do not know what to do with a file alone. Please send it with a few words, in one message."
        return f"I am here. Write me what to do, or type `{services.command} help`."
    if len(said.text) > services.task_characters:
        return (
            f"This is {len(said.text):,} characters long and I take at most {services.task_characters:,}. "
            "Please make it shorter, or put the long part into a file of the project and name it."
        )
    if len(said.text) <= SMALL_TALK:
        return _small_talk(said.text, services.command)
    return ""


def _small_talk(text: str, command: str) -> str:
    bare = _ORNAMENT.sub("", _ORNAMENT.sub("", text)).strip()
    if _THANKS.fullmatch(bare):
        return "You are welcome!"
    if _HELP.fullmatch(bare):
        return help_text(command)
    if _GREETING.fullmatch(bare) or not bare:
        return f"Hello! I am an AI. Give me a task, or type `{command} help` to see what I do."
    return ""
