"""The demonstration's database: a coffee shop of some 12,000 rows, the same on every machine and on every day."""

from __future__ import annotations

import datetime as dt
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

SEED = 20_260_101
CUSTOMERS, ORDERS, CARTS = 480, 3_600, 240
PENDING_FOR = {42: 4, 7: 2, 118: 3}
"""Customers who certainly have pending orders, and how many: the suggested tasks name them."""

_FIRST_DAY, _LAST_DAY = dt.date(2024, 1, 2), dt.date(2026, 10, 31)
_RECENT_DAYS = 45
"""Only orders of the last weeks are still pending or paid."""

SCHEMA = """
CREATE TABLE customers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  email TEXT NOT NULL UNIQUE,
  city TEXT NOT NULL,
  joined_on TEXT NOT NULL
) STRICT;
CREATE TABLE products (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  category TEXT NOT NULL,
  price_cents INTEGER NOT NULL CHECK (price_cents > 0),
  stock INTEGER NOT NULL CHECK (stock >= 0)
) STRICT;
CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  status TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'shipped', 'cancelled')),
  total_cents INTEGER NOT NULL CHECK (total_cents >= 0),
  ordered_on TEXT NOT NULL
) STRICT;
CREATE TABLE order_lines (
  order_id INTEGER NOT NULL REFERENCES orders (id),
  line INTEGER NOT NULL,
  product_id INTEGER NOT NULL REFERENCES products (id),
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  unit_cents INTEGER NOT NULL CHECK (unit_cents > 0),
  PRIMARY KEY (order_id, line)
) STRICT;
CREATE TABLE abandoned_carts (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  product_id INTEGER NOT NULL REFERENCES products (id),
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  left_on TEXT NOT NULL
) STRICT;
CREATE INDEX orders_by_customer ON orders (customer_id, status);
CREATE INDEX orders_by_day ON orders (ordered_on);
CREATE INDEX order_lines_by_product ON order_lines (product_id);
CREATE INDEX abandoned_carts_by_customer ON abandoned_carts (customer_id);
"""

_FIRST_NAMES = tuple(
    """Ada Amir Anna Ben Carla Chen Dana Elif Emil Fatima Finn Grace Hana Hugo Ida Ivan Jade Jonas Kofi Lea Leo Lina
    Mara Mateo Mila Nils Nora Olga Omid Paul Priya Rosa Sam Sara Tariq Tess Uma Vera Yusuf Zoe""".split()  # noqa: SIM905  # a list of names reads as names
)
_LAST_NAMES = tuple(
    """Abebe Andersen Bauer Brown Costa Cruz Dubois Evans Fischer Garcia Haddad Ivanova Jensen Kaya Kim Kowalski Larsen
    Lopez Mbeki Moreau Nguyen Novak Okafor Patel Petrov Reed Rossi Sato Silva Singh Smith Tanaka Weber Young""".split()  # noqa: SIM905  # as above
)
_CITIES = ("Aberdeen", "Bristol", "Cardiff", "Dover", "Exeter", "Glasgow", "Leeds", "London", "Plymouth", "York")
_BEANS = ("Antigua", "Harbour", "Huila", "Kochere", "Limu", "Mandheling", "Nyeri", "Sidamo", "Sumatra", "Tarrazu")
_GOODS: dict[str, tuple[tuple[str, int], ...]] = {
    "beans": tuple(
        (f"{bean} {grams} g", 740 + 31 * number + grams * 2)
        for number, bean in enumerate(_BEANS) for grams in (250, 1000)
    ),
    "drinks": (
        ("Espresso", 240), ("Double espresso", 290), ("Cortado", 310), ("Flat white", 340), ("Cappuccino", 350),
        ("Latte", 360), ("Filter of the day", 280), ("Cold brew", 390), ("Chai", 350), ("Hot chocolate", 370),
    ),
    "food": (
        ("Butter croissant", 260), ("Almond croissant", 310), ("Cinnamon bun", 320), ("Banana bread", 290),
        ("Oat cookie", 190), ("Cheese toastie", 590), ("Granola bowl", 640), ("Lemon cake", 340),
    ),
    "gear": (
        ("Hand grinder", 6_900), ("Pour-over dripper", 1_850), ("Paper filters, 100", 420), ("French press", 2_950),
        ("Gooseneck kettle", 5_400), ("Kitchen scale", 2_600), ("Travel mug", 2_200), ("Milk jug", 1_650),
    ),
}  # fmt: skip


