"""What a run shows in a terminal: a line for what happened, evidence before claims, the answer; or JSON Lines.

Everything from models, tools and files passes through `shown`: no character can move the cursor or hide another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.markdown import Markdown
from rich.status import Status
from rich.table import Table
from rich.text import Text

from agent import events as ev
from agent.domain import ApprovalState, Outcome, RunStatus, Tier
from agent.ports import Stored
from agent.secrets import redacted
from agent.tools.base import Preview
from bot.blocks.call import read_preview, reasons_of, title_of, value_text
from bot.blocks.text import shown
from bot.words import APPROVAL, OUTCOME, RUN, TAKEOVER, count, duration, money
from storage.views import ActionView, ApprovalView, RunView, TakeoverView

LINES = 60
"""Lines of a diff or a text that are shown at once; `d` at the prompt shows all of it."""
ROWS = 20
ANSWER = 100_000
_STYLE = {Tier.LOW: "green", Tier.MEDIUM: "yellow", Tier.HIGH: "red"}
_GOOD = frozenset({Outcome.SUCCEEDED, Outcome.DONE_BY_HUMAN})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, for people and for scripts."""

    view: RunView
    code: int
    seconds: float


class Screen(Protocol):
    """Where a run is shown."""

    def happened(self, stored: Stored) -> None:
        """One more event stands in the journal."""
        ...

    def approval(self, view: ApprovalView, *, everything: bool = False) -> None:
        """What needs a yes: what would happen, the evidence, the exact call, why it asks; the agent's claim last."""
        ...

    def takeover(self, view: TakeoverView, *, everything: bool = False) -> None:
        """What a person has to do."""
        ...

    def say(self, text: str) -> None:
        """A sentence of our own."""
        ...

    def ended(self, ended: Ended) -> None:
        """The run is over."""
        ...

    def quiet(self) -> None:
        """Stop moving: somebody types."""
        ...


class JsonLines:
    """One object a line: every event as it stands in the journal, and what came of the run as the last one."""

    def __init__(self, out: TextIO, redact: Callable[[str], str]) -> None:
        self._out, self._redact = out, redact

    def happened(self, stored: Stored) -> None:
        """As Screen."""
        self._write({"seq": stored.seq, "at": stored.at, **json.loads(ev.encode(stored.event))})

    def approval(self, view: ApprovalView, *, everything: bool = False) -> None:
        """Its event says it."""
        del view, everything

    def takeover(self, view: TakeoverView, *, everything: bool = False) -> None:
        """Its event says it."""
        del view, everything

    def say(self, text: str) -> None:
        """What is not in the journal."""
        self._write({"type": "note", "text": text})

    def ended(self, ended: Ended) -> None:
        """As Screen."""
        self._write(result_of(ended))

    def quiet(self) -> None:
        """Nothing moves."""

    def _write(self, body: dict[str, Any]) -> None:
        self._out.write(json.dumps(redacted(body, self._redact), ensure_ascii=True) + "\n")
        self._out.flush()


def result_of(ended: Ended) -> dict[str, Any]:
    """The last object of `--json`."""
    view, run = ended.view, ended.view.run
    return {
        "type": "result",
        "run": run.id,
        "status": run.status.value,
        "exit_code": ended.code,
        "answer": view.answer or run.summary,
        "steps": run.steps,
        "cost_micro_usd": run.spent_micro_usd,
        "seconds": round(ended.seconds, 3),
        "actions": [
            {
                "id": item.id,
                "tool": item.action.tool,
                "risk": item.tier.value if item.tier else None,
                "outcome": item.outcome.value if item.outcome else None,
                "summary": item.summary,
            }
            for item in view.actions
        ],
        "approvals": [
            {"id": row.id, "action": row.action, "state": row.state, "by": row.decided_by,
             "self_approved": row.self_approved}
            for row in view.approvals
        ],
        "takeovers": [{"id": row.id, "action": row.action, "state": row.state} for row in view.takeovers],
    }  # fmt: skip


