"""A run's journal as a tree in time: steps, model calls, tool calls, ratings, waits and decisions; pure.

It needs no collector and no trace: everything that it shows stands in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from agent import events as ev
from agent.domain import ApprovalState, Outcome, RunStatus
from agent.ports import Stored

Kind = Literal["run", "plan", "step", "chat", "tool", "rating", "wait", "decision", "takeover", "note"]
_BAD = frozenset({"failed", "timed_out", "refused", "denied", "expired", "unknown", "cancelled", "blocked", "partial"})


@dataclass(slots=True)
class Node:
    """Something that took time, or one moment of it. Business seconds; an `end` of None is still open."""

    kind: Kind
    name: str
    start: float
    end: float | None = None
    status: str = ""
    detail: str = ""
    took_ms: int | None = None
    """Real milliseconds, where they were measured: of calls and tools."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    children: list[Node] = field(default_factory=list["Node"])

    @property
    def is_bad(self) -> bool:
        """Whether it did not come out as wanted."""
        return self.status in _BAD

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it is open."""
        if self.took_ms is not None:
            return self.took_ms / 1000
        return None if self.end is None else max(0.0, self.end - self.start)

    def as_json(self) -> dict[str, Any]:
        """Plain data for scripts."""
        body = {
            "kind": self.kind, "name": self.name, "start": self.start, "end": self.end, "seconds": self.seconds,
            "status": self.status, "detail": self.detail, "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens, "cost_micro_usd": self.cost_micro_usd,
        }  # fmt: skip
        return body | {"children": [child.as_json() for child in self.children]}


def timeline(run: str, stored: Iterable[Stored]) -> Node:
    """The tree of one run; an event that fits nowhere is left out, so that a damaged journal is still shown."""
    growing = _Growing(Node("run", run, 0.0))
    for item in stored:
        growing.add(item)
    root = growing.root
    total(root)
    return root


def total(node: Node) -> None:
    """Sum tokens and cost up the tree."""
    for child in node.children:
        total(child)
        node.input_tokens += child.input_tokens
        node.output_tokens += child.output_tokens
        node.cost_micro_usd += child.cost_micro_usd


class _Growing:
    def __init__(self, root: Node) -> None:
        self.root = root
        self.steps: dict[int, Node] = {}
        self.calls: dict[str, Node] = {}
        self.tools: dict[str, Node] = {}
        self.waits: dict[str, Node] = {}
        self.workers: list[str] = []

    def add(self, item: Stored) -> None:  # noqa: C901, PLR0912, PLR0915  # one arm an event reads best
        event, at = item.event, item.at
        match event:
            case ev.RunCreated():
                self.root.start, self.root.detail, self.root.status = at, event.task.text, RunStatus.QUEUED.value
            case ev.RunStarted():
                self.root.status = RunStatus.RUNNING.value
                self._moment(self.root, "note", "taken up", at, f"policy {event.policy_version}")
            case ev.PlanMade():
                self.workers = [step.worker.value for step in event.plan.steps]
                lines = "; ".join(f"{number}. {step.instruction}" for number, step in enumerate(event.plan.steps, 1))
                self._moment(self.root, "plan", f"plan by {event.plan.planner}", at, lines)
            case ev.PlanFailed():
                self._moment(self.root, "plan", "no plan", at, event.reason, "failed")
            case ev.StepStarted():
                worker = self.workers[event.planned] if event.planned < len(self.workers) else "?"
                name = f"step {event.step + 1} {worker}"
                self.steps[event.step] = self._open(self.root, "step", name, at, event.feedback)
            case ev.StepFinished():
                self._close(self.steps.get(event.step), at, event.status, event.summary)
            case ev.StepEvaluated():
                why = event.feedback or event.reason
                of = self.steps.get(event.step)
                self._moment(of, "decision", f"{event.decision} (by {event.by})", at, why)
            case ev.HistoryTrimmed():
                self._moment(self.steps.get(event.step), "note", "history trimmed", at, f"{event.turns} turns")
            case ev.ModelCallStarted() | ev.ModelCallFinished() | ev.ModelCallFailed():
                self._call(event, at)
            case (
                ev.ActionProposed() | ev.ActionRated() | ev.ActionStarted() | ev.ActionFinished() | ev.ActionResumed()
            ):  # fmt: skip
                self._action(event, at)
            case ev.ApprovalRequested():
                of = self.tools.get(event.action, self.root)
                self.waits[event.approval] = self._open(of, "wait", "approval", at, event.because)
            case ev.VoteCast():
                self._moment(self.waits.get(event.approval), "decision", event.vote, at, event.principal.key)
            case ev.ApprovalDecided():
                self._decided(event, at)
            case ev.ApprovalReminded():
                what = "escalated" if event.escalated else "reminded"
                self._moment(self.waits.get(event.approval), "note", what, at)
            case ev.TakeoverOpened():
                of = self.tools.get(event.action, self.root)
                self.waits[event.takeover] = self._open(of, "takeover", f"takeover ({event.cause})", at)
            case ev.TakeoverClaimed():
                self._moment(self.waits.get(event.takeover), "decision", "claimed", at, event.by.key)
            case ev.TakeoverReleased():
                self._moment(self.waits.get(event.takeover), "note", event.why, at, event.by)
            case ev.TakeoverClosed():
                self._taken(event, at)
            case ev.FollowUpReceived():
                self._moment(self.root, "note", "follow-up", at, event.principal.key)
            case ev.StopRequested():
                self._moment(self.root, "decision", "stop", at, f"{event.by} {event.reason}".strip())
            case ev.TimeRanOut():
                self._moment(self.root, "note", "out of time", at, f"{event.active_s:.0f} s at work", "failed")
            case ev.ChangesUndone():
                self._moment(self.root, "decision", "undo", at, event.problem or ", ".join(event.files))
            case ev.RunFinished():
                self._close(self.root, at, event.status.value, self.root.detail)
            case _:
                return

    def _call(self, event: ev.ModelCallStarted | ev.ModelCallFinished | ev.ModelCallFailed, at: float) -> None:
        if isinstance(event, ev.ModelCallStarted):
            of = self.steps.get(event.step, self.root)
            self.calls[event.call] = self._open(of, "chat", f"{event.purpose} {event.model}", at)
            return
        node = self.calls.get(event.call)
        if node is None:
            return
        node.took_ms, node.cost_micro_usd = event.duration_ms, event.cost_micro_usd
        if isinstance(event, ev.ModelCallFinished):
            node.input_tokens, node.output_tokens = event.input_tokens, event.output_tokens
            self._close(node, at, "ok", event.finish_reason)
        else:
            self._close(node, at, "failed", f"{event.code} {event.detail}".strip())

    def _action(
        self,
        event: ev.ActionProposed | ev.ActionRated | ev.ActionStarted | ev.ActionFinished | ev.ActionResumed,
        at: float,
    ) -> None:
        if isinstance(event, ev.ActionProposed):
            of = self.steps.get(event.action.step, self.root)
            self.tools[event.action.id] = self._open(of, "tool", event.action.tool, at)
            return
        node = self.tools.get(event.action)
        if node is None:
            return
        match event:
            case ev.ActionRated():
                node.detail = event.headline or node.detail
                why = ", ".join(reason.rule for reason in event.reasons)
                self._moment(node, "rating", event.tier.value, at, f"{why} (policy {event.policy_version})")
            case ev.ActionStarted():
                self._moment(node, "note", "started", at, f"attempt {event.attempt + 1}" if event.attempt else "")
            case ev.ActionResumed():
                why = f"{event.code} {event.summary}".strip()
                self._moment(node, "note", "tried again" if why else "run again after a crash", at, why)
            case ev.ActionFinished():
                node.took_ms = event.duration_ms or node.took_ms
                self._close(node, at, event.outcome.value, event.summary or event.code or node.detail)

    def _decided(self, event: ev.ApprovalDecided, at: float) -> None:
        wait = self.waits.get(event.approval)
        if wait is None:
            return
        own = " self_approved" if event.self_approved else ""
        self._moment(wait, "decision", event.state.value, at, f"{event.by}{own} {event.reason}".strip())
        self._close(wait, at, event.state.value, wait.detail)
        of = next((node for node in self.tools.values() if wait in node.children), None)
        if of is not None and event.state is not ApprovalState.APPROVED:
            self._close(of, at, event.state.value, of.detail)

    def _taken(self, event: ev.TakeoverClosed, at: float) -> None:
        wait = self.waits.get(event.takeover)
        self._moment(wait, "decision", event.state, at, f"{event.by} {event.what}".strip())
        self._close(wait, at, event.state, "")
        of = next((node for node in self.tools.values() if wait in node.children), None)
        outcome = {"done": Outcome.DONE_BY_HUMAN, "handed_back": Outcome.WITHDRAWN}.get(event.state, Outcome.CANCELLED)
        self._close(of, at, outcome.value, of.detail if of is not None else "")

    def _open(self, of: Node, kind: Kind, name: str, at: float, detail: str = "") -> Node:
        node = Node(kind, name, at, detail=detail)
        of.children.append(node)
        return node

    def _moment(  # noqa: PLR0917  # a node's own fields, in their order
        self, of: Node | None, kind: Kind, name: str, at: float, detail: str = "", status: str = ""
    ) -> None:
        if of is not None:
            of.children.append(Node(kind, name, at, at, status=status, detail=detail))

    def _close(self, node: Node | None, at: float, status: str, detail: str) -> None:
        if node is not None:
            node.end, node.status, node.detail = at, status, detail