def make_shop(path: Path) -> Path:
    """Write the database unless it is there already, whole or not at all; returns the path. Raises OSError."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f"{path.name}.new")
    making.unlink(missing_ok=True)
    with closing(sqlite3.connect(making, isolation_level=None)) as connection:
        connection.executescript("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF; BEGIN;" + SCHEMA)
        _fill(connection, random.Random(SEED))  # noqa: S311  # made-up goods and people, nothing secret
        connection.execute("COMMIT")
    making.replace(path)
    return path


def _fill(connection: sqlite3.Connection, chance: random.Random) -> None:
    products = [
        (number, name, category, cents, chance.randrange(400))
        for number, (category, name, cents) in enumerate(_goods(), 1)
    ]
    prices = {row[0]: row[3] for row in products}
    orders, lines = _orders(chance, prices)
    _insert(connection, "customers", [_customer(chance, number) for number in range(1, CUSTOMERS + 1)])
    _insert(connection, "products", products)
    _insert(connection, "orders", orders)
    _insert(connection, "order_lines", lines)
    _insert(connection, "abandoned_carts", [_cart(chance, number, prices) for number in range(1, CARTS + 1)])


def _insert(connection: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608  # our own names


def _goods() -> Iterator[tuple[str, str, int]]:
    for category, goods in _GOODS.items():
        for name, cents in goods:
            yield category, name, cents


def _customer(chance: random.Random, number: int) -> tuple[Any, ...]:
    first, last = chance.choice(_FIRST_NAMES), chance.choice(_LAST_NAMES)
    mail = f"{first}.{last}.{number}@example.com".lower()
    return number, f"{first} {last}", mail, chance.choice(_CITIES), _day(chance.random() * 0.8)


def _cart(chance: random.Random, number: int, prices: dict[int, int]) -> tuple[Any, ...]:
    product = chance.choice(list(prices))
    return number, chance.randint(1, CUSTOMERS), product, chance.randint(1, 4), _day(0.9 + chance.random() * 0.1)


def _day(share: float) -> str:
    """The day at this share, 0 to 1, of the shop's life."""
    return (_FIRST_DAY + dt.timedelta(days=round(share * (_LAST_DAY - _FIRST_DAY).days))).isoformat()


def _orders(chance: random.Random, prices: dict[int, int]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Orders by day, and their lines; the shop grows, so that later months have more."""
    wanted = [customer for customer, count in PENDING_FOR.items() for _ in range(count)]
    days = sorted(_day(chance.random() ** 0.7) for _ in range(ORDERS))
    recent = (_LAST_DAY - dt.timedelta(days=_RECENT_DAYS)).isoformat()
    certain = dict(zip(chance.sample(range(ORDERS - 100, ORDERS), len(wanted)), wanted, strict=True))
    orders: list[tuple[Any, ...]] = []
    lines: list[tuple[Any, ...]] = []
    for index, day in enumerate(days):
        customer, status = chance.randint(1, CUSTOMERS), _status(chance, is_recent=day >= recent)
        if index in certain:
            customer, status = certain[index], "pending"
        elif customer in PENDING_FOR and status == "pending":
            status = "paid"
        bought = chance.sample(list(prices), chance.choice((1, 1, 2, 2, 3, 4)))
        total = 0
        for line, product in enumerate(bought, 1):
            quantity = chance.choice((1, 1, 1, 2, 2, 3))
            total += quantity * prices[product]
            lines.append((1001 + index, line, product, quantity, prices[product]))
        orders.append((1001 + index, customer, status, total, day))
    return orders, lines


def _status(chance: random.Random, *, is_recent: bool) -> str:
    if is_recent:
        return chance.choice(("pending", "pending", "paid", "shipped", "shipped", "cancelled"))
    return "cancelled" if chance.random() < 0.06 else "shipped"  # noqa: PLR2004  # one in sixteen is called off
