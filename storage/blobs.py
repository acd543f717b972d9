"""Bodies by content hash."""

from __future__ import annotations

import sqlite3


def read_blob(conn: sqlite3.Connection, digest: str) -> str:
    """A stored body; raises KeyError."""
    try:
        key = bytes.fromhex(digest)
    except ValueError:
        raise KeyError(digest) from None
    row = conn.execute("SELECT body FROM blobs WHERE hash = ?", (key,)).fetchone()
    if row is None:
        raise KeyError(digest)
    return str(row[0], "utf-8", "surrogatepass")
