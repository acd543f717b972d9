"""An outbox row's message, rendered from the state at this moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agent.domain import ApprovalState, Principal
from bot.blocks.answer import answer_message
from bot.blocks.approval import approval_card, reminder
from bot.blocks.message import Look, Names
from bot.blocks.progress import progress_message
from bot.blocks.takeover import takeover_packet
from bot.blocks.takeover_notes import said, takeover_note
from bot.blocks.text import inline
from bot.delivery import Rendered
from storage.outbox import Outbox, OutboxRow
from storage.queries import Queries
from storage.views import RunView


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
    everybody: Callable[[], tuple[str, ...]] = tuple
    """Principal keys of all deciders, for when a card can only be sent directly and names none."""

    def __call__(self, row: OutboxRow, is_first: bool) -> Rendered | None:  # noqa: FBT001  # the shape of delivery.Render
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
            case "note" | "said":
                return self._in_thread(row)
            case "progress":
                return self._progress(row.subject, look)
            case _:
                return self._answer(row.subject, look)

    def _approval(self, approval: str, look: Look) -> Rendered | None:
        view = self.queries.approval_view(approval)
        if view is None:
            return None
        if view.approval.because.startswith("grant:"):  # nobody is asked, so nobody is called
            look = replace(look, who=self._name, actor=self._name, is_first=False)
        return Rendered(approval_card(view, look), self._users(view.approval.deciders))

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
        message = progress_message(view, look, self.waits_at(view), self.channels.get("approval", ""))
        return Rendered(message, self._users((view.run.requester,), nobody=()))

    def _answer(self, run: str, look: Look) -> Rendered | None:
        view = self.queries.run_view(run)
        if view is None:
            return None
        return Rendered(answer_message(view, look), self._users((view.run.requester,), nobody=()))

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
