"""Fixtures of the scenario tests: houses that are opened, and closed in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.ports import Sandbox
from agent.sandbox.select import choose
from tests.scenario.house import House
from tests.scenario.world import Plan, make_project

Opened = Callable[..., Awaitable[House]]


@pytest.fixture(scope="session")
def project_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small git project, to be copied."""
    path = tmp_path_factory.mktemp("template") / "project"
    make_project(path)
    return path


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """The sandbox of this machine, tried once."""
    return asyncio.run(choose())


@pytest.fixture
async def open_house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_template: Path, sandbox: Sandbox
) -> AsyncIterator[Opened]:
    """Open a house with this plan, such as `await open_house(model=…)`."""
    houses: list[House] = []

    async def build(**plan: Any) -> House:  # the fields of Plan
        folder = tmp_path / f"house{len(houses)}"
        folder.mkdir()
        house = House(folder, Plan(**plan), monkeypatch)
        await house.open(project_template, sandbox)
        houses.append(house)
        return house

    yield build
    for house in houses:
        await house.close()


@pytest.fixture
async def house(open_house: Opened) -> House:
    """A house with real tools, planned by runbooks, over Socket Mode."""
    return await open_house()
