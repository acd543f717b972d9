"""The floor: hand-written SQL, three commits a run, nothing but what must be durable."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from pathlib import Path

from harness import main, tune

_TABLE = """CREATE TABLE runs (id INTEGER PRIMARY KEY, state TEXT NOT NULL, call TEXT NOT NULL, decided_by TEXT,
  result TEXT)"""


class Floor:
    """Each commit is its own."""

    width = 1

    def __init__(self) -> None:
        self.effects: Counter[int] = Counter()

    async def open(self, path: Path) -> None:
        """Make the table."""
        self._conn = sqlite3.connect(path, isolation_level=None)
        tune(self._conn)
        self._conn.execute(_TABLE)

    async def start(self, number: int) -> str:
        """One row: the run and what it waits for."""
        call = json.dumps({"tool": "touch", "arguments": {"number": number}})
        return str(self._conn.execute("INSERT INTO runs(state, call) VALUES ('pending', ?)", (call,)).lastrowid)

    async def decide(self, key: str) -> float:
        """The decision and the start in one compare-and-swap, then the effect, then its result."""
        call = self._conn.execute(
            "UPDATE runs SET state = 'started', decided_by = ? WHERE id = ? AND state = 'pending' RETURNING call",
            ("omar", int(key)),
        ).fetchall()
        number = json.loads(call[0][0])["arguments"]["number"]
        self.effects[number] += 1
        result = json.dumps({"text": f"touched {number}"})
        self._conn.execute("UPDATE runs SET state = 'done', result = ? WHERE id = ?", (result, int(key)))
        return time.perf_counter()

    async def close(self) -> None:
        """Close the file."""
        self._conn.close()


if __name__ == "__main__":
    main(Floor)
