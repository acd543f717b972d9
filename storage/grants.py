"""Grants as they stand: given with a yes, looked up for each call, listed, and taken back."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agent.domain import Principal, Tier
from agent.errors import AlreadyDecided, DecisionError, GrantRefused, UnknownSubject
from agent.events import GrantGiven, GrantRevoked
from agent.grants import Grant, Standing, Terms, grant_of
from agent.ports import Ids
from storage.audit import refused
from storage.database import Database, Tx
from storage.journal import append
from storage.projected_grants import standing_of, use_of
from storage.rows import ApprovalRow, find_approval

_LISTED = """SELECT g.id, g.run, g.given_by, g.given_at, g.expires_at, g.uses, g.spent_micro_usd,
  coalesce(g.revoked_at, (SELECT c.at FROM control c WHERE c.kind = 'revoke' AND c.grant_id = g.id LIMIT 1), 0.0),
  coalesce(nullif(g.revoked_by, ''),
    (SELECT c."by" FROM control c WHERE c.kind = 'revoke' AND c.grant_id = g.id LIMIT 1), ''), g.grant_json
  FROM grants g"""


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant and what became of it. Business seconds; 0 means "not yet"."""

    id: str
    run: str
    """The run in which it was given."""
    by: str
    given_at: float
    expires_at: float
    uses: int
    spent_micro_usd: int
    revoked_at: float
    revoked_by: str
    grant: Grant

    def stands(self, now: float) -> bool:
        """Whether it still covers something."""
        return not self.revoked_at and now < self.expires_at and self.uses < self.grant.max_uses


class Grants:
    """Reads grants and takes them back; they are given by `Decisions.vote`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def standing(self, tool: str, requester: str, now: float) -> tuple[Standing, ...]:
        """Grants of this tool for this principal's runs that nobody revoked and time has not ended, oldest first."""

        def read(conn: sqlite3.Connection) -> tuple[Standing, ...]:
            query = (
                "SELECT id FROM grants WHERE requester = ? AND tool = ? AND expires_at > ? AND revoked_at IS NULL "
                "ORDER BY given_at, id"
            )
            keys = [key for (key,) in conn.execute(query, (requester, tool, now))]
            return tuple(one for key in keys if (one := standing_of(conn, key)) is not None)

        return self._db.read(read)

    def drafted(self, approval: str, principal: Principal, terms: Terms) -> Grant:
        """The grant that these terms would give, without giving it; raises GrantRefused or UnknownSubject."""

        def read(conn: sqlite3.Connection) -> Grant:
            row = find_approval(conn, approval)
            if row is None:
                raise UnknownSubject
            return drafted(conn, row, principal, terms, key="", now=self._db.clock.now())

        return self._db.read(read)

    def rows(self, *, requester: str = "", limit: int = 100) -> tuple[GrantRow, ...]:
        """Grants, the newest first; those for one principal's runs, or (empty) all."""
        query = f"{_LISTED} WHERE ? IN ('', g.requester) ORDER BY g.given_at DESC, g.id LIMIT ?"
        return self._db.read(lambda conn: tuple(_row(*row) for row in conn.execute(query, (requester, limit))))

    def find(self, prefix: str) -> GrantRow | None:
        """The grant with this id, or the only one whose id starts so."""

        def read(conn: sqlite3.Connection) -> GrantRow | None:
            rows = conn.execute(
                f"{_LISTED} WHERE g.id >= ? AND g.id < ? ORDER BY g.id LIMIT 2", (prefix, prefix + "\U0010ffff")
            ).fetchall()
            return _row(*rows[0]) if rows and (len(rows) == 1 or rows[0][0] == prefix) else None

        return self._db.read(read) if prefix else None

    async def revoke(self, grant: str, principal: Principal) -> None:
        """Take it back at once; a use that has started goes on. Who may is for the caller to know.

        Raises UnknownSubject, AlreadyDecided or StorageUnavailable.
        """
        await self._db.write(lambda tx: revoke_now(tx, grant, principal, told=True))


def revoke_now(tx: Tx, grant: str, principal: Principal, *, told: bool = False) -> None:
    """Journal that it is taken back; without `told`, one that is back already is left as it is."""
    row = tx.conn.execute("SELECT run, revoked_at, revoked_by FROM grants WHERE id = ?", (grant,)).fetchone()
    if row is None or row[1] is not None:
        if not told:
            return
        raise UnknownSubject if row is None else AlreadyDecided(state="revoked", by=row[2], at=row[1])
    append(tx, row[0], (GrantRevoked(grant=grant, by=principal.key, at=tx.now),))
    refused(tx, kind="grant_revoked", principal=principal.key, subject=grant)


def drafted(
    conn: sqlite3.Connection, row: ApprovalRow, principal: Principal, terms: Terms, *, key: str, now: float
) -> Grant:
    """The grant that these terms mean on this approval's call; raises GrantRefused."""
    if row.quorum > 1:
        raise GrantRefused("This needs a yes of several people, so nobody alone can allow it beforehand.")
    if "approve" in row.reason_for:
        raise GrantRefused("Each yes to this needs a reason of its own, so it cannot be allowed beforehand.")
    if row.tier is not Tier.MEDIUM:
        raise GrantRefused("Only calls of medium risk can be allowed beforehand.")
    seqs = conn.execute(
        "SELECT proposed_seq, rated_seq FROM actions WHERE run = ? AND id = ?", (row.run, row.action)
    ).fetchone()
    use = use_of(conn, row.run, *seqs) if seqs else None
    if use is None or use.action.digest != row.digest:
        raise GrantRefused
    return grant_of(key, use, terms, by=principal.key, requester=row.requester, run=row.run, now=now)


def given(tx: Tx, row: ApprovalRow, principal: Principal, terms: Terms, ids: Ids) -> GrantGiven | DecisionError:
    """The event that gives it, or why it cannot be given."""
    try:
        grant = drafted(tx.conn, row, principal, terms, key=ids.new("grant"), now=tx.now)
    except DecisionError as error:
        return error
    refused(tx, kind="grant_given", principal=principal.key, subject=grant.id, detail=f"approval {row.id}")
    return GrantGiven(grant=grant, approval=row.id, at=tx.now)


def _row(*row: object) -> GrantRow:
    values = list(row)
    values[9] = Grant.model_validate_json(str(row[9]))
    return GrantRow(*values)  # pyright: ignore[reportArgumentType]  # the columns are the fields, in their order
