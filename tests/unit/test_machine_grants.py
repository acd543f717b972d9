"""No sequence of proposals, permissions, revocations, words, pauses, stops and clock moves starts what it may not."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agent import events as ev
from agent.domain import ApprovalState, Effect, Intent, Principal, Tier, content_hash
from agent.errors import DecisionError, JournalError
from agent.facts.model import Facts
from agent.fakes import CountingIds, ManualClock
from agent.grants import Terms
from agent.ports import Fact, Intention
from storage.audit import verify
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.grants import Grants
from storage.scopes import EVERYTHING, Scope

T = TypeVar("T")
WHO = st.sampled_from((*DECIDERS, REQUESTER))
WHICH = st.integers(0, 5)
TARGETS = ("db:shop/a", "db:shop/b")


class Machine(RuleBasedStateMachine):
    """What may start is told here by the plain words of the rules, and compared with what did."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(prefix="secondkey-grants-")
        self.clock = ManualClock()
        self.store = self.do(Store.open(Path(self.folder.name) / "s.db", clock=self.clock, ids=CountingIds()))
        self.words: dict[str, set[str]] = {}
        self.stopped: set[str] = set()
        self.paused: set[Scope] = set()
        self.grants: dict[str, dict[str, Any]] = {}
        self.actions: list[dict[str, Any]] = []

    def teardown(self) -> None:
        self.do(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.new_run(REQUESTER)
        self.allow(0, DECIDERS[0], 0, 60.0, 2, only=True)

    @precondition(lambda self: len(self.words) < 3)
    @rule(who=st.sampled_from((REQUESTER, DECIDERS[1])))
    def new_run(self, who: Principal) -> None:
        self.words[self.do(self.store.run(requester=who))] = {who.key}

    def run_at(self, which: int) -> str:
        return list(self.words)[which % len(self.words)]

    def propose(self, run: str, target: int, grant: str, tier: Tier) -> dict[str, Any] | None:
        """An action on one of two targets, rated as the rater would."""
        effects = (Intent(effect=Effect.MODIFY, target=TARGETS[target]),)
        body = Facts(where="database", effects=effects).model_dump_json()
        name = self.store.ids.new("action")
        action = ev.Action(
            id=name, step=0, turn=0, tool="query_sql", arguments={"target": target}, digest=content_hash(name),
            schema_hash="s",
        )  # fmt: skip
        rated = ev.ActionRated(
            action=name, tier=tier, intents=effects, facts_blob=content_hash(body), grant=grant
        )  # fmt: skip
        blobs = {content_hash(body): body}
        self.do(self.store.journal.commit(run, (ev.ActionProposed(action=action), rated), Fact(), blobs=blobs))
        made = {"id": name, "digest": action.digest, "run": run, "target": target, "tier": tier, "grant": grant}
        return made | {"started": False}

    def request(self, action: dict[str, Any]) -> ev.ApprovalRequested:
        now = self.clock.at
        return ev.ApprovalRequested(
            approval=self.store.ids.new("p"), action=action["id"], digest=action["digest"], epoch=0, created_at=now,
            expires_at=now + 1800, timeout_s=1800, deciders=tuple(one.key for one in DECIDERS),
        )  # fmt: skip

    @rule(
        which=WHICH, who=WHO, thing=st.integers(0, 1), seconds=st.sampled_from((60.0, 5.0)), uses=st.integers(1, 2),
        only=st.booleans(),
    )  # fmt: skip
    def allow(self, which: int, who: Principal, thing: int, seconds: float, uses: int, *, only: bool) -> None:
        run = self.run_at(which)
        action = self.propose(run, thing, "", Tier.MEDIUM)
        assert action is not None
        asked = self.request(action)
        self.do(self.store.journal.commit(run, (asked,), Fact()))
        terms = Terms(this_run_only=only, seconds=seconds, uses=uses)
        known = {row.id for row in Grants(self.store.db).rows()}
        try:
            self.do(self.store.decisions.vote(asked.approval, who, "approve", allow=terms))
        except DecisionError:
            assert who.key in self.words[run] or who == REQUESTER
            assert {row.id for row in Grants(self.store.db).rows()} == known
            return
        assert who.key not in self.words[run]
        (new,) = [row for row in Grants(self.store.db).rows() if row.id not in known]
        requester = new.grant.requester
        self.grants[new.id] = {
            "by": who, "run": run if only else "", "requester": requester, "target": thing, "left": uses,
            "ends": self.clock.at + seconds, "revoked": False,
        }  # fmt: skip

    @precondition(lambda self: self.grants)
    @rule(
        which=WHICH, grant=WHICH, thing=st.integers(0, 1),
        tier=st.sampled_from((Tier.MEDIUM, Tier.MEDIUM, Tier.MEDIUM, Tier.HIGH)),
    )  # fmt: skip
    def rate_under(self, which: int, grant: int, thing: int, tier: Tier) -> None:
        key = list(self.grants)[grant % len(self.grants)]
        action = self.propose(self.run_at(which), thing, key, tier)
        assert action is not None
        self.actions.append(action)

    @precondition(lambda self: self.actions)
    @rule(which=WHICH)
    def start(self, which: int) -> None:
        action = self.actions[-1 - which % len(self.actions)]
        grant = self.grants[action["grant"]]
        run, by = action["run"], grant["by"].key
        requester = self.store.queries.run(run).requester
        may = (
            not action["started"]
            and action["tier"] is Tier.MEDIUM
            and grant["run"] in {"", run}
            and grant["requester"] == requester
            and grant["target"] == action["target"]
            and grant["left"] > 0
            and self.clock.at < grant["ends"]
            and not grant["revoked"]
            and by not in self.words[run]
            and run not in self.stopped
            and not any(scope.covers(run=run, tool="query_sql", people=tuple(self.words[run])) for scope in self.paused)
        )
        asked = self.request(action)
        decided = ev.ApprovalDecided(
            approval=asked.approval, state=ApprovalState.APPROVED, at=self.clock.at, by=by,
            reason=f"grant:{action['grant']}", start_before=self.clock.at + 1800,
        )  # fmt: skip
        begun = ev.ActionStarted(
            action=action["id"], digest=action["digest"], lease_token=self.store.lease.token,
            approval=asked.approval, grant=action["grant"],
        )  # fmt: skip
        condition = Intention(
            epoch=0, starts=action["id"], digest=action["digest"], consumes=asked.approval, grant=action["grant"]
        )
        try:
            self.do(self.store.journal.commit(run, (asked, decided, begun), condition))
        except JournalError:
            has_started = False
        else:
            has_started = True
        assert has_started is may
        if not has_started:
            return
        action["started"] = True
        grant["left"] -= 1

    @precondition(lambda self: self.grants)
    @rule(which=WHICH, beside=st.booleans())
    def revoke(self, which: int, *, beside: bool) -> None:
        key = list(self.grants)[which % len(self.grants)]
        if self.grants[key]["revoked"]:
            return
        if beside:
            self.do(self.store.control.write("revoke", by="local:0", grant=key))
        else:
            self.do(Grants(self.store.db).revoke(key, DECIDERS[0]))
        self.grants[key]["revoked"] = True

    @rule()
    def take_control(self) -> None:
        self.do(self.store.control.take())

    @rule(which=WHICH, who=WHO)
    def add_words(self, which: int, who: Principal) -> None:
        run = self.run_at(which)
        if len(self.words[run]) > 1:
            return
        assert self.do(self.store.inbox.follow_up(run, who, "more"))
        self.words[run].add(who.key)

    @rule(which=WHICH, kind=st.sampled_from(("all", "run", "tool", "person")), on=st.booleans())
    def pause_or_resume(self, which: int, kind: str, *, on: bool) -> None:
        names = {"run": self.run_at(which), "tool": "query_sql", "person": DECIDERS[1].user}
        scope = EVERYTHING if kind == "all" else Scope.parse(f"{kind}:{names[kind]}")
        if on:
            self.do(self.store.control.pause(scope, by="ops"))
            self.paused.add(scope)
        else:
            self.do(self.store.control.resume(scope, by="ops"))
            self.paused = set() if kind == "all" else self.paused - {scope}

    @rule(seconds=st.sampled_from((0.0, 1.0, 4.0, 5.0, 60.0)))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.do(self.store.lease.regain())

    @rule()
    def everything_verifies(self) -> None:
        assert verify(self.store.db).ok
        for row in Grants(self.store.db).rows():
            assert row.uses <= row.grant.max_uses


TestGrantsAndPauses = Machine.TestCase
TestGrantsAndPauses.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
