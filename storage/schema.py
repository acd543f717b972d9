"""The tables, as migrations that sqlite-utils applies and records.

Values are kept short: hashes of the chain and of bodies are 32 raw bytes, times are REAL business seconds unless a
comment says otherwise, "not yet" is NULL. What an action was proposed with stands in its events; its row holds their
seq.
"""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path

from sqlite_utils import Database, Migrations

_FIRST = (
    """CREATE TABLE tasks (
      id TEXT PRIMARY KEY, run TEXT NOT NULL, team TEXT NOT NULL, channel TEXT NOT NULL, message_ts TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # One mention arrives as app_mention and as message.channels; a task without a message (a terminal) has no place.
    "CREATE UNIQUE INDEX tasks_place ON tasks(team, channel, message_ts) WHERE message_ts <> ''",
    """CREATE TABLE runs (
      id TEXT PRIMARY KEY, task_id TEXT NOT NULL, team TEXT NOT NULL, channel TEXT NOT NULL, thread_ts TEXT NOT NULL,
      requester TEXT NOT NULL, status TEXT NOT NULL, epoch INTEGER NOT NULL, parent_run TEXT NOT NULL,
      title TEXT NOT NULL, created_at REAL NOT NULL, started_at REAL, ended_at REAL, steps INTEGER NOT NULL,
      spent_micro_usd INTEGER NOT NULL, reserved_micro_usd INTEGER NOT NULL, waiting_on INTEGER NOT NULL,
      in_flight INTEGER NOT NULL, seq INTEGER NOT NULL, head_hash BLOB NOT NULL, trace_id TEXT NOT NULL,
      span_id TEXT NOT NULL, answer_blob TEXT NOT NULL, summary TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX runs_created ON runs(created_at)",
    "CREATE INDEX runs_requester ON runs(requester, created_at)",
    "CREATE INDEX runs_busy ON runs(requester) WHERE status IN ('queued', 'running')",
    "CREATE INDEX runs_unfinished ON runs(status) WHERE status IN ('queued', 'running', 'waiting')",
    "CREATE INDEX runs_thread ON runs(channel, thread_ts) WHERE thread_ts <> ''",
    """CREATE TABLE events (
      run TEXT NOT NULL, seq INTEGER NOT NULL, type TEXT NOT NULL, version INTEGER NOT NULL, at REAL NOT NULL,
      epoch INTEGER NOT NULL, payload TEXT, payload_hash BLOB NOT NULL, prev_hash BLOB NOT NULL, hash BLOB NOT NULL,
      PRIMARY KEY (run, seq)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE blobs (hash BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT",
    # Model calls that are on the wire, with what is reserved for them.
    """CREATE TABLE calls (
      run TEXT NOT NULL, id TEXT NOT NULL, reserved_micro_usd INTEGER NOT NULL, PRIMARY KEY (run, id)
    ) STRICT, WITHOUT ROWID""",
    # The requester stands in runs; here are those who came later.
    """CREATE TABLE co_requesters (
      run TEXT NOT NULL, principal TEXT NOT NULL, PRIMARY KEY (run, principal)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE actions (
      run TEXT NOT NULL, id TEXT NOT NULL, step INTEGER NOT NULL, tool TEXT NOT NULL, tier TEXT, phase TEXT NOT NULL,
      outcome TEXT, digest TEXT NOT NULL, approval TEXT NOT NULL, takeover TEXT NOT NULL, attempt INTEGER NOT NULL,
      resumed INTEGER NOT NULL, lease_token TEXT NOT NULL, proposed_seq INTEGER NOT NULL, rated_seq INTEGER NOT NULL,
      ended_seq INTEGER NOT NULL, started_at REAL, ended_at REAL, PRIMARY KEY (run, id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE approvals (
      id TEXT PRIMARY KEY, run TEXT NOT NULL, action TEXT NOT NULL, digest TEXT NOT NULL, epoch INTEGER NOT NULL,
      state TEXT NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL, timeout_s REAL NOT NULL,
      delivered_at REAL, decided_at REAL, decided_by TEXT NOT NULL, reason TEXT NOT NULL, start_before REAL,
      reason_until REAL, consumed_at REAL, quorum INTEGER NOT NULL, deciders_json TEXT NOT NULL,
      self_approved INTEGER NOT NULL, because TEXT NOT NULL, reminded_at REAL, escalated_at REAL, remind_at REAL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX actions_open ON actions(run) WHERE phase IN ('proposed', 'allowed', 'approved')",
    "CREATE INDEX approvals_run ON approvals(run)",
    "CREATE INDEX approvals_deadline ON approvals(expires_at) WHERE state = 'pending'",
    "CREATE INDEX approvals_remind ON approvals(remind_at) WHERE remind_at IS NOT NULL",
    "CREATE INDEX approvals_reason ON approvals(reason_until) WHERE reason_until IS NOT NULL",
    """CREATE TABLE votes (
      approval TEXT NOT NULL, principal TEXT NOT NULL, vote TEXT NOT NULL, at REAL NOT NULL,
      PRIMARY KEY (approval, principal)
    ) STRICT, WITHOUT ROWID""",
    # next_at: when the sweep looks at it again (reminder, escalation, giving up, end of the claim); NULL when closed.
    """CREATE TABLE takeovers (
      id TEXT PRIMARY KEY, run TEXT NOT NULL, action TEXT NOT NULL, state TEXT NOT NULL, cause TEXT NOT NULL,
      opened_at REAL NOT NULL, give_up_at REAL NOT NULL, claimed_by TEXT NOT NULL, claim_token TEXT NOT NULL,
      claimed_at REAL, claim_until REAL, reminded_at REAL, escalated_at REAL, next_at REAL, closed_at REAL,
      closed_by TEXT NOT NULL, what TEXT NOT NULL, reference TEXT NOT NULL, evidence TEXT NOT NULL,
      epoch INTEGER NOT NULL, deciders_json TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX takeovers_run ON takeovers(run)",
    "CREATE INDEX takeovers_next ON takeovers(next_at) WHERE next_at IS NOT NULL",
    # message_key is kind and subject in one, such as card:a1. Times are transport seconds. Lane 0 goes first.
    """CREATE TABLE outbox (
      message_key TEXT PRIMARY KEY, run TEXT NOT NULL, lane INTEGER NOT NULL, wanted INTEGER NOT NULL,
      sent INTEGER NOT NULL, team TEXT NOT NULL, channel TEXT NOT NULL, ts TEXT NOT NULL, thread_ts TEXT NOT NULL,
      attempts INTEGER NOT NULL, next_at REAL NOT NULL, error TEXT NOT NULL, created_at REAL NOT NULL,
      wanted_at REAL NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX outbox_due ON outbox(lane, wanted_at) WHERE sent < wanted",
    "CREATE INDEX outbox_message ON outbox(channel, ts) WHERE ts <> ''",
    "CREATE TABLE inbox (key TEXT PRIMARY KEY, at REAL NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE control (
      id INTEGER PRIMARY KEY, kind TEXT NOT NULL, run TEXT NOT NULL, "by" TEXT NOT NULL, reason TEXT NOT NULL,
      at REAL NOT NULL, taken_at REAL, lifted_at REAL
    ) STRICT""",
    "CREATE INDEX control_standing ON control(run) WHERE lifted_at IS NULL",
    "CREATE INDEX control_new ON control(id) WHERE taken_at IS NULL",
    # Transport time. effects_until: when the last effect begun under any lease has surely ended.
    """CREATE TABLE lease (
      name TEXT PRIMARY KEY, token TEXT NOT NULL, holder TEXT NOT NULL, expires_at REAL NOT NULL,
      effects_until REAL NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE audit (
      id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, principal TEXT NOT NULL, subject TEXT NOT NULL,
      detail TEXT NOT NULL
    ) STRICT""",
)

_SECOND = (
    # The chain over the run heads: append-only, n without gaps. `dropped` marks the moment when retention dropped the
    # payloads up to seq.
    """CREATE TABLE heads (
      n INTEGER PRIMARY KEY, run TEXT NOT NULL, seq INTEGER NOT NULL, head BLOB NOT NULL, dropped INTEGER NOT NULL,
      hash BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX heads_run ON heads(run, seq, dropped)",
    # Which runs name a body, so that retention knows when nobody does any more.
    """CREATE TABLE body_runs (
      hash BLOB NOT NULL, run TEXT NOT NULL, PRIMARY KEY (hash, run)
    ) STRICT, WITHOUT ROWID""",
)
_EIGHTH = (
    # How an approval is asked beyond its own row; none for what the policy asks in its usual way.
    """CREATE TABLE approval_terms (
      approval TEXT PRIMARY KEY, rules_json TEXT NOT NULL, escalate_json TEXT NOT NULL, reason_json TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # valid_until 0: for ever. Empty tool, channel, tier: all of them.
    """CREATE TABLE approvers (
      id INTEGER PRIMARY KEY, principal TEXT NOT NULL, tool TEXT NOT NULL, channel TEXT NOT NULL, tier TEXT NOT NULL,
      valid_until REAL NOT NULL, note TEXT NOT NULL, added_by TEXT NOT NULL, added_at REAL NOT NULL, removed_at REAL,
      removed_by TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE policies (
      id INTEGER PRIMARY KEY, at REAL NOT NULL, version TEXT NOT NULL, problem TEXT NOT NULL
    ) STRICT""",
)
BODY_IN_PAYLOAD = re.compile(r'"\w+_blob":"([0-9a-f]{64})"')
"""A body that an event's JSON names; a quotation mark within a text of people is escaped there and never matches."""

_PATIENCE_S = 30.0
_NAMES = ("m001_tables", "m002_audit", "m008_policy")


def migrations() -> Migrations:
    """Every migration of this release, oldest first; a released one is never edited."""
    steps = Migrations("secondkey")

    def m001_tables(db: Database) -> None:
        for statement in _FIRST:
            db.conn.execute(statement)

    def m002_audit(db: Database) -> None:
        for statement in _SECOND:
            db.conn.execute(statement)
        for run, payload in db.conn.execute("SELECT run, payload FROM events WHERE payload LIKE '%_blob\":\"%'"):
            for digest in BODY_IN_PAYLOAD.findall(payload):
                db.conn.execute("INSERT OR IGNORE INTO body_runs VALUES (?, ?)", (bytes.fromhex(digest), run))

    def m008_policy(db: Database) -> None:
        for statement in _EIGHTH:
            db.conn.execute(statement)

    for name, step in zip(_NAMES, (m001_tables, m002_audit, m008_policy), strict=True):
        steps(name=name)(step)
    return steps


def is_current(conn: sqlite3.Connection) -> bool:
    """Whether the file has exactly this release's schema; raises sqlite3.Error when it is no database."""
    known = conn.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    if known is None:
        return False
    applied = conn.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'secondkey'")
    return {name for (name,) in applied} == set(_NAMES)


def migrate(path: Path) -> None:
    """Bring the file to this release's schema, making it if need be; raises sqlite3.Error."""
    conn = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE_S)
    try:
        _set_journal_mode(conn)
        conn.execute("BEGIN IMMEDIATE")  # a second process waits here, and then finds nothing left to do
        try:
            migrations().apply(Database(conn, execute_plugins=False))
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
        conn.execute("COMMIT")
    finally:
        conn.close()


def _set_journal_mode(conn: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait for others here, so this does."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            conn.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
