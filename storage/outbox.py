"""The outbox: references to messages that people should see, rendered by `delivery` when they are sent."""

from __future__ import annotations

from dataclasses import dataclass

from storage.database import Database, Tx
from storage.projected_cards import stands_now

_COLUMNS = """message_key, run, lane, wanted, sent, team, channel, ts, thread_ts, attempts, next_at, error, created_at,
  wanted_at"""
_KINDS = {
    "card": "approval",
    "takeover": "takeover",
    "reminder": "reminder",
    "escalation": "reminder",
    "result": "result",
    "note": "note",
    "said": "said",
    "progress": "progress",
    "answer": "answer",
}
# Read before the row learns where it really stands: what follows is tried in the same place as this one was.
_FOLLOW = """INSERT OR IGNORE INTO outbox SELECT ?, run, lane, 1, 0, team, channel, '', thread_ts, 0, 0, '', ?, ?
  FROM outbox WHERE message_key = ?"""
LANES = ("decision", "card", "takeover", "progress")


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One message and how far it is. Transport seconds."""

    key: str
    """Such as `card:a1`: at most one message a key, edited in place."""
    run: str
    lane: int
    """0 to 3: decision updates, new cards, takeovers, progress."""
    wanted: int
    """The revision that people should see."""
    sent: int
    """The revision that Slack has; 0 when there is no message yet."""
    team: str
    channel: str
    """Empty for cards and takeovers until they are sent: their channel is the configuration's."""
    ts: str
    thread_ts: str
    attempts: int
    next_at: float
    error: str
    created_at: float
    wanted_at: float

    @property
    def kind(self) -> str:
        """Such as `approval`, `takeover`, `progress` or `answer`."""
        return _KINDS[self.key.partition(":")[0]]

    @property
    def subject(self) -> str:
        """The id of what the message is about: an approval, a takeover or a run."""
        return self.key.partition(":")[2].partition("#")[0]

    @property
    def part(self) -> int:
        """Which part of a long answer this is, counted from 1."""
        return int(self.key.partition("#")[2] or 1)


class Outbox:
    """What must be sent, and what was."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def due(self, now: float, limit: int = 100) -> tuple[OutboxRow, ...]:
        """Rows to send at this transport time, the most urgent lane first, then the longest waiting."""
        query = (
            f"SELECT {_COLUMNS} FROM outbox WHERE sent < wanted AND next_at <= ? "  # noqa: S608  # a constant
            "ORDER BY lane, wanted_at LIMIT ?"
        )
        return self._db.read(lambda conn: tuple(OutboxRow(*row) for row in conn.execute(query, (now, limit))))

    def next_at(self, now: float) -> float | None:
        """When a row that must wait becomes due after `now`, transport time; None when there is none."""
        query = "SELECT min(next_at) FROM outbox WHERE sent < wanted AND next_at > ?"
        return self._db.read(lambda conn: conn.execute(query, (now,)).fetchone())[0]

    def get(self, key: str) -> OutboxRow | None:
        """One row by its key."""
        return self._one("message_key = ?", key)

    def find(self, channel: str, ts: str) -> OutboxRow | None:
        """The row whose message stands at this place in Slack."""
        return self._one("channel = ? AND ts = ? AND ts <> ''", channel, ts)

    async def sent(self, key: str, revision: int, channel: str, ts: str, then: str = "") -> None:
        """Slack has this revision at (channel, ts); an older one than is known changes only the place.

        `then` is the key of the message that follows in the same place, wanted from now on: never before this one.
        """
        query = """UPDATE outbox SET sent = max(sent, ?), channel = ?, ts = ?, attempts = 0, next_at = 0, error = ''
          WHERE message_key = ?"""

        def write(tx: Tx) -> None:
            before = tx.conn.execute("SELECT ts FROM outbox WHERE message_key = ?", (key,)).fetchone()
            if then:
                tx.conn.execute(_FOLLOW, (then, tx.transport, tx.transport, key))
                tx.signal("outbox")
            tx.conn.execute(query, (revision, channel, ts, key))
            if ts and before and before[0] != ts and stands_now(tx, key, channel, ts):
                tx.signal("outbox")

        await self._db.write(write)

    async def want(self, key: str) -> None:
        """Have a message sent once more, as it is then."""
        query = "UPDATE outbox SET wanted = wanted + 1, wanted_at = ? WHERE message_key = ?"

        def write(tx: Tx) -> None:
            tx.conn.execute(query, (tx.transport, key))
            tx.signal("outbox")

        await self._db.write(write)

    async def failed(self, key: str, error: str, next_at: float) -> None:
        """It could not be sent; try again at this transport time (infinity: never)."""
        query = "UPDATE outbox SET attempts = attempts + 1, error = ?, next_at = ? WHERE message_key = ?"
        await self._db.write(lambda tx: tx.conn.execute(query, (error, next_at, key)))

    def backlog(self) -> tuple[int, int, int, int]:
        """How many rows wait in each lane, in the order of `LANES`."""
        query = "SELECT lane, count(*) FROM outbox WHERE sent < wanted GROUP BY lane"
        counts = dict(self._db.read(lambda conn: conn.execute(query).fetchall()))
        return (counts.get(0, 0), counts.get(1, 0), counts.get(2, 0), counts.get(3, 0))

    def _one(self, where: str, *values: str) -> OutboxRow | None:
        query = f"SELECT {_COLUMNS} FROM outbox WHERE {where}"  # noqa: S608  # constants of this module
        row = self._db.read(lambda conn: conn.execute(query, values).fetchone())
        return OutboxRow(*row) if row else None
