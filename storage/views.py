"""Views: frozen values with everything that a card, a thread or a page shows of one subject."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent import events as ev
from agent.domain import Action, ApprovalState, AttachedFile, Outcome, Place, Plan, Principal, RunStatus, Task, Tier
from storage.blobs import read_blob
from storage.rows import ApprovalRow, TakeoverRow, approval_rows, find_approval, find_takeover, takeover_rows
from storage.successors import Successor, find_successor, waiting_in

RUN = """SELECT id, task_id, team, channel, thread_ts, requester, status, epoch, parent_run, title, created_at,
  coalesce(started_at, 0.0), coalesce(ended_at, 0.0), steps, spent_micro_usd, reserved_micro_usd, waiting_on, in_flight,
  seq, trace_id, span_id, answer_blob, summary FROM runs"""
_ACTIONS = """SELECT a.id, a.phase, a.outcome, a.approval, a.takeover, coalesce(a.started_at, 0.0),
  coalesce(a.ended_at, 0.0), a.step, a.tool, a.digest, p.payload, r.payload, e.payload FROM actions a
  JOIN events p ON p.run = a.run AND p.seq = a.proposed_seq
  LEFT JOIN events r ON r.run = a.run AND r.seq = a.rated_seq
  LEFT JOIN events e ON e.run = a.run AND e.seq = a.ended_seq WHERE a.run = ?"""
_STORY = """SELECT payload FROM events WHERE run = ? AND type IN ('run_created', 'plan_made', 'plan_failed',
  'step_started', 'step_finished', 'stop_requested', 'files_attached') ORDER BY seq"""


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run's row. Business seconds; 0 means "not yet"."""

    id: str
    task: str
    team: str
    channel: str
    thread_ts: str
    requester: str
    status: RunStatus
    epoch: int
    parent_run: str
    title: str
    created_at: float
    started_at: float
    ended_at: float
    steps: int
    spent_micro_usd: int
    reserved_micro_usd: int
    waiting_on: int
    in_flight: int
    seq: int
    trace_id: str
    span_id: str
    answer_blob: str
    summary: str


@dataclass(frozen=True, slots=True)
class StepView:
    """One hand-over to a worker."""

    number: int
    planned: int
    feedback: str
    status: str = "open"
    summary: str = ""


@dataclass(frozen=True, slots=True)
class ActionView:
    """One action with everything that was said of it; `rating` is None until it is rated."""

    id: str
    phase: str
    outcome: Outcome | None
    approval: str
    takeover: str
    started_at: float
    ended_at: float
    action: Action
    rating: ev.ActionRated | None
    ended: ev.ActionFinished | ev.ApprovalDecided | ev.TakeoverClosed | None
    """The event that ended it: a result, a decision against it, or a takeover."""

    @property
    def tier(self) -> Tier | None:
        """How risky it is, once rated."""
        return self.rating.tier if self.rating else None

    @property
    def headline(self) -> str:
        """What would happen, in one sentence; empty until it is rated."""
        return self.rating.headline if self.rating else ""

    @property
    def summary(self) -> str:
        """What it came to, one sentence for people; empty when there is none."""
        if isinstance(self.ended, ev.ActionFinished):
            return self.ended.summary
        return self.ended.what if isinstance(self.ended, ev.TakeoverClosed) else ""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its task, plan, steps, actions, and what people are asked."""

    run: RunLine
    task: Task
    plan: Plan | None
    plan_failed: str
    stop: ev.StopRequested | None
    steps: tuple[StepView, ...]
    actions: tuple[ActionView, ...]
    """In the order of their proposal."""
    approvals: tuple[ApprovalRow, ...]
    takeovers: tuple[TakeoverRow, ...]
    co_requesters: tuple[str, ...]
    """Principal keys, the requester first."""
    answer: str
    files: tuple[AttachedFile, ...] = ()
    """What people attached, in the order in which it came."""
    files_owed: int = 0
    """Attached files that are still on their way, before anything is planned."""
    new_plans: int = 0
    """How many times a new plan took the place of what was left."""

    @property
    def used_steps(self) -> int:
        """What counts towards the limit of steps: each hand-over to a worker, and each new plan."""
        return len(self.steps) + self.new_plans

    @property
    def standing(self) -> tuple[ActionView, ...]:
        """The actions in whose place no person had another one proposed."""
        gone = {item.action.revision.of for item in self.actions if item.action.revision is not None}
        return tuple(item for item in self.actions if item.id not in gone)


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """Everything that an approval's card shows."""

    approval: ApprovalRow
    run: RunLine
    action: ActionView
    votes: tuple[tuple[str, str, float], ...]
    """Principal key, `approve` or `deny`, and when."""
    preview: str
    """The body that `ActionRated.preview_blob` names; empty when there is none."""
    co_requesters: tuple[str, ...]
    successor: Successor | None = None
    """What a person had proposed in its place."""
    waiting: tuple[str, ...] = ()
    """All approvals of the run that wait for people now, the oldest first."""
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why people voted as they did, by principal key; only where the policy wants reasons."""


@dataclass(frozen=True, slots=True)
class TakeoverView:
    """Everything that a takeover's packet shows."""

    takeover: TakeoverRow
    action: ActionView
    preview: str
    view: RunView


