"""The driver over a journal in memory, with real tools, the real policy and a scripted model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agent import events as ev
from agent.clock import SystemClock
from agent.domain import ApprovalState, Outcome, Principal, RunStatus, Task, Tier, content_hash
from agent.equipment import Equipment
from agent.errors import ModelRateLimited, ModelUnavailable
from agent.facts.model import Facts
from agent.fakes import CountingIds, ManualClock, MemoryJournal, ScriptedModel, started
from agent.policy import load_policy
from agent.ports import ModelReply, ToolCall
from agent.runbooks import Runbooks
from agent.runtime import Runtime
from agent.sandbox.fake import FakeSandbox
from agent.secrets import find_secret, redact
from agent.state import RunState, fold
from agent.supervisor import Limits
from agent.telemetry import Telemetry
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.registry import Registry, default_tools
from tests.scenario.books import SUM

MAYA = Principal(team="T1", user="U1")
BOOKS = (
    SUM
    + """
[[runbook]]
name = "write"
title = "Writes"
example = "touch both"
pattern = 'touch both'
answer = "Done."
[[runbook.step]]
worker = "code"
instruction = "Touch."
together = true
[[runbook.step.call]]
id = "a"
tool = "touch_low"
arguments = { name = "a" }
[[runbook.step.call]]
id = "b"
tool = "touch_medium"
arguments = { name = "b" }

[[runbook]]
name = "one"
title = "One"
example = "ask once"
pattern = 'ask once'
answer = "Done."
[[runbook.step]]
worker = "code"
instruction = "Touch."
[[runbook.step.call]]
id = "b"
tool = "touch_medium"
arguments = { name = "b" }

