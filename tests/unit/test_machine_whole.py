"""The whole gate under random hands: the real rater, executor and reviser over the real store.

No sequence of proposals, edits, clicks, grants, revocations, hand-backs, restarts and clock moves makes an action start
that the invariants forbid. Whether a start was right is told by a ledger of what people did, kept here in plain sets.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agent import events as ev
from agent.domain import ApprovalState, Effect, Intent, Outcome, Principal, TakeoverState
from agent.equipment import Equipment
from agent.errors import ApprovalNotValid, DecisionError, JournalError, ToolError
from agent.execution import Executor
from agent.facts.model import Facts
from agent.fakes import CountingIds, ManualClock
from agent.grants import Terms
from agent.policy import Policy, load_policy
from agent.ports import Fact, Intention
from agent.proposing import Call, Proposer
from agent.rating import Rater
from agent.recording import record
from agent.recovery import settle
from agent.revising import Reviser, Unfit
from agent.runbooks import Runbooks
from agent.runbox import RunBox
from agent.sandbox.fake import FakeSandbox
from agent.state import ActionState, RunState
from agent.supervisor import ProposeAgain, RateAction, StartAction
from agent.telemetry import Telemetry
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.registry import Registry
from storage.audit import verify
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.grants import Grants
from storage.journal import read_events
from storage.lease import LEASE_S

T = TypeVar("T")
WHICH, WHO = st.integers(0, 7), st.sampled_from((*DECIDERS, *DECIDERS, REQUESTER))
TARGETS, ROWS = st.sampled_from(("a", "b")), st.sampled_from((0, 1, 30, 60))
MOST_ROWS, DENIALS, MOST_RUNS = 100, 3, 8
SELDOM = st.sampled_from((False, False, True))
RULES = f"""
version = 1
[people]
approvers = ["U2", "U3"]
[limits]
run_rows = {MOST_ROWS}
run_denials = {DENIALS}
[[rule]]
name = "touch"
when = "tool == 'touch'"
tier = "low"
say = "It touches nothing yet."
[[rule]]
name = "rows"
when = "tool == 'touch' && facts.counts.rows > 0"
tier = "medium"
say = "It touches rows."
"""


class Died(BaseException):
    """The process, in the middle of a tool."""


class TouchArguments(Arguments):
    n: int
    target: str
    rows: int


class Touch(Tool[TouchArguments]):
    """Tells the machine of each effect."""

    name, description, arguments = "touch", "Touch rows", TouchArguments

    def __init__(self, ran: Callable[[str, TouchArguments], None]) -> None:
        self._ran = ran

    async def facts(self, arguments: TouchArguments, context: ToolContext) -> Facts:
        del context
        effect = Intent(effect=Effect.MODIFY, target=f"thing:{arguments.target}")
        return Facts(where="workspace", effects=(effect,), counts={"rows": arguments.rows})

    def headline(self, arguments: TouchArguments, preview: Preview) -> str:
        del preview
        return f"Touch {arguments.rows} rows of {arguments.target}"

    async def run(self, arguments: TouchArguments, context: ToolContext, preview: Preview) -> ToolResult:
        del preview
        self._ran(context.run, arguments)
        return ToolResult(text="touched", summary="Touched")


def policy_of() -> Policy:
    """The shipped policy with the tool as one of those that it knows."""
    own = load_policy(RULES)
    return Policy(own.version, own.mode, own.people, own.limits, (*own.shipped, *own.own))


@dataclass
class Yes:
    """What one person said to exactly one call."""

    by: str
    digest: str
    epoch: int
    until: float


@dataclass
class MRun:
    """What people did in a run."""

    requester: str
    words: set[str]
    epoch: int = 0
    rows: int = 0
    stopped: bool = False
    denied: set[str] = field(default_factory=set[str])
    expired: set[str] = field(default_factory=set[str])
    no: set[str] = field(default_factory=set[str])
    """Approvals that were denied or expired."""


@dataclass
class MGrant:
    """What a person allowed."""

    by: str
    requester: str
    run: str
    target: str
    rows: int
    left: int
    ends: float
    revoked: bool = False


class Machine(RuleBasedStateMachine):
    """People, time, crashes and the driver do what they can, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(prefix="secondkey-whole-")
        self.path = Path(self.folder.name) / "store.db"
        self.clock, self.ids, self.policy = ManualClock(), CountingIds(), policy_of()
        self.barred: set[str] = set()
        self.runs: dict[str, MRun] = {}
        self.yes: dict[str, list[Yes]] = {}
        """Approval → who said yes."""
        self.grants: dict[str, MGrant] = {}
        self.started: set[str] = set()
        self.effects: list[tuple[str, str]] = []
        self.paused = self.dies = self.jumps = False
        self.wrong: Exception | None = None
        self.starting = ""
        self.numbers = 0
        self.open()

    def open(self) -> None:
        self.store = self.do(Store.open(self.path, clock=self.clock, ids=self.ids))
        self.store.entitlement.barred = self.barred
        self.lease_until = self.clock.at + LEASE_S
        self.kit = Equipment(
            journal=self.store.journal, clock=self.clock, ids=self.ids, registry=Registry((Touch(self.ran),)),
            policy=lambda: self.policy, runbooks=Runbooks.parse(""), context=self.context, find_secret=lambda _: "",
            redact=lambda text: text, telemetry=Telemetry(), may_still=self.may_still, still_entitled=self.entitled,
            grants=lambda tool, requester: Grants(self.store.db).standing(tool, requester, self.clock.now()),
        )  # fmt: skip
        self.rater, self.proposer, self.reviser = Rater(self.kit), Proposer(self.kit), Reviser(self.kit)
        self.executor = Executor(self.kit, self.proposer, self.rater)
        self.boxes = {run: RunBox(run, self.store.journal) for run in self.runs}

    def teardown(self) -> None:
        self.do(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    # -- help ----------------------------------------------------------------------------------------------------

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def context(self, state: RunState) -> ToolContext:
        return ToolContext(state.run, self.path.parent, self.path.parent, FakeSandbox())

    async def may_still(self, key: str) -> bool:
        return key not in self.barred

    async def entitled(self, approval: str, voters: Sequence[str]) -> frozenset[str]:
        del approval
        return frozenset(voters) - self.barred

    def tried(self, work: Awaitable[T]) -> T | None:
        """What is refused changes nothing; that it was refused rightly is not the question here."""

        async def now() -> T:
            return await work

        try:
            return self.do(now())
        except (DecisionError, JournalError, ToolError, Unfit):
            return None

    def at(self, which: int) -> RunBox:
        box = list(self.boxes.values())[which % len(self.boxes)]
        self.do(box.catch_up())
        return box

    def pick(self, which: int, *states: ApprovalState) -> tuple[RunBox, str] | None:
        """Some approval in one of these states."""
        found: list[tuple[RunBox, str]] = []
        for place in range(len(self.boxes)):
            box = self.at(place)
            found += [(box, key) for key, item in box.state.approvals.items() if item.state in states]
        return found[-1 - which % len(found)] if found else None

    def takeover(self, which: int) -> tuple[RunBox, str] | None:
        found = [
            (box, box.state.open_takeover.id)
            for box in (self.at(place) for place in range(len(self.boxes)))
            if box.state.open_takeover is not None
        ]
        return found[which % len(found)] if found else None

    def think(self, box: RunBox) -> None:
        """What the driver does of itself: propose anew what a person sent back, and rate what was proposed."""
        self.do(box.catch_up())
        if box.state.status.is_final:
            return
        for key, item in tuple(box.state.actions.items()):
            if item.again and box.state.open_takeover is None:
                self.tried(self.proposer.propose_again(box, ProposeAgain(key)))
        for key, item in tuple(box.state.actions.items()):
            if item.phase == "proposed" and item.tier is None:
                self.tried(self.rater.rate(box, RateAction(key)))
        self.look(box)

    def look(self, box: RunBox) -> None:
        """Take note of what people said no to, or let run out."""
        self.do(box.catch_up())
        model = self.runs[box.run]
        for key, item in box.state.approvals.items():
            if item.state in {ApprovalState.DENIED, ApprovalState.EXPIRED} and key not in model.no:
                model.no.add(key)
                target = str(box.state.actions[item.action].action.arguments["target"])
                (model.denied if item.state is ApprovalState.DENIED else model.expired).add(target)

    # -- the ledger's judgement ----------------------------------------------------------------------------------

    def ran(self, run: str, arguments: TouchArguments) -> None:
        """The tool has its effect, here and now."""
        try:
            self.judge(run, arguments)
        except Exception as wrong:  # noqa: BLE001  # else the executor would take it for a failure of the tool
            self.wrong = wrong
        if self.dies:
            self.dies = False
            raise Died

    def judge(self, run: str, arguments: TouchArguments) -> None:
        model, box = self.runs[run], self.boxes[run]
        key = self.starting
        stored = self.do_now(run)
        begun = [item.event for item in stored if isinstance(item.event, ev.ActionStarted) and item.event.action == key]
        (start,) = begun
        action = next(
            e.event.action for e in stored if isinstance(e.event, ev.ActionProposed) and e.event.action.id == key
        )
        assert key not in self.started, "it started twice"
        assert action.arguments == arguments.model_dump(), "it is not the call that was proposed"
        assert start.digest == action.digest
        assert not model.stopped
        assert not self.paused
        assert self.clock.at < self.lease_until, "another process may drive the runs"
        edited = action.revision is not None and action.revision.cause == "edit"
        if arguments.rows or edited or len(model.no) >= DENIALS:
            assert self.allowed(start, model, arguments, run) or self.has_yes(start, model), "nobody said yes to it"
        if not self.jumps:  # what the rater and the executor see to, and the journal cannot
            assert arguments.target not in model.denied | model.expired, "it was said no to"
            assert model.rows + arguments.rows <= MOST_ROWS, "many small steps are a large one"
            assert box.state.open_takeover is None, "a person has the run"
        self.started.add(key)
        model.rows += arguments.rows
        self.effects.append((run, key))

    def do_now(self, run: str) -> Sequence[Any]:
        """The journal, read while the loop is busy with a start."""
        return self.store.db.read(lambda conn: read_events(conn, run))

    def has_yes(self, start: ev.ActionStarted, model: MRun) -> bool:
        said = self.yes.get(start.approval, [])
        return any(
            one.digest == start.digest
            and one.epoch == model.epoch
            and self.clock.at < one.until
            and (self.jumps or one.by not in self.barred)
            for one in said
        )

    def allowed(self, start: ev.ActionStarted, model: MRun, arguments: TouchArguments, run: str) -> bool:
        grant = self.grants.get(start.grant)
        if grant is None:
            return False
        holds = (
            grant.left > 0
            and not grant.revoked
            and self.clock.at < grant.ends
            and grant.requester == model.requester
            and grant.run in {"", run}
            and (grant.target, grant.rows) == (arguments.target, arguments.rows)
            and grant.by not in model.words
            and grant.by not in self.barred
        )
        grant.left -= 1
        return holds

    # -- the agent -----------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.new_run(REQUESTER)
        self.propose(0, "a", 30)

    @precondition(lambda self: len(self.runs) < 5)
    @rule(who=st.sampled_from((REQUESTER, REQUESTER, DECIDERS[1])))
    def new_run(self, who: Principal) -> None:
        run = self.do(self.store.run(requester=who))
        self.runs[run] = MRun(who.key, {who.key})
        self.boxes[run] = RunBox(run, self.store.journal)

    @rule(which=WHICH, thing=TARGETS, rows=ROWS)
    def propose(self, which: int, thing: str, rows: int) -> None:
        box = self.at(which)
        self.numbers += 1
        arguments = {"n": self.numbers, "target": thing, "rows": rows}
        call = Call(0, 0, "touch", arguments, call_id=f"c{self.numbers}")
        events = self.do(self.proposer.propose(box.state, call))
        if self.tried(box.commit(events, Fact())) is not None:
            self.think(box)

    @rule(which=WHICH, dies=SELDOM)
    def start(self, which: int, *, dies: bool) -> None:
        box = self.at(which)
        waiting = [key for key, item in box.state.actions.items() if item.phase in {"allowed", "approved"}]
        if not waiting or box.state.open_takeover is not None or box.state.status.is_final:
            return
        self.starting, self.dies = waiting[which % len(waiting)], dies
        try:
            ended = self.tried(self.executor.start(box, StartAction(self.starting)))
        except Died:
            self.restart()
            return
        finally:
            self.dies = False
            if self.wrong is not None:
                raise self.wrong
        if ended is not None:
            self.tried(record(self.kit, box, ended))
        self.think(box)

    @rule(which=WHICH)
    def jump(self, which: int) -> None:
        """A driver that has lost its mind starts what it likes: the journal alone must refuse it."""
        box = self.at(which)
        items: list[ActionState] = list(box.state.actions.values())
        if not items or box.state.status.is_final:
            return
        item = items[-1 - which % len(items)]
        key = self.starting = item.action.id
        begun = ev.ActionStarted(
            action=key, digest=item.action.digest, lease_token=self.store.journal.lease_token, approval=item.approval
        )
        condition = Intention(
            epoch=box.state.epoch, starts=key, digest=item.action.digest, consumes=item.approval, effect_s=30.0
        )
        if self.tried(box.commit([begun], condition)) is None:
            return
        self.jumps = True
        self.judge(box.run, TouchArguments.model_validate(item.action.arguments))
        self.jumps = False
        self.do(box.commit([ev.ActionFinished(action=key, outcome=Outcome.SUCCEEDED)], Fact()))

    @rule(which=WHICH, who=WHO)
    def forge(self, which: int, who: Principal) -> None:
        """The agent writes a yes itself."""
        found = self.pick(which, ApprovalState.PENDING)
        if found is None:
            return
        box, key = found
        now = self.clock.at
        yes = ev.ApprovalDecided(approval=key, state=ApprovalState.APPROVED, at=now, by=who.key, start_before=now + 600)
        with pytest.raises(ApprovalNotValid):
            self.do(box.commit([yes], Fact()))

    @rule()
    def restart(self) -> None:
        """The process dies; a successor recovers what had started."""
        self.clock.advance(LEASE_S + 1)
        self.do(self.store.close())
        self.open()
        for box in self.boxes.values():
            self.do(box.catch_up())
            if not box.state.status.is_final:
                self.do(settle(box, self.rater, foreign_to=self.store.journal.lease_token))
            self.think(box)

    # -- people --------------------------------------------------------------------------------------------------

    @rule(
        which=WHICH, who=WHO, vote=st.sampled_from(("approve", "approve", "deny")), allows=SELDOM, only=st.booleans(),
        uses=st.integers(1, 2),
    )  # fmt: skip
    def click(self, which: int, who: Principal, vote: Any, *, allows: bool, only: bool, uses: int) -> None:
        found = self.pick(which, ApprovalState.PENDING)
        if found is not None:
            self.say(*found, who, vote, allows=allows, only=only, uses=uses)

    def say(self, box: RunBox, key: str, who: Principal, vote: Any, *, allows: bool, only: bool, uses: int) -> None:
        """One person's click, and what the ledger makes of it."""
        model, row = self.runs[box.run], self.store.approval(key)
        seconds = 120.0
        terms = (
            Terms(this_run_only=only, seconds=seconds, uses=uses, free=("n",)) if allows and vote == "approve" else None
        )
        known = {one.id for one in Grants(self.store.db).rows()}
        decided = self.tried(self.store.decisions.vote(key, who, vote, allow=terms))
        if decided is None:
            self.think(box)
            return
        assert who.key not in model.words, "nobody decides on their own request"
        assert who.key not in self.barred
        assert who in DECIDERS
        if vote == "approve":
            said = Yes(who.key, row.digest, row.epoch, self.clock.at + row.timeout_s)
            self.yes.setdefault(key, []).append(said)
            for one in Grants(self.store.db).rows():
                if one.id not in known:
                    arguments = box.state.actions[row.action].action.arguments
                    self.grants[one.id] = MGrant(
                        who.key, model.requester, box.run if only else "", str(arguments["target"]),
                        int(arguments["rows"]), uses, self.clock.at + seconds,
                    )  # fmt: skip
        self.think(box)

    @rule(which=WHICH, who=WHO, rows=ROWS)
    def edit(self, which: int, who: Principal, rows: int) -> None:
        found = self.pick(which, ApprovalState.PENDING)
        if found is None:
            return
        box, key = found
        row = self.store.approval(key)
        action = self.tried(self.reviser.edited(box.run, row.action, {"rows": (str(rows),)}, who.key))
        if action is None:
            return
        if self.tried(self.store.decisions.edit(key, who, action, digest=row.digest)) is not None:
            self.runs[box.run].words.add(who.key)
        self.think(box)

    @rule(which=WHICH, who=WHO)
    def ask_again(self, which: int, who: Principal) -> None:
        found = self.pick(which, ApprovalState.EXPIRED, ApprovalState.WITHDRAWN)
        if found is None or found[0].state.status.is_final:
            return
        box, key = found
        row = self.store.approval(key)
        action = self.tried(self.reviser.again(box.run, row.action, who.key))
        if action is None:
            return
        asked = self.tried(self.store.decisions.ask_again(key, who, action))
        if asked is not None:
            assert not asked.is_new_run
            self.runs[box.run].words.add(who.key)
            self.runs[box.run].expired.discard(str(action.arguments["target"]))
        self.think(box)

    @rule(which=WHICH, who=WHO)
    def withdraw(self, which: int, who: Principal) -> None:
        found = self.pick(which, ApprovalState.PENDING)
        if found is not None and self.tried(self.store.decisions.withdraw(found[1], who)) is not None:
            self.think(found[0])

    @rule(which=WHICH, who=st.sampled_from(DECIDERS), really=SELDOM)
    def add_words(self, which: int, who: Principal, *, really: bool) -> None:
        if really:
            box = self.at(which)
            if self.do(self.store.inbox.follow_up(box.run, who, "and mind the gap")):
                self.runs[box.run].words.add(who.key)

    @rule(which=WHICH, who=WHO, ending=st.sampled_from(("done", "handed_back", "handed_back")))
    def take_over(self, which: int, who: Principal, ending: Any) -> None:
        found = self.takeover(which)
        if found is None:
            return
        box, key = found
        model = self.runs[box.run]
        item = box.state.takeovers[key]
        if item.cause == "unknown":
            action = box.state.actions[item.action].action
            answer: Any = "happened" if ending == "done" else "run_again"
            if self.tried(self.store.decisions.answer_unknown(key, who, answer)) is not None:
                assert who.key not in model.words
                if answer == "run_again":
                    model.epoch += 1
                    model.rows -= int(action.arguments["rows"])  # a person says that it did not happen
        elif item.state is TakeoverState.OPEN or item.by == who.key:
            row = self.tried(self.store.decisions.claim(key, who))
            if row is None:
                return
            assert who.key not in model.words
            closed = self.store.decisions.close_takeover(key, who, ending, token=row.claim_token, what="so")
            if self.tried(closed) is not None:
                model.words.add(who.key)
                model.epoch += ending == "handed_back"
        self.think(box)

    @precondition(lambda self: self.grants)
    @rule(which=WHICH)
    def revoke(self, which: int) -> None:
        key = list(self.grants)[which % len(self.grants)]
        if not self.grants[key].revoked:
            self.do(Grants(self.store.db).revoke(key, DECIDERS[0]))
            self.grants[key].revoked = True

    @rule(who=st.sampled_from(DECIDERS), leaves=SELDOM)
    def come_or_go(self, who: Principal, *, leaves: bool) -> None:
        self.barred.add(who.key) if leaves else self.barred.discard(who.key)

    @rule(kind=st.sampled_from(("pause", "resume", "resume")))
    def pause_or_resume(self, kind: Any) -> None:
        self.do(self.store.control.write(kind, by="operator"))
        self.paused = kind == "pause"

    @rule(which=WHICH, really=SELDOM)
    def stop(self, which: int, *, really: bool) -> None:
        box = self.at(which)
        if really and len(self.runs) > 1:
            self.runs[box.run].stopped |= bool(self.do(self.store.control.stop(box.run, by="operator")))

    @rule(seconds=st.sampled_from((0.0, 1.0, 61.0, 121.0, 1_801.0)), keeps=st.sampled_from((True, True, True, False)))
    def pass_time(self, seconds: float, *, keeps: bool) -> None:
        self.clock.advance(seconds)
        if keeps and self.do(self.store.lease.regain()):
            self.lease_until = self.clock.at + LEASE_S
        while self.do(self.store.decisions.sweep(self.clock.now())):
            pass
        for box in self.boxes.values():
            self.think(box)

    # -- what tempts it ------------------------------------------------------------------------------------------

    def place(self, which: int) -> tuple[int, RunBox]:
        """A run that nothing has gone wrong in yet, as long as there are few; else any."""
        if len(self.runs) < MOST_RUNS:
            self.new_run(REQUESTER)
            which = len(self.boxes) - 1
        return which, self.at(which)

    def starts_all(self, box: RunBox) -> None:
        """Try to start whatever has been let through."""
        place = list(self.boxes).index(box.run)
        for which in range(len(box.state.actions)):
            self.start(place + which * len(self.boxes), dies=False)

    def approved(self, box: RunBox, thing: str, rows: int, *, allows: bool = False, only: bool = False) -> bool:
        """Propose a call and have somebody say yes to it who may; False when nobody did."""
        before = set(box.state.approvals)
        self.propose(list(self.boxes).index(box.run), thing, rows)
        asked = set(self.at(list(self.boxes).index(box.run)).state.approvals) - before
        for key in asked:
            for person in DECIDERS:
                if self.store.approval(key).state == "pending":
                    self.say(box, key, person, "approve", allows=allows, only=only, uses=2)
        return any(self.store.approval(key).state == "approved" for key in asked)

    @rule(which=WHICH, thing=TARGETS, rows=ROWS, allows=st.booleans(), only=st.booleans())
    def usual_way(self, which: int, thing: str, rows: int, *, allows: bool, only: bool) -> None:
        """Ask, approve, start: so that there is much that can go wrong after it."""
        box = self.at(which)
        self.approved(box, thing, rows, allows=allows, only=only)
        self.starts_all(box)

    @rule(which=WHICH, thing=TARGETS, rows=st.sampled_from((0, 0, 1)), seconds=st.sampled_from((0.0, 1_801.0)))
    def a_no_is_gone_round(self, which: int, thing: str, rows: int, seconds: float) -> None:
        """Somebody says no, or nobody says anything; the agent tries the same again in small."""
        which, box = self.place(which)
        before = set(box.state.approvals)
        self.propose(which, thing, 30)
        for key in set(self.at(which).state.approvals) - before:
            if seconds:
                self.pass_time(seconds, keeps=True)
            else:
                self.say(box, key, DECIDERS[0], "deny", allows=False, only=False, uses=1)
        self.propose(which, thing, rows)
        self.approved(box, thing, 1)
        self.starts_all(box)

    @rule(which=WHICH, thing=TARGETS, who=st.sampled_from(DECIDERS))
    def who_said_yes_leaves(self, which: int, thing: str, who: Principal) -> None:
        """A yes stands, and then its voter may not decide any more."""
        which, box = self.place(which)
        if self.approved(box, thing, 1):
            self.barred.add(who.key)
            self.starts_all(box)
            self.barred.discard(who.key)

    @rule(which=WHICH, thing=TARGETS, seconds=st.sampled_from((1_801.0, 121.0)))
    def a_yes_grows_old(self, which: int, thing: str, seconds: float) -> None:
        """A yes or a permission is there, and time goes by."""
        which, box = self.place(which)
        self.approved(box, thing, 1, allows=True)
        self.pass_time(seconds, keeps=True)
        self.starts_all(box)

    @rule(which=WHICH, thing=TARGETS, how=st.sampled_from(("words", "words", "revoked", "barred", "more", "used")))
    def a_permission_is_stretched(self, which: int, thing: str, how: str) -> None:
        """Somebody allowed a call; then what it rested on changes, and the agent makes the call again."""
        which, box = self.place(which)
        place = list(self.boxes).index(box.run)
        known = set(self.grants)
        self.approved(box, thing, 1, allows=True)
        self.starts_all(box)
        for key in set(self.grants) - known:
            self.propose(place, thing, 1)  # rated under the permission, and not started yet
            giver = Principal.parse(self.grants[key].by)
            if how == "words":
                self.add_words(place, giver, really=True)
            elif how == "revoked":
                self.do(Grants(self.store.db).revoke(key, giver))
                self.grants[key].revoked = True
            elif how == "barred":
                self.barred.add(giver.key)
            elif how == "used":
                self.propose(place, thing, 1)
                self.propose(place, thing, 1)
            else:
                self.propose(place, thing, 2)
            self.starts_all(box)
            self.barred.discard(giver.key)

    @rule(which=WHICH, thing=TARGETS)
    def small_steps(self, which: int, thing: str) -> None:
        """Two yeses stand at once that together are too much."""
        which, box = self.place(which)
        self.approved(box, thing, 60)
        self.approved(box, thing, 60)
        self.starts_all(box)

    @rule()
    def everything_verifies(self) -> None:
        assert verify(self.store.db).ok


TestTheWholeGate = Machine.TestCase
TestTheWholeGate.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
