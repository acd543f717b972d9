"""A run's progress as Slack streams it: a plan with one task a step. A view that can be thrown away at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from agent.domain import MAX_STEPS, Principal, RunStatus
from bot.blocks.kit import Block, actions, context
from bot.blocks.progress import stop_button, where_cards_stand
from bot.blocks.text import bare
from bot.words import count, money
from storage.views import RunView

TITLE: Final = 200
"""Characters of a plan's or a task's title; Slack takes 256."""
TaskStatus = Literal["pending", "in_progress", "complete", "error"]
_STATUS: Final[dict[str, TaskStatus]] = {
    "open": "in_progress",
    "done": "complete",
    "blocked": "error",
    "failed": "error",
}
#: Whether Slack reads a title as plain or as marked-up text, nothing of it is read as a mention, a link or a mark.
_HARMLESS: Final = str.maketrans(
    {"<": "\u2039", ">": "\u203a", "&": "\uff06", "*": "\u2217", "~": "\u223c", "`": "\u02cb", "[": "(", "]": ")"}
)


@dataclass(frozen=True, slots=True)
class LiveTask:
    """One step, or the making of the plan."""

    id: str
    title: str
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Live:
    """What a stream shows of a run at this moment."""

    run: str
    team: str
    user: str
    """Who asked; Slack streams to them."""
    title: str
    tasks: tuple[LiveTask, ...]
    session: str
    """The session's status that goes with it."""
    notice: str = ""
    """What has to be said before anything else happens."""

    def opening(self) -> list[Block]:
        """What comes before the tasks: that an AI works here, the run by which the message is found again, and Stop."""
        text = f"An AI works here. Run `{self.run}`.\n"
        notice = [context(self.notice)] if self.notice else []
        button = actions(f"run:{self.run}", stop_button(self.run))
        return [{"type": "markdown_text", "text": text}, {"type": "blocks", "blocks": [*notice, button]}]

    def since(self, before: Live | None) -> list[Block]:
        """The chunks that bring a stream from what it showed before to this."""
        known = {task.id: task for task in before.tasks} if before else {}
        chunks: list[Block] = []
        if before is None or before.title != self.title:
            chunks.append({"type": "plan_update", "title": self.title})
        chunks += [
            {"type": "task_update", "id": task.id, "title": task.title, "status": task.status}
            for task in self.tasks
            if known.get(task.id) != task
        ]
        return chunks


def live_of(view: RunView, approvals_channel: str = "", place: int = 0) -> Live | None:
    """The stream of a run, which may wait at a `place` in the queue; None where Slack does not know who asked."""
    who = Principal.parse(view.run.requester)
    if who.kind != "slack":
        return None
    run = view.run
    spent = f"{money(run.spent_micro_usd)} · {view.used_steps} of {count(MAX_STEPS, 'step')}"
    status = "suspended" if run.status is RunStatus.WAITING else "active" if run.status.is_final else "processing"
    return Live(
        run.id,
        who.team,
        who.user,
        f"{'Waiting' if place else 'Working'} · {spent}",
        _tasks(view, place),
        status,
        where_cards_stand(view, approvals_channel),
    )


def _tasks(view: RunView, place: int) -> tuple[LiveTask, ...]:
    if place:
        return (LiveTask("plan", f"Waits for its turn, number {place} in the queue", "pending"),)
    if view.plan is None:
        title = f"Fetching {count(view.files_owed, 'file')}" if view.files_owed else "Making a plan"
        return (LiveTask("plan", title, "in_progress"),)
    status: dict[int, TaskStatus] = {step.planned: _STATUS[step.status] for step in view.steps}
    steps = [
        LiveTask(f"step-{number}", _title(step.instruction), status.get(number, "pending"))
        for number, step in enumerate(view.plan.steps)
        if number in status or number in view.plan.wanted
    ]
    return (LiveTask("plan", "Made a plan", "complete"), *steps)


def _title(text: str) -> str:
    return bare(text, TITLE).translate(_HARMLESS) or "A step"
