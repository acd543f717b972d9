"""What a person spent, and how many runs they may still start: read from the runs themselves."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from storage import ledger
from storage.database import Database
from storage.ledger import Booked, Budgets
from storage.quotas import WINDOW_S, Quotas, check_quotas


@dataclass(frozen=True, slots=True)
class Spent:
    """Runs and money of one person since some moment. Micro-USD."""

    runs: int
    micro_usd: int
    on_the_way: int
    """Reserved for model calls that are on the wire."""


@dataclass(frozen=True, slots=True)
class Left:
    """What the quotas still allow; None means no limit. Business time."""

    person: int | None
    everybody: int | None
    at_once: int | None
    next_at: float
    """When the next run is possible; 0 for now, infinity for "when one of yours is over"."""


@dataclass(frozen=True, slots=True)
class DayMoney:
    """The budgets of a UTC day and what is booked against them."""

    budgets: Budgets
    person: Booked
    everybody: Booked
    models: tuple[Booked, ...]
    """The dearest first."""
    anew_at: float
    """Business time at which the next day begins."""


class Spending:
    """Counts over the runs; synchronous, in the loop's thread."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def since(self, requester: str, at: float) -> Spent:
        """Everything of a person's runs that were asked at or after a business time."""
        query = """SELECT count(*), coalesce(sum(spent_micro_usd), 0), coalesce(sum(reserved_micro_usd), 0)
          FROM runs WHERE requester = ? AND created_at >= ?"""
        return Spent(*self._db.read(lambda conn: conn.execute(query, (requester, at)).fetchone()))

    def days(self, requester: str, now: float, budgets: Budgets) -> DayMoney:
        """What was booked on the UTC day of this business time for a person, for everybody and for each model."""
        day = ledger.day_of(now)

        def read(conn: sqlite3.Connection) -> DayMoney:
            models = """SELECT name, spent_micro_usd, reserved_micro_usd, calls FROM ledger
              WHERE day = ? AND scope = 'model' ORDER BY spent_micro_usd DESC, name"""
            return DayMoney(
                budgets,
                person=ledger.booked(conn, day, "person", requester),
                everybody=ledger.booked(conn, day, "everybody"),
                models=tuple(Booked(*row) for row in conn.execute(models, (day,))),
                anew_at=float((day + 1) * ledger.DAY_S),
            )

        return self._db.read(read)

    def people(self, now: float, limit: int = 50) -> tuple[Booked, ...]:
        """Who has something booked on this UTC day, the dearest first."""
        query = """SELECT name, spent_micro_usd, reserved_micro_usd, calls FROM ledger
          WHERE day = ? AND scope = 'person' ORDER BY spent_micro_usd + reserved_micro_usd DESC, name LIMIT ?"""
        rows = self._db.fetch(query, (ledger.day_of(now), limit))
        return tuple(Booked(*row) for row in rows)

    def left(self, requester: str, now: float, quotas: Quotas) -> Left:
        """How many runs more, and when the next one is possible."""

        def read(conn: sqlite3.Connection) -> Left:
            since = now - WINDOW_S
            person = "SELECT count(*) FROM runs WHERE requester = ? AND created_at > ?"
            everybody = "SELECT count(*) FROM runs WHERE created_at > ?"
            busy = "SELECT count(*) FROM runs WHERE requester = ? AND status IN ('queued', 'running')"
            refused = check_quotas(conn, requester, now, quotas)
            next_at = 0.0 if refused is None else refused.retry_at or float("inf")
            return Left(
                _left(quotas.per_person, conn.execute(person, (requester, since)).fetchone()[0]),
                _left(quotas.everybody, conn.execute(everybody, (since,)).fetchone()[0]),
                _left(quotas.at_once, conn.execute(busy, (requester,)).fetchone()[0]),
                next_at,
            )

        return self._db.read(read)


def _left(limit: int, used: int) -> int | None:
    return max(0, limit - used) if limit else None
