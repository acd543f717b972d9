"""The ledger of money: what model calls reserved and cost on each UTC day of business time, in integer micro-USD.

Each call is booked three times: for everybody, for the person whose run it is, and for the model. A call stays on the
day on which it was reserved.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from agent.errors import BudgetExceeded

DAY_S = 86_400
EVERYBODY = "everybody"
Scope = Literal["everybody", "person", "model"]

_BOOK = """INSERT INTO ledger(day, scope, name, reserved_micro_usd, spent_micro_usd, calls)
    VALUES (:day, 'everybody', '', :held, 0, 1), (:day, 'person', :person, :held, 0, 1),
      (:day, 'model', :model, :held, 0, 1)
  ON CONFLICT(day, scope, name) DO UPDATE SET reserved_micro_usd = reserved_micro_usd + excluded.reserved_micro_usd,
    calls = calls + 1"""
_SETTLE = """UPDATE ledger
  SET reserved_micro_usd = reserved_micro_usd - :held, spent_micro_usd = spent_micro_usd + :cost
  WHERE day = :day AND (scope, name) IN (VALUES ('everybody', ''), ('person', :person), ('model', :model))"""


@dataclass(frozen=True, slots=True)
class Budgets:
    """Micro-USD that model calls may cost on one day; 0 means no limit."""

    person_day: int = 0
    """Of the runs of one person."""
    everybody_day: int = 0


@dataclass(frozen=True, slots=True)
class Booked:
    """What stands in the ledger under one name, micro-USD."""

    name: str
    spent: int = 0
    reserved: int = 0
    calls: int = 0

    @property
    def taken(self) -> int:
        """What is not there any more for another call."""
        return self.spent + self.reserved


def day_of(at: float) -> int:
    """The UTC day of a business time, counted from 1970."""
    return int(at // DAY_S)


def reserve(conn: sqlite3.Connection, day: int, person: str, model: str, micro_usd: int) -> None:
    """Book what a call may cost at most."""
    conn.execute(_BOOK, {"day": day, "person": person, "model": model, "held": micro_usd})


def settle(  # noqa: PLR0917  # the booking's key, and the two amounts
    conn: sqlite3.Connection, day: int, person: str, model: str, held: int, cost: int
) -> None:
    """Put what a call cost in the place of what was held for it; nothing for a day that was never booked."""
    conn.execute(_SETTLE, {"day": day, "person": person, "model": model, "held": held, "cost": cost})


def booked(conn: sqlite3.Connection, day: int, scope: Scope, name: str = "") -> Booked:
    """What stands under one name on one day."""
    query = """SELECT name, spent_micro_usd, reserved_micro_usd, calls FROM ledger
      WHERE day = ? AND scope = ? AND name = ?"""
    row = conn.execute(query, (day, scope, name)).fetchone()
    return Booked(*row) if row else Booked(name)


def refusal(
    conn: sqlite3.Connection, now: float, person: str, micro_usd: int, budgets: Budgets
) -> BudgetExceeded | None:  # fmt: skip
    """Why a call that may cost so much would break a day's budget; None when it would not."""
    day = day_of(now)
    again = float((day + 1) * DAY_S)
    if budgets.person_day and booked(conn, day, "person", person).taken + micro_usd > budgets.person_day:
        text = f"Your budget for a day ({_usd(budgets.person_day)}) is used up"
        return BudgetExceeded(f"{text}; {_anew(again)}.", scope="person_day", retry_at=again)
    if budgets.everybody_day and booked(conn, day, "everybody").taken + micro_usd > budgets.everybody_day:
        text = f"Everybody's budget for a day ({_usd(budgets.everybody_day)}) is used up"
        return BudgetExceeded(f"{text}; {_anew(again)}.", scope="everybody_day", retry_at=again)
    return None


def forget(conn: sqlite3.Connection, before: float) -> int:
    """Drop the days that were over at a business time; returns how many rows."""
    return conn.execute("DELETE FROM ledger WHERE day < ?", (day_of(before),)).rowcount


def _usd(micro_usd: int) -> str:
    dollars = micro_usd / 1_000_000
    return f"${dollars:.2f}" if dollars >= 0.01 else f"${dollars:.4f}"  # noqa: PLR2004  one cent


def _anew(at: float) -> str:
    return f"it begins anew at {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
