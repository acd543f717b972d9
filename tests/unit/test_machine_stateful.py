"""The whole state machine under random hands: a model of a few dictionaries and the real store must always agree."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent import events as ev
from agent.domain import TAKEOVER_LIMIT_S, ApprovalState, Outcome, Principal, RunStatus
from agent.errors import (
    AlreadyDecided,
    AlreadyStarted,
    ApprovalNotValid,
    LeaseLost,
    NotClaimed,
    NotEntitled,
    OwnRequest,
    RunPaused,
    RunStopped,
    SecondKeyError,
    StillPossible,
)
from agent.fakes import CountingIds, ManualClock
from agent.ports import Fact, Intention
from agent.state import fold
from storage.audit import verify
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.lease import LEASE_S

T = TypeVar("T")
PEOPLE = (*DECIDERS, REQUESTER, Principal(team="T1", user="U9"))
DECIDER_KEYS = {person.key for person in DECIDERS}
EFFECT_S = 30.0
CLAIM_S = 1800.0
WHICH = st.integers(min_value=0, max_value=7)
WHO = st.sampled_from((*DECIDERS, *DECIDERS, *PEOPLE))
SELDOM = st.sampled_from((False, False, False, True))
"""What ends much is drawn seldom, so that there is something left to go wrong."""


@dataclass
class MRun:
    """What the model knows of a run."""

    epoch: int = 0
    stopped: bool = False
    over: bool = False
    words: set[str] = field(default_factory=lambda: {REQUESTER.key})


@dataclass
class MApproval:
    """What the model knows of an approval and its action."""

    run: str
    action: str
    epoch: int
    expires: float
    timeout: float
    quorum: int
    state: str = "pending"
    by: str = ""
    votes: dict[str, str] = field(default_factory=dict[str, str])
    start_before: float = 0.0
    started: bool = False
    ended: bool = False


@dataclass
class MTakeover:
    """What the model knows of a takeover."""

    run: str
    cause: str
    opened: float
    action: str = ""
    state: str = "open"
    by: str = ""
    token: str = ""
    until: float = 0.0


class Machine(RuleBasedStateMachine):
    """People, time, crashes and the driver do what they can, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(prefix="secondkey-machine-")
        self.path = Path(self.folder.name) / "store.db"
        self.clock, self.ids = ManualClock(), CountingIds()
        self.store = self.do(Store.open(self.path, clock=self.clock, ids=self.ids))
        self.lease_until = self.clock.at + LEASE_S
        self.effects_until = self.foreign_until = 0.0
        self.paused = False
        self.runs: dict[str, MRun] = {}
        self.approvals: dict[str, MApproval] = {}
        self.takeovers: dict[str, MTakeover] = {}

    def teardown(self) -> None:
        self.do(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    # -- help ----------------------------------------------------------------------------------------------------

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def attempt(self, work: Coroutine[Any, Any, Any], expected: type[SecondKeyError] | None) -> Any:
        """Do it; what the model foresees must come: this error, or none."""
        if expected is None:
            return self.do(work)
        with pytest.raises(expected) as told:
            self.do(work)
        assert told.type is expected
        return None

    def run_at(self, which: int) -> str:
        return list(self.runs)[which % len(self.runs)]

    def approval_at(self, which: int) -> tuple[str, MApproval]:
        return list(self.approvals.items())[-1 - which % len(self.approvals)]

    def takeover_at(self, which: int) -> tuple[str, MTakeover]:
        return list(self.takeovers.items())[-1 - which % len(self.takeovers)]

    @property
    def now(self) -> float:
        return self.clock.at

    def decided(self, item: MApproval) -> bool:
        """What is due expires when somebody looks, as the model says too."""
        if item.state == "pending" and item.expires <= self.now:
            item.state = "expired"
        return item.state != "pending"

    # -- tasks ---------------------------------------------------------------------------------------------------

    @initialize()
    def first_run(self) -> None:
        self.new_run()
        self.ask(0, 1)

    @precondition(lambda self: len(self.runs) < 4)
    @rule()
    def new_run(self) -> None:
        self.runs[self.do(self.store.run())] = MRun()

    @rule(which=WHICH, quorum=st.sampled_from((1, 1, 2)))
    def ask(self, which: int, quorum: int) -> None:
        run = self.run_at(which)
        model = self.runs[run]
        row = self.attempt(self.store.ask(run, quorum=quorum), RunStopped if model.over else None)
        if row is not None:
            self.approvals[row.id] = MApproval(run, row.action, model.epoch, row.expires_at, row.timeout_s, quorum)

    @rule(which=WHICH)
    def take_over(self, which: int) -> None:
        run = self.run_at(which)
        row = self.attempt(self.store.take_over(run), RunStopped if self.runs[run].over else None)
        if row is not None:
            self.takeovers[row.id] = MTakeover(run, "high", row.opened_at)

    @rule(which=WHICH, who=WHO, really=SELDOM)
    def add_words(self, which: int, who: Principal, *, really: bool) -> None:
        if not really:
            return
        run = self.run_at(which)
        taken = self.do(self.store.inbox.follow_up(run, who, "and mind the gap"))
        assert taken is not self.runs[run].over
        if taken:
            self.runs[run].words.add(who.key)

    # -- decisions -----------------------------------------------------------------------------------------------

    @rule(which=WHICH, who=WHO, vote=st.sampled_from(("approve", "deny")))
    def vote(self, which: int, who: Principal, vote: Any) -> None:
        key, item = self.approval_at(which)
        expected: type[SecondKeyError] | None = None
        if self.decided(item):
            expected = AlreadyDecided
        elif who.key in self.runs[item.run].words:
            expected = OwnRequest
        elif who.key not in DECIDER_KEYS:
            expected = NotEntitled
        else:
            item.votes[who.key] = vote
            if vote == "deny":
                item.state, item.by = "denied", who.key
            elif sum(said == "approve" for said in item.votes.values()) >= item.quorum:
                item.state, item.by, item.start_before = "approved", who.key, self.now + item.timeout
        row = self.attempt(self.store.decisions.vote(key, who, vote), expected)
        assert row is None or row.state == item.state

    @rule(which=WHICH, who=WHO)
    def withdraw(self, which: int, who: Principal) -> None:
        key, item = self.approval_at(which)
        expected: type[SecondKeyError] | None = None
        if who.key not in self.runs[item.run].words:
            expected = NotEntitled
        elif self.decided(item):
            expected = AlreadyDecided
        else:
            item.state, item.by = "withdrawn", who.key
        self.attempt(self.store.decisions.withdraw(key, who), expected)

    @rule(seconds=st.sampled_from((0.0, 1.0, 29.0, 61.0, 1799.0, 1801.0, 26_000.0, TAKEOVER_LIMIT_S)), loses=SELDOM)
    def pass_time(self, seconds: float, *, loses: bool) -> None:
        self.clock.advance(seconds)
        if not loses and self.do(self.store.lease.regain()):
            self.lease_until = self.now + LEASE_S

    @rule()
    def sweep(self) -> None:
        while self.do(self.store.decisions.sweep(self.now)):
            pass
        for item in self.approvals.values():
            self.decided(item)
        for item in self.takeovers.values():
            if item.state == "claimed" and item.until <= self.now:
                item.state, item.by = "open", ""
            if item.state == "open" and item.opened + TAKEOVER_LIMIT_S <= self.now:
                item.state = "aborted"
        assert self.store.decisions.next_deadline() is None or (self.store.decisions.next_deadline() or 0) > self.now

    # -- takeovers -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.takeovers)
    @rule(which=WHICH, who=WHO)
    def claim(self, which: int, who: Principal) -> None:
        key, item = self.takeover_at(which)
        expected = self.may_take(item, who)
        mine = expected is None and item.state == "claimed" and item.until > self.now
        if mine and item.by != who.key:
            expected = AlreadyDecided
        row = self.attempt(self.store.decisions.claim(key, who), expected)
        if row is None:
            return
        assert row.token if hasattr(row, "token") else row.claim_token
        if mine:
            assert row.claim_token == item.token
            return
        item.state, item.by, item.token, item.until = "claimed", who.key, row.claim_token, self.now + CLAIM_S

    def may_take(self, item: MTakeover, who: Principal) -> type[SecondKeyError] | None:
        if who.key in self.runs[item.run].words:
            return OwnRequest
        if who.key not in DECIDER_KEYS:
            return NotEntitled
        return AlreadyDecided if item.state in {"done", "handed_back", "aborted"} else None

    def may_end(self, item: MTakeover, who: Principal, token: str) -> type[SecondKeyError] | None:
        if item.state in {"done", "handed_back", "aborted"}:
            return AlreadyDecided
        has_it = item.state == "claimed" and item.by == who.key and token == item.token
        return None if has_it else NotClaimed

    @precondition(lambda self: self.takeovers)
    @rule(which=WHICH, who=WHO, is_right=st.booleans())
    def release(self, which: int, who: Principal, *, is_right: bool) -> None:
        key, item = self.takeover_at(which)
        token = item.token if is_right else "c0"
        expected = self.may_end(item, who, token)
        self.attempt(self.store.decisions.release(key, who, token), expected)
        if expected is None:
            item.state, item.by = "open", ""

    @precondition(lambda self: self.takeovers)
    @rule(which=WHICH, who=WHO, ending=st.sampled_from(("done", "handed_back", "aborted")), is_right=st.booleans())
    def close(self, which: int, who: Principal, ending: Any, *, is_right: bool) -> None:
        key, item = self.takeover_at(which)
        token = item.token if is_right else "c0"
        expected = self.may_end(item, who, token)
        self.attempt(self.store.decisions.close_takeover(key, who, ending, token=token), expected)
        if expected is None:
            item.state = ending
            if ending == "handed_back":
                self.runs[item.run].epoch += 1
                self.runs[item.run].words.add(who.key)

    @precondition(lambda self: self.takeovers)
    @rule(which=WHICH, who=WHO, answer=st.sampled_from(("happened", "run_again", "stop")))
    def answer_unknown(self, which: int, who: Principal, answer: Any) -> None:
        key, item = self.takeover_at(which)
        if item.cause != "unknown":
            return
        expected = self.may_take(item, who)
        if expected is None and item.state == "claimed" and item.until > self.now and item.by != who.key:
            expected = AlreadyDecided
        if expected is None and answer == "run_again" and self.foreign_until > self.now:
            expected = StillPossible
        self.attempt(self.store.decisions.answer_unknown(key, who, answer), expected)
        if expected is None:
            item.state = {"happened": "done", "run_again": "handed_back", "stop": "aborted"}[answer]
            self.runs[item.run].epoch += answer == "run_again"

    # -- the driver ----------------------------------------------------------------------------------------------

    @rule(which=WHICH)
    def start(self, which: int) -> None:
        key, item = self.approval_at(which)
        run = self.runs[item.run]
        expected: type[SecondKeyError] | None = None
        if self.lease_until <= self.now:
            expected = LeaseLost
        elif run.stopped and not run.over:
            expected = RunStopped
        elif self.paused:
            expected = RunPaused
        elif any(one.action == item.action and one.state in {"open", "claimed"} for one in self.takeovers.values()):
            expected = ApprovalNotValid  # it is with a person
        elif item.started or item.state in {"denied", "expired", "withdrawn"}:
            expected = AlreadyStarted
        elif item.state != "approved" or item.start_before <= self.now or item.epoch != run.epoch:
            expected = ApprovalNotValid
        self.attempt(self.store.start(item.run, self.store.approval(key)), expected)
        if expected is None:
            item.started = True
            self.effects_until = max(self.effects_until, self.now + EFFECT_S)

    @rule(which=WHICH, goes=st.booleans())
    def ask_and_approve(self, which: int, *, goes: bool) -> None:
        """The usual way, so that there is much that can go wrong after it."""
        asked = len(self.approvals)
        self.ask(which, 1)
        if len(self.approvals) > asked:
            self.vote(0, DECIDERS[0], "approve")
            if goes:
                self.start(0)

    @precondition(lambda self: self.takeovers)
    @rule(which=WHICH)
    def claim_and_close(self, which: int) -> None:
        """The usual way of a takeover."""
        self.claim(which, DECIDERS[1])
        self.close(which, DECIDERS[1], "done", is_right=True)

    @rule(which=WHICH, outcome=st.sampled_from((Outcome.SUCCEEDED, Outcome.FAILED)))
    def finish_action(self, which: int, outcome: Outcome) -> None:
        _, item = self.approval_at(which)
        if item.started and not item.ended:
            done = ev.ActionFinished(action=item.action, outcome=outcome)
            self.do(self.store.journal.commit(item.run, (done,), Fact()))
            item.ended = True

    @rule(which=WHICH, really=SELDOM)
    def stop(self, which: int, *, really: bool) -> None:
        if not really:
            return
        run = self.run_at(which)
        stopped = self.do(self.store.control.stop(run, by="operator"))
        assert bool(stopped) is not self.runs[run].over
        self.runs[run].stopped = self.runs[run].stopped or bool(stopped)

    @rule(kind=st.sampled_from(("pause", "resume", "resume")))
    def pause_or_resume(self, kind: Any) -> None:
        self.do(self.store.control.write(kind, by="operator"))
        self.paused = kind == "pause"

    @rule(which=WHICH, really=SELDOM)
    def finish_run(self, which: int, *, really: bool) -> None:
        """As the driver does: nothing may be in flight, and what still waits is closed in the same transaction."""
        if not really:
            return
        run = self.run_at(which)
        model = self.runs[run]
        flying = any(item.run == run and item.started and not item.ended for item in self.approvals.values())
        if flying or model.over:
            return
        events: list[ev.Event] = self.withdrawals(run)
        for key, item in self.takeovers.items():
            if item.run == run and item.state in {"open", "claimed"}:
                events.append(ev.TakeoverClosed(takeover=key, state="aborted", at=self.now, epoch=model.epoch))
        events.append(ev.RunFinished(status=RunStatus.CANCELLED))
        expected = LeaseLost if self.lease_until <= self.now else None
        self.attempt(self.store.journal.commit(run, events, Intention(epoch=model.epoch)), expected)
        if expected is None:
            self.withdrawn(run)
            model.over = True
            for item in self.takeovers.values():
                if item.run == run and item.state in {"open", "claimed"}:
                    item.state = "aborted"

    def withdrawals(self, run: str) -> list[ev.Event]:
        return [
            ev.ApprovalDecided(approval=key, state=ApprovalState.WITHDRAWN, at=self.now)
            for key, item in self.approvals.items()
            if item.run == run and not item.started and item.state in {"pending", "approved"}
        ]

    def withdrawn(self, run: str) -> None:
        for item in self.approvals.values():
            if item.run == run and not item.started and item.state in {"pending", "approved"}:
                item.state = "withdrawn"

    @rule()
    def crash(self) -> None:
        """The process dies with its lease; a successor recovers what had started (DESIGN.md §3.8)."""
        self.clock.advance(LEASE_S + 1)
        self.do(self.store.close())
        self.store = self.do(Store.open(self.path, clock=self.clock, ids=self.ids))
        self.lease_until = self.now + LEASE_S
        self.foreign_until = max(self.foreign_until, self.effects_until)
        for item in tuple(self.approvals.values()):
            if item.started and not item.ended:
                takeover = self.ids.new("takeover")
                lost = ev.ActionFinished(action=item.action, outcome=Outcome.UNKNOWN)
                opened = ev.TakeoverOpened(
                    takeover=takeover,
                    action=item.action,
                    epoch=self.runs[item.run].epoch,
                    cause="unknown",
                    opened_at=self.now,
                    give_up_at=self.now + TAKEOVER_LIMIT_S,
                    deciders=tuple(DECIDER_KEYS),
                )
                events = (*self.withdrawals(item.run), lost, opened)
                self.do(self.store.journal.commit(item.run, events, Fact()))
                self.withdrawn(item.run)
                item.ended = True
                self.takeovers[takeover] = MTakeover(item.run, "unknown", self.now, item.action)

    # -- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def model_and_store_agree(self) -> None:
        for key, item in self.approvals.items():
            row = self.store.approval(key)
            state = "expired" if row.state == "pending" and item.state == "expired" else row.state
            assert (state, bool(row.consumed_at)) == (item.state, item.started), key
            assert row.state == "pending" or item.state == "expired" or row.decided_by == item.by or not row.decided_by
        for key, item in self.takeovers.items():
            row = self.store.takeover(key)
            assert (row.state, row.claimed_by if row.state == "claimed" else "") == (
                item.state, item.by if item.state == "claimed" else ""
            ), key  # fmt: skip

    @invariant()
    def invariants_1_to_4_hold_in_the_journal(self) -> None:
        for run, model in self.runs.items():
            stored = self.do(self.store.journal.read(run))
            state = fold(run, stored)
            line = self.store.queries.run(run)
            assert line is not None
            assert (state.status, state.epoch, state.seq) == (line.status, line.epoch, stored[-1].seq)
            assert (state.epoch, state.status.is_final) == (model.epoch, model.over)
            decisions: dict[str, list[ev.ApprovalDecided]] = {}
            starts: dict[str, int] = {}
            for item in stored:
                match item.event:
                    case ev.ApprovalDecided() as event:
                        decisions.setdefault(event.approval, []).append(event)
                    case ev.ActionStarted() as event:
                        starts[event.action] = starts.get(event.action, 0) + 1
                        yes = decisions[event.approval]
                        assert [one.state for one in yes] == [ApprovalState.APPROVED]
                        assert item.at < yes[0].start_before
                        assert state.approvals[event.approval].digest == event.digest
                    case _:
                        pass
            assert all(count == 1 for count in starts.values())
            for key, made in decisions.items():
                states = [one.state for one in made]
                assert len(states) == 1 or states == [ApprovalState.APPROVED, ApprovalState.WITHDRAWN], key
                assert state.approvals[key].state == self.store.approval(key).state == states[-1]

    @invariant()
    def the_journal_verifies(self) -> None:
        assert verify(self.store.db).ok


TestTheWholeMachine = Machine.TestCase
TestTheWholeMachine.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