def as_line(row: Sequence[object]) -> RunLine:
    """A row that `RUN` selects, as a value."""
    values = list(row)
    values[6] = RunStatus(str(row[6]))
    return RunLine(*values)  # pyright: ignore[reportArgumentType]  # the columns are the fields, in their order


def find_line(conn: sqlite3.Connection, run: str) -> RunLine | None:
    """One run's row, or None."""
    row = conn.execute(f"{RUN} WHERE id = ?", (run,)).fetchone()
    return as_line(row) if row else None


def co_requesters(conn: sqlite3.Connection, run: str) -> tuple[str, ...]:
    """Principal keys of those whose words are in the run's context, the requester first."""
    query = "SELECT requester FROM runs WHERE id = ? UNION ALL SELECT principal FROM co_requesters WHERE run = ?"
    return tuple(key for (key,) in conn.execute(query, (run, run)))


def _actions(conn: sqlite3.Connection, run: str, action: str = "") -> tuple[ActionView, ...]:
    query = f"{_ACTIONS} AND a.id = ?" if action else f"{_ACTIONS} ORDER BY a.proposed_seq"
    found: list[ActionView] = []
    for row in conn.execute(query, (run, action) if action else (run,)):
        proposed, rated, ended = (ev.decode(payload) if payload else None for payload in row[10:])
        if isinstance(proposed, ev.ActionProposed):
            proposal = proposed.action
        else:  # retention dropped what it was proposed with; that it was, and what it came to, can still be shown
            proposal = Action(id=row[0], step=row[7], turn=0, tool=row[8], arguments={}, digest=row[9], schema_hash="")
        found.append(
            ActionView(
                row[0],
                row[1],
                Outcome(row[2]) if row[2] else None,
                *row[3:7],
                action=proposal,
                rating=rated if isinstance(rated, ev.ActionRated) else None,
                ended=ended if isinstance(ended, ev.ActionFinished | ev.ApprovalDecided | ev.TakeoverClosed) else None,
            )
        )
    return tuple(found)


def _body(conn: sqlite3.Connection, digest: str) -> str:
    try:
        return read_blob(conn, digest) if digest else ""
    except KeyError:
        return ""


