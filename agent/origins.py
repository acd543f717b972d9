"""Traces whom an action reaches through the run: what people said, what the policy trusts, what tools gave back."""

from __future__ import annotations

from agent.domain import Action, Effect
from agent.equipment import Equipment
from agent.facts.model import Facts
from agent.facts.provenance import target_values, trace
from agent.state import RunState

_TRUSTED = frozenset({"person", "configuration"})
#: What reaches somebody outside; a file or a row in the run's own reach is not traced.
_REACHING = frozenset({Effect.SEND, Effect.SPEND})
_OUTPUTS = 40
_CHARACTERS = 65_536


class Origins:
    """Adds to an action's facts where its target values came from."""

    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment

    async def traced(self, state: RunState, action: Action, facts: Facts) -> Facts:
        """The same facts with `provenance`, and the flag `untrusted_target` when somebody else named a target."""
        if facts.where != "network" and not any(item.effect in _REACHING for item in facts.effects):
            return facts
        values = target_values(action.arguments, facts.hosts)
        if not values or state.task is None:
            return facts
        said = [state.task.text, *[await self._body(digest) for digest in state.follow_ups]]
        outputs = [item.output_blob for item in state.actions.values() if item.output_blob][-_OUTPUTS:]
        trusted = [*self._kit.policy().limits.trusted, *(facts.hosts if "allowed_host" in facts.flags else ())]
        found = trace(values, said=said, trusted=trusted, outputs=[await self._body(digest) for digest in outputs])
        flags = facts.flags
        if not set(found.values()) <= _TRUSTED:
            flags = (*flags, "untrusted_target")
        return facts.model_copy(update={"provenance": found, "flags": flags})

    async def _body(self, digest: str) -> str:
        try:
            return (await self._kit.journal.blob(digest))[:_CHARACTERS]
        except KeyError:
            return ""  # dropped, or not written yet: then nobody is known to have said it
