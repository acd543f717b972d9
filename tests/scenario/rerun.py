"""Has a recorded run again (agent/recorded.py): the real driver, gate and prompts; replies, results, facts and people
come from the recording."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from agent import errors
from agent import events as ev
from agent.domain import (
    ApprovalState,
    AttachedFile,
    Place,
    Plan,
    Principal,
    Reason,
    Risk,
    Task,
    canonical,
    content_hash,
)
from agent.equipment import Equipment
from agent.errors import ModelError, ToolError
from agent.facts.model import Facts
from agent.fakes import CountingIds, ManualClock, MemoryJournal
from agent.grants import Grant, Standing, Use
from agent.policy import Policy, load_policy
from agent.ports import Committed, Condition, Fact, Intention, ModelReply, ModelRequest, Stored, ToolCall
from agent.recorded import LEFT_OUT, VERSION, expected_of
from agent.runbooks import Runbooks
from agent.runtime import Runtime
from agent.sandbox.none import NoSandbox
from agent.state import RunState
from agent.supervisor import Limits
from agent.telemetry import Telemetry
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.registry import Registry

RUN = "r1"
Json = dict[str, Any]


def error_of(code: str, why: str) -> errors.SecondKeyError:
    """The error with this code."""
    kinds = [errors.SecondKeyError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = next((kind for kind in kinds if kind.code == code), ToolError)
    return found(why or None)


class AnyArguments(Arguments):
    model_config = ConfigDict(frozen=True, extra="allow")


def key_of(arguments: Mapping[str, Any]) -> bytes:
    return canonical(dict(arguments))


@dataclass
class Recording:
    """A scenario file, and how far the run that has it again is."""

    body: Json
    claimed: set[int] = field(default_factory=set[int])
    ended: int = 0
    """How many processes of this run are gone."""
    tried: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    rated: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def given(self, action: Json) -> Any:
        """What the model gave as arguments; None where a runbook did."""
        turn, _, call_id = action["call_id"].partition("/")
        for call in self.body["calls"]:
            if call["purpose"] == "work" and (call["step"], str(call["turn"])) == (action["step"], turn):
                for one in call.get("reply", {}).get("calls", ()):
                    if one["id"] == call_id:
                        return one["arguments"]
        return None

    def claim(self, tool: str, arguments: Mapping[str, Any]) -> Json:
        """The recorded proposal of these arguments that no earlier one had."""
        open_ = [
            (at, one) for at, one in enumerate(self.body["actions"]) if one["tool"] == tool and at not in self.claimed
        ]
        exact = [
            (at, one) for at, one in open_ if isinstance(g := self.given(one), dict) and key_of(g) == key_of(arguments)
        ]
        at, found = (exact or [(at, one) for at, one in open_ if self.given(one) is None] or open_)[0]
        self.claimed.add(at)
        return found

    def of(self, tool: str, arguments: Mapping[str, Any]) -> tuple[int, Json]:
        """The recorded action with these completed arguments, the newest that was claimed."""
        found = [
            (at, one)
            for at, one in enumerate(self.body["actions"])
            if at in self.claimed and one["tool"] == tool and key_of(one["arguments"]) == key_of(arguments)
        ]
        return found[-1]

    def call(self, asked: ev.ModelCallStarted) -> Json | None:
        """The recorded call in the place of this one."""
        key = (asked.purpose, asked.step, asked.turn, asked.attempt)
        return next(
            (one for one in self.body["calls"]
             if (one["purpose"], one["step"], one["turn"], one["attempt"]) == key), None
        )  # fmt: skip

    @property
    def end(self) -> Json | None:
        """Where the process that runs now ends, if it does."""
        ends = self.body.get("ends", ())
        return ends[self.ended] if self.ended < len(ends) else None

    def rating(self, tool: str, arguments: Mapping[str, Any]) -> Json:
        at, action = self.of(tool, arguments)
        return action["ratings"][min(max(self.rated[at] - 1, 0), len(action["ratings"]) - 1)]


class RecordedTool(Tool[AnyArguments]):
    """One tool of the recording: nothing is done, its recorded results are given back."""

    arguments = AnyArguments
    description = "Recorded."
    needs_sandbox: ClassVar[bool] = False

    def __init__(self, name: str, recording: Recording, clock: ManualClock) -> None:
        self.name, self._recording, self._clock = name, recording, clock
        mine = [one for one in recording.body["actions"] if one["tool"] == name]
        self.exclusive = any(one["exclusive"] for one in mine)
        self.read_only = True  # so that every worker may have it; the recorded rating counts
        self.idempotent = any(one["idempotent"] for one in mine)

    def repeatable(self, arguments: AnyArguments) -> bool:
        """By the recorded word; that it reads is only said so that every worker may have it."""
        del arguments
        return self.idempotent

    async def bind(self, arguments: AnyArguments, context: ToolContext) -> AnyArguments:
        del context
        action = self._recording.claim(self.name, arguments.model_dump(mode="json"))
        if not action["ratings"] and action["outcome"] == "refused":
            raise error_of(action["code"], action["summary"])
        return AnyArguments(**action["arguments"])

    async def facts(self, arguments: AnyArguments, context: ToolContext) -> Facts:
        del context
        at, _ = self._recording.of(self.name, arguments.model_dump(mode="json"))
        self._recording.rated[at] += 1
        return Facts.model_validate(self._recording.rating(self.name, arguments.model_dump(mode="json"))["facts"])

    async def preview(self, arguments: AnyArguments, context: ToolContext) -> Preview:
        del context
        shown = self._recording.rating(self.name, arguments.model_dump(mode="json"))["preview"]
        return Preview.model_validate_json(json.dumps(shown)) if shown else Preview()

    def headline(self, arguments: AnyArguments, preview: Preview) -> str:
        del preview
        return str(self._recording.rating(self.name, arguments.model_dump(mode="json"))["headline"])

    async def run(self, arguments: AnyArguments, context: ToolContext, preview: Preview) -> ToolResult:
        del context, preview
        at, action = self._recording.of(self.name, arguments.model_dump(mode="json"))
        if self._recording.body["out_of_time"]:
            self._clock.advance(action["duration_ms"] / 1000)
        tries, faults = self._recording.tried[at], action.get("faults", ())
        self._recording.tried[at] += 1
        if tries < len(faults):
            if not faults[tries]["code"]:
                await asyncio.Event().wait()  # until the process ends
            raise error_of(faults[tries]["code"], faults[tries]["summary"])
        match action["outcome"]:
            case "cancelled" | "unknown":
                await asyncio.Event().wait()
            case "timed_out":
                raise errors.ToolTimedOut(action["summary"])
            case "succeeded" | "failed" if action["output"] is not None:
                return ToolResult.model_validate(action["output"])
            case "succeeded":
                return ToolResult(text="", summary=action["summary"])
            case _:
                pass
        raise error_of(action["code"] or "TOOL_FAILED", action["summary"])


class RecordedPolicy(Policy):
    """Says what was said then."""

    recording: ClassVar[Recording]

    def rate(self, tool_name: str, args: Mapping[str, Any], *rest: Any, **more: Any) -> Risk:
        del rest, more
        said = self.recording.rating(tool_name, args)
        reasons = tuple(Reason(rule=rule, text=text) for rule, text in said["reasons"])
        return Risk(tier=said["tier"], reasons=reasons, terms=self.terms(()))

    def deciders(self, team: str, terms: Any = None, scope: Any = None) -> tuple[str, ...]:
        """Whoever decided then, so that a permission of theirs counts."""
        said = (one for action in self.recording.body["actions"] for one in action["decision"])
        return (*super().deciders(team, terms, scope), *{one["by"] for one in said if one.get("by")})


@dataclass(frozen=True, slots=True)
class RecordedStanding(Standing):
    """A permission that covers what one covered then."""

    recording: Recording | None = None

    def refusal(self, use: Use, *, run: str, requester: str, now: float) -> str:
        del run, requester, now
        assert self.recording is not None
        said = self.recording.rating(use.action.tool, use.action.arguments)
        return "" if said.get("grant") else "It was not covered."


def standing(recording: Recording, tool: str, requester: str) -> tuple[RecordedStanding, ...]:
    """One permission of each who gave one for this tool."""
    givers = {
        one["by"]
        for action in recording.body["actions"]
        if action["tool"] == tool and any(rating.get("grant") for rating in action["ratings"])
        for one in action["decision"]
        if one and one["reason"].startswith("grant:")
    }
    return tuple(
        RecordedStanding(
            Grant(id=f"g{at}", by=by, requester=requester, tool=tool, schema_hash="", arguments={}, intents=(),
                  expires_at=1e12, max_uses=100),
            recording=recording,
        )
        for at, by in enumerate(sorted(givers))
    )  # fmt: skip


class RecordedJournal(MemoryJournal):
    """Tells the model which call it is asked for, and lets people act where they acted then."""

    def attend(self, recording: Recording) -> None:
        self.recording = recording
        self.asking: dict[Any, ev.ModelCallStarted] = {}
        self.asked: dict[str, int] = defaultdict(int)
        self.said: set[int] = set()
        self.stopped_once = False
        self.dies = asyncio.Event()

    async def commit(
        self, run: str, events: Sequence[ev.Event], condition: Condition, *, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        events = [self._reserved(event, condition) for event in events]
        decided = {event.approval for event in events if isinstance(event, ev.ApprovalDecided)}
        committed = await super().commit(run, events, condition, blobs=blobs)
        for event in events:
            if isinstance(event, ev.ModelCallStarted):
                self.asking[asyncio.current_task()] = event
            elif isinstance(event, ev.ApprovalRequested):
                if event.approval in decided:  # by a permission
                    self.asked[event.action] += 1
                else:
                    self._decide(run, event)
            elif isinstance(event, ev.TakeoverOpened):
                self._take(run, event)
        self._speak(run)
        self._die(run)
        return committed

    def _check(self, state: RunState, condition: Intention) -> None:
        """As its parent's, but that the yes of a permission stands in the very commit that uses it."""
        super()._check(state, replace(condition, starts="") if condition.grant else condition)

    def _reserved(self, event: ev.Event, condition: Condition) -> ev.Event:
        """A reservation as it was, or as it was refused."""
        if not isinstance(event, ev.ModelCallStarted) or (call := self.recording.call(event)) is None:
            return event
        holds = isinstance(condition, Intention) and condition.budget_micro_usd is not None
        if holds and call.get("failed", {}).get("code") == "BUDGET_EXCEEDED":
            raise errors.BudgetExceeded(call["failed"]["detail"])
        held = {name: call.get(name, 0) for name in ("reserved_micro_usd", "waited_ms")}
        return event.model_copy(update=held)

    def _die(self, run: str) -> None:
        """The process ends once as much has happened as had then."""
        end = self.recording.end
        if end is not None and sum(one.event.type not in LEFT_OUT for one in self.events[run]) >= end["after_events"]:
            self.dies.set()

    def _action(self, run: str, action: str) -> Json:
        own = self.states[run].actions[action].action
        return self.recording.of(own.tool, own.arguments)[1]

    def _decide(self, run: str, asked: ev.ApprovalRequested) -> None:
        number = self.asked[asked.action]
        self.asked[asked.action] += 1
        said = self._action(run, asked.action)["decision"][number : number + 1]
        if not said or not said[0]:
            return  # the run itself takes it back
        state = ApprovalState(said[0]["state"])
        now = self.clock.now()
        self.append(run, ev.ApprovalDecided(
            approval=asked.approval, state=state, at=now, by=said[0]["by"], reason=said[0]["reason"],
            start_before=now + asked.timeout_s if state is ApprovalState.APPROVED else 0.0,
        ))  # fmt: skip

    def _take(self, run: str, opened: ev.TakeoverOpened) -> None:
        said = self._action(run, opened.action)["takeover"]
        if not said:
            return
        who = Principal.parse(said["by"])
        epoch = self.states[run].epoch + (said["state"] == "handed_back")
        told = {name: said[name] for name in ("state", "what", "reference", "evidence", "again", "by")}
        if said["state"] != "aborted" and (said["what"] or said["reference"] or said["evidence"]):
            cause = "hand_back" if said["state"] == "handed_back" else "takeover"
            self.append(run, ev.CoRequesterAdded(principal=who, cause=cause))
        self.append(run, ev.TakeoverClosed(takeover=opened.takeover, at=self.clock.now(), epoch=epoch, **told))

    def _speak(self, run: str) -> None:
        """What people added and the stop, once as much has happened as had then."""
        events = [item.event for item in self.events[run]]
        replies = sum(isinstance(one, ev.ModelCallFinished | ev.ModelCallFailed) for one in events)
        for at, words in enumerate(self.recording.body["words"]):
            if at not in self.said and replies >= words["after_replies"]:
                self.said.add(at)
                digest = content_hash(words["text"])
                self.blobs[digest] = words["text"]
                task = self.states[run].task
                assert task is not None
                self.append(run, ev.FollowUpReceived(principal=task.principal, text_blob=digest))
        stop = self.recording.body["stop"]
        if stop is None or self.stopped_once or self.states[run].status.is_final:
            return
        if sum(one.type not in LEFT_OUT for one in events) >= stop["after_events"]:
            self.stopped_once = True
            self.append(run, ev.StopRequested(by="somebody", reason=stop["reason"]))

    wakes: Any = None

    def append(self, run: str, *events: ev.Event) -> None:
        super().append(run, *events)
        if self.wakes is not None:
            asyncio.get_running_loop().call_soon(self.wakes, run)


