"""What follows for cards: the reply with the outcome, what a person had proposed instead, and who else waits."""

from __future__ import annotations

from agent.domain import Revision
from agent.errors import JournalError
from storage.database import Tx
from storage.working import LANE_DECISION, LANE_PROGRESS, Working

#: A reply whose card does not stand yet: the card's delivery gives it its place and time.
_NOT_YET = 9e15
_RESULT = """INSERT INTO outbox(message_key, run, lane, wanted, sent, team, channel, ts, thread_ts, attempts, next_at,
    error, created_at, wanted_at)
  SELECT 'result:' || id, ?, ?, 1, 0, ?, iif(c.ts <> '', c.channel, ''), '', coalesce(c.ts, ''), 0,
    iif(c.ts <> '', 0.0, ?), '', ?, ?
  FROM (SELECT ? AS id) LEFT JOIN outbox c ON c.message_key = 'card:' || id WHERE instr(coalesce(c.ts, ''), ',') = 0
  ON CONFLICT(message_key) DO UPDATE SET wanted = wanted + 1, wanted_at = excluded.wanted_at"""
_PLACED = """UPDATE outbox SET channel = ?, thread_ts = ?, next_at = 0
  WHERE message_key = 'result:' || ? AND channel = '' AND sent < wanted"""
# A card that was not posted yet keeps its place among the new ones.
_SIBLINGS = """UPDATE outbox SET wanted = wanted + 1, lane = CASE WHEN sent = 0 THEN lane ELSE ? END,
  wanted_at = CASE WHEN sent < wanted THEN wanted_at ELSE ? END
  WHERE message_key IN (SELECT 'card:' || id FROM approvals WHERE run = ? AND state = 'pending' AND id <> ?)"""
_LINKED = """UPDATE outbox SET wanted = wanted + 1, lane = ?,
  wanted_at = CASE WHEN sent < wanted THEN wanted_at ELSE ? END
  WHERE message_key IN (SELECT 'card:' || s.approval FROM successors s JOIN {} n ON n.run = s.run
    AND s.action IN ('', n.action) WHERE n.id = ?)"""
_LEFT = """SELECT id FROM actions WHERE run = ? AND phase IN ('proposed', 'allowed', 'approved')
  UNION ALL SELECT NULL FROM events WHERE run = ? AND type = 'follow_up_received'"""


def outcome(work: Working, approval: str) -> None:
    """A reply in the card's thread says what came of it; once, and edited in place when more becomes known.

    It goes behind everything that somebody must act on. A card that was sent directly to several people has no thread
    of its own, and a terminal has no card.
    """
    if not work.live.channel:
        return
    at = work.tx.transport
    work.tx.conn.execute(_RESULT, (work.id, LANE_PROGRESS, work.live.team, _NOT_YET, at, at, approval))
    work.tx.signal("outbox")


def stands_now(tx: Tx, key: str, channel: str, ts: str) -> bool:
    """A message stands at a new place: what waited for it can go, and old cards can link to it; True when some do."""
    kind, _, subject = key.partition(":")
    if kind not in {"card", "takeover"}:
        return False
    placed = 0
    if kind == "card" and "," not in ts:
        placed = tx.conn.execute(_PLACED, (channel, ts, subject)).rowcount
    table = "approvals" if kind == "card" else "takeovers"
    linked = tx.conn.execute(_LINKED.format(table), (LANE_DECISION, tx.transport, subject)).rowcount
    return placed + linked > 0


def revised(work: Working, action: str, revision: Revision) -> None:
    """A person had this action proposed in place of another, whose card points to it from now on."""
    old = work.find_action(revision.of)
    if old is None:
        raise JournalError(f"Run {work.id} has no action {revision.of} to be revised.")
    if old.approval:
        _succeed(work, old.approval, revision.cause, revision.by, action)


def asked_again(work: Working, approval: str, by: str) -> None:
    """This new run asks again for an approval of its parent."""
    _succeed(work, approval, "ask_again", by, "")


def _succeed(work: Working, approval: str, cause: str, by: str, action: str) -> None:
    work.tx.conn.execute(
        "INSERT OR IGNORE INTO successors VALUES (?, ?, ?, ?, ?, ?)",
        (approval, cause, by, work.tx.now, work.id, action),
    )
    work.bump(f"card:{approval}", LANE_DECISION)


def refresh_ancestor(work: Working, action: str) -> None:
    """The card in whose place this action stands says what came of it."""
    query = "SELECT approval FROM successors WHERE run = ? AND action IN ('', ?)"
    for (approval,) in work.tx.conn.execute(query, (work.id, action)).fetchall():
        work.bump(f"card:{approval}", LANE_DECISION)


def refresh_siblings(work: Working, approval: str, *, own: int) -> None:
    """The other cards of the run that wait say how many there are; `own` of what is waited for is this one."""
    if work.live.waiting_on <= own:
        return
    if work.tx.conn.execute(_SIBLINGS, (LANE_DECISION, work.tx.transport, work.id, approval)).rowcount:
        work.tx.signal("outbox")


def is_anything_left(work: Working, follow_ups: int) -> bool:
    """Whether somebody would be left hanging if the run ended now, at the last moment.

    That is a person who had an action proposed, or whose words came after the `follow_ups` that the answer knows of.
    """
    found = [action for (action,) in work.tx.conn.execute(_LEFT, (work.id, work.id))]
    left = [action for action in found if action is not None]
    return len(found) - len(left) != follow_ups or any(
        key not in work.actions or work.actions[key].phase != "finished" for key in left
    )
