"""A call that a person wants otherwise, or once more: the action that stands in its place, not yet journalled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agent.domain import Action, Revision, canonical
from agent.editing import BadField, Field, fields_of, read_field
from agent.equipment import Equipment
from agent.errors import NotEditable, SecretInArguments, ToolError, UnknownSubject
from agent.proposing import Call, Proposer
from agent.state import RunState, fold


class Unfit(Exception):
    """What a person typed cannot be taken; `problems` says why, by the argument's name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)


class Reviser:
    """Makes actions in place of others. It reads, and leaves the writing to the decision's own transaction."""

    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment
        self._proposer = Proposer(equipment)

    def form(self, action: Action) -> tuple[Field, ...]:
        """The fields of a call; raises NotEditable when there is none that a person could change."""
        try:
            tool = self._kit.registry.get(action.tool)
        except ToolError as error:
            raise NotEditable from error
        fields = fields_of(tool.schema, tool.unbound(action.arguments))
        if not any(field.is_open for field in fields):
            raise NotEditable
        return fields

    async def edited(self, run: str, action: str, typed: Mapping[str, tuple[str, ...]], by: str) -> Action:
        """The changed call; `typed` holds the parts of each field by its name.

        Raises Unfit, NotEditable, UnknownSubject, ToolError (it could not be bound) or StorageUnavailable.
        """
        state = await self._state(run)
        old = _action(state, action)
        before = self._kit.registry.get(old.tool).unbound(old.arguments)
        arguments, problems = dict(before), dict[str, str]()
        for field in self.form(old):
            parts = typed.get(field.name, field.parts)
            if not field.is_open or parts == field.parts:
                continue
            try:
                value = read_field(field, parts)
                if kind := self._kit.find_secret("".join(parts)) or self._kit.find_secret(canonical(value).decode()):
                    problems[field.name] = f"This holds what looks like {kind}. Write secret:NAME instead."
                arguments[field.name] = value
            except BadField as error:
                problems[field.name] = error.why
            except ValueError as error:
                problems[field.name] = str(error)
        if problems:
            raise Unfit(problems)
        if arguments == before:
            raise Unfit({next(field.name for field in self.form(old) if field.is_open): "You have changed nothing."})
        if self._kit.find_secret(canonical(arguments).decode()):
            raise SecretInArguments
        return await self._made(state, old, arguments, Revision(of=action, cause="edit", by=by))

    async def again(self, run: str, action: str, by: str) -> Action | None:
        """The same call once more; None when the run is over. Raises UnknownSubject, Unfit or ToolError."""
        state = await self._state(run)
        if state.status.is_final:
            return None
        old = _action(state, action)
        arguments = self._kit.registry.get(old.tool).unbound(old.arguments)
        return await self._made(state, old, arguments, Revision(of=action, cause="ask_again", by=by))

    async def _made(self, state: RunState, old: Action, arguments: dict[str, Any], revision: Revision) -> Action:
        call = Call(old.step, old.turn, old.tool, arguments, old.rationale, old.call_id, revision)
        try:
            return await self._proposer.revised(state, call)
        except ValidationError as error:
            raise Unfit(_by_field(error, arguments)) from error
        except ValueError as error:
            raise Unfit({next(iter(arguments), ""): str(error)}) from error

    async def _state(self, run: str) -> RunState:
        return fold(run, await self._kit.journal.read(run))


def _action(state: RunState, action: str) -> Action:
    if action not in state.actions:
        raise UnknownSubject
    return state.actions[action].action


def _by_field(error: ValidationError, arguments: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong, each at its top-level argument; at the first one when it concerns the whole."""
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        place = [str(part) for part in item["loc"]]
        name = place[0] if place and place[0] in arguments else next(iter(arguments), "")
        within = f"{'.'.join(place[1:])}: " if len(place) > 1 else ""
        problems.setdefault(name, f"{within}{item['msg']}.")
    return problems