[[runbook]]
name = "high"
title = "High"
example = "wipe it"
pattern = 'wipe it'
answer = "Wiped by {{ out.c.text }}."
[[runbook.step]]
worker = "code"
instruction = "Wipe."
[[runbook.step.call]]
id = "c"
tool = "touch_high"
arguments = { name = "c" }
"""
)
RULES = """
version = 1
[people]
approvers = ["U2", "U3"]
"""


class TouchArguments(Arguments):
    name: str


class Touch(Tool[TouchArguments]):
    """Counts its effects; waits at `gate` when one is set."""

    arguments = TouchArguments

    def __init__(self, name: str, *, gate: asyncio.Event | None = None, exclusive: bool = True) -> None:
        self.name = name
        self.description = name
        self.exclusive = exclusive
        self.gate, self.running, self.done = gate, asyncio.Event(), 0

    async def facts(self, arguments: TouchArguments, context: ToolContext) -> Facts:
        del arguments, context
        return Facts(where="workspace")

    def headline(self, arguments: TouchArguments, preview: Preview) -> str:
        del preview
        return f"Touch {arguments.name}"

    async def run(self, arguments: TouchArguments, context: ToolContext, preview: Preview) -> ToolResult:
        del context, preview
        self.running.set()
        if self.gate is not None:
            await self.gate.wait()
        self.done += 1
        return ToolResult(text=f"touched {arguments.name}", summary=f"Touched {arguments.name}")


class Bench:
    """A runtime with everything around it."""

    def __init__(
        self,
        tmp_path: Path,
        *tools: Touch,
        model: ScriptedModel | None = None,
        journal: MemoryJournal | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.naps: list[float] = []
        self.journal = journal or MemoryJournal(self.clock)
        shipped = load_policy(RULES)
        tiers = {tool.name: Tier(tool.name.rpartition("_")[2]) for tool in tools}
        rules = "".join(
            f"[[rule]]\nname = 'r{index}'\nwhen = \"tool == '{name}'\"\ntier = '{tier}'\nsay = 'x'\n"
            for index, (name, tier) in enumerate(tiers.items())
        )
        own = load_policy(RULES + rules)
        policy = type(shipped)(own.version, own.mode, own.people, own.limits, (*own.shipped, *own.own))
        self.model = model or ScriptedModel([], chain=())
        self.kit = Equipment(
            journal=self.journal,
            clock=SystemClock(),
            ids=CountingIds(),
            registry=Registry((*default_tools(), *tools)),
            policy=lambda: policy,
            runbooks=Runbooks.parse(BOOKS),
            context=lambda state: ToolContext(
                run=state.run, workspace=tmp_path / "ws", project=tmp_path, sandbox=FakeSandbox()
            ),
            find_secret=find_secret,
            redact=redact,
            telemetry=Telemetry(),
            sleep=self.nap,
        )
        self.runtime = Runtime(self.kit, self.model, limits or Limits(chain=self.model.chain))

    async def nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        await asyncio.sleep(0)

    def begin(self, text: str, run: str = "r1") -> None:
        self.journal.append(run, ev.RunCreated(task=Task(id="t1", text=text, principal=MAYA)))
        self.runtime.wake(run)

    async def ended(self, run: str = "r1") -> RunState:
        return await self.runtime.settled(run)

    async def answer(self, run: str = "r1") -> str:
        return await self.journal.blob((await self.ended(run)).answer_blob)

    def decide(self, state: ApprovalState, run: str = "r1", **more: object) -> None:
        (approval,) = [
            item
            for item in self.journal.states[run].approvals.values()
            if item.state is ApprovalState.PENDING
        ]  # fmt: skip
        decided = {"approval": approval.id, "state": state, "at": 1.0, "by": "slack:T1:U2", **more}
        self.journal.append(run, ev.ApprovalDecided.model_validate(decided))
        self.runtime.wake(run)


def approve(bench: Bench) -> None:
    bench.decide(ApprovalState.APPROVED, start_before=9e9)


async def test_a_low_action_runs_and_the_runbook_answers(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.begin("add 2 and 3")
    assert (await bench.ended()).status is RunStatus.COMPLETED
    assert await bench.answer() == "It is 5."


async def test_a_task_that_no_runbook_fits_fails_with_examples(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.begin("paint the fence")
    assert (await bench.ended()).status is RunStatus.FAILED
    assert "add 2 and 3" in await bench.answer()


async def test_a_medium_action_waits_without_a_driver_and_runs_once_after_a_yes(tmp_path: Path) -> None:
    touch = Touch("touch_medium")
    bench = Bench(tmp_path, touch)
    bench.begin("ask once")
    assert (await bench.ended()).status is RunStatus.WAITING
    assert bench.runtime.active == frozenset()
    assert touch.done == 0
    approve(bench)
    assert (await bench.ended()).status is RunStatus.COMPLETED
    assert touch.done == 1
    assert len(started(bench.journal.events["r1"])) == 1


@pytest.mark.parametrize(
    ("state", "outcome"), [(ApprovalState.DENIED, Outcome.DENIED), (ApprovalState.EXPIRED, Outcome.EXPIRED)]
)
async def test_denied_and_expired_never_run_and_are_told_apart(
    tmp_path: Path, state: ApprovalState, outcome: Outcome
) -> None:
    touch = Touch("touch_medium")
    bench = Bench(tmp_path, touch)
    bench.begin("ask once")
    await bench.ended()
    bench.decide(state)
    ended = await bench.ended()
    assert ended.status is RunStatus.PARTIAL
    assert touch.done == 0
    assert [item.outcome for item in ended.actions.values()] == [outcome]


async def test_b_is_approved_while_a_runs_and_both_run_once(tmp_path: Path) -> None:
    gate = asyncio.Event()
    low = Touch("touch_low", gate=gate, exclusive=False)
    medium = Touch("touch_medium", exclusive=False)
    bench = Bench(tmp_path, low, medium)
    bench.begin("touch both")
    await low.running.wait()
    await bench.journal.reached("r1", lambda state: bool(state.approvals))
    approve(bench)
    await medium.running.wait()
    gate.set()
    ended = await bench.ended()
    assert ended.status is RunStatus.COMPLETED
    assert [item.outcome for item in ended.actions.values()] == [Outcome.SUCCEEDED, Outcome.SUCCEEDED]
    assert (low.done, medium.done) == (1, 1)


async def test_a_high_action_is_given_to_a_person_and_its_result_reaches_the_run(tmp_path: Path) -> None:
    touch = Touch("touch_high")
    bench = Bench(tmp_path, touch)
    bench.begin("wipe it")
    state = await bench.ended()
    assert state.status is RunStatus.WAITING
    takeover = state.open_takeover
    assert takeover is not None
    closed = ev.TakeoverClosed(takeover=takeover.id, state="done", at=1.0, by="slack:T1:U2", what="by hand")
    bench.journal.append("r1", closed)
    bench.runtime.wake("r1")
    assert (await bench.ended()).status is RunStatus.COMPLETED
    assert await bench.answer() == "Wiped by by hand."
    assert touch.done == 0


async def test_a_stop_cancels_what_runs_and_ends_the_run(tmp_path: Path) -> None:
    low = Touch("touch_low", gate=asyncio.Event(), exclusive=False)
    bench = Bench(tmp_path, low, Touch("touch_medium", exclusive=False))
    bench.begin("touch both")
    await low.running.wait()
    bench.journal.append("r1", ev.StopRequested(by="slack:T1:U1"))
    bench.runtime.wake("r1")
    ended = await bench.ended()
    assert ended.status is RunStatus.CANCELLED
    outcomes = {item.action.tool: item.outcome for item in ended.actions.values()}
    assert outcomes["touch_low"] is Outcome.UNKNOWN
    assert low.done == 0


async def test_a_pause_holds_the_start_until_it_is_lifted(tmp_path: Path) -> None:
    touch = Touch("touch_medium")
    bench = Bench(tmp_path, touch)
    bench.begin("ask once")
    await bench.ended()
    bench.journal.paused = True
    approve(bench)
    await bench.ended()
    assert touch.done == 0
    bench.journal.paused = False
    bench.runtime.wake("r1")
    assert (await bench.ended()).status is RunStatus.COMPLETED
    assert touch.done == 1


async def test_a_dead_process_leaves_an_unknown_that_a_person_is_asked_about(tmp_path: Path) -> None:
    touch = Touch("touch_medium", gate=asyncio.Event())
    bench = Bench(tmp_path, touch)
    bench.begin("ask once")
    await bench.ended()
    approve(bench)
    await touch.running.wait()
    journal = MemoryJournal(bench.clock, lease_token="lease-2", holder="lease-2")
    journal.events, journal.blobs = bench.journal.events, bench.journal.blobs
    journal.states = bench.journal.states
    again = Touch("touch_medium")
    successor = Bench(tmp_path, again, journal=journal)
    await successor.runtime.recover(["r1"])
    state = await successor.ended()
    assert [item.outcome for item in state.actions.values()] == [Outcome.UNKNOWN]
    assert state.open_takeover is not None
    assert again.done == 0
    await bench.runtime.close(0)


async def test_an_idempotent_action_of_a_dead_process_runs_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    task = Task(id="t1", text="add 2 and 3", principal=MAYA)
    journal = bench.journal
    journal.append("r1", ev.RunCreated(task=task))
    bench.runtime.wake("r1")
    await bench.ended()
    until_start = []
    for item in journal.events["r1"]:
        until_start.append(item)
        if isinstance(item.event, ev.ActionStarted):
            break
    journal.events["r1"] = until_start
    journal.states["r1"] = fold("r1", until_start)
    journal.lease_token = journal.holder = "lease-2"
    await bench.runtime.recover(["r1"])
    assert (await bench.ended()).status is RunStatus.COMPLETED
    assert len(started(journal.events["r1"])) == 2


def reply(*calls: tuple[str, dict[str, object]], text: str = "") -> ModelReply:
    wanted = tuple(ToolCall(f"c{index}", tool, arguments) for index, (tool, arguments) in enumerate(calls))
    return ModelReply(text=text, calls=wanted, cost_micro_usd=700, model="one")


PLAN = reply(("submit_plan", {"steps": [{"worker": "research", "instruction": "Add 2 and 3.", "expected": "a sum"}]}))


async def test_a_model_plans_works_and_answers(tmp_path: Path) -> None:
    model = ScriptedModel(
        [
            PLAN,
            reply(("calculate", {"expression": "2 + 3"}), text="I add."),
            reply(("submit_result", {"status": "done", "summary": "The sum is 5.", "sources": []})),
            reply(text="The sum is 5."),
        ]
    )
    bench = Bench(tmp_path, model=model)
    bench.begin("what is two plus three")
    ended = await bench.ended()
    assert ended.status is RunStatus.COMPLETED
    assert await bench.answer() == "The sum is 5."
    assert ended.spent == 4 * 700
    assert ended.reserved == 0
    results = [message.text for message in model.requests[2].messages if message.role == "tool"]
    assert any("5" in text for text in results)


async def test_a_hallucinated_tool_is_refused_and_the_model_is_told(tmp_path: Path) -> None:
    model = ScriptedModel(
        [
            PLAN,
            reply(("launch_rocket", {"to": "moon"})),
            reply(("submit_result", {"status": "done", "summary": "No rocket."})),
            reply(text="No."),
        ]
    )
    bench = Bench(tmp_path, model=model)
    bench.begin("fly")
    ended = await bench.ended()
    (item,) = ended.actions.values()
    assert (item.outcome, item.code) == (Outcome.REFUSED, "TOOL_NOT_ALLOWED")
    assert any("allowlist" in message.text for message in model.requests[2].messages)


async def test_an_invalid_plan_gets_one_round_of_mending(tmp_path: Path) -> None:
    done = reply(("submit_result", {"status": "done", "summary": "ok"}))
    model = ScriptedModel([reply(("submit_plan", {"steps": []})), PLAN, done, reply(text="Fine.")])
    bench = Bench(tmp_path, model=model)
    bench.begin("x")
    assert (await bench.ended()).status is RunStatus.COMPLETED
    assert any("could not be used" in message.text for message in model.requests[1].messages)


async def test_when_models_fail_the_runbook_does_it(tmp_path: Path) -> None:
    failures = [ModelRateLimited(retry_after_s=0.01), ModelUnavailable(), ModelUnavailable(), ModelUnavailable()]
    bench = Bench(tmp_path, model=ScriptedModel(list(failures), chain=("a:one", "b:two")))
    bench.begin("add 2 and 3")
    ended = await bench.ended()
    assert ended.status is RunStatus.COMPLETED
    assert await bench.answer() == "It is 5."
    assert len(bench.naps) == 2


async def test_the_budget_is_never_passed_and_the_run_ends_partial(tmp_path: Path) -> None:
    calls = [reply(("calculate", {"expression": f"{index} + 1"})) for index in range(5)]
    model = ScriptedModel([PLAN, *calls], cost=1_000)
    bench = Bench(tmp_path, model=model, limits=Limits(chain=model.chain, micro_usd=3_000))
    bench.begin("spend")
    ended = await bench.ended()
    assert ended.status is RunStatus.PARTIAL
    assert ended.spent <= 3_000
    assert len(model.requests) == 3


async def test_a_secret_in_a_proposal_is_refused_and_not_stored(tmp_path: Path) -> None:
    secret = "ghp_" + "a1B2" * 9
    model = ScriptedModel(
        [
            PLAN,
            reply(("calculate", {"expression": secret})),
            reply(("submit_result", {"status": "blocked", "summary": "secret"})),
            reply(("submit_result", {"status": "blocked", "summary": "secret"})),
            reply(text="No."),
        ]
    )
    bench = Bench(tmp_path, model=model)
    bench.begin("leak")
    ended = await bench.ended()
    assert next(iter(ended.actions.values())).code == "SECRET_IN_ARGUMENTS"
    journal = "".join(item.event.model_dump_json() for item in bench.journal.events["r1"])
    assert secret not in journal + json.dumps(bench.journal.blobs)


async def test_an_unknown_that_did_not_happen_is_proposed_and_asked_anew(tmp_path: Path) -> None:
    touch = Touch("touch_medium", gate=asyncio.Event())
    bench = Bench(tmp_path, touch)
    bench.begin("ask once")
    await bench.ended()
    approve(bench)
    await touch.running.wait()
    journal = MemoryJournal(bench.clock, lease_token="lease-2", holder="lease-2")
    journal.events, journal.blobs = bench.journal.events, bench.journal.blobs
    journal.states = bench.journal.states
    again = Touch("touch_medium")
    successor = Bench(tmp_path, again, journal=journal)
    successor.kit.ids.count = 100
    await successor.runtime.recover(["r1"])
    takeover = (await successor.ended()).open_takeover
    assert takeover is not None
    closed = ev.TakeoverClosed(takeover=takeover.id, state="handed_back", at=1.0, epoch=1, again=True)
    journal.append("r1", closed)
    successor.runtime.wake("r1")
    assert (await successor.ended()).status is RunStatus.WAITING
    assert again.done == 0
    approve(successor)
    ended = await successor.ended()
    assert ended.status is RunStatus.COMPLETED
    assert [item.outcome for item in ended.actions.values()] == [Outcome.WITHDRAWN, Outcome.SUCCEEDED]
    assert again.done == 1
    await bench.runtime.close(0)


async def test_words_that_came_too_late_are_named_in_the_answer_and_not_lost(tmp_path: Path) -> None:
    touch = Touch("touch_medium", gate=asyncio.Event())
    bench = Bench(tmp_path, touch)
    bench.begin("ask once")
    await bench.ended()
    approve(bench)
    await touch.running.wait()
    words = "do NOT publish"
    bench.journal.blobs[content_hash(words)] = words
    bench.journal.append("r1", ev.FollowUpReceived(principal=MAYA, text_blob=content_hash(words)))
    assert touch.gate is not None
    touch.gate.set()  # the driver is not told of the words: it finds them when it wants to end the run
    assert (await bench.ended()).status is RunStatus.COMPLETED
    assert words in await bench.answer()
    assert "Not taken into account" in await bench.answer()


async def test_two_calls_with_one_id_are_sent_back_to_the_model(tmp_path: Path) -> None:
    twice = ModelReply(text="", calls=(ToolCall("c", "calculate", {"expression": "1"}),) * 2, cost_micro_usd=1)
    done = reply(("submit_result", {"status": "done", "summary": "ok"}))
    bench = Bench(tmp_path, model=ScriptedModel([PLAN, twice, done, reply(text="Fine.")]))
    bench.begin("x")
    assert (await bench.ended()).status is RunStatus.COMPLETED
    assert not (await bench.ended()).actions
