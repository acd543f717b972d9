"""Proposals: a call becomes an action with canonical arguments and a digest, journalled before anything happens."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydantic import ValidationError

from agent import events as ev
from agent.domain import Action, Json, Outcome, Reason, Revision, Tier, Worker, canonical, digest_of
from agent.equipment import Box, Equipment
from agent.errors import BadArguments, ConfigurationError, PromptLeaked, RepeatedCall, SecretInArguments, ToolError
from agent.facts.bounds import MAX_NESTING
from agent.loops import REPEATS, goes_in_circles
from agent.ports import Intention, Stored
from agent.runbooks import render, values
from agent.sealing import holds_mark
from agent.state import RunState, fold
from agent.supervisor import ProposeAgain, ProposeScripted, latest_by_call
from agent.tools.base import Tool

SUMMARY_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Call:
    """A call as a worker or a script wants it: nothing of it has been checked yet."""

    step: int
    turn: int
    tool: str
    arguments: Json
    rationale: str = ""
    call_id: str = ""
    revision: Revision | None = None


Bodies = Callable[[str], Awaitable[str]]
"""Reads a body by its hash."""


class Proposer:
    """Turns calls into proposed actions, or into refused ones."""

    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment

    async def propose_scripted(self, box: Box, move: ProposeScripted) -> None:
        """Render calls of the runbook's script and propose them, all in one commit."""
        state = box.state
        assert state.plan is not None  # noqa: S101  # a step without a plan is no state
        script = state.plan.steps[state.steps[move.step].planned].script
        known = await self.known(state, box.blob)
        events: list[ev.Event] = []
        for index in range(move.start, move.stop):
            wanted = script[index]
            call = Call(move.step, index, wanted.tool, {}, wanted.rationale, wanted.id)
            try:
                arguments, rationale = render(wanted.arguments, known), str(render(wanted.rationale, known))
            except ConfigurationError as error:
                events += self._refused(state, call, {}, BadArguments.code, str(error))
            else:
                events += await self.propose(state, replace(call, arguments=arguments, rationale=rationale))
        await box.commit(events, Intention(epoch=state.epoch))

    async def propose_again(self, box: Box, move: ProposeAgain) -> None:
        """Propose the same call as a new action, with what it is bound to now."""
        state = box.state
        await box.commit(await self.anew(state, state.actions[move.action].action), Intention(epoch=state.epoch))

    async def anew(self, state: RunState, action: Action) -> list[ev.Event]:
        """The events that propose an action's call once more."""
        arguments = self._kit.registry.get(action.tool).unbound(action.arguments)
        before = action.revision
        revision = None if before is None else Revision(of=action.id, cause=before.cause, by=before.by)
        call = Call(action.step, action.turn, action.tool, arguments, action.rationale, action.call_id, revision)
        return await self.propose(state, call)

    async def revised(self, state: RunState, call: Call) -> Action:
        """The action that a person wants in place of another; raises ToolError, ValidationError or ValueError."""
        if _is_too_deep(call.arguments):
            raise BadArguments(f"The arguments are nested deeper than {MAX_NESTING} levels.")
        tool = self._kit.registry.get(call.tool, worker_of(state, call.step))
        bound = await tool.bind(tool.parse(call.arguments), self._kit.context(state))
        return self._action(state, call, bound.model_dump(mode="json"), tool)

    async def known(self, state: RunState, body: Bodies) -> dict[str, Any]:
        """What a runbook's templates see: the task, its matches, and what earlier calls gave."""
        assert state.plan is not None  # noqa: S101  # as above
        assert state.task is not None  # noqa: S101  # a run without a task is no state
        outputs: dict[str, Json] = {}
        for step in state.steps:
            for item in latest_by_call(state, step):
                if item.output_blob:
                    outputs[item.action.call_id] = json.loads(await body(item.output_blob))
                elif item.outcome is Outcome.DONE_BY_HUMAN:
                    outputs[item.action.call_id] = {"text": item.summary, "data": None, "ok": True}
        return values(state.task, state.plan, self._kit.runbooks, outputs)

    async def propose_wanted(self, state: RunState, calls: Sequence[Call]) -> list[ev.Event]:
        """The events of the calls of one reply; one with which the worker goes round in circles is refused."""
        events: list[ev.Event] = []
        for call in calls:
            why = self._circle(state, call)
            arguments = cast("dict[str, Any]", call.arguments)
            some = (
                self._refused(state, call, arguments, RepeatedCall.code, f"{why} {RepeatedCall()}")
                if why
                else await self.propose(state, call)
            )
            events += some
            now = (Stored(state.seq + number, 0.0, event) for number, event in enumerate(some, 1))
            state = fold(state.run, now, state)
        return events

    def _circle(self, state: RunState, call: Call) -> str:
        given: object = call.arguments
        if len(state.steps[call.step].actions) < REPEATS - 1:
            return ""
        if not isinstance(given, dict) or _is_too_deep(call.arguments):
            return ""
        arguments = cast("dict[str, Any]", given)
        written = json.dumps(arguments, default=str)
        if self._kit.find_secret(written) or holds_mark(written, state):
            return ""  # it is refused for that
        try:
            return goes_in_circles(state, state.steps[call.step], call.tool, arguments)
        except ValueError:
            return ""  # it has no canonical form, and is refused for that

    async def propose(self, state: RunState, call: Call) -> list[ev.Event]:
        """The events of one proposal: the action, and its refusal when it cannot even be rated."""
        plain: dict[str, Any] = {}
        try:
            given: object = call.arguments
            if not isinstance(given, dict):
                raise BadArguments("The arguments are no JSON object.")
            raw = cast("dict[str, Any]", given)
            if _is_too_deep(raw):
                raise BadArguments(f"The arguments are nested deeper than {MAX_NESTING} levels.")
            written = canonical(raw).decode()
            if kind := self._kit.find_secret(written + call.rationale):
                call = Call(call.step, call.turn, call.tool, {}, "", call.call_id, call.revision)
                raise SecretInArguments(f"The arguments hold what looks like {kind}; write secret:NAME instead.")
            plain = raw
            if holds_mark(written, state):
                return self._leak(state, call, raw)
            tool = self._kit.registry.get(call.tool, worker_of(state, call.step))
            bound = await tool.bind(tool.parse(plain), self._kit.context(state))
            return [ev.ActionProposed(action=self._action(state, call, bound.model_dump(mode="json"), tool))]
        except ValidationError as error:
            return self._refused(state, call, plain, BadArguments.code, first_problem(error))
        except ToolError as error:
            return self._refused(state, call, plain, error.code, str(error))
        except ValueError as error:
            return self._refused(state, call, {}, BadArguments.code, str(error))

    def _leak(self, state: RunState, call: Call, arguments: dict[str, Any]) -> list[ev.Event]:
        """A call that gives the system prompt away: rated high, so that it stands out, and refused at once."""
        action = self._action(state, call, arguments)
        why = Reason(rule="prompt_leak", text="It carries what only the agent's own instructions hold.")
        rated = ev.ActionRated(
            action=action.id,
            tier=Tier.HIGH,
            reasons=(why,),
            headline=f"Give the agent's instructions away through {call.tool[:60]}",
        )
        return [ev.ActionProposed(action=action), rated, refusal(action.id, PromptLeaked.code, str(PromptLeaked()))]

    def _refused(
        self, state: RunState, call: Call, arguments: dict[str, Any], code: str, why: str
    ) -> list[ev.Event]:  # fmt: skip
        action = self._action(state, call, arguments)
        return [ev.ActionProposed(action=action), refusal(action.id, code, self._kit.redact(why))]

    def _action(
        self, state: RunState, call: Call, arguments: dict[str, Any], tool: Tool[Any] | None = None
    ) -> Action:  # fmt: skip
        assert state.task is not None  # noqa: S101  # as above
        key = self._kit.ids.new("action")
        schema_hash = tool.schema_hash if tool else ""
        digest = digest_of(
            run=state.run,
            action=key,
            principal=state.task.principal,
            tool=call.tool,
            schema_hash=schema_hash,
            arguments=arguments,
        )
        return Action(
            id=key,
            step=call.step,
            turn=call.turn,
            tool=call.tool,
            arguments=arguments,
            digest=digest,
            schema_hash=schema_hash,
            rationale=self._kit.redact(call.rationale),
            call_id=call.call_id or key,
            exclusive=tool.exclusive if tool else True,
            idempotent=_repeatable(tool, arguments),
            timeout_s=tool.timeout_s if tool else 0.0,
            revision=call.revision,
        )


