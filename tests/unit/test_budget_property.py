"""Money never passes its budget: whatever calls cost, however they interleave, and whichever of them break off."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from agent import events as ev
from agent.calling import Caller
from agent.domain import Principal, Task
from agent.equipment import Equipment
from agent.errors import ModelReplyInvalid, ModelUnavailable
from agent.fakes import CountingIds, ManualClock, MemoryJournal
from agent.ports import ChatModel, ModelReply, ModelRequest
from agent.recording import record
from agent.runbox import RunBox
from agent.state import RunState
from agent.supervisor import Limits
from agent.telemetry import Telemetry
from storage import ledger
from storage.ledger import Budgets
from storage.tables import STATEMENTS

BUDGET = 1_000


@dataclass(frozen=True)
class Plan:
    """How one call goes: its bound, how much of it it costs, when it ends and how."""

    highest: int
    share: float
    yields: int
    end: str
    box: int


PLANS = st.lists(
    st.builds(
        Plan,
        highest=st.integers(0, 700),
        share=st.floats(0, 1),
        yields=st.integers(0, 6),
        end=st.sampled_from(["reply", "unavailable", "refused", "garbage", "unreadable", "cancelled", "bug"]),
        box=st.integers(0, 1),
    ),
    min_size=1,
    max_size=10,
)


class Priced:
    """A model whose calls go as planned; a request's `max_tokens` is the number of its plan."""

    chain = ("scripted:one",)

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans, self.begun = plans, 0

    def highest_cost(self, request: ModelRequest) -> int:
        return self.plans[request.max_tokens].highest

    async def complete(self, request: ModelRequest) -> ModelReply:
        plan = self.plans[request.max_tokens]
        self.begun += 1
        for _ in range(plan.yields):
            await asyncio.sleep(0)
        match plan.end:
            case "unavailable":
                raise ModelUnavailable
            case "refused":
                raise ModelUnavailable("busy", may_be_charged=False)
            case "garbage":
                raise ModelReplyInvalid
            case "cancelled":
                raise asyncio.CancelledError
            case "bug":
                raise RuntimeError
            case _:
                return ModelReply("x", cost_micro_usd=int(plan.highest * plan.share))


async def interleaved(plans: Sequence[Plan]) -> tuple[MemoryJournal, Priced]:
    clock = ManualClock()
    journal, model = MemoryJournal(clock), Priced(plans)
    journal.append("r1", ev.RunCreated(task=Task(id="t", text="x", principal=Principal(team="T", user="U"))))
    plain = SimpleNamespace(
        journal=journal, clock=clock, ids=CountingIds(), telemetry=Telemetry(), redact=str, sleep=asyncio.sleep,
        roll=lambda: 0.5,
    )  # fmt: skip
    kit = cast("Equipment", plain)
    caller = Caller(kit, cast("ChatModel", model), Limits(chain=model.chain, micro_usd=BUDGET))
    # The driver's own view of the run, and one beside it, which does not know what the other has just reserved.
    boxes = [RunBox("r1", journal), RunBox("r1", journal)]

    async def read(
        state: RunState, call: ev.ModelCallStarted, reply: ModelReply, blobs: dict[str, str]
    ) -> Sequence[ev.Event]:
        del state, reply, blobs
        if plans[call.turn].end == "unreadable":
            raise ModelReplyInvalid
        return ()

    async def one(number: int, plan: Plan) -> None:
        box = boxes[plan.box]
        await box.catch_up()
        call = ev.ModelCallStarted(call="", purpose="work", turn=number, model="scripted:one", reserved_micro_usd=0)
        ended = await caller.complete(box, call, ModelRequest("scripted:one", (), max_tokens=number), read)
        if ended is not None:
            await record(kit, box, ended)

    await asyncio.gather(*(one(number, plan) for number, plan in enumerate(plans)), return_exceptions=True)
    return journal, model


@settings(max_examples=150, deadline=None)
@given(PLANS)
def test_a_run_never_passes_its_budget_whatever_its_calls_cost_and_however_they_end(plans: list[Plan]) -> None:
    journal, model = asyncio.run(interleaved(plans))
    held: dict[str, int] = {}
    for item in journal.events["r1"]:
        match item.event:
            case ev.ModelCallStarted() as event:
                held[event.call] = event.reserved_micro_usd
            case ev.ModelCallFinished() | ev.ModelCallFailed() as event:
                assert event.cost_micro_usd <= held[event.call]
                held[event.call] = event.cost_micro_usd
            case _:
                pass
        assert sum(held.values()) <= BUDGET
    state = journal.states["r1"]
    assert (state.spent, state.reserved) == (sum(held.values()), 0)  # each call was settled, once
    refused = sum(call.code == "BUDGET_EXCEEDED" for call in state.calls.values())
    assert model.begun == len(plans) - refused


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "settle", "night"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["x", "y"]),
        st.integers(1, 700),
        st.floats(0, 1),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(OPERATIONS, st.integers(0, 1_500), st.integers(0, 2_500))
def test_no_day_passes_its_budgets_in_any_order_of_holding_and_settling(
    operations: list[tuple[str, str, str, int, float]], person_day: int, everybody_day: int
) -> None:
    conn = sqlite3.connect(":memory:")
    conn.execute(STATEMENTS["m009_faults"][0])
    budgets, now = Budgets(person_day, everybody_day), 1_800_000_000.0
    on_the_wire: list[tuple[int, str, str, int]] = []
    total = 0
    for what, person, model, amount, share in operations:
        if what == "night":
            now += ledger.DAY_S
        elif what == "settle" and on_the_wire:
            day, whose, which, held = on_the_wire.pop(amount % len(on_the_wire))
            ledger.settle(conn, day, whose, which, held, int(held * share))
            total += int(held * share)
        elif what == "hold" and ledger.refusal(conn, now, person, amount, budgets) is None:
            ledger.reserve(conn, ledger.day_of(now), person, model, amount)
            on_the_wire.append((ledger.day_of(now), person, model, amount))
        for scope, taken, reserved in conn.execute(
            "SELECT scope, reserved_micro_usd + spent_micro_usd, reserved_micro_usd FROM ledger"
        ):
            limit = {"person": person_day, "everybody": everybody_day, "model": 0}[scope]
            assert reserved >= 0
            assert not limit or taken <= limit
    for scope in ("everybody", "person", "model"):  # the three books agree
        sums = "coalesce(sum(spent_micro_usd), 0), coalesce(sum(reserved_micro_usd), 0)"
        query = f"SELECT {sums} FROM ledger WHERE scope = ?"  # noqa: S608  # a constant
        assert conn.execute(query, (scope,)).fetchone() == (total, sum(held for *_, held in on_the_wire))
    conn.close()
