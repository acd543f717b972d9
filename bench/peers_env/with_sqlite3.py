"""The floor: hand-written SQL, three commits a run, nothing but what must be durable."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections import Counter
from pathlib import Path

from harness import main, tune

TABLES = (
    """CREATE TABLE runs (id TEXT PRIMARY KEY, task TEXT NOT NULL, requester TEXT NOT NULL, state TEXT NOT NULL,
      created_at REAL NOT NULL, result TEXT) WITHOUT ROWID""",
    """CREATE TABLE approvals (run TEXT PRIMARY KEY, tool TEXT NOT NULL, arguments TEXT NOT NULL, digest TEXT NOT NULL,
      state TEXT NOT NULL, expires_at REAL NOT NULL, decided_by TEXT, decided_at REAL) WITHOUT ROWID""",
    "CREATE INDEX deadline ON approvals(expires_at) WHERE state = 'pending'",
)


def begin(conn: sqlite3.Connection, number: int) -> str:
    """The run and what it waits for."""
    key, now = f"r{number:09d}", time.perf_counter()
    arguments = json.dumps({"number": number})
    digest = hashlib.sha256(f"{key} touch {arguments}".encode()).hexdigest()
    conn.execute("INSERT INTO runs VALUES (?, ?, 'U0MAYA', 'waiting', ?, NULL)", (key, f"touch {number}", now))
    values = (key, arguments, digest, now + 1800)
    conn.execute("INSERT INTO approvals VALUES (?, 'touch', ?, ?, 'pending', ?, NULL, NULL)", values)
    return key


def take(conn: sqlite3.Connection, key: str) -> int:
    """The decision and the start, by one compare-and-swap; the number to touch."""
    (row,) = conn.execute(
        "UPDATE approvals SET state = 'started', decided_by = 'U0OMAR', decided_at = ? "
        "WHERE run = ? AND state = 'pending' RETURNING tool, arguments, digest",
        (time.perf_counter(), key),
    ).fetchall()
    if hashlib.sha256(f"{key} {row[0]} {row[1]}".encode()).hexdigest() != row[2]:
        raise RuntimeError("The arguments are not those that were decided on.")
    return int(json.loads(row[1])["number"])


def finish(conn: sqlite3.Connection, key: str, result: str) -> None:
    """What came of it."""
    conn.execute("UPDATE runs SET state = 'done', result = ? WHERE id = ?", (result, key))


class Floor:
    """Each commit is its own."""

    width = 1

    def __init__(self) -> None:
        self.effects: Counter[int] = Counter()

    async def open(self, path: Path) -> None:
        """Make the tables."""
        self._conn = sqlite3.connect(path, isolation_level=None)
        tune(self._conn)
        for statement in TABLES:
            self._conn.execute(statement)

    async def start(self, number: int) -> str:
        """First durable point."""
        self._conn.execute("BEGIN IMMEDIATE")
        key = begin(self._conn, number)
        self._conn.execute("COMMIT")
        return key

    async def decide(self, key: str) -> float:
        """Second durable point, the effect, third durable point."""
        number = take(self._conn, key)
        self.effects[number] += 1
        finish(self._conn, key, f"touched {number}")
        return time.perf_counter()

    async def close(self) -> None:
        """Close the file."""
        self._conn.close()


if __name__ == "__main__":
    main(Floor)
