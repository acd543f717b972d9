"""Fixtures of the scenario tests: houses that are opened, and closed in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.house import House, Plan

Opened = Callable[..., Awaitable[House]]


@pytest.fixture
async def open_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opened]:
    """Open a house with this plan, such as `await open_house(model=…)`."""
    houses: list[House] = []

    async def build(**plan: Any) -> House:  # noqa: ANN401  # the fields of Plan
        folder = tmp_path / f"house{len(houses)}"
        folder.mkdir()
        house = House(folder, Plan(**plan), monkeypatch)
        await house.open()
        houses.append(house)
        return house

    yield build
    for house in houses:
        await house.close()


@pytest.fixture
async def house(open_house: Opened) -> House:
    """A house with real tools, planned by runbooks, over Socket Mode."""
    return await open_house()
