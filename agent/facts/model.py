"""The facts of one action, in the form in which policy rules read them."""

from __future__ import annotations

from typing import Any, Literal

from agent.domain import Effect, Intent, Value


class Facts(Value):
    """What was read off an action. A rule sees these fields by name, besides `tool`, `args` and `principal`."""

    effects: tuple[Intent, ...] = ()
    """Everything the action would do, as effect class and canonical target (`file:docs/a.md`, `db:shop/orders`)."""
    where: Literal["nowhere", "workspace", "project", "database", "network"] = "nowhere"
    """The furthest place that it touches."""
    reversibility: Literal["reversible", "compensable", "irreversible"] = "reversible"
    verbs: tuple[str, ...] = ()
    """SQL verbs, shell commands or Python calls, lower case."""
    flags: tuple[str, ...] = ()
    """From a closed set: destructive, unbounded, ddl, no_preview, unparseable, touches_ci, touches_credentials,
    seed_pattern, multi_statement, too_large, network, subprocess, sandbox_missing, outside, privileged, private_host,
    odd_address, allowed_host, untrusted_target, money, too_slow, own_tool, mcp, schema_changed."""
    counts: dict[str, int] = {}
    """Such as rows, files, bytes."""
    undecidable: tuple[str, ...] = ()
    """Why no analyser could tell, one sentence each; empty when all was decided."""
    hosts: tuple[str, ...] = ()
    """Other machines that are named, canonical: lower case, punycode, addresses in their one spelling."""
    amount: int = 0
    """Money that is named, in micro-units of whatever currency; 0 when there is none."""
    provenance: dict[str, str] = {}
    """Where each target value came from: `person`, `configuration`, `output` or `agent`."""

    @property
    def effect_classes(self) -> tuple[Effect, ...]:
        """The distinct effect classes."""
        return tuple(dict.fromkeys(item.effect for item in self.effects))

    def as_rule_input(self) -> dict[str, Any]:
        """Plain lists and maps for the rule engine."""
        return {
            "effects": [item.effect.value for item in self.effects],
            "targets": [item.target for item in self.effects],
            "where": self.where,
            "reversibility": self.reversibility,
            "verbs": list(self.verbs),
            "flags": list(self.flags),
            "counts": dict(self.counts),
            "undecidable": bool(self.undecidable),
            "hosts": list(self.hosts),
            "amount": self.amount,
            "provenance": dict(self.provenance),
        }
