"""Questions in a takeover's thread: kept in the run's journal beside the run, which never hears them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agent.domain import Principal, TakeoverState, content_hash
from agent.errors import AlreadyDecided, UnknownSubject
from agent.events import TakeoverAnswered, TakeoverAsked
from storage.blobs import read_blob
from storage.database import Database, Tx
from storage.inbox import first_time
from storage.journal import append, keep_blobs
from storage.rows import find_takeover

_QUESTION = """SELECT q.run, q.seq, q.takeover, q.asked_by, q.quiet, q.text_blob, q.answer_blob FROM questions q"""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asked in a takeover's thread."""

    run: str
    seq: int
    takeover: str
    asked_by: str
    quiet: bool
    """A person has the takeover: nobody answers."""
    text: str
    answer: str = ""
    """Empty until it is answered, and for ever when nobody does."""


class Questions:
    """Takes questions and their answers."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ask(self, key: str, takeover: str, principal: Principal, text: str) -> Question | None:
        """Keep a question, with the key of its delivery; None when that came before. `text` is redacted already.

        The author becomes no co-requester: nothing of it reaches the run. Raises UnknownSubject, AlreadyDecided (the
        takeover is over) or StorageUnavailable.
        """
        digest = content_hash(text)

        def write(tx: Tx) -> Question | AlreadyDecided | None:
            row = find_takeover(tx.conn, takeover)
            if row is None:
                raise UnknownSubject
            if not first_time(tx, key):
                return None
            if TakeoverState(row.state).is_final:  # the key is kept: the person is told, once
                return AlreadyDecided(state=row.state, by=row.closed_by, at=row.closed_at)
            quiet = row.state == TakeoverState.CLAIMED and row.claim_until > tx.now
            keep_blobs(tx, {digest: text})
            asked = TakeoverAsked(takeover=takeover, by=principal, text_blob=digest, quiet=quiet)
            committed = append(tx, row.run, (asked,))
            return Question(row.run, committed.first_seq, takeover, principal.key, quiet, text)

        result = await self._db.write(write)
        if isinstance(result, AlreadyDecided):
            raise result
        return result

    async def answer(self, question: Question, text: str) -> bool:
        """Have it answered in the thread; False when it was before, or when somebody took the takeover meanwhile.

        Raises RunStopped (the run is over) or StorageUnavailable.
        """

        def write(tx: Tx) -> bool:
            row = find_takeover(tx.conn, question.takeover)
            known = _find(tx.conn, question.run, question.seq)
            if row is None or known is None or known[6] is not None:
                return False
            is_open = not TakeoverState(row.state).is_final and row.claim_until <= tx.now
            digest = content_hash(text) if is_open else ""
            if is_open:
                keep_blobs(tx, {digest: text})
            answered = TakeoverAnswered(takeover=row.id, question=question.seq, answer_blob=digest)
            append(tx, row.run, (answered,))
            return is_open

        return await self._db.write(write)

    def unanswered(self) -> tuple[Question, ...]:
        """Questions whose answer a dead process owes, oldest first; those of runs that are over are let go."""
        query = (
            f"{_QUESTION} JOIN runs r ON r.id = q.run WHERE q.answer_blob IS NULL "
            "AND r.status IN ('queued', 'running', 'waiting') ORDER BY q.run, q.seq"
        )
        return self._db.read(lambda conn: tuple(_question(conn, row) for row in conn.execute(query).fetchall()))


def find_question(conn: sqlite3.Connection, run: str, seq: int) -> Question | None:
    """One question with its answer, or None."""
    row = _find(conn, run, seq)
    return _question(conn, row) if row else None


Row = tuple[str, int, str, str, int, str, str | None]


def _find(conn: sqlite3.Connection, run: str, seq: int) -> Row | None:
    row: Row | None = conn.execute(f"{_QUESTION} WHERE q.run = ? AND q.seq = ?", (run, seq)).fetchone()
    return row


def _question(conn: sqlite3.Connection, row: Row) -> Question:
    run, seq, takeover, asked_by, quiet, text, answer = row
    return Question(run, seq, takeover, asked_by, bool(quiet), _body(conn, text), _body(conn, answer or ""))


def _body(conn: sqlite3.Connection, digest: str) -> str:
    try:
        return read_blob(conn, digest) if digest else ""
    except KeyError:
        return ""  # retention dropped it
