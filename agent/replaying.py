"""A recorded run, move by move and offline: the journal is folded, and what a model was asked is built anew.

At each wire call the run stands as it stood then. The same code as in life builds the request, gets the recorded reply,
and reads it: what comes of that is compared with what was journalled. What tools gave stands in the journal, so none is
called. A second set of prompts shows which requests they would alter, a policy which ratings.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from pathlib import Path
from typing import Any, NoReturn

from agent import events as ev
from agent.equipment import Equipment
from agent.errors import ModelError, ModelReplyInvalid, ModelUnavailable
from agent.planner import Planner
from agent.policy import Policy
from agent.ports import Committed, Condition, ModelReply, ModelRequest, Stored, ToolCall
from agent.prompting import Prompts
from agent.proposing import Proposer
from agent.questions import Explainer, asked_for
from agent.rating import Rater
from agent.recording import Ended
from agent.runbooks import Runbooks
from agent.runbox import RunBox
from agent.state import RunState, fold
from agent.supervisor import AskWorker, EvaluateStep, Limits, MakePlan, Move, WriteAnswer, next_moves
from agent.telemetry import Telemetry
from agent.tools.base import Arguments, Tool, ToolContext
from agent.tools.registry import Registry

Bodies = Callable[[str], str]
"""A stored body by its hash; raises KeyError."""
_NO_BUDGET = 10**12
_NO_END_S = 1e12
_CONTEXT_LINES = 3


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded wire call, made again."""

    seq: int
    call: str
    purpose: str
    step: int
    turn: int
    model: str
    rebuilt: bool = True
    """Whether today's code asks here at all."""
    request: str = ""
    """What the model would be told today, as text."""
    differs: str = ""
    """A unified diff from what it was (or with the configured prompts would be) told; empty when nothing changed."""
    then: tuple[str, ...] = ()
    """What was journalled of the reply, one line an event."""
    now: tuple[str, ...] = ()
    """The same as today's code reads the reply."""

    @property
    def same_reading(self) -> bool:
        """Whether the reply leads to the same."""
        return self.then == self.now


@dataclass(frozen=True, slots=True)
class Material:
    """What a replay stands on besides the journal."""

    body: Bodies
    registry: Registry
    runbooks: Runbooks
    policy: Policy
    prompts: Prompts
    """The configured ones."""
    others: Prompts | None = None
    """Those to compare with; None: what was recorded is compared with the configured ones."""
    limits: Limits = field(default_factory=Limits)
    """What an operator set; of these, when steps are judged and conversations told in short."""


async def replay(run: str, stored: Sequence[Stored], material: Material) -> tuple[Replayed, ...]:
    """Make every recorded wire call again; raises IllegalTransition when the journal does not fold."""
    found: list[Replayed] = []
    state = RunState(run=run)
    beside = asked_for(stored)
    chain = tuple(dict.fromkeys(item.event.model for item in stored if isinstance(item.event, ev.ModelCallStarted)))
    ends = {
        item.event.call: at
        for at, item in enumerate(stored)
        if isinstance(item.event, ev.ModelCallFinished | ev.ModelCallFailed)
    }
    for item in stored:
        if isinstance(item.event, ev.ModelCallStarted):
            at = ends.get(item.event.call)
            end = stored[at] if at is not None else None
            question = beside.get(item.event.call, "")
            if item.event.purpose == "question":
                then = _answered(end, material.body)
            else:
                then = _then(stored[at + 1 :], item.event) if at is not None else ()
            before = fold(run, stored[state.seq : at], state) if at is not None else state
            found.append(await _again(state, before, item.seq, item.event, end, then, chain, material, question))
        state = fold(run, (item,), state)
    return tuple(found)