class Lines:
    """For people: lines that stay, and in a terminal one below them that moves."""

    def __init__(self, console: Console, redact: Callable[[str], str]) -> None:
        self._console, self._redact = console, redact
        self._status: Status | None = None
        self._names: dict[str, str] = {}
        self._calls: dict[str, str] = {}

    def happened(self, stored: Stored) -> None:  # noqa: C901, PLR0912  # one arm an event reads best
        """As Screen."""
        match stored.event:
            case ev.RunCreated() as event:
                self._print(_line(event.task.text), "bold")
            case ev.PlanMade() as event:
                for number, step in enumerate(event.plan.steps, 1):
                    self._print(f"  {number}. {step.worker}: {_line(step.instruction)}", "dim")
            case ev.PlanFailed() as event:
                self._print(event.reason, "red")
            case ev.StepStarted() as event:
                again = f", again: {_line(event.feedback)}" if event.feedback else ""
                self._print(f"Step {event.step + 1}{again}", "bold")
            case ev.StepFinished() as event:
                self._print(
                    f"  {event.status}: {_line(event.summary)}", "green" if event.status == "done" else "yellow"
                )
            case ev.ModelCallStarted() as event:
                self._calls[event.call] = event.model
                self._busy(f"{event.model} thinks ({event.purpose})")
            case ev.ModelCallFinished() as event:
                tokens = f"{event.input_tokens:,} + {event.output_tokens:,} tokens"
                self._print(f"  {self._calls.get(event.call, 'model')}: {tokens}, {money(event.cost_micro_usd)}", "dim")
            case ev.ModelCallFailed() as event:
                self._print(f"  {self._calls.get(event.call, 'model')}: {event.code} {_line(event.detail)}", "yellow")
            case ev.ActionProposed() as event:
                self._names[event.action.id] = event.action.tool
            case ev.ActionRated() as event:
                self._names[event.action] = event.headline or self._names.get(event.action, "")
                self._print(f"  {event.tier.value:6} {_line(self._names[event.action])}", _STYLE[event.tier])
            case ev.ActionStarted() as event:
                self._busy(_line(self._names.get(event.action, "")))
            case ev.ActionFinished() as event:
                what = f"{OUTCOME[event.outcome]}{f' ({event.code})' if event.code else ''}"
                told = f": {_line(event.summary)}" if event.summary else ""
                self._print(f"         {what}{told}", "green" if event.outcome in _GOOD else "yellow")
            case ev.ApprovalDecided() as event:
                label = " (self_approved)" if event.self_approved else ""
                why = f": {_line(event.reason)}" if event.reason else ""
                self._print(f"         {APPROVAL[event.state]}{label}{why}", "green" if _is_yes(event) else "yellow")
            case ev.TakeoverClosed() as event:
                self._print(f"         {TAKEOVER_WORDS[event.state]}", "yellow")
            case ev.StopRequested() as event:
                self._print(f"Stopping{f': {_line(event.reason)}' if event.reason else ''}", "yellow")
            case _:
                return

    def approval(self, view: ApprovalView, *, everything: bool = False) -> None:
        """As Screen."""
        item, row = view.action, view.approval
        self.quiet()
        self._rule(f"Needs a yes: {_line(title_of(item))}", _STYLE[row.tier])
        self._evidence(item, view.preview, everything=everything)
        self._why("Why it asks", item)
        if row.because:
            self._print(f"Why it asks again: {_line(row.because)}")
        self._claim(item)
        self._print("Silence is not a yes: it is not run unless you say so in time.", "dim")

    def takeover(self, view: TakeoverView, *, everything: bool = False) -> None:
        """As Screen."""
        item, row = view.action, view.takeover
        self.quiet()
        unknown = row.cause == "unknown"
        asks = "Did this happen?" if unknown else "A person has to do this:"
        self._rule(f"{asks} {_line(title_of(item))}", "red")
        self._print(f"Goal: {_line(view.view.task.text)}")
        for done in (one for one in view.view.actions if one.outcome in _GOOD):
            self._print(f"  done: {_line(title_of(done))}", "dim")
        self._evidence(item, view.preview, everything=everything)
        if not unknown:
            self._why("Why a person has to do it", item)
        self._claim(item)
        told = (
            "Its result was lost." if unknown else "The agent never runs this. If it is right, do it by your own hand."
        )
        self._print(told, "bold")

    def say(self, text: str) -> None:
        """As Screen."""
        self._print(text, "dim")

    def ended(self, ended: Ended) -> None:
        """As Screen."""
        self.quiet()
        view, run = ended.view, ended.view.run
        style = "green" if run.status is RunStatus.COMPLETED else "yellow"
        self._rule(RUN[run.status].capitalize(), style)
        text = shown(self._redact(view.answer or run.summary))[:ANSWER]
        if self._console.is_terminal:
            self._console.print(Markdown(text, hyperlinks=False))
        else:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        facts = [f"run {run.id}", count(run.steps, "step"), money(run.spent_micro_usd), duration(ended.seconds)]
        self._print(" · ".join(facts), "dim")

    def quiet(self) -> None:
        """As Screen."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _busy(self, text: str) -> None:
        if not self._console.is_terminal:
            return
        self.quiet()
        self._status = self._console.status(Text(self._covered(text)[: self._console.width - 4], "dim"))
        self._status.start()

    def _evidence(self, item: ActionView, body: str, *, everything: bool) -> None:
        for line in preview_lines(read_preview(body), everything=everything):
            if isinstance(line, Table):
                self._console.print(line)
            else:
                self._print(line, _diff_style(line))
        self._print(f"The exact call: {_line(item.action.tool)}", "bold")
        for name, value in item.action.arguments.items():
            for line in _cut(f"{name}: {value_text(value)}", everything=everything):
                self._print(f"  {line}")

    def _why(self, title: str, item: ActionView) -> None:
        self._print(f"{title} ({item.tier or 'medium'} risk):")
        for reason in reasons_of(item):
            self._print(f"  {_line(reason.text or reason.rule)} ({_line(reason.rule)})")

    def _claim(self, item: ActionView) -> None:
        if item.action.rationale.strip():
            self._print(f"The agent's claim (not checked): {_line(item.action.rationale, 600)}", "italic")

    def _rule(self, title: str, style: str) -> None:
        self._console.rule(Text(self._covered(title)), style=style, align="left")

    def _print(self, text: str, style: str = "") -> None:
        self.quiet()
        self._console.print(Text(self._covered(text), style), soft_wrap=True)

    def _covered(self, text: str) -> str:
        return shown(self._redact(text))


TAKEOVER_WORDS = {state.value: words for state, words in TAKEOVER.items()}


def preview_lines(preview: Preview, *, everything: bool = False) -> Iterator[str | Table]:
    """What would change, computed without doing it."""
    match preview.kind:
        case "none":
            return
        case "rows":
            yield f"Rows that it concerns: {preview.count:,}"
            if preview.columns:
                yield _rows(preview, everything=everything)
        case _:
            yield {"diff": "What would change", "request": "What would be sent"}.get(preview.kind, "What it would do")
            yield from _cut(preview.text, everything=everything)


def _rows(preview: Preview, *, everything: bool) -> Table:
    most = None if everything else ROWS
    made = Table()
    for name in preview.columns:
        made.add_column(Text(shown(name)))
    befores = preview.before or preview.after
    afters = preview.after if preview.before and preview.after else befores
    for before, after in list(zip(befores, afters, strict=False))[:most]:
        made.add_row(*(Text(_change(old, new)) for old, new in zip(before, after, strict=False)))
    if most is not None and len(befores) > most:
        made.caption = f"{preview.count - most:,} more; d shows what is known of them"
    return made


def _change(old: object, new: object) -> str:
    was, now = (shown("NULL" if value is None else str(value)) for value in (old, new))
    return was if was == now else f"{was} → {now}"


def _cut(text: str, *, everything: bool) -> Iterator[str]:
    lines = text.splitlines()
    yield from lines if everything else (line[:2_000] for line in lines[:LINES])
    long = any(len(line) > 2_000 for line in lines[:LINES])  # noqa: PLR2004  # as above
    if not everything and (len(lines) > LINES or long):
        yield f"… cut: {count(len(lines), 'line')}, {len(text):,} characters in all; d shows everything"


def _diff_style(line: str) -> str:
    if line.startswith(("+++", "---", "@@")):
        return "bold"
    return "green" if line.startswith("+") else "red" if line.startswith("-") else ""


def _is_yes(event: ev.ApprovalDecided) -> bool:
    return event.state is ApprovalState.APPROVED


def _line(text: str, limit: int = 300) -> str:
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
