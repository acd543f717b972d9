"""An outbox row's message, rendered from the state at this moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agent.domain import ApprovalState, Principal, RunStatus
from bot.blocks.answer import answer_messages
from bot.blocks.approval import CardLinks, approval_card, reminder
from bot.blocks.live import live_of
from bot.blocks.message import Look, Names
from bot.blocks.progress import progress_message
from bot.blocks.result import result_message
from bot.blocks.takeover import takeover_packet
from bot.blocks.takeover_notes import said, takeover_note
from bot.blocks.text import inline
from bot.outgoing import Rendered
from storage.outbox import Outbox, OutboxRow
from storage.queries import Queries
from storage.successors import Successor
from storage.views import RunLine, RunView


def _no_place(run: str) -> int:
    del run
    return 0


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes messages; only the first post of one notifies people: a mention in an update does not."""

    queries: Queries
    outbox: Outbox
    names: Names
    """A principal's key as a name that notifies nobody."""
    channels: Mapping[str, str]
    """Kind of message → id of the channel in which it stands; `approval` and `takeover`."""
    workspace_url: str = ""
    look: Look = field(default_factory=Look)
    place: Callable[[str], int] = _no_place
    """Where a run stands in the queue, from 1; 0 when it does not wait there."""
    everybody: Callable[[], tuple[str, ...]] = tuple
    """Principal keys of all deciders, for when a card can only be sent directly and names none."""

    def __call__(self, row: OutboxRow, is_first: bool) -> Rendered | None:  # noqa: FBT001, PLR0911  # the shape of delivery.Render; one arm a kind
        """The message of this row; None when its subject is unknown or there is nothing to show."""
        look = self.look
        if not is_first:
            look = replace(look, who=self._name, actor=look.actor if row.ts else self._name, is_first=False)
        match row.kind:
            case "approval":
                return self._approval(row.subject, look)
            case "takeover":
                return self._takeover(row.subject, look)
            case "reminder":
                return self._reminder(row.subject)
            case "result":
                return self._result(row.subject, look)
            case "note" | "said":
                return self._in_thread(row)
            case "progress":
                return self._progress(row.subject, look)
            case _:
                return self._answer(row.subject, row.part, look)

    def _approval(self, approval: str, look: Look) -> Rendered | None:
        view = self.queries.approval_view(approval)
        if view is None:
            return None
        links = CardLinks(run=self._thread(view.run), successor=self._successor(view.successor))
        if view.approval.because.startswith("grant:"):  # nobody is asked, so nobody is called
            look = replace(look, who=self._name, actor=self._name, is_first=False)
        tells = view.approval.state != ApprovalState.PENDING
        return Rendered(approval_card(view, look, links), self._users(view.approval.deciders), tells=tells)

    def _result(self, approval: str, look: Look) -> Rendered | None:
        view = self.queries.approval_view(approval)
        look = replace(look, actor=self._name)  # who decided knows of it; only who asked is called
        message = result_message(view, look, self._thread(view.run)) if view is not None else None
        return Rendered(message, ()) if message is not None else None

    def _thread(self, run: RunLine) -> str:
        """The address of a run's thread; a direct message leads nobody else anywhere."""
        return "" if run.channel.startswith("D") else self.link(run.channel, run.thread_ts)

    def _successor(self, successor: Successor | None) -> str:
        """The address of what stands in the place of a card: the new card, a takeover, or the new run's thread."""
        if successor is None:
            return ""
        kind, subject = ("card", successor.approval) if successor.approval else ("takeover", successor.takeover)
        row = self.outbox.get(f"{kind}:{subject}") if subject else None
        found = self.link(row.channel, row.ts) if row is not None else ""
        run = self.queries.run(successor.run) if not found and not successor.action else None
        return self._thread(run) if run is not None else found

    def _reminder(self, approval: str) -> Rendered | None:
        view = self.queries.approval_view(approval)
        if view is None or view.approval.state != ApprovalState.PENDING:
            return None
        return Rendered(reminder(view, self.look), ())

    def _takeover(self, takeover: str, look: Look) -> Rendered | None:
        view = self.queries.takeover_view(takeover)
        if view is None:
            return None
        return Rendered(takeover_packet(view, look), self._users(view.takeover.deciders))

    def _in_thread(self, row: OutboxRow) -> Rendered | None:
        """A word in a takeover's thread: about one event, or the answer to a question."""
        takeover, _, seq = row.subject.partition("/")
        if row.kind == "said":
            question = self.queries.question(row.run, int(seq))
            return Rendered(said(question, self.look)) if question and question.answer else None
        view, event = self.queries.takeover_view(takeover), self.queries.event(row.run, int(seq))
        message = takeover_note(view, event, self.look) if view and event else None
        return Rendered(message) if message else None

    def _progress(self, run: str, look: Look) -> Rendered | None:
        view = self.queries.run_view(run)
        if view is None:
            return None
        channel = self.channels.get("approval", "")
        place = self.place(run) if view.run.status is RunStatus.QUEUED else 0
        message = progress_message(view, look, self.waits_at(view), channel, place)
        return Rendered(message, self._users((view.run.requester,), nobody=()), live=live_of(view, channel, place))

    def _answer(self, run: str, part: int, look: Look) -> Rendered | None:
        view = self.queries.run_view(run)
        messages = answer_messages(view, look) if view is not None else []
        if view is None or not 0 < part <= len(messages):
            return None
        then = f"answer:{run}#{part + 1}" if part < len(messages) else ""
        return Rendered(messages[part - 1], self._users((view.run.requester,), nobody=()), then)

    def waits_at(self, view: RunView) -> tuple[str, ...]:
        """Links to the cards and takeovers that a run waits for."""
        keys = [f"card:{item.id}" for item in view.approvals if item.state == ApprovalState.PENDING]
        keys += [f"takeover:{item.id}" for item in view.takeovers if not item.closed_at]
        rows = [row for key in keys if (row := self.outbox.get(key)) is not None]
        return tuple(link for row in rows if (link := self.link(row.channel, row.ts)))

    def link(self, channel: str, ts: str) -> str:
        """The address of a message; empty when it is not known."""
        place, first = channel.partition(",")[0], ts.partition(",")[0]
        if not self.workspace_url or not place or not first:
            return ""
        return f"{self.workspace_url.rstrip('/')}/archives/{place}/p{first.replace('.', '')}"

    def _name(self, key: str) -> str:
        return inline(self.names(key), 60)

    def _users(self, keys: tuple[str, ...], nobody: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Slack user ids of principals; of all deciders when the subject names none."""
        found = tuple(user for key in keys if (user := _user(key)))
        if found or nobody is not None:
            return found
        return tuple(user for key in self.everybody() if (user := _user(key)))


def _user(key: str) -> str:
    try:
        who = Principal.parse(key)
    except ValueError:
        return ""
    return who.user if who.kind == "slack" else ""
