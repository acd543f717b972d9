"""The demonstration's database."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from bot.shop import PENDING_FOR, make_shop

TABLES = ("customers", "products", "orders", "order_lines", "abandoned_carts")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop") / "shop.db")


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def content(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


def test_the_shop_has_at_least_five_thousand_rows_in_its_five_tables(shop: Path) -> None:
    counts = {table: ask(shop, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}  # noqa: S608  # our names
    assert all(isinstance(count, int) and count > 40 for count in counts.values())
    assert sum(int(str(count)) for count in counts.values()) >= 5_000


def test_the_shop_is_made_in_less_than_a_second(tmp_path: Path) -> None:
    began = time.perf_counter()
    make_shop(tmp_path / "shop.db")
    assert time.perf_counter() - began < 1


def test_two_shops_are_the_same(shop: Path, tmp_path: Path) -> None:
    assert content(make_shop(tmp_path / "other.db")) == content(shop)


def test_a_shop_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    path = make_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM abandoned_carts")
        connection.commit()
    make_shop(path)
    assert ask(path, "SELECT count(*) FROM abandoned_carts") == [(0,)]


def test_what_an_interrupted_start_left_behind_is_no_shop(tmp_path: Path) -> None:
    (tmp_path / "shop.db.new").write_bytes(b"half of a database")
    path = make_shop(tmp_path / "shop.db")
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]
    assert [item.name for item in tmp_path.iterdir()] == ["shop.db"]


def test_the_rows_hold_together(shop: Path) -> None:
    assert ask(shop, "PRAGMA foreign_key_check") == []
    wrong = ask(
        shop,
        "SELECT id FROM orders WHERE total_cents <> "
        "(SELECT sum(quantity * unit_cents) FROM order_lines WHERE order_id = orders.id)",
    )
    assert wrong == []


def test_orders_have_all_four_states_and_dates_of_three_years(shop: Path) -> None:
    states = {str(row[0]) for row in ask(shop, "SELECT DISTINCT status FROM orders")}
    assert states == {"pending", "paid", "shipped", "cancelled"}
    years = {str(row[0]) for row in ask(shop, "SELECT DISTINCT substr(ordered_on, 1, 4) FROM orders")}
    assert years == {"2024", "2025", "2026"}


def test_the_customers_that_the_tasks_name_have_pending_orders(shop: Path) -> None:
    for customer, count in PENDING_FOR.items():
        found = ask(shop, f"SELECT count(*) FROM orders WHERE customer_id = {customer} AND status = 'pending'")  # noqa: S608  # a number of ours
        assert found == [(count,)]


def test_every_table_has_a_key_and_no_column_that_may_be_null(shop: Path) -> None:
    for table in TABLES:
        columns = ask(shop, f"PRAGMA table_info({table})")
        assert any(column[5] for column in columns), f"{table} has no primary key"
        assert all(column[3] or column[5] for column in columns), f"{table} has a column that may be NULL"
    assert ask(shop, "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")[0][0] == 4
