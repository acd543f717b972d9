"""The control door: any process writes a flag, the holder of the lease takes it within a quarter of a second."""

from __future__ import annotations

from pathlib import Path

from agent.events import StopRequested
from storage.database import Database, Tx
from storage.flags import Flag, Kind, write_flag
from storage.journal import append

_COLUMNS = 'id, kind, run, "by", reason, at'


class Control:
    """Stop, pause, resume and kill. `write` is for every process; `stop` and `take` are for the holder of the lease."""

    def __init__(self, db: Database, *, kill_file: Path | None = None) -> None:
        self._db = db
        self._kill_file = kill_file

    async def write(self, kind: Kind, *, run: str = "", by: str, reason: str = "") -> int:
        """Leave a flag for the holder of the lease, for one run or (empty) all; raises StorageUnavailable.

        It counts from this commit on: every start reads it, also before the holder has taken it.
        """
        return await self._db.write(lambda tx: write_flag(tx, kind, run=run, by=by, reason=reason))

    async def stop(self, run: str, *, by: str, reason: str = "") -> tuple[str, ...]:
        """Stop one run, or all with an empty id, at once; returns the runs that were not over yet."""

        def write(tx: Tx) -> tuple[str, ...]:
            flag = write_flag(tx, "stop", run=run, by=by, reason=reason)
            tx.conn.execute("UPDATE control SET taken_at = ? WHERE id = ?", (tx.now, flag))
            return _request_stop(tx, Flag(flag, "stop", run, by, reason, tx.now))

        return await self._db.write(write)

    async def take(self) -> tuple[Flag, ...]:
        """Rows that nobody has taken yet, oldest first; a stop is journalled in the runs that it concerns."""
        if not self._db.read(
            lambda conn: conn.execute("SELECT 1 FROM control WHERE taken_at IS NULL LIMIT 1").fetchone()
        ):
            return ()

        def write(tx: Tx) -> tuple[Flag, ...]:
            rows = tx.conn.execute(f"SELECT {_COLUMNS} FROM control WHERE taken_at IS NULL ORDER BY id").fetchall()  # noqa: S608  # a constant
            flags = tuple(Flag(*row) for row in rows)
            for flag in flags:
                tx.conn.execute("UPDATE control SET taken_at = ? WHERE id = ?", (tx.now, flag.id))
                if flag.kind in {"stop", "kill"}:
                    _request_stop(tx, flag)
            return flags

        return await self._db.write(write)

    def standing(self) -> tuple[Flag, ...]:
        """Flags that still halt something, oldest first."""
        query = f"SELECT {_COLUMNS} FROM control WHERE lifted_at IS NULL ORDER BY id"  # noqa: S608  # a constant
        return self._db.read(lambda conn: tuple(Flag(*row) for row in conn.execute(query)))

    def is_taken(self, flag: int) -> bool:
        """Whether the holder of the lease has taken this row."""
        row = self._db.read(
            lambda conn: conn.execute("SELECT 1 FROM control WHERE id = ? AND taken_at IS NOT NULL", (flag,)).fetchone()
        )
        return row is not None

    @property
    def killed_by_file(self) -> bool:
        """Whether the kill file stands."""
        return self._kill_file is not None and self._kill_file.exists()

    async def lift(self, flag: int) -> None:
        """End one standing flag."""
        await self._db.write(
            lambda tx: tx.conn.execute(
                "UPDATE control SET lifted_at = ? WHERE id = ? AND lifted_at IS NULL", (tx.now, flag)
            )
        )  # fmt: skip


def _request_stop(tx: Tx, flag: Flag) -> tuple[str, ...]:
    """Journal a stop once in every run concerned that is not over; a stop of all is lifted, for later runs are free."""
    rows = tx.conn.execute(
        "SELECT id FROM runs WHERE status IN ('queued', 'running', 'waiting') AND (? = '' OR id = ?)",
        (flag.run, flag.run),
    ).fetchall()
    for (run,) in rows:
        append(tx, run, (StopRequested(by=flag.by, reason=flag.reason),))
    if flag.kind == "stop" and not rows:
        tx.conn.execute("UPDATE control SET lifted_at = ? WHERE id = ?", (tx.now, flag.id))
    return tuple(run for (run,) in rows)