def _repeatable(tool: Tool[Any] | None, arguments: Json) -> bool:
    """Whether the call may run twice, by its tool's word; not where that cannot be said."""
    if tool is None:
        return False
    try:
        return tool.repeatable(tool.parse(cast("dict[str, Json]", arguments)))
    except (ValueError, TypeError, ToolError):
        return False


def _is_too_deep(value: Json) -> bool:
    """Whether a value is nested deeper than what writes and reads it could follow."""
    level: list[Json] = [value]
    for _ in range(MAX_NESTING):
        inner = [cast("dict[str, Json] | list[Json]", item) for item in level if isinstance(item, dict | list)]
        level = [child for some in inner for child in (some.values() if isinstance(some, dict) else some)]
        if not level:
            return False
    return True


def worker_of(state: RunState, step: int) -> Worker:
    """Who does a step."""
    assert state.plan is not None  # noqa: S101  # a step without a plan is no state
    return state.plan.steps[state.steps[step].planned].worker


def refusal(action: str, code: str, why: str) -> ev.ActionFinished:
    """An action that is refused: it never starts."""
    return ev.ActionFinished(action=action, outcome=Outcome.REFUSED, code=code, summary=why[:SUMMARY_CHARACTERS])


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong with some arguments, in one sentence."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "arguments"
    return f"{place}: {first['msg']}"
