"""Bodies by content hash."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

BODY = "SELECT body FROM blobs WHERE hash = ?"


def read_blob(conn: sqlite3.Connection, digest: str) -> str:
    """A stored body; raises KeyError."""
    return body_of(digest, conn.execute(BODY, (key_of(digest),)).fetchall())


def key_of(digest: str) -> bytes:
    """The key under which a body is stored; raises KeyError."""
    try:
        return bytes.fromhex(digest)
    except ValueError:
        raise KeyError(digest) from None


def body_of(digest: str, rows: Sequence[tuple[Any, ...]]) -> str:
    """The body in the rows that `BODY` gave; raises KeyError."""
    if not rows:
        raise KeyError(digest)
    return str(rows[0][0], "utf-8", "surrogatepass")
