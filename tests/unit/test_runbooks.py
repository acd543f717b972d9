"""Runbooks: which tasks they take up, that their templates fit the real tools, and that their answers are true."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Place, Plan, Principal, Task
from agent.errors import ConfigurationError, ToolError
from agent.policy import load_policy
from agent.runbooks import LONGEST_TASK, Runbook, Runbooks, asked, render, values
from agent.sandbox.bubblewrap import Bubblewrap
from agent.tools.base import Database, ToolContext
from agent.tools.registry import Registry, default_tools
from bot.demo_place import RUNBOOKS
from bot.shop import make_shop

BOOKS = Runbooks.load([RUNBOOKS])
MAYA = Principal(team="T1", user="U0MAYA")
BY_HAND = {"text": "Done by hand.", "data": None, "ok": True}


def task(text: str) -> Task:
    return Task(id="t1", text=text, principal=MAYA, place=Place())


def taken_by(text: str, books: Runbooks = BOOKS) -> str:
    plan = books.plan(task(text))
    return plan.planner.removeprefix("runbook:") if plan else ""


@pytest.mark.parametrize("book", BOOKS.books, ids=lambda book: book.name)
def test_an_example_is_taken_up_by_its_own_runbook_first(book: Runbook) -> None:
    assert taken_by(book.example) == book.name


def test_the_embedded_runbooks_know_nothing_of_the_shop() -> None:
    embedded = Runbooks.load()
    assert taken_by("Empty the abandoned carts table", embedded) == ""
    assert all(taken_by(book.example, embedded) == book.name for book in embedded.books)


def test_four_tasks_are_suggested_from_low_to_high() -> None:
    assert [text for _, text in BOOKS.prompts] == list(BOOKS.examples[:4])
    assert [taken_by(text) for text in BOOKS.examples[:4]] == [
        "python-lines",
        "readme-getting-help",
        "cancel-pending-orders",
        "empty-abandoned-carts",
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hi, how many lines of Python do we have?", "python-lines"),
        ("Count the lines of python code in this repo", "python-lines"),
        ("Which Python files are the longest?", "python-lines"),
        ("Could you please write a Getting help section into our README.md? Thanks!", "readme-getting-help"),
        ("please cancel all pending orders for customer #7.", "cancel-pending-orders"),
        ("Cancel customer 118\u2019s pending orders for me", "cancel-pending-orders"),
        ("CANCEL THE PENDING ORDERS OF CUSTOMER 42!", "cancel-pending-orders"),
        ("I'd like you to clear out abandoned_carts", "empty-abandoned-carts"),
        ("delete all rows from abandoned_carts", "empty-abandoned-carts"),
        ("Set order #4512 to paid", "mark-order"),
        ("raise the price of product 3 to €12,50", "change-price"),
        ("How much did we sell per month?", "sales-per-month"),
        ("sales per month in 2024", "sales-per-month"),
        ("Show me the top 10 products in 2026", "top-products"),
        ("who has pending orders?", "customers-with-pending-orders"),
        ("How many shipped orders do we have", "orders-by-status"),
        ("list pending orders of customer 42", "customer-orders"),
        ("Where is order 4512?", "show-order"),
        ("search for deadline in the code", "search-project"),
        ("where is `deadline` used?", "search-project"),
        ("show pyproject.toml lines 3-9", "read-file"),
        ("What's in agent/domain.py?", "read-file"),
        ("list the files in docs", "list-files"),
        ("17 * 23", "arithmetic"),
        ("what is 2^10 =", "arithmetic"),
        ("15% of 80?", "percentage"),
        ("Run this Python:\n```\nprint('a')\nprint('b')\n```", "run-python"),
    ],
)
def test_wording_may_vary(text: str, name: str) -> None:
    assert taken_by(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "Cancel the pending orders of customer 42 that are older than a month",
        "Do not cancel the pending orders of customer 42",
        "Cancel the pending orders of customers 42 and 43",
        "Cancel the orders of customer 42",
        "Why did you cancel the pending orders of customer 42?",
        "Empty the abandoned carts table except for customer 7",
        "Should we empty the abandoned carts table?",
        "Empty the orders table",
        "Mark order 4512 as shipped and refund it",
        "Change the price of product 25 to 3.1",
        "Add a getting-help section to the README and delete the rest",
        "How many lines of Python did Maya write?",
        "What is love?",
        "What is 1,250 * 3?",
        "",
        "please",
    ],
)
def test_a_task_of_which_a_part_would_be_ignored_is_not_taken_up(text: str) -> None:
    assert taken_by(text) == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello there! Could you please do it for me now? Thanks!", "do it"),
        ("  do it...  ", "do it"),
        ("please", "please"),
        ("what is 5!", "what is 5!"),
        ("Nowhere to go", "Nowhere to go"),
        ("", ""),
    ],
)
def test_politeness_is_taken_off_and_nothing_else(text: str, wanted: str) -> None:
    assert asked(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "1" * LONGEST_TASK,
        "1+" * (LONGEST_TASK // 2),
        "show " + "a/" * 1900 + "?",
        "search for " + '"' * 3900,
        "cancel the pending orders of customer " + " " * 3900 + "x",
        "please " * 570,
        "add a " + " section to the" * 260,
        "x" * 100_000,
    ],
)
def test_no_text_keeps_the_patterns_busy(text: str) -> None:
    began = time.perf_counter()
    BOOKS.plan(task(text))
    assert time.perf_counter() - began < 0.5


def test_a_broken_file_is_named_with_what_is_wrong() -> None:
    for text, wrong in (
        ("[[runbook", "not TOML"),
        ("[[runbook]]\nname = 'a'", "Field required"),
        (_book(pattern="("), "bad pattern"),
        (_book(pattern="^other$"), "does not fit"),
        (_book(pattern="^do it$", more="colour = 1"), "Extra inputs"),
    ):
        with pytest.raises(ConfigurationError, match=wrong):
            Runbooks.parse(text)
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml cannot be read"):
        Runbooks.load([Path("nowhere.toml")])


def _book(pattern: str, more: str = "") -> str:
    step = (
        "[[runbook.step]]\nworker = 'research'\ninstruction = 'x'\n[[runbook.step.call]]\nid = 'a'\ntool = 'search'\n"
    )
    return (
        f"[[runbook]]\nname = 'a'\ntitle = 'a'\nexample = 'do it'\npattern = '{pattern}'\nanswer = ''\n{more}\n{step}"
    )


def test_templates_give_texts_and_expressions_give_values() -> None:
    known = {"match": {"n": "3"}, "out": {"a": {"data": [1, 2]}}}
    assert render({"x": ["{{ match.n }}", "=out.a.data[1]", 7]}, known) == {"x": ["3", 2, 7]}
    assert (
        render('{{ 1234567 | thousands }} {{ 123456 | cents }} {{ "it\'s" | sql }}', {}) == "1,234,567 1,234.56 'it''s'"
    )
    assert (
        render('{{ [["a", 5, 0], ["bc", 10, 0]] | table("name", "n") }}', {})
        == "```\nname   n\na      5\nbc    10\n```"
    )
    for bad in ("{{ nothing }}", "{{ match.n.__class__ }}", "= 1 +", "{% if %}"):
        with pytest.raises(ConfigurationError):
            render(bad, known)


def test_a_code_block_cannot_be_ended_from_inside() -> None:
    assert render("{{ text | code }}", {"text": "a\n```\n<!channel>"}).count("```") == 2


# -- the whole of each runbook, with the real tools, a real project and the real shop ---------------------------------


@dataclass(frozen=True)
class World:
    context: ToolContext
    shop: Path

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.shop)) as connection:
            return connection.execute(sql).fetchall()

    async def follow(self, text: str, by_hand: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], str, str]:
        """Do what the runbook says; gives the outputs, the answer and the highest tier that was rated."""
        plan = BOOKS.plan(task(text))
        assert plan is not None, f"no runbook takes up {text!r}"
        registry, policy = Registry(default_tools()), load_policy(None)
        outputs: dict[str, Any] = {}
        tiers = ["low"]
        for step in plan.steps:
            for call in step.script:
                arguments = render(call.arguments, self.known(text, plan, outputs))
                tool = registry.get(call.tool, step.worker)
                bound = await tool.bind(tool.parse(arguments), self.context)
                facts = await tool.facts(bound, self.context)
                risk = policy.rate(tool.name, bound.model_dump(), facts, MAYA, read_only=tool.read_only)
                tiers.append(risk.tier.value)
                if by_hand and call.id in by_hand:
                    outputs[call.id] = by_hand[call.id]
                    continue
                preview = await tool.preview(bound, self.context)
                result = await tool.run(bound, self.context, preview)
                assert result.ok, result.text
                outputs[call.id] = result.model_dump(mode="json")
        answer = str(render(plan.answer, self.known(text, plan, outputs))).strip()
        return outputs, answer, max(tiers, key=("low", "medium", "high").index)

    def known(self, text: str, plan: Plan, outputs: dict[str, Any]) -> dict[str, Any]:
        return values(task(text), plan, BOOKS, outputs)


@pytest.fixture
def world(tmp_path: Path) -> World:
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    (project / "README.md").write_text("# Shop\n\nSells coffee.\n", encoding="utf-8")
    (project / "docs" / "a.md").write_text("timeout: 30 s\n", encoding="utf-8")
    (project / "one.py").write_text("a = 1\nb = 2\n", encoding="utf-8")
    (project / "deep").mkdir()
    (project / "deep" / "two.py").write_text("print('timeout')\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(project)], check=True)  # noqa: S603, S607  # fixed words
    shop = make_shop(tmp_path / "shop.db")
    context = ToolContext(
        run="r1",
        workspace=tmp_path / "workspaces" / "r1",
        project=project,
        sandbox=Bubblewrap(),
        databases={"shop": Database("shop", shop)},
    )
    return World(context, shop)


READS = [
    book.example
    for book in BOOKS.books
    if all(
        call.tool in {"query_sql", "search", "list_files", "read_file", "calculate"}
        for step in book.step
        for call in step.call
    )
    and all(step.worker == "research" for step in book.step)
]


@pytest.mark.parametrize("text", READS)
async def test_a_runbook_that_reads_is_low_and_answers(world: World, text: str) -> None:
    _, answer, tier = await world.follow(text)
    assert tier == "low"
    assert answer
    assert "{{" not in answer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('Search the project for "timeout"', "deep/two.py:1: print('timeout')"),
        ("search for nonsense-that-is-nowhere", "nowhere"),
        ("Show me README.md", "lines 1 to 3 of 3:"),
        ("Show me README.md lines 3-3", "Sells coffee."),
        ("Show me README.md line 9", "has only 3 lines"),
        ("Which files are in the project?", "**4** files"),
        ("list the files in docs", "docs/a.md"),
        ("What is (1250 * 1.19) / 3?", "**495.8333333333333**"),
        ("What is 2^10?", "**1024**"),
        ("What is 15 % of 80?", "**12.0**"),
        ("Show the orders of customer 99999", "There is no customer 99999."),
        ("Where is order 1?", "There is no order 1."),
        ("sales per month in 2011", ""),
        ("sales per month in 2077", "There are no paid or shipped orders of 2077."),
    ],
)
async def test_an_answer_says_what_is_there(world: World, text: str, said: str) -> None:
    _, answer, _ = await world.follow(text)
    assert said in answer


async def test_figures_of_the_shop_are_those_of_its_rows(world: World) -> None:
    _, answer, _ = await world.follow("How many orders are pending?")
    pending = world.rows("SELECT count(*) FROM orders WHERE status = 'pending'")[0][0]
    assert f"**{pending}** orders are pending" in answer
    _, answer, _ = await world.follow("What were our sales per month in 2025?")
    kept = "FROM orders WHERE status IN ('paid', 'shipped') AND ordered_on LIKE '2025-%'"
    count, cents = world.rows(f"SELECT count(*), sum(total_cents) {kept}")[0]
    assert f"**{count:,}** orders worth **{cents / 100:,.2f}**" in answer
    _, answer, _ = await world.follow("Which customers have pending orders?")
    assert "  42  " in answer


async def test_cancelling_changes_the_pending_orders_of_that_customer_and_no_others(world: World) -> None:
    before = world.rows("SELECT id, status FROM orders WHERE customer_id <> 42 ORDER BY id")
    _, answer, tier = await world.follow("Cancel the pending orders of customer 42")
    assert tier == "medium"
    assert "Cancelled **4** orders" in answer
    assert world.rows("SELECT count(*) FROM orders WHERE customer_id = 42 AND status = 'pending'") == [(0,)]
    assert world.rows("SELECT id, status FROM orders WHERE customer_id <> 42 ORDER BY id") == before
    _, again, tier = await world.follow("Cancel customer 42's pending orders")
    assert tier == "low", "nobody is asked about a change of nothing"
    assert "has no pending orders, so nothing was changed" in again


async def test_a_customer_who_is_not_there_is_named_and_nobody_is_asked(world: World) -> None:
    _, answer, tier = await world.follow("Cancel the pending orders of customer 99999")
    assert (answer, tier) == ("There is no customer 99999, so nothing was changed.", "low")


@pytest.mark.parametrize(
    ("text", "said", "again", "sql"),
    [
        (
            "Mark order 4512 as shipped",
            "Order 4512 is **shipped** now; it was pending.",
            "already",
            "SELECT status FROM orders WHERE id = 4512",
        ),
        (
            "Change the price of product 25 to 99.05",
            "costs **99.05** now",
            "already",
            "SELECT price_cents FROM products WHERE id = 25",
        ),
    ],
)
async def test_a_change_of_one_row_is_medium_and_happens_once(
    world: World, text: str, said: str, again: str, sql: str
) -> None:
    before = world.rows(sql)
    _, answer, tier = await world.follow(text)
    assert tier == "medium"
    assert said in answer
    assert world.rows(sql) != before
    _, answer, tier = await world.follow(text)
    assert (tier, again in answer) == ("low", True)


async def test_emptying_a_table_is_high_and_the_answer_gives_a_person_the_credit(world: World) -> None:
    outputs, answer, tier = await world.follow("Empty the abandoned carts table", {"emptied": BY_HAND})
    assert tier == "high"
    assert outputs["before"]["data"]["rows"] == outputs["after"]["data"]["rows"] == [[240]]
    assert (
        "had **240** rows and has **240** now. I did not do it: a person took it over. **The table is not empty.**"
        in answer
    )


async def test_a_table_that_is_empty_now_is_not_said_to_be_full(world: World) -> None:
    _, answer, _ = await world.follow("Empty the abandoned carts table")
    assert "has **0** now." in answer
    assert "not empty" not in answer


@pytest.mark.needs("bwrap", "git")
async def test_python_lines_are_counted_in_the_sandbox(world: World) -> None:
    outputs, answer, tier = await world.follow(BOOKS.examples[0])
    assert tier == "low"
    assert outputs["listed"]["data"]["count"] == 2
    assert "There are **3 lines of Python in 2 files** in this project." in answer
    assert "      2  one.py\n      1  deep/two.py" in answer


@pytest.mark.needs("bwrap", "git")
async def test_code_from_the_task_runs_as_it_was_written(world: World) -> None:
    _, answer, tier = await world.follow("Run this Python:\n```python\nfor n in (1, 2):\n    print('{{', n)\n```")
    assert tier == "low"
    assert "{{ 1\n{{ 2" in answer


@pytest.mark.needs("bwrap", "git")
async def test_the_readme_gets_its_section_once(world: World) -> None:
    readme = world.context.project / "README.md"
    _, answer, tier = await world.follow("Add a getting-help section to the README")
    assert tier == "medium"
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Shop\n\nSells coffee.\n\n## Getting help\n\n- Look first")
    assert "## Getting help" in answer
    assert "README.md" in answer
    with pytest.raises(ToolError, match="no changes"):
        await world.follow("Add a getting-help section to the README")
    assert readme.read_text(encoding="utf-8") == text
