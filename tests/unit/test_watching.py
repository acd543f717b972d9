"""What stands, on the metrics page: budgets of runs and days, circuits of models and tools, tokens of caches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agent import telemetry as t
from agent.fakes import ManualClock
from agent.span import Span
from bot.metrics import Metrics
from bot.watching import Watch, watch_breakers
from storage import ledger
from storage.database import Database
from storage.ledger import Budgets

DAY = 20_000
NOON = DAY * ledger.DAY_S + 43_200.0


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Values of a metric by those of its labels, in the order of the labels' names."""
    found: dict[tuple[str, ...], float] = {}
    for labels, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", metrics.page().decode(), re.MULTILINE):
        found[tuple(re.findall(r'="([^"]*)"', labels))] = float(value)
    return found


async def used(path: Path, days: Budgets) -> Metrics:
    """A day on which two people and, the day before, a third had model calls."""
    db = await Database.open(path / "secondkey.db", clock=ManualClock(at=NOON))
    for day, person, held, cost in (
        (DAY, "slack:T1:U0MAYA", 4_000_000, 0),
        (DAY, "slack:T1:U0OMAR", 3_000_000, 1_000_000),
        (DAY - 1, "slack:T1:U0THEO", 9_000_000, 0),
    ):

        def book(tx: Any, day: int = day, person: str = person, held: int = held, cost: int = cost) -> None:
            ledger.reserve(tx.conn, day, person, "anthropic:claude", held)
            if cost:
                ledger.settle(tx.conn, day, person, "anthropic:claude", held, cost)

        await db.write(book)
    metrics = Metrics()
    Watch(db, db.clock, budget_micro_usd=500_000, days=days).into(metrics)
    metrics.page()
    await db.close()
    return metrics


async def test_the_budgets_of_this_day_show_the_dearest_person_and_everybody_and_name_nobody(tmp_path: Path) -> None:
    metrics = await used(tmp_path, Budgets(person_day=5_000_000, everybody_day=50_000_000))
    assert samples(metrics, "agent_budget_used_ratio") == {
        ("run",): 0, ("person_day",): 0.8, ("everybody_day",): 0.1,
    }  # fmt: skip
    assert samples(metrics, "agent_budget_limit_usd") == {("run",): 0.5, ("person_day",): 5, ("everybody_day",): 50}
    assert "U0" not in metrics.page().decode()


async def test_a_day_without_a_limit_is_never_used_up(tmp_path: Path) -> None:
    metrics = await used(tmp_path, Budgets())
    assert samples(metrics, "agent_budget_used_ratio") == {("run",): 0, ("person_day",): 0, ("everybody_day",): 0}
    assert samples(metrics, "agent_budget_limit_usd")["everybody_day",] == 0


def circuits(states: dict[str, str], *known: str) -> dict[str, str]:
    """Each dependency on the page and where it stands."""
    metrics = Metrics()
    watch_breakers(metrics, lambda: states, lambda: known)
    found = samples(metrics, "agent_circuit_state")
    assert all(sum(found[name, state] for state in ("closed", "half_open", "open")) == 1 for name, _ in found)
    return {name: state for (name, state), value in found.items() if value}


def test_the_circuits_of_tools_stand_beside_those_of_models_from_the_start() -> None:
    shown = circuits({"query_sql": "open"}, "anthropic:claude", "query_sql", "mcp__tickets__close")
    assert shown == {"anthropic:claude": "closed", "query_sql": "open", "mcp__tickets__close": "closed"}


def test_the_places_that_agents_ask_for_are_no_labels_and_the_worst_of_them_counts() -> None:
    places = {f"http_request https://host{number}.example": "closed" for number in range(1_000)}
    places["http_request https://host7.example"] = "half_open"
    assert circuits(places, "http_request") == {"http_request": "half_open"}
    places["http_request https://host8.example"] = "open"
    assert circuits(places, "http_request") == {"http_request": "open"}


def test_a_circuit_of_what_is_not_there_any_more_counts_as_other() -> None:
    assert circuits({'gone"} 1': "open", "older": "closed"}, "query_sql") == {"query_sql": "closed", "other": "open"}


@pytest.mark.parametrize(("model", "label"), [("claude", "claude"), ("x" * 100_000, "other")])
def test_tokens_of_a_cache_are_counted_apart_from_those_that_they_are_part_of(model: str, label: str) -> None:
    metrics = Metrics(models=("anthropic:claude",))
    assert samples(metrics, "agent_llm_cache_tokens_total")["read", "claude"] == 0
    given = {
        t.OPERATION: "chat", t.PROVIDER: "anthropic", t.REQUEST_MODEL: model, t.COST: 0.25, t.INPUT_TOKENS: 100,
        t.CACHE_READ: 80, t.CACHE_CREATION: 15, t.CACHE_WRITE: 15,
    }  # fmt: skip
    metrics.told(Span("r1", 1, 2, "a span", 100.0, 101.0, given))
    counted = samples(metrics, "agent_llm_cache_tokens_total")
    assert (counted["read", label], counted["write", label]) == (80, 15)
    assert list(samples(metrics, "gen_ai_client_token_usage_sum").values()) == [100]
