"""A race storm: everybody clicks Approve or Deny on everything, the deadline passes, two bots are killed in turn."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench._crash_harness import Harness, Life, Verdict
from bench._crash_people import ACTIONS, INES, LAPSE_S, OMAR, Ask
from simulator.people import Json

PATIENCE_S = 600.0
DOWN = "dispatch_failed"
FIRST_KILL, DEADLINE = 0.3, 0.6
"""Shares of the approvals that were clicked on when the first bot is killed, and when the deadline passes."""


@dataclass(slots=True)
class Storm:
    """What came of it."""

    verdict: Verdict
    clicks: Counter[str]
    """How Slack answered the clicks."""
    killed: int = 0


async def storm(harness: Harness, approvals: int, crowd: int) -> Storm:
    """Let it blow, then let people finish; the checker judges."""
    began = asyncio.get_running_loop().time()
    asks = [Ask("medium", f"s{number}", "nothing") for number in range(approvals)]
    people = [OMAR, INES, *(f"U1P{number:03}" for number in range(crowd - 2))]
    result = Storm(Verdict(None), Counter())
    folder = harness.new_folder()
    async with harness.life(
        folder, asks, result.verdict, ("none", "", 0, ""), patience_s=PATIENCE_S, approvers=people
    ) as life:
        await life.people.ask()
        await life.driver.wait_for_push(lambda _: len(_cards(life)) == approvals, timeout=PATIENCE_S)
        await _blow(life, people, result)
        await life.people.see_it_through()
    await harness.judge(life, folder, result.verdict, asks)
    result.verdict.seconds = asyncio.get_running_loop().time() - began
    return result


def _cards(life: Life) -> list[Json]:
    return [item for (channel, _), item in life.driver.messages.items() if channel == ACTIONS and item.get("blocks")]


async def _blow(life: Life, people: Sequence[str], result: Storm) -> None:
    """Everybody goes through the cards in nearly the same order, so that all are at the same card at once."""
    cards = _cards(life)
    seen = 0
    passed = [False, False]

    async def clicker(user: str, chance: random.Random) -> None:
        nonlocal seen
        for card in _nearly(cards, chance):
            button = chance.choice(("approve", "deny"))
            said = DOWN
            while said == DOWN:
                answer = await life.driver.click(user, card["channel"], card["ts"], button)
                said = "taken" if answer.get("ok") else str(answer.get("error"))
                result.clicks[said] += 1
                if said == DOWN:
                    await life.keeper.up()
            seen += 1
            await interfere(seen / len(people) / len(cards))

    async def interfere(share: float) -> None:
        if share >= FIRST_KILL and not passed[0]:
            passed[0] = True
            result.killed += 1
            await life.keeper.kill()
        if share >= DEADLINE and not passed[1]:
            passed[1] = True
            life.page.advance(LAPSE_S)
            await asyncio.sleep(0.05)
            result.killed += 1
            await life.keeper.kill()

    await asyncio.gather(*(clicker(user, random.Random(user)) for user in people))  # noqa: S311  # no secret


def _nearly(cards: Sequence[Json], chance: random.Random) -> list[Json]:
    """The cards in their order, each a few places off."""
    return [card for _, card in sorted(enumerate(cards), key=lambda item: item[0] + chance.uniform(0, 3))]
