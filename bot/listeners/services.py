"""What the listeners need, in one frozen value that the composition root fills."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from agent.domain import BUDGET_MICRO_USD, RunStatus
from agent.errors import SecondKeyError
from agent.ports import Clock, Ids
from agent.revising import Reviser
from agent.rush import Rush
from bot.anchoring import Anchoring
from bot.identity import Identity
from bot.listeners.homes import Homes
from bot.listeners.members import Members
from bot.posting import SlackClient
from storage.control import Control
from storage.database import Database
from storage.decisions import Decisions
from storage.grants import Grants
from storage.inbox import Inbox
from storage.ledger import Budgets
from storage.outbox import Outbox
from storage.queries import Queries
from storage.questions import Questions
from storage.quotas import Quotas
from storage.views import RunView

T = TypeVar("T")
Bolt = Any
"""Bolt's AsyncApp; its decorators are typed only in part, so strictness would gain nothing here."""
COMMIT_S = 2.0
"""How long a listener waits for its commit, seconds: Slack waits three for the ack."""
UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)
"""Where a run stands that is not over."""
NOW_OR_NEVER_S = 2.0
"""How long a call may take that carries no state (a modal, a private word), seconds."""


async def _no_watch(run: str) -> None:
    del run


def _nothing() -> None:
    """Nobody listens."""


def _nobody(run: str) -> None:
    del run


async def _nothing_to_say(run: str, question: str) -> str:
    del run, question
    return ""


def _no_place(run: str) -> int:
    del run
    return 0


def _no_links(view: RunView) -> Sequence[str]:
    del view
    return ()


class Tasks:
    """Tasks that outlive their listener, held until they end, so that a shutdown can wait for them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._log = structlog.get_logger("listeners")

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it beside the listener."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def within(self, work: Coroutine[Any, Any, T], seconds: float = COMMIT_S) -> T:
        """Its result when it comes in time; raises TimeoutError else, and the work goes on."""
        task = self.start(work)
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise TimeoutError
        return task.result()

    async def drain(self, seconds: float = 5.0) -> None:
        """Wait for what still runs, then end it."""
        running = set(self._running)
        if not running:
            return
        _, left = await asyncio.wait(running, timeout=seconds)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, SecondKeyError):
            self._log.error("listener_task_failed", exc_info=error)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a listener may touch."""

    db: Database
    inbox: Inbox
    outbox: Outbox
    queries: Queries
    decisions: Decisions
    control: Control
    identity: Identity
    client: SlackClient
    clock: Clock
    ids: Ids
    bot_user: str
    """The bot's own user id."""
    approvals_channel: str
    """Id of the channel in which cards stand; empty when it is not there."""
    workspace_url: str = ""
    """Such as `https://harbour.slack.com/`, for links to messages."""
    command: str = "/agent"
    task_characters: int = 8000
    """Longest task that is taken, characters."""
    links: Callable[[RunView], Sequence[str]] = _no_links
    """Addresses of the cards that a run waits for; `Renderer.waits_at`."""
    admins: frozenset[str] = frozenset()
    """Slack user ids who may stop and see everything, besides the workspace's own admins."""
    members: Members = field(default_factory=Members)
    quota: Quotas = field(default_factory=Quotas)
    prompts: tuple[tuple[str, str], ...] = ()
    """Title and message of suggested prompts, at most four."""
    redact: Callable[[str], str] = str
    """Takes known secrets and token shapes out of a person's words."""
    reviser: Reviser | None = None
    """Makes the calls that people want otherwise, or once more."""
    explain: Callable[[str, str], Awaitable[str]] = _nothing_to_say
    """The answer to a question about a run; `Runtime.explain`."""
    on_run: Callable[[str], Awaitable[None]] = _no_watch
    """Told of a run that was accepted; the journal's own signal wakes drivers anyway."""
    files_owed: Callable[[], None] = _nothing
    """Told that somebody attached files, which are to be fetched."""
    sessions_moved: Callable[[str], None] = _nobody
    """Told of a run whose session's status Slack has to be told anew."""
    groups_changed: Callable[[], None] = _nothing
    """Told that a Slack user group changed."""
    tasks: Tasks = field(default_factory=Tasks)
    rush: Rush = field(default_factory=Rush)
    """Entered while somebody waits for what their click came to; the runtime's own."""
    anchoring: Anchoring | None = None
    """Takes tasks that are asked elsewhere than in a message; None where nothing drives it."""
    homes: Homes = field(default_factory=Homes)
    problems: Callable[[], Mapping[str, str]] = dict[str, str]
    """Each part of the bot and what is wrong with it; empty texts when all is well."""
    budget_micro_usd: int = BUDGET_MICRO_USD
    """What one run may cost."""
    budgets: Budgets = field(default_factory=Budgets)
    """What model calls may cost on a day."""
    place: Callable[[str], int] = _no_place
    """Where a run stands in the queue, from 1; 0 when it does not wait there."""

    @property
    def questions(self) -> Questions:
        """Questions in takeovers' threads."""
        return Questions(self.db)

    @property
    def grants(self) -> Grants:
        """Standing permissions."""
        return Grants(self.db)
