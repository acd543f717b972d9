"""A run as its thread shows it: the progress in every status, and the answer in every ending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agent import events as ev
from agent.domain import (
    Action,
    AttachedFile,
    Effect,
    Intent,
    Outcome,
    Place,
    Plan,
    PlannedStep,
    Principal,
    Reason,
    RunStatus,
    Task,
    Tier,
    Worker,
)
from bot.blocks.anchor import anchor_message
from bot.blocks.answer import answer_messages
from bot.blocks.message import Look
from bot.blocks.progress import progress_message
from docs.gallery.values import CARD, DIGEST, MAYA, NOON, OMAR, Cards, Shown, Texts, name_of, run_line
from storage.anchors import Anchor
from storage.views import ActionView, RunView, StepView

ACTIONS: Final = "C0ACTIONS"
_LATER: Final = Look(who=name_of, actor=name_of, is_first=False)
_LONG: Final = 60
"""Lines of the long answer; it fills more than one message."""


class Runs:
    """Builds the views of runs behind the examples."""

    def __init__(self, cards: Cards) -> None:
        self.cards, self.texts = cards, cards.texts

    def task(self, *, is_dm: bool = False) -> Task:
        """What Maya asked."""
        place = Place(team="T0SECONDKEY", channel="D0MAYA" if is_dm else "C0DATA", is_dm=is_dm)
        return Task(id="t1", text=self.texts.task, principal=Principal.parse(MAYA), place=place)

    def plan(self, planner: str = "model") -> Plan:
        """Three steps."""
        texts = self.texts
        steps = (
            PlannedStep(worker=Worker.RESEARCH, instruction=texts.first_step),
            PlannedStep(worker=Worker.CODE, instruction=texts.second_step),
            PlannedStep(worker=Worker.REVIEW, instruction=texts.third_step),
        )
        return Plan(planner=planner, steps=steps)

    def read(self) -> ActionView:
        """A call that only read something."""
        path = "docs/prices.md"
        return call(
            "a0", "read_file", {"path": path}, self.texts, tier=Tier.LOW, outcome=Outcome.SUCCEEDED,
            headline=f"Read {path}",
        )  # fmt: skip

    def view(self, status: RunStatus, *, steps: tuple[StepView, ...] = (), **more: Any) -> RunView:
        """A run in a status; `line` changes fields of its row."""
        ended = {"ended_at": NOON + 640} if status.is_final else {}
        values: dict[str, Any] = {
            "run": run_line(status=status, **ended, **more.pop("line", {})), "task": self.task(), "plan": self.plan(),
            "plan_failed": "", "stop": None, "steps": steps, "actions": (self.read(),), "approvals": (),
            "takeovers": (), "co_requesters": (MAYA,), "answer": "",
        }  # fmt: skip
        return RunView(**(values | more))


def call(
    id_: str, tool: str, arguments: Mapping[str, Any], texts: Texts, *, tier: Tier, outcome: Outcome | None = None,
    headline: str = "", phase: str = "", reason: str = "",
) -> ActionView:  # fmt: skip
    """One call; without an outcome it goes on or waits, as `phase` says."""
    action = Action(
        id=id_, step=0, turn=0, tool=tool, arguments=dict(arguments), digest=DIGEST, schema_hash="s",
        rationale=texts.rationale,
    )  # fmt: skip
    effect = Effect.READ if tier is Tier.LOW else Effect.DELETE
    rating = ev.ActionRated(
        action=id_, tier=tier, reasons=(Reason(rule=texts.rule_high, text=reason),) if reason else (),
        intents=(Intent(effect=effect, target="file:docs/prices.md" if tier is Tier.LOW else "db:shop/orders"),),
        headline=headline, policy_version="7",
    )  # fmt: skip
    ended = ev.ActionFinished(action=id_, outcome=outcome, summary=texts.summary) if outcome else None
    return ActionView(id_, "finished" if outcome else phase, outcome, "", "", NOON, NOON + 2, action, rating, ended)


def _steps(*states: str) -> tuple[StepView, ...]:
    return tuple(StepView(number, number, "", state) for number, state in enumerate(states))


def progress_examples(cards: Cards) -> dict[str, Shown]:
    """The message that is kept up to date while a run goes on."""
    runs = Runs(cards)
    two, status = _steps("done", "open"), RunStatus
    files = (
        AttachedFile(name="prices.csv", path="attached/prices.csv", kind="text/csv", size=812),
        AttachedFile(name=cards.texts.cell, why="It is larger than 10 MB."),
    )
    stopped = ev.StopRequested(by=OMAR, reason="/agent stop")
    direct = runs.view(status.WAITING, steps=two, task=runs.task(is_dm=True))
    looks = {
        "queued": (runs.view(status.QUEUED, plan=None, line={"spent_micro_usd": 0, "steps": 0}), ()),
        "planning": (runs.view(status.RUNNING, plan=None, line={"spent_micro_usd": 1200, "steps": 0}), ()),
        "fetching files": (runs.view(status.RUNNING, plan=None, files_owed=2), ()),
        "working": (runs.view(status.RUNNING, steps=two, files=files), ()),
        "waiting": (runs.view(status.WAITING, steps=two), (CARD, CARD)),
        "waiting, asked directly": (direct, ()),
        "completed": (runs.view(status.COMPLETED, steps=_steps("done", "done", "done")), ()),
        "partial": (runs.view(status.PARTIAL, steps=_steps("done", "blocked")), ()),
        "failed": (runs.view(status.FAILED, steps=_steps("done", "failed")), ()),
        "cancelled": (runs.view(status.CANCELLED, steps=two, stop=stopped), ()),
    }
    found: dict[str, Shown] = {
        f"progress, {name}": progress_message(view, _LATER, links, ACTIONS) for name, (view, links) in looks.items()
    }
    asked = Anchor(
        id="command:1", via="command", team="T0SECONDKEY", channel="C0DATA", thread_ts="", principal=MAYA,
        text=cards.texts.task,
    )  # fmt: skip
    return {
        "task, asked by a command": anchor_message(asked, "/agent"),
        "task, about a message": anchor_message(replace(asked, via="message"), "/agent"),
        "task, a step of a workflow": anchor_message(replace(asked, via="step"), "/agent"),
        **found,
    }


def answer_examples(cards: Cards) -> dict[str, Shown]:
    """The answer, which is posted whole."""
    runs, texts, look, status = Runs(cards), cards.texts, Look(), RunStatus
    done = _steps("done", "done", "done")
    changed = replace(cards.ended(Outcome.SUCCEEDED), id="a1")
    denied = replace(cards.ended(Outcome.DENIED), id="a2")
    expired = replace(cards.ended(Outcome.EXPIRED), id="a3")
    runbook, no_plan = runs.plan("runbook:prices"), "No runbook fits this task, and no model is set up."
    stopped = ev.StopRequested(by=OMAR, reason="/agent stop")
    views = {
        "completed": runs.view(status.COMPLETED, steps=done, actions=(runs.read(), changed), answer=texts.answer),
        "from a runbook": runs.view(status.COMPLETED, steps=done, plan=runbook, answer=texts.answer),
        "asked directly": runs.view(status.COMPLETED, steps=done, task=runs.task(is_dm=True), answer=texts.answer),
        "partial": runs.view(
            status.PARTIAL,
            steps=_steps("done", "blocked"),
            actions=(runs.read(), denied, expired),
            answer=f"I looked the prices up. They are not in the database yet. {texts.reason}",
        ),
        "failed": runs.view(
            status.FAILED, steps=_steps("failed"), actions=(), answer=f"docs/prices.md cannot be read. {texts.because}"
        ),
        "no plan": runs.view(status.FAILED, plan=None, plan_failed=no_plan, actions=(), answer=no_plan),
        "cancelled": runs.view(
            status.CANCELLED, steps=_steps("done", "open"), stop=stopped, answer="Nothing was changed in the database."
        ),
    }
    found: dict[str, Shown] = {f"answer, {name}": answer_messages(view, look)[0] for name, view in views.items()}
    row = "The till closed with 1,204 orders, of which 31 were paid back; the drawer was short by 40 cents, as it was"
    lines = "\n\n".join(f"**Week {week}.** {row} in week {week - 1 or 53}. {texts.cell}" for week in range(1, _LONG))
    pages = answer_messages(runs.view(status.COMPLETED, steps=done, answer=lines), look)
    return {**found, "answer, long, its first part": pages[0], "answer, long, its last part": pages[-1]}
