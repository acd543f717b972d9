"""From events to the rows of grants, and what must hold in the transaction that uses one."""

from __future__ import annotations

import sqlite3

from agent import events as ev
from agent.domain import Principal
from agent.errors import AlreadyDecided, GrantNotValid, JournalError
from agent.facts.model import Facts
from agent.grants import Grant, Standing, Use
from storage.blobs import read_blob
from storage.working import ActionRow, Working, is_co_requester

_PAYLOAD = "SELECT payload FROM events WHERE run = ? AND seq = ?"
_REVOKED = "SELECT 1 FROM control WHERE kind = 'revoke' AND grant_id = ?"


def grant_given(work: Working, event: ev.GrantGiven, seq: int) -> None:
    """A new grant."""
    del seq
    grant = event.grant
    work.tx.conn.execute(
        "INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, NULL, '', ?)",
        (grant.id, work.id, event.approval, grant.requester, grant.tool, grant.by, event.at, grant.expires_at,
         grant.model_dump_json()),
    )  # fmt: skip


def grant_revoked(work: Working, event: ev.GrantRevoked, seq: int) -> None:
    """It covers nothing any more; raises AlreadyDecided when it was revoked before."""
    del seq
    conn = work.tx.conn
    row = conn.execute("SELECT revoked_at, revoked_by FROM grants WHERE id = ? AND run = ?", (event.grant, work.id))
    found = row.fetchone()
    if found is None:
        raise JournalError(f"Run {work.id} gave no grant {event.grant}.")
    if found[0] is not None:
        raise AlreadyDecided(state="revoked", by=found[1], at=found[0])
    conn.execute("UPDATE grants SET revoked_at = ?, revoked_by = ? WHERE id = ?", (event.at, event.by, event.grant))


def grant_used(work: Working, event: ev.ActionStarted) -> None:
    """One use more, by a start; raises GrantNotValid."""
    tx = work.tx
    used = tx.conn.execute(
        "UPDATE grants SET uses = uses + 1, spent_micro_usd = spent_micro_usd + ? "
        "WHERE id = ? AND revoked_at IS NULL AND expires_at > ?",
        (event.spends_micro_usd, event.grant, tx.now),
    )
    if used.rowcount != 1:
        raise GrantNotValid
    by = tx.conn.execute("SELECT given_by FROM grants WHERE id = ?", (event.grant,)).fetchone()[0]
    tx.conn.execute(
        "INSERT INTO audit VALUES (NULL, ?, 'grant_used', ?, ?, ?)",
        (tx.now, by, event.grant, f"run {work.id}, action {event.action}"),
    )


def standing_of(conn: sqlite3.Connection, grant: str) -> Standing | None:
    """A grant that nobody has revoked, with what is used of it; None when there is none."""
    query = "SELECT grant_json, uses, spent_micro_usd FROM grants WHERE id = ? AND revoked_at IS NULL"
    row = conn.execute(query, (grant,)).fetchone()
    if row is None or conn.execute(_REVOKED, (grant,)).fetchone():
        return None
    return Standing(Grant.model_validate_json(row[0]), row[1], row[2])


def use_of(conn: sqlite3.Connection, run: str, proposed_seq: int, rated_seq: int) -> Use | None:
    """An action with its journalled rating; None when it is not rated, or retention dropped it."""
    proposed, rated = _event(conn, run, proposed_seq), _event(conn, run, rated_seq)
    if not isinstance(proposed, ev.ActionProposed) or not isinstance(rated, ev.ActionRated):
        return None
    try:
        facts = Facts.model_validate_json(read_blob(conn, rated.facts_blob))
    except (KeyError, ValueError):
        return None
    # What the journal says twice must be the same; else nothing can be built on it.
    if facts.effects != rated.intents or bool(facts.undecidable) != rated.undecidable:
        return None
    return Use(proposed.action, rated.tier, facts)


def check_use(work: Working, item: ActionRow, started: ev.ActionStarted, grant: str) -> None:
    """Everything that must hold for this start to be a use of the grant; raises GrantNotValid with what does not."""
    conn = work.tx.conn
    one, use = standing_of(conn, grant), use_of(conn, work.id, item.proposed_seq, item.rated_seq)
    if one is None:
        raise GrantNotValid("The permission was taken back.")
    if use is None or started.grant != grant or started.spends_micro_usd != use.spends:
        raise GrantNotValid
    if is_co_requester(conn, work.id, Principal.parse(one.grant.by)):
        raise GrantNotValid("Who gave the permission has words in this run, and nobody decides on their own request.")
    why = one.refusal(use, run=work.id, requester=work.live.requester, now=work.tx.now)
    if why:
        raise GrantNotValid(why)


def check_yes(work: Working, approval: str, grant: str) -> None:
    """Whether the use left its yes: decided by who gave the grant, in its name; raises GrantNotValid."""
    found = work.tx.conn.execute(
        "SELECT 1 FROM approvals a JOIN grants g ON g.id = ? WHERE a.id = ? AND a.run = ? AND a.state = 'approved' "
        "AND a.decided_by = g.given_by AND a.reason = 'grant:' || g.id",
        (grant, approval, work.id),
    ).fetchone()
    if found is None:
        raise GrantNotValid


def _event(conn: sqlite3.Connection, run: str, seq: int) -> ev.Event | None:
    row = conn.execute(_PAYLOAD, (run, seq)).fetchone()
    return ev.decode(row[0]) if row and row[0] else None
