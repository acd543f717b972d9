"""Tools whose effect is one line in a file, written through to the disk: the truth that the checker goes by."""

from __future__ import annotations

import os
from pathlib import Path

from agent.domain import Effect, Intent
from agent.facts.model import Facts
from agent.policy import Policy, load_policy
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult

TIERS = {"effect_low": "low", "effect_again": "low", "effect_medium": "medium", "effect_high": "high"}
"""Tool → its tier. `effect_again` is idempotent, so that a crash may run it a second time."""
RUNBOOKS = """
[[runbook]]
name = "low"
title = "Low"
example = "crash low x"
pattern = '^crash low (?P<name>[a-z0-9]+)$'
answer = "Low is done."
[[runbook.step]]
worker = "code"
instruction = "Do it."
together = true
[[runbook.step.call]]
id = "again"
tool = "effect_again"
arguments = { name = "{{ match.name }}-again" }
[[runbook.step.call]]
id = "once"
tool = "effect_low"
arguments = { name = "{{ match.name }}-once" }

[[runbook]]
name = "medium"
title = "Medium"
example = "crash medium x"
pattern = '^crash medium (?P<name>[a-z0-9]+)$'
answer = "Medium is done."
[[runbook.step]]
worker = "code"
instruction = "Do it."
[[runbook.step.call]]
id = "asked"
tool = "effect_medium"
arguments = { name = "{{ match.name }}-asked" }

[[runbook]]
name = "high"
title = "High"
example = "crash high x"
pattern = '^crash high (?P<name>[a-z0-9]+)$'
answer = "High is done."
[[runbook.step]]
worker = "code"
instruction = "Do it."
[[runbook.step.call]]
id = "person"
tool = "effect_high"
arguments = { name = "{{ match.name }}-person" }
[[runbook.step.call]]
id = "after"
tool = "effect_low"
arguments = { name = "{{ match.name }}-after" }
"""


class EffectArguments(Arguments):
    """What is written down."""

    name: str


class EffectTool(Tool[EffectArguments]):
    """Appends its name to the file, once a call."""

    arguments = EffectArguments

    def __init__(self, name: str, file: Path) -> None:
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]  # one class, several tools
        self.description = f"Has an effect of its own ({name})."  # pyright: ignore[reportAttributeAccessIssue]  # as above
        self.idempotent = name == "effect_again"  # pyright: ignore[reportAttributeAccessIssue]  # as above
        self._file = file

    async def facts(self, arguments: EffectArguments, context: ToolContext) -> Facts:
        """One thing is changed."""
        del context
        return Facts(where="workspace", effects=(Intent(effect=Effect.MODIFY, target=f"thing:{arguments.name}"),))

    def headline(self, arguments: EffectArguments, preview: Preview) -> str:
        """What would happen."""
        del preview
        return f"Have the effect {arguments.name}"

    async def run(self, arguments: EffectArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Have the effect: it stands on the disk when this returns."""
        del preview
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, f"{context.run} {self.name} {arguments.name}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)
        return ToolResult(text=arguments.name, summary=f"Had the effect {arguments.name}")


def effect_tools(file: Path) -> tuple[EffectTool, ...]:
    """One tool a tier, and the idempotent one."""
    return tuple(EffectTool(name, file) for name in TIERS)


def with_rules(policy: Policy) -> Policy:
    """The same policy, which knows the tools by name."""
    rules = "".join(
        f"[[rule]]\nname = '{name}'\nwhen = \"tool == '{name}'\"\ntier = '{tier}'\nsay = 'Its name.'\n"
        for name, tier in TIERS.items()
    )
    own = load_policy_text(rules).own
    return Policy(policy.version, policy.mode, policy.people, policy.limits, (*policy.shipped, *own), policy.own)


def load_policy_text(rules: str) -> Policy:
    """A policy of these rules."""
    return load_policy("version = 1\n" + rules)
