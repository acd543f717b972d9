"""What people write in a takeover's thread: answered from the record while nobody has it, else only kept.

None of it reaches the run, so nobody becomes a co-requester by asking.
"""

from __future__ import annotations

from typing import Final

import structlog

from agent.domain import Principal
from agent.errors import AlreadyDecided, JournalError, StorageUnavailable
from bot.blocks.text import inline
from bot.identity import DECIDING_FRESH_S
from bot.listeners import replies
from bot.listeners.payload import Said, Who
from bot.listeners.services import Services
from bot.listeners.visibility import may_see
from bot.words import person
from storage.questions import Question

LONGEST: Final = 2000
"""Characters of a question."""
NOT_YOURS: Final = (
    "Only people who may see this run can ask about it: who asked for it, who may decide, and its channel."
)
_log = structlog.get_logger("listeners")


def takeover_at(services: Services, said: Said) -> str:
    """The takeover in whose thread this was said; empty when it is no such thread."""
    if not said.thread_ts or said.thread_ts == said.ts:
        return ""
    row = services.outbox.find(said.who.channel, said.thread_ts)
    return row.subject if row is not None and row.kind == "takeover" else ""


async def heard(services: Services, said: Said, principal: Principal, takeover: str, key: str) -> None:
    """Keep a question durably, then have it answered; raises what `bot.words.sentence` explains."""
    view = services.queries.takeover_view(takeover)
    asker = await services.identity.person(said.who.user, said.who.team, fresh_s=DECIDING_FRESH_S)
    if view is None or not await may_see(services, asker, view.view.run):
        if not await services.inbox.seen(key):
            await replies.audit(services, "not_entitled", said.who, takeover, "question")
            services.tasks.start(replies.tell(services, said.who, NOT_YOURS))
        return
    if not said.text or len(said.text) > LONGEST:
        if not await services.inbox.seen(key):
            word = f"Ask me about this run in at most {LONGEST:,} characters."
            services.tasks.start(replies.tell(services, said.who, word))
        return
    try:
        question = await services.questions.ask(key, takeover, principal, services.redact(said.text))
    except AlreadyDecided:
        task = services.queries.run(view.view.run.id)
        where = f" Its run is `{inline(task.id, 40)}`." if task else ""
        over = f"This takeover is over, so I answer nothing here.{where} To give me a task, mention me elsewhere."
        services.tasks.start(replies.tell(services, said.who, over))
        return
    if question is None:
        return
    if question.quiet:
        holder = person(view.takeover.claimed_by) if view.takeover.claimed_by else "A person"
        told = f"{holder} has this, so I keep quiet. Your words are kept in the journal and do not reach the run."
        services.tasks.start(replies.tell(services, said.who, told))
        return
    services.tasks.start(answer(services, question, said.who))


async def answer(services: Services, question: Question, who: Who | None = None) -> None:
    """Answer one question from the run's record; the outbox brings it into the thread."""
    try:
        text = await services.explain(question.run, question.text)
        if not await services.questions.answer(question, text) and who is not None:
            told = "Somebody took this over meanwhile, so I keep quiet. Your words do not reach the run."
            await replies.tell(services, who, told)
    except (JournalError, StorageUnavailable) as error:  # the run is over, or the answer is owed until the next start
        _log.info("question_not_answered", run_id=question.run, error=str(error))


def resume(services: Services) -> None:
    """Answer what a process before this one took and did not answer."""
    for question in services.questions.unanswered():
        services.tasks.start(answer(services, question))
