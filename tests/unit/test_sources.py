"""The line that says what an answer was read from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.domain import Effect, Outcome
from bot.blocks.sources import sources_line


def looked(tool: str, headline: str = "", **arguments: str) -> Any:
    rating = SimpleNamespace(intents=(SimpleNamespace(effect=Effect.READ),))
    action = SimpleNamespace(tool=tool, arguments=arguments)
    return SimpleNamespace(action=action, rating=rating, headline=headline, outcome=Outcome.SUCCEEDED)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (looked("query_sql", "Read from database shop"), "*Read:* database shop"),
        (looked("query_sql", "Count the orders"), "*Read:* Count the orders"),
        (looked("query_sql"), "*Read:* query_sql"),
        (looked("read_file", "Read a.md", path="a.md"), "*Read:* a.md"),
    ],
)
def test_the_line_says_once_that_it_was_read(item: Any, said: str) -> None:
    assert sources_line(SimpleNamespace(actions=[item])) == said  # type: ignore[arg-type]  # nothing else of it is looked at