async def _again(  # noqa: PLR0917  # the moment, what was asked, and what came of it
    state: RunState,
    before: RunState,
    seq: int,
    started: ev.ModelCallStarted,
    end: Stored | None,
    then: tuple[str, ...],
    chain: tuple[str, ...],
    material: Material,
    question: str,
) -> Replayed:
    made = Replayed(seq, started.call, started.purpose, started.step, started.turn, started.model)
    first = await _ask(state, before, started, end, chain, material, material.prompts, question)
    if first is None:
        return replace(made, rebuilt=False, then=then, now=then)
    was, now = first.request, first.request
    if material.others is not None:
        second = await _ask(state, before, started, end, chain, material, material.others, question)
        now = second.request if second is not None else was
    elif started.prompt_blob:
        with suppress(KeyError):  # retention dropped it: nothing is known to have changed
            was = _with_prompt(was, material.body(started.prompt_blob))
    text_was, text_now = request_text(was), request_text(now)
    diff = unified_diff(text_was.splitlines(), text_now.splitlines(), "then", "now", lineterm="", n=_CONTEXT_LINES)
    return replace(
        made,
        request=text_now,
        differs="\n".join(diff),
        then=then,
        now=first.events if end is not None and isinstance(end.event, ev.ModelCallFinished) else then,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    request: ModelRequest
    events: tuple[str, ...]


async def _ask(  # noqa: PLR0917  # as above
    state: RunState,
    before: RunState,
    started: ev.ModelCallStarted,
    end: Stored | None,
    chain: tuple[str, ...],
    material: Material,
    prompts: Prompts,
    question: str,
) -> _Asked | None:
    """Build the request of this call, and read the recorded reply; None when today's code does not ask here."""
    if started.purpose == "question":
        return await _ask_beside(state, started, end, material, prompts, question)
    limits = replace(material.limits, micro_usd=_NO_BUDGET, tokens=0, active_s=_NO_END_S, chain=chain)
    for move in next_moves(state, limits):
        if not isinstance(move, MakePlan | AskWorker | EvaluateStep | WriteAnswer):
            continue
        shadow = _Shadow(material.body, state.seq)
        model = _Recorded(_reply_of(end, material.body), chain)
        kit = _equipment(shadow, material, prompts)
        proposer, rater = Proposer(kit), Rater(kit)
        planner = Planner(kit, model, limits, proposer, rater)
        box = _Box(state.run, shadow, before)
        box.state = state
        ended = await _perform(planner, box, replace(move, model=started.model))
        asked = shadow.asked
        if asked is None or model.request is None or not _is_same(asked, started):
            continue
        return _Asked(model.request, _lines(ended.then if ended is not None else ()))
    return None


async def _ask_beside(  # noqa: PLR0917  # as above
    state: RunState, started: ev.ModelCallStarted, end: Stored | None, material: Material, prompts: Prompts,
    question: str,
) -> _Asked | None:  # fmt: skip
    """The same for a question that was asked in a takeover's thread, beside the run."""
    shadow, model = _Shadow(material.body, state.seq), _Recorded(_reply_of(end, material.body), (started.model,))
    kit = _equipment(shadow, material, prompts)
    box = RunBox(state.run, shadow)
    box.state = state

    async def here() -> RunBox:
        return box

    limits = Limits(micro_usd=_NO_BUDGET, chain=(started.model,))
    try:
        said = await Explainer(kit, model, limits).answer(state.run, here, material.body(question))
    except KeyError:
        return None  # retention dropped its words
    return _Asked(model.request, _said(said)) if model.request is not None else None


def _answered(end: Stored | None, body: Bodies) -> tuple[str, ...]:
    """What was made of a question's reply: its words, as they were."""
    reply = _reply_of(end, body)
    return () if isinstance(reply, ModelError) else _said(reply.text)


def _said(text: str) -> tuple[str, ...]:
    return (f"answered: {' '.join(text.split())}",)


async def _perform(planner: Planner, box: RunBox, move: Move) -> Ended | None:
    match move:
        case MakePlan():
            return await planner.make_plan(box, move)
        case AskWorker():
            return await planner.ask_worker(box, move)
        case EvaluateStep():
            return await planner.evaluate(box, move)
        case WriteAnswer():
            return await planner.write_answer(box, move)
        case _:
            return None


def _is_same(asked: ev.ModelCallStarted, recorded: ev.ModelCallStarted) -> bool:
    return (asked.purpose, asked.step, asked.turn) == (recorded.purpose, recorded.step, recorded.turn)


class _Shadow:
    """A journal that keeps nothing: what a move writes is only looked at."""

    lease_token = "replay"  # noqa: S105  # no secret

    def __init__(self, body: Bodies, seq: int) -> None:
        self._body, self._seq = body, seq
        self._bodies: dict[str, str] = {}
        self.asked: ev.ModelCallStarted | None = None

    async def commit(
        self, run: str, events: Sequence[ev.Event], condition: Condition, *, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Say that it was written."""
        del run, condition
        first = self._seq + 1
        for event in events:
            if isinstance(event, ev.ModelCallStarted):
                self.asked = event
        self._bodies.update(blobs or {})
        self._seq += len(events)
        return Committed(first, tuple(Stored(first + at, 0.0, event) for at, event in enumerate(events)))

    async def read(self, run: str, after: int = 0) -> tuple[Stored, ...]:
        """There is nothing else."""
        del run, after
        return ()

    async def blob(self, digest: str) -> str:
        """A recorded body; raises KeyError."""
        own = self._bodies.get(digest)
        return self._body(digest) if own is None else own


class _Box(RunBox):
    """A run that stands as it stood when the call was made, and once it is made, as when the reply was read."""

    def __init__(self, run: str, journal: _Shadow, before: RunState) -> None:
        super().__init__(run, journal)
        self._before = before

    async def adopt(
        self,
        events: Sequence[ev.Event],
        condition: Condition,
        blobs: Mapping[str, str] | None,
        *,
        folded: RunState | None = None,
        count: int = 0,
    ) -> Committed:
        """Write nothing, and go on to the moment at which the reply was read."""
        committed = await super().adopt(events, condition, blobs, folded=folded, count=count)
        started = next((event for event in events if isinstance(event, ev.ModelCallStarted)), None)
        if started is not None and self._before.seq > self.state.seq - len(events):
            call = self.state.calls[started.call]
            self.state = replace(self._before, calls={**self._before.calls, started.call: call})
        return committed


class _Recorded:
    """Gives the recorded reply, or fails as the service did; keeps what it was asked."""

    def __init__(self, reply: ModelReply | ModelError, chain: tuple[str, ...]) -> None:
        self._reply, self._chain = reply, chain
        self.request: ModelRequest | None = None

    @property
    def chain(self) -> tuple[str, ...]:
        """The models that were asked then."""
        return self._chain

    def highest_cost(self, request: ModelRequest) -> int:
        """Nothing: it is offline."""
        del request
        return 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The recorded reply."""
        self.request = request
        if isinstance(self._reply, ModelError):
            raise self._reply
        return self._reply


@dataclass(slots=True)
class _Still:
    """Both clocks stand still."""

    at: float = 0.0
    rate: float = 1.0

    def now(self) -> float:
        """No time passes."""
        return self.at

    def transport(self) -> float:
        """As above."""
        return self.at

    def monotonic(self) -> float:
        """As above."""
        return self.at


@dataclass(slots=True)
class _Numbers:
    """Ids that nothing keeps."""

    count: int = field(default=0)

    def new(self, kind: str) -> str:
        """The next one."""
        self.count += 1
        return f"{kind[0]}replay{self.count}"


def _equipment(journal: _Shadow, material: Material, prompts: Prompts) -> Equipment:
    return Equipment(
        journal=journal,
        clock=_Still(),
        ids=_Numbers(),
        registry=material.registry,
        policy=lambda: material.policy,
        runbooks=material.runbooks,
        context=_nowhere,
        find_secret=lambda _: "",
        redact=lambda text: text,
        telemetry=Telemetry(),
        sleep=_at_once,
        prompts=prompts,
    )


def _at_once(seconds: float) -> Awaitable[object]:
    del seconds
    return _nothing()


async def _nothing() -> None:
    """Nobody waits in a replay."""


def _nowhere(state: RunState) -> ToolContext:
    """No tool runs here; what binds arguments was replaced by `offline`."""
    return ToolContext(
        run=state.run, workspace=Path("/nonexistent"), project=Path("/nonexistent"), sandbox=_NoSandbox()
    )


class _NoSandbox:
    name = "none"

    async def self_test(self) -> str:
        """There is none."""
        return "there is none"

    async def run(self, call: object) -> NoReturn:
        """Nothing runs in a replay."""
        raise NotImplementedError(call)


def offline(tools: Iterable[Tool[Any]]) -> tuple[Tool[Any], ...]:
    """The same tools, but that nothing outside is looked at when their arguments are completed."""

    async def as_given(arguments: Arguments, context: ToolContext) -> Arguments:
        del context
        return arguments

    made: list[Tool[Any]] = []
    for tool in tools:
        one = copy.copy(tool)
        object.__setattr__(one, "bind", as_given)
        made.append(one)
    return tuple(made)


def _reply_of(end: Stored | None, body: Bodies) -> ModelReply | ModelError:
    """What came back then."""
    if end is None or not isinstance(end.event, ev.ModelCallFinished):
        return ModelUnavailable("No reply was recorded.")
    try:
        said: dict[str, Any] = json.loads(body(end.event.reply_blob))
    except (KeyError, ValueError):
        return ModelReplyInvalid("The reply is not kept any more.")
    calls = tuple(ToolCall(str(one["id"]), str(one["tool"]), one["arguments"]) for one in said["calls"])
    return ModelReply(text=str(said["text"]), calls=calls, model=end.event.response_model)


def _then(after: Sequence[Stored], started: ev.ModelCallStarted) -> tuple[str, ...]:
    """What was journalled of this reply."""
    events: list[ev.Event] = []
    for at, item in enumerate(after):
        event = item.event
        match event:
            case ev.ActionProposed() if started.purpose == "work" and event.action.revision is None:
                if (event.action.step, event.action.turn) != (started.step, started.turn):
                    continue
                events.append(event)
                behind = after[at + 1].event if at + 1 < len(after) else None
                if isinstance(behind, ev.ActionFinished) and behind.action == event.action.id:
                    events.append(behind)  # refused before it could be rated
            case ev.ModelCallStarted() if (event.purpose, event.step) == (started.purpose, started.step):
                break  # the next one: whatever comes now is not of this reply
            case ev.PlanMade() if started.purpose == "plan":
                return _lines((event,))
            case ev.StepFinished() if started.purpose == "work" and event.step == started.step and not event.code:
                behind = after[at + 1].event if at + 1 < len(after) else None
                is_review = isinstance(behind, ev.StepEvaluated) and behind.by == "review"
                return _lines((*events, event, *((behind,) if is_review and behind is not None else ())))
            case ev.StepEvaluated() if started.purpose == "judge" and event.step == started.step:
                return _lines((event,))
            case ev.RunFinished() if started.purpose == "answer":
                return _lines((event,))
            case _:
                continue
    return _lines(events)


def _lines(events: Iterable[ev.Event]) -> tuple[str, ...]:
    """What events say, without ids and without what only a look outside would tell."""
    said: list[str] = []
    for event in events:
        match event:
            case ev.PlanMade():
                said += [f"plan: {step.worker}: {step.instruction}" for step in event.plan.steps]
            case ev.ActionProposed():
                said.append(f"propose: {event.action.tool} ({event.action.call_id})")
            case ev.ActionFinished():
                said.append(f"refused: {event.code}")
            case ev.StepFinished():
                said.append(f"step {event.status}: {event.summary}")
            case ev.StepEvaluated():
                said.append(f"evaluated: {event.decision}")
            case ev.RunFinished():
                said.append(f"run {event.status}: {event.summary}")
            case _:
                continue
    return tuple(said)


def _with_prompt(request: ModelRequest, told: str) -> ModelRequest:
    """The request with what the model was told of its work then; what is added when it leaves stays."""
    first = request.messages[0]
    if first.role != "system":
        return request
    _, sign, mark = first.text.rpartition("\n\n")
    return replace(request, messages=(replace(first, text=f"{told}{sign}{mark}"), *request.messages[1:]))


def request_text(request: ModelRequest) -> str:
    """A request as people read it: each message under its role, and the names of the tools."""
    parts: list[str] = []
    for message in request.messages:
        calls = [f"→ {call.tool} {json.dumps(call.arguments, ensure_ascii=False)}" for call in message.calls]
        parts.append("\n".join([f"[{message.role}]", message.text, *calls]))
    names = ", ".join(tool.name for tool in request.tools)
    return "\n\n".join([*parts, f"[tools] {names}"] if names else parts)
