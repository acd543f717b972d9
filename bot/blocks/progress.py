"""The message under which a run goes on: that an AI works here, the plan, what it cost, what it waits for."""

from __future__ import annotations

from agent.domain import MAX_STEPS, RunStatus
from bot.blocks.kit import Block, actions, button, context, plain, section
from bot.blocks.message import Look, Message
from bot.blocks.text import inline
from bot.words import OUTCOME, RUN, count, duration, money
from storage.views import ActionView, RunView, StepView

STOP = "stop_run"
"""Action id of the button that ends a run; its value is the run's id."""
STEP_MARK = {
    "waiting": ":white_circle: to do",
    "open": ":large_blue_circle: working",
    "asking": ":key: waiting for people",
    "done": ":white_check_mark: done",
    "blocked": ":no_entry_sign: blocked",
    "failed": ":x: failed",
    "left": ":white_circle: not finished",
}
"""A plan's step for people: a sign and the word for it, because a sign alone is not read aloud."""


def progress_message(
    view: RunView, look: Look, waits_at: tuple[str, ...] = (), approvals_channel: str = "", place: int = 0
) -> Message:
    """The progress of a run. `waits_at` are links to the cards that it waits for, `place` is its place in the queue."""
    run, is_final = view.run, view.run.status.is_final
    by = f" by {look.actor(view.stop.by)}" if view.stop is not None and run.status is RunStatus.CANCELLED else ""
    head = f":robot_face: *An AI works here.* Status: *{RUN[run.status]}*{by}."
    has_no_plan = is_final and not view.steps and bool(view.plan_failed)
    plan = "_No plan was made; the answer says why._" if has_no_plan else plan_lines(view)
    blocks: list[Block] = [section(head), section(turn_line(place) or plan)]
    if files := files_line(view):
        blocks.append(context(files))
    if waits_at and run.status is RunStatus.WAITING:
        links = ", ".join(f"<{url}|question {number}>" for number, url in enumerate(waits_at, start=1))
        blocks.append(section(f":key: It waits for people: {links}"))
    elif run.status is RunStatus.WAITING:
        where = f" in {_channel(approvals_channel)}" if approvals_channel else ""
        blocks.append(section(f":key: It waits for people{where}."))
    if notice := where_cards_stand(view, approvals_channel):
        blocks.append(context(notice))
    cost = f"{money(run.spent_micro_usd)} · {view.used_steps} of {count(MAX_STEPS, 'step')}"
    stop = "" if is_final else f" · `{look.command} stop {inline(run.id, 40)}` stops it"
    took = f" · {duration((run.ended_at - run.created_at) / look.rate)}" if run.ended_at else ""
    blocks.append(context(f"{cost}{took} · run `{inline(run.id, 40)}`{stop}"))
    if not is_final:
        blocks.append(actions(f"run:{run.id}", stop_button(run.id)))
    return Message.of(f"An AI works on this: {RUN[run.status]}", blocks, [section(head)])


def turn_line(place: int) -> str:
    """That a run waits for its turn, and how many go before it; empty when it does not."""
    if not place:
        return ""
    before = "It is the next one." if place == 1 else f"{count(place - 1, 'other')} of those who wait go first."
    return f":hourglass: It waits for its turn, number {place} in the queue. {before}"


def stop_button(run: str) -> Block:
    """Ends the run, after one more question."""
    confirm: Block = {
        "title": plain("Stop this run?"),
        "text": plain("Nothing more starts, what runs is ended, and open questions are withdrawn. It cannot go on."),
        "confirm": plain("Stop it"),
        "deny": plain("Let it go on"),
        "style": "danger",
    }
    return {**button("Stop", STOP, run, style="danger"), "confirm": confirm}


def files_line(view: RunView) -> str:
    """What people attached, and what of it could not be taken; empty when there is nothing."""
    if view.files_owed and not view.run.status.is_final:
        return f":paperclip: fetching {count(view.files_owed, 'file')}"
    taken = [inline(item.path, 120) for item in view.files if not item.why]
    failed = [f"{inline(item.name, 80)} was not taken: {inline(item.why, 150)}" for item in view.files if item.why]
    return f":paperclip: {' · '.join([*taken, *failed][:12])}" if taken or failed else ""


def where_cards_stand(view: RunView, approvals_channel: str) -> str:
    """Said to somebody who asked in a direct message, before others read what they asked for (invariant 15)."""
    if not view.task.place.is_dm or not approvals_channel or view.run.status.is_final:
        return ""
    return f"If I need a yes, the question with the exact call will stand in {_channel(approvals_channel)}."


def _channel(channel: str) -> str:
    return f"<#{channel}>" if channel[:1] in {"C", "G"} and channel.isalnum() else inline(channel, 80)


def plan_lines(view: RunView, most: int = 12, *, asks: bool = False) -> str:
    """The plan, one line a step, each with a plain status word; `asks` says that its open step waits for a person."""
    lines = [f"{_mark(view, step, asks=asks)} · {inline(instruction(view, step), 160)}" for step in view.steps[-most:]]
    if not view.run.status.is_final:
        lines += [f"{STEP_MARK['waiting']} · {inline(item, 160)}" for item in not_begun(view)[: most - len(lines)]]
    if lines:
        return "\n".join(lines)
    return inline(view.plan_failed.partition("\n")[0], 400) or (
        "_no step was begun_" if view.run.status.is_final else "_making a plan_"
    )


def _mark(view: RunView, step: StepView, *, asks: bool) -> str:
    """Nothing is being worked on while a run waits for people, nor when it is over."""
    if step.status != "open":
        return STEP_MARK[step.status]
    if asks or view.run.status is RunStatus.WAITING:
        return STEP_MARK["asking"]
    return STEP_MARK["left" if view.run.status.is_final else "open"]


def instruction(view: RunView, step: StepView) -> str:
    """What a step was about."""
    known = view.plan is not None and step.planned < len(view.plan.steps)
    return view.plan.steps[step.planned].instruction if view.plan and known else f"step {step.number + 1}"


def not_begun(view: RunView) -> list[str]:
    """Instructions of planned steps that nobody began."""
    begun = {step.planned for step in view.steps}
    wanted = view.plan.wanted if view.plan else ()
    return [view.plan.steps[index].instruction for index in wanted if view.plan and index not in begun]


def done_so_far(view: RunView, most: int = 10) -> str:
    """What has ended and what is still running, one line each."""
    ended = [item for item in view.standing if item.outcome is not None]
    running = [item for item in view.actions if item.phase == "started"]
    lines = [f"• {OUTCOME[item.outcome]}: {what(item)}" for item in ended[-most:] if item.outcome is not None]
    lines += [f"• running: {what(item)}" for item in running[:5]]
    if len(ended) > most:
        lines.insert(0, f"• {len(ended) - most} earlier ones")
    return "\n".join(lines) or "• nothing yet"


def what(item: ActionView) -> str:
    """An action in one line."""
    return inline(item.headline or item.action.tool, 150)
