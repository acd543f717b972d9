"""The lease: which process may drive runs. Transport time; same host only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.errors import LeaseLost
from agent.ports import Ids
from storage.database import Database, Tx

LEASE_S = 10.0
RENEW_EVERY_S = 3.0
_NAME = "driver"
ENDED = "ended"
"""The row that keeps until when effects of all earlier holders may last; our own ones do not count there."""


_HELD = "SELECT expires_at, effects_until FROM lease WHERE token = ? AND expires_at > ?"
_BEGIN_EFFECT = """UPDATE lease SET effects_until = max(effects_until, ?) WHERE token = ? AND expires_at > ?
  RETURNING expires_at, effects_until"""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease now, for people who ask."""

    holder: str
    token: str
    expires_at: float
    effects_until: float


def refuse_without_lease(tx: Tx, token: str, effect_s: float) -> None:
    """Raise LeaseLost unless the token holds it now; a successor waits for an effect that is begun here."""
    known = tx.known.leases.get(token)
    until = math.ceil(tx.transport + effect_s) if effect_s else 0.0  # whole seconds: most starts of a batch share one
    if known is None or until > known[1]:
        statement, values = (_BEGIN_EFFECT, (until, token, tx.transport)) if until else (_HELD, (token, tx.transport))
        row = tx.conn.execute(statement, values).fetchall()
        if not row:
            raise LeaseLost
        known = tx.known.leases[token] = row[0]
    if known[0] <= tx.transport:
        raise LeaseLost


class Lease:
    """One process's claim to drive runs. Its token is made once; a process that lost the lease ends."""

    def __init__(self, db: Database, ids: Ids, *, holder: str) -> None:
        self._db = db
        self.holder = holder
        """Host and process, for people."""
        self.token = ids.new("lease")
        self.foreign_effects_until = 0.0
        """Transport time by which effects begun under earlier leases have surely ended."""

    async def acquire(self) -> bool:
        """Take the lease when nobody holds it; False while somebody else does. Raises StorageUnavailable."""

        def write(tx: Tx) -> bool:
            tx.known.forget()
            row = tx.conn.execute(
                "SELECT token, expires_at, effects_until FROM lease WHERE name = ?", (_NAME,)
            ).fetchone()
            if row and row[0] != self.token and row[1] > tx.transport:
                return False
            if row and row[0] != self.token:
                self.foreign_effects_until = row[2]
                tx.conn.execute(
                    "INSERT INTO lease VALUES (?, ?, '', 0, ?) ON CONFLICT DO UPDATE SET token = excluded.token, "
                    "effects_until = max(effects_until, excluded.effects_until)",
                    (ENDED, row[0], row[2]),
                )
            tx.conn.execute(
                "INSERT INTO lease VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET token = excluded.token, "
                "holder = excluded.holder, expires_at = excluded.expires_at",
                (_NAME, self.token, self.holder, tx.transport + LEASE_S, tx.transport),
            )
            return True

        return await self._db.write(write)

    async def renew(self) -> None:
        """Hold it for another 10 s; raises LeaseLost when it ran out or another process has it."""

        def write(tx: Tx) -> bool:
            tx.known.forget()
            renewed = tx.conn.execute(
                "UPDATE lease SET expires_at = ? WHERE name = ? AND token = ? AND expires_at > ?",
                (tx.transport + LEASE_S, _NAME, self.token, tx.transport),
            )
            return renewed.rowcount == 1

        if not await self._db.write(write, first=True):
            raise LeaseLost

    async def regain(self) -> bool:
        """Hold it again after it ran out, when nobody else had it meanwhile; raises StorageUnavailable.

        Nothing started under it since it ran out, for every start looks; and a token that is still ours in the row
        says that nobody else appended.
        """

        def write(tx: Tx) -> bool:
            tx.known.forget()
            again = tx.conn.execute(
                "UPDATE lease SET expires_at = ? WHERE name = ? AND token = ?",
                (tx.transport + LEASE_S, _NAME, self.token),
            )
            return again.rowcount == 1

        return await self._db.write(write)

    async def release(self) -> None:
        """Let a successor in at once; nothing happens when it is not ours any more."""

        def write(tx: Tx) -> None:
            tx.known.forget()
            tx.conn.execute("UPDATE lease SET expires_at = 0 WHERE name = ? AND token = ?", (_NAME, self.token))

        await self._db.write(write)

    def current(self) -> Holder | None:
        """Who holds the lease, if anybody does."""
        now = self._db.clock.transport()
        row = self._db.read(
            lambda conn: conn.execute(
                "SELECT holder, token, expires_at, effects_until FROM lease WHERE name = ? AND expires_at > ?",
                (_NAME, now),
            ).fetchone()
        )
        return Holder(*row) if row else None
