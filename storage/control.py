"""The control door: any process writes a flag, the holder of the lease takes it within a quarter of a second."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agent.domain import Principal
from agent.events import StopRequested
from storage.database import Database, Tx
from storage.flags import Flag, Kind, people_of, write_flag
from storage.grants import revoke_now
from storage.journal import append
from storage.scopes import EVERYTHING, Scope, read_kill_file

_COLUMNS = 'id, kind, run, "by", reason, at, tool, person, grant_id'
# A run uses a tool as long as an action of it is not over.
_GOING = """SELECT r.id FROM runs r WHERE r.status IN ('queued', 'running', 'waiting') AND (? = '' OR r.id = ?)
  AND (? = '' OR EXISTS (SELECT 1 FROM actions a WHERE a.run = r.id AND a.tool = ? AND a.phase <> 'finished'))"""


class Control:
    """Stop, pause, resume and kill. `write` is for every process; `stop` and `take` are for the holder of the lease."""

    def __init__(self, db: Database, *, kill_file: Path | None = None) -> None:
        self._db = db
        self._kill_file = kill_file

    async def write(
        self, kind: Kind, *, run: str = "", scope: Scope = EVERYTHING, by: str, reason: str = "", grant: str = ""
    ) -> int:
        """Leave a flag for the holder of the lease, for one run, a scope, or all; raises StorageUnavailable.

        It counts from this commit on: every start reads it, also before the holder has taken it.
        """
        wanted = Scope("run", run) if run else scope
        return await self._db.write(
            lambda tx: write_flag(tx, kind, scope=wanted, by=by, reason=reason, grant=grant), first=True
        )  # fmt: skip

    async def pause(self, scope: Scope = EVERYTHING, *, by: str, reason: str = "") -> int:
        """Let nothing of this scope start until it is resumed; returns the flag's id."""
        return await self.write("pause", scope=scope, by=by, reason=reason)

    async def resume(self, scope: Scope = EVERYTHING, *, by: str) -> int:
        """End the pauses and kills of exactly this scope, or every one; returns the flag's id."""
        return await self.write("resume", scope=scope, by=by)

    async def stop(
        self, run: str = "", *, scope: Scope = EVERYTHING, by: str, reason: str = ""
    ) -> tuple[str, ...]:  # fmt: skip
        """Stop one run, or all of a scope, at once; returns the runs that were not over yet.

        A tool's are those with an unfinished action of it, a person's those that they asked for or added words to.
        """
        wanted = Scope("run", run) if run else scope

        def write(tx: Tx) -> tuple[str, ...]:
            flag = write_flag(tx, "stop", scope=wanted, by=by, reason=reason)
            tx.conn.execute("UPDATE control SET taken_at = ? WHERE id = ?", (tx.now, flag))
            columns = (wanted.run, by, reason, tx.now, wanted.tool, wanted.person)
            return _request_stop(tx, Flag(flag, "stop", *columns))

        return await self._db.write(write, first=True)

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
                elif flag.kind == "revoke":
                    revoke_now(tx, flag.grant, Principal.parse(flag.by))
            return flags

        return await self._db.write(write, first=True)

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

    def going(self, scope: Scope) -> tuple[str, ...]:
        """The runs that a stop of this scope would end now."""
        return self._db.read(lambda conn: _going(conn, scope))

    def unstopped(self, scope: Scope) -> tuple[str, ...]:
        """Of them, those in which no stop was journalled yet."""
        query = "SELECT 1 FROM events WHERE run = ? AND type = 'stop_requested' LIMIT 1"
        return self._db.read(
            lambda conn: tuple(run for run in _going(conn, scope) if not conn.execute(query, (run,)).fetchone())
        )

    @property
    def killed_by_file(self) -> bool:
        """Whether the kill file stands, for whatever scope."""
        return bool(self.kill_scopes())

    def kill_scopes(self) -> tuple[Scope, ...]:
        """What the kill file names; none when it is not there."""
        return read_kill_file(self._kill_file)

    async def lift(self, flag: int) -> None:
        """End one standing flag."""
        await self._db.write(
            lambda tx: tx.conn.execute(
                "UPDATE control SET lifted_at = ? WHERE id = ? AND lifted_at IS NULL", (tx.now, flag)
            )
        )  # fmt: skip


def _going(conn: sqlite3.Connection, scope: Scope) -> tuple[str, ...]:
    rows = conn.execute(_GOING, (scope.run, scope.run, scope.tool, scope.tool)).fetchall()
    runs = tuple(run for (run,) in rows)
    if scope.kind != "person":
        return runs
    return tuple(run for run in runs if scope.covers(run=run, tool="", people=people_of(conn, run)))


def _request_stop(tx: Tx, flag: Flag) -> tuple[str, ...]:
    """Journal a stop once in every run concerned that is not over; a stop of all is lifted, for later runs are free."""
    runs = _going(tx.conn, flag.scope)
    for run in runs:
        append(tx, run, (StopRequested(by=flag.by, reason=flag.reason),))
    if flag.kind == "stop" and not runs:
        tx.conn.execute("UPDATE control SET lifted_at = ? WHERE id = ?", (tx.now, flag.id))
    return runs