class RecordedModel:
    """Gives the recorded replies, each to the call that got it."""

    def __init__(self, recording: Recording, journal: RecordedJournal) -> None:
        self._recording, self._journal = recording, journal
        self.requests: list[ModelRequest] = []

    @property
    def chain(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(call["model"] for call in self._recording.body["calls"]))

    def highest_cost(self, request: ModelRequest) -> int:
        del request
        return 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        asked = self._journal.asking[asyncio.current_task()]
        call = self._recording.call(asked)
        await asyncio.sleep(0)
        if call is None:
            raise AssertionError(f"nobody asked for {asked} then")
        if self._recording.body["out_of_time"]:
            self._journal.clock.advance(call.get("duration_ms", 0) / 1000)
        if "failed" in call:
            if call["failed"]["code"] in {"CANCELLED", "INTERRUPTED"}:
                await asyncio.Event().wait()
            error = error_of(call["failed"]["code"], call["failed"].get("detail", ""))
            raise error if isinstance(error, ModelError | errors.CircuitOpen) else ModelError(str(error))
        said = call["reply"]
        calls = tuple(ToolCall(one["id"], one["tool"], one["arguments"]) for one in said["calls"])
        return ModelReply(
            text=said["text"], calls=calls, input_tokens=call["input_tokens"], output_tokens=call["output_tokens"],
            cost_micro_usd=call["cost_micro_usd"], model=call["model"],
        )  # fmt: skip


