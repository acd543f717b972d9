"""What a backup's database needs before it is put back: it knows nothing of what was done since it was made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

REASON = "Restored from a backup: what was done since is not known here."
_UNFINISHED = "SELECT count(*) FROM runs WHERE status IN ('queued', 'running', 'waiting')"
_PAUSED = "SELECT 1 FROM control WHERE lifted_at IS NULL AND kind = 'pause' AND reason = ?"
_PAUSE = """INSERT INTO control(kind, run, "by", reason, at, taken_at, lifted_at)
  VALUES ('pause', '', ?, ?, ?, NULL, NULL)"""
# Slack may have later revisions than the backup knows of, and an older one is never put in their place.
_SHOW = """UPDATE outbox SET wanted = wanted + 1000, wanted_at = ?, next_at = 0 WHERE message_key IN (
  SELECT 'card:' || id FROM approvals WHERE state = 'pending'
  UNION ALL SELECT 'takeover:' || id FROM takeovers WHERE state IN ('open', 'claimed'))"""
# Its holder drove the original: nobody drives the copy.
_FREE = "UPDATE lease SET expires_at = 0 WHERE name = 'driver'"


def hold_back(database: Path, *, by: str, now: float, transport: float) -> int:
    """Pause everything when runs were under way, and have their open cards shown anew; how many runs there are.

    A run that was under way may have come further after the backup, and what it did would be done a second time: so
    nothing starts until a person resumes it. `by` is the principal key of whoever restores, `now` business time,
    `transport` real time. Raises sqlite3.Error.
    """
    with closing(sqlite3.connect(database)) as conn, conn:
        conn.execute(_FREE)
        (unfinished,) = conn.execute(_UNFINISHED).fetchone()
        if unfinished:
            if conn.execute(_PAUSED, (REASON,)).fetchone() is None:
                conn.execute(_PAUSE, (by, REASON, now))
            conn.execute(_SHOW, (transport,))
    return int(unfinished)
