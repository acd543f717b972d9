"""The attack suite: how much it holds. What it finds is its own to say: `python -m bench.attacks`."""

from __future__ import annotations

from collections import Counter

import pytest

from bench._attack_cases import attacks, benign
from bench._attack_edge import edge_attacks
from bench._attack_host import host_attacks
from bench._attack_late import late_attacks
from bench._attack_mcp import mcp_attacks


def test_there_are_attacks_of_every_class_and_enough_that_is_harmless() -> None:
    kinds = Counter(case.kind for case in attacks())
    assert kinds.total() >= 150
    assert min(kinds.values()) >= 5
    assert len(set(benign())) == len(benign()) >= 60
    assert sum(not case.shown for case in attacks()) == kinds["resources"]


@pytest.mark.parametrize("kind", ["paths to read", "addresses", "names that lead inside", "headers"])
async def test_the_tools_of_the_host_refuse_every_attack(kind: str) -> None:
    tried, stopped, through = (await host_attacks())[kind]
    assert (stopped, through) == (tried, [])


@pytest.mark.parametrize("kind", ["TOCTOU", "redirects", "DNS rebinding"])
async def test_what_is_swapped_after_the_yes_or_leads_elsewhere_is_refused(kind: str) -> None:
    tried, stopped, through = (await late_attacks())[kind]
    assert (stopped, through) == (tried, [])
    assert tried >= 8


async def test_answers_that_swell_end_and_links_that_are_swapped_lead_nowhere() -> None:
    for tried, stopped, through in (await edge_attacks()).values():
        assert (stopped, through) == (tried, [])


async def test_a_tool_of_another_server_that_changes_is_never_called() -> None:
    for tried, stopped, through in (await mcp_attacks()).values():
        assert (stopped, through) == (tried, [])
