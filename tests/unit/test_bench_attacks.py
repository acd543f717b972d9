"""The attack suite: how much it holds. What it finds is its own to say: `python -m bench.attacks`."""

from __future__ import annotations

from collections import Counter

import pytest

from bench._attack_cases import attacks, benign
from bench._attack_host import host_attacks


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