class Process:
    """What one process sees of the journal; once it is gone, nothing that it writes counts."""

    def __init__(self, journal: RecordedJournal, number: int) -> None:
        self._journal = journal
        self.lease_token = f"lease-{number}"
        self.is_gone = False

    async def commit(
        self, run: str, events: Sequence[ev.Event], condition: Condition, *, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        if self.is_gone:
            raise errors.LeaseLost
        committed = await self._journal.commit(run, events, condition, blobs=blobs)
        end = self._journal.recording.end
        self.is_gone = self._journal.dies.is_set() and end is not None and not end["graceful"]
        return committed

    async def read(self, run: str, after: int = 0) -> tuple[Stored, ...]:
        return await self._journal.read(run, after)

    async def blob(self, digest: str) -> str:
        return await self._journal.blob(digest)


class RecordedBooks(Runbooks):
    """The recorded plan, when it was a runbook's."""

    recorded: ClassVar[Plan | None]

    def plan(self, task: Task) -> Plan | None:
        del task
        return self.recorded


async def rerun(body: Json, folder: Path) -> Json:
    """Have the run again; what it came to."""
    assert body["version"] == VERSION
    recording, clock = Recording(body), ManualClock()
    journal = RecordedJournal(clock=clock)
    journal.attend(recording)
    tools = [RecordedTool(name, recording, clock) for name in dict.fromkeys(one["tool"] for one in body["actions"])]
    known = [
        tool
        for tool in tools
        if any(one["tool"] == tool.name and one["code"] != "TOOL_NOT_ALLOWED" for one in body["actions"])
    ]
    policy = load_policy()
    rated = RecordedPolicy(policy.version, policy.mode, policy.people, policy.limits, policy.shipped)
    RecordedPolicy.recording = recording
    books = RecordedBooks(())
    RecordedBooks.recorded = Plan.model_validate_json(json.dumps(body["plan"])) if body["plan"] else None

    async def everybody(approval: str, voters: Sequence[str]) -> frozenset[str]:
        del approval
        return frozenset(voters)

    async def anybody(key: str) -> bool:
        del key
        return True

    async def no_wait(seconds: float) -> None:
        clock.advance(seconds)

    process = Process(journal, 1)
    equipment = Equipment(
        journal=process,
        clock=clock,
        ids=CountingIds(),
        registry=Registry(known),
        policy=lambda: rated,
        runbooks=books,
        context=lambda state: ToolContext(run=state.run, workspace=folder, project=folder, sandbox=NoSandbox()),
        find_secret=lambda _: "",
        redact=lambda text: text,
        telemetry=Telemetry(),
        sleep=no_wait,
        still_entitled=everybody,
        may_still=anybody,
        grants=lambda tool, requester: standing(recording, tool, requester),
    )
    model = RecordedModel(recording, journal)
    limits = Limits(chain=model.chain, micro_usd=10**12, **body.get("limits", {}))
    runtime = Runtime(equipment, model, limits)
    who = Principal(team="TEAM", user="PERSON1")
    digest = content_hash(body["context"]) if body["context"] else ""
    journal.blobs[digest] = body["context"]
    task = Task(id="t1", text=body["task"], principal=who, place=Place(team="TEAM", channel="CHANNEL"))
    files = [tuple(AttachedFile.model_validate(one) for one in message) for message in body.get("files", ())]
    created = ev.RunCreated(task=task, context_blob=digest, files=sum(map(len, files)))
    await journal.commit(RUN, [created, *(ev.FilesAttached(files=message) for message in files)], Fact())
    journal.wakes = runtime.wake
    runtime.wake(RUN)
    async with asyncio.timeout(20):
        while (end := recording.end) is not None:
            await journal.dies.wait()
            await asyncio.sleep(0)
            process.is_gone = not end["graceful"]
            await runtime.close(0)
            journal.dies.clear()
            recording.ended += 1
            process = Process(journal, recording.ended + 1)
            runtime = Runtime(replace(equipment, journal=process), model, limits)
            journal.wakes = runtime.wake
            await runtime.recover([RUN])
        await journal.reached(RUN, lambda state: state.status.is_final)
        state = await runtime.settled(RUN)
    await runtime.close(1.0)
    return expected_of(state, [item.event for item in journal.events[RUN]], lambda digest: journal.blobs[digest])