def run_view(conn: sqlite3.Connection, run: str) -> RunView | None:
    """One run with everything in it, or None."""
    line = find_line(conn, run)
    if line is None:
        return None
    task: Task | None = None
    plan: Plan | None = None
    new_plans = 0
    plan_failed = ""
    stop: ev.StopRequested | None = None
    steps: dict[int, StepView] = {}
    files: tuple[AttachedFile, ...] = ()
    owed = 0
    for (payload,) in conn.execute(_STORY, (run,)):
        match ev.decode(payload) if payload else None:
            case ev.RunCreated() as event:
                task, owed = event.task, event.files
            case ev.FilesAttached() as event:
                files = (*files, *event.files)
            case ev.PlanMade() as event:
                new_plans += plan is not None
                plan = event.plan
            case ev.PlanFailed() as event:
                plan_failed = event.reason
            case ev.StepStarted() as event:
                steps[event.step] = StepView(event.step, event.planned, event.feedback)
            case ev.StepFinished() as event:
                begun = steps[event.step]
                steps[event.step] = StepView(event.step, begun.planned, begun.feedback, event.status, event.summary)
            case ev.StopRequested() as event:
                stop = stop or event
            case _:
                pass
    return RunView(
        run=line,
        task=task or _task_without_words(line),
        plan=plan,
        plan_failed=plan_failed,
        stop=stop,
        steps=tuple(steps.values()),
        actions=_actions(conn, run),
        approvals=approval_rows(conn, "WHERE a.run = ? ORDER BY a.created_at, a.id", (run,)),
        takeovers=takeover_rows(conn, "WHERE t.run = ? ORDER BY t.opened_at, t.id", (run,)),
        co_requesters=co_requesters(conn, run),
        answer=_body(conn, line.answer_blob),
        files=files,
        files_owed=max(0, owed - len(files)),
        new_plans=new_plans,
    )


def _task_without_words(line: RunLine) -> Task:
    """The task of a run whose payloads retention dropped: who asked and where, and that the words are gone."""
    place = Place(team=line.team, channel=line.channel, thread_ts=line.thread_ts)
    return Task(id=line.task, text=line.title, principal=Principal.parse(line.requester), place=place)


def approval_view(conn: sqlite3.Connection, approval: str) -> ApprovalView | None:
    """One approval with everything that its card shows, or None."""
    row = find_approval(conn, approval)
    line = find_line(conn, row.run) if row else None
    actions = _actions(conn, row.run, row.action) if row else ()
    if row is None or line is None or not actions:
        return None
    votes = conn.execute("SELECT principal, vote, at FROM votes WHERE approval = ? ORDER BY at", (approval,))
    rating = actions[0].rating
    return ApprovalView(
        approval=row,
        run=line,
        action=actions[0],
        votes=tuple((who, vote, at) for who, vote, at in votes),
        preview=_body(conn, rating.preview_blob) if rating else "",
        co_requesters=co_requesters(conn, row.run),
        successor=find_successor(conn, approval),
        waiting=waiting_in(conn, row.run) if row.state == ApprovalState.PENDING else (),
        reasons=_reasons(conn, row) if row.reason_for else {},
    )


def _reasons(conn: sqlite3.Connection, row: ApprovalRow) -> dict[str, str]:
    """The reasons that came with votes; what retention dropped is left out."""
    query = "SELECT payload FROM events WHERE run = ? AND type = 'vote_cast' AND payload IS NOT NULL ORDER BY seq"
    votes = (ev.decode(payload) for (payload,) in conn.execute(query, (row.run,)))
    return {
        vote.principal.key: vote.reason for vote in votes if isinstance(vote, ev.VoteCast) and vote.approval == row.id
    }


def takeover_view(conn: sqlite3.Connection, takeover: str) -> TakeoverView | None:
    """One takeover with everything that its packet shows, or None."""
    row = find_takeover(conn, takeover)
    view = run_view(conn, row.run) if row else None
    if row is None or view is None:
        return None
    action = next((item for item in view.actions if item.id == row.action), None)
    if action is None:
        return None
    preview = _body(conn, action.rating.preview_blob) if action.rating else ""
    return TakeoverView(takeover=row, action=action, preview=preview, view=view)
