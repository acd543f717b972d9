"""The independent checker: it reads the database file with its own SQL, Slack's side, and the effects' own file.

It imports nothing of the product: what it says rests on the files alone.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
OVER = frozenset({"completed", "partial", "failed", "cancelled"})
CARD_SAYS = {
    "pending": "Needs a yes",
    "approved": "Approved by",
    "denied": "Denied",
    "expired": "Expired, nobody answered",
    "withdrawn": "Withdrawn",
    "superseded": "Replaced by a newer request",
}
PACKET_SAYS = {
    "open": "Nothing runs until",
    "claimed": "has it",
    "done": "Done by",
    "handed_back": "Handed back by",
    "aborted": "Given up",
}
ANSWER_SAYS = {
    "completed": "Done.",
    "partial": "Only a part is done.",
    "failed": "It failed.",
    "cancelled": "It was stopped.",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is left when the scenario is over."""

    database: Path
    effects: Path
    posts: Sequence[Json]
    """Arguments of every chat.postMessage that Slack took."""
    streams: Sequence[Json]
    """Arguments of every chat.startStream that Slack took."""
    messages: Sequence[Json]
    """Every message as it stands, with its channel."""
    asked: Mapping[str, str]
    """Name of a task → ts of its message."""
    ends: Mapping[str, str]
    """Name of a task → status in which its run must end."""
    wanted: frozenset[str] | None
    """Effects that must have happened, and no others; None when only the journal can tell."""


@dataclass(slots=True)
class _Action:
    """One action, as its run's events tell of it."""

    id: str
    tool: str
    name: str
    idempotent: bool
    starts: int = 0
    resumes: int = 0
    phase: str = "proposed"
    outcome: str = ""
    yes: str = ""
    was_unknown: bool = False


def check(evidence: Evidence) -> list[str]:
    """Everything that is wrong, one sentence each."""
    if not evidence.database.exists():
        return ["there is no database"]
    with closing(sqlite3.connect(f"file:{evidence.database}?mode=ro", uri=True)) as conn:
        conn.row_factory = sqlite3.Row
        problems = [f"integrity: {row[0]}" for row in conn.execute("PRAGMA integrity_check") if row[0] != "ok"]
        problems += _chains(conn)
        problems += _runs(conn, evidence)
        problems += _effects(conn, evidence)
        problems += _decisions(conn)
        problems += _messages(conn, evidence)
        problems += _streams(conn, evidence)
    return problems


def states(database: Path) -> dict[str, int]:
    """How many approvals came to each state."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as conn:
        return dict(conn.execute("SELECT state, count(*) FROM approvals GROUP BY state").fetchall())


def chains(database: Path) -> list[str]:
    """Only the journal's chains: every run's, row by row, to the head that the run's row keeps."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as conn:
        conn.row_factory = sqlite3.Row
        return list(_chains(conn))


def _chains(conn: sqlite3.Connection) -> Iterator[str]:
    heads = {row["id"]: (row["seq"], bytes(row["head_hash"])) for row in conn.execute("SELECT * FROM runs")}
    ends: dict[str, tuple[int, bytes]] = {}
    for row in conn.execute("SELECT * FROM events ORDER BY run, seq"):
        seq, before = ends.get(row["run"], (0, bytes(32)))
        at = int(row["at"]) if float(row["at"]).is_integer() else row["at"]
        payload_hash = hashlib.sha256(row["payload"].encode())
        text = json.dumps(
            [row["run"], row["seq"], row["type"], row["version"], at, row["epoch"], payload_hash.hexdigest(),
             before.hex()], separators=(",", ":"), ensure_ascii=False,
        )  # fmt: skip
        here = f"journal of {row['run']}, event {row['seq']}"
        if row["seq"] != seq + 1:
            yield f"{here}: follows {seq}"
        if hashlib.sha256(text.encode()).digest() != bytes(row["hash"]) or bytes(row["prev_hash"]) != before:
            yield f"{here}: the chain is broken"
        ends[row["run"]] = (row["seq"], bytes(row["hash"]))
    if ends != heads:
        yield f"journal: runs end elsewhere than their rows say: {sorted(ends.keys() ^ heads.keys()) or 'heads'}"


def _runs(conn: sqlite3.Connection, evidence: Evidence) -> Iterator[str]:
    rows = conn.execute("SELECT r.*, t.message_ts FROM runs r JOIN tasks t ON t.run = r.id").fetchall()
    of_message = Counter(row["message_ts"] for row in rows)
    status = {row["message_ts"]: row["status"] for row in rows}
    for name, ts in evidence.asked.items():
        if status.get(ts) != evidence.ends.get(name, status.get(ts)):
            yield f"task {name} is {status.get(ts)} in the end, not {evidence.ends[name]}"
        if of_message[ts] != 1:
            yield f"task {name}: {of_message[ts]} runs, not one"
    for row in rows:
        if row["status"] not in OVER:
            yield f"run {row['id']} is {row['status']} in the end"
        if row["waiting_on"] or row["in_flight"] or row["reserved_micro_usd"]:
            yield f"run {row['id']} is over and counts {row['waiting_on']} waits, {row['in_flight']} in flight"
    for row in conn.execute("SELECT a.run, a.id, a.phase FROM actions a WHERE a.phase <> 'finished'"):
        yield f"action {row['id']} is {row['phase']} in the end"


def _actions(conn: sqlite3.Connection) -> dict[str, _Action]:
    """Every action by its id, from the events alone."""
    actions: dict[str, _Action] = {}
    takeovers: dict[str, str] = {}
    approvals: dict[str, str] = {}
    for row in conn.execute("SELECT type, payload FROM events ORDER BY run, seq"):
        event: Json = json.loads(row["payload"])
        match row["type"]:
            case "action_proposed":
                made = event["action"]
                name = str(made.get("arguments", {}).get("name", ""))
                actions[made["id"]] = _Action(made["id"], made["tool"], name, bool(made.get("idempotent")))
            case "action_started":
                item = actions[event["action"]]
                item.starts, item.phase, item.yes = item.starts + 1, "started", event.get("approval", "")
            case "action_resumed":
                item = actions[event["action"]]
                item.resumes, item.phase = item.resumes + 1, "resumed"
            case "action_finished":
                item = actions[event["action"]]
                item.phase, item.outcome = "finished", event["outcome"]
                item.was_unknown = item.was_unknown or event["outcome"] == "unknown"
            case "approval_requested":
                approvals[event["approval"]] = event["action"]
            case "approval_decided" if event["state"] != "approved":
                item = actions[approvals[event["approval"]]]
                if item.phase != "finished":
                    item.phase, item.outcome = "finished", event["state"]
            case "takeover_opened":
                takeovers[event["takeover"]] = event["action"]
                item = actions[event["action"]]
                item.phase = f"with_person:{event['cause']}"
            case "takeover_closed":
                item = actions[takeovers[event["takeover"]]]
                item.outcome, item.phase = f"{item.phase.partition(':')[2]}:{event['state']}", "finished"
            case _:
                pass
    return actions


def _effects(conn: sqlite3.Connection, evidence: Evidence) -> Iterator[str]:
    lines = evidence.effects.read_text().splitlines() if evidence.effects.exists() else []
    happened = Counter(line.split()[2] for line in lines)
    actions = _actions(conn)
    mine = [item for item in actions.values() if item.tool.startswith("effect_")]
    by_name: dict[str, list[_Action]] = {}
    for item in mine:
        by_name.setdefault(item.name, []).append(item)
    told_before = evidence.wanted if evidence.wanted is not None else frozenset(happened)
    for name in told_before ^ happened.keys():
        yield f"effect {name} {'was never allowed' if name in happened else 'is missing'}"
    for name in happened.keys() - by_name.keys():
        yield f"effect {name} happened without an action in the journal"
    for name, items in by_name.items():
        times = happened[name]
        starts, resumes = sum(item.starts for item in items), sum(item.resumes for item in items)
        if times > 1 + resumes:
            yield f"effect {name} happened {times} times, resumed {resumes} times"
        if times > starts:
            yield f"effect {name} happened {times} times with {starts} starts"
        told = any(item.outcome in {"succeeded", "unknown:done"} for item in items)
        if told and not times:
            yield f"effect {name} is told as done and did not happen"
        if times and not told:
            yield f"effect {name} happened and its action came to {[item.outcome for item in items]}"
        yield from _starts(items)


def _starts(items: Sequence[_Action]) -> Iterator[str]:
    for item in items:
        if item.starts > 1 + item.resumes:
            yield f"action {item.id} started {item.starts} times, resumed {item.resumes} times"
        if item.resumes and not item.idempotent:
            yield f"action {item.id} was resumed and is not idempotent"
        if item.was_unknown and not item.outcome.startswith("unknown:"):
            yield f"action {item.id} was unknown and no person was asked: {item.outcome}"
        if item.tool == "effect_medium" and item.starts and not item.yes:
            yield f"action {item.id} started without a yes"
        if item.tool == "effect_high" and item.starts:
            yield f"action {item.id} is high and was started"
        if item.phase != "finished":
            yield f"action {item.id} has no result: {item.phase}"


def _decisions(conn: sqlite3.Connection) -> Iterator[str]:
    decided: dict[str, list[str]] = {}
    asked: dict[str, str] = {}
    consumed: Counter[str] = Counter()
    for row in conn.execute("SELECT type, payload FROM events ORDER BY run, seq"):
        event: Json = json.loads(row["payload"])
        approval = str(event.get("approval") or "")
        if row["type"] == "approval_requested":
            asked[approval] = event["digest"]
        elif row["type"] == "approval_decided":
            decided.setdefault(approval, []).append(event["state"])
        elif row["type"] == "action_started" and approval:
            consumed[approval] += 1
            if decided.get(approval, [])[-1:] != ["approved"]:
                yield f"approval {approval} was used while {decided.get(approval)}"
            if asked.get(approval) != event["digest"]:
                yield f"approval {approval} was given to another call than the one that started"
    for approval in asked:
        states = decided.get(approval, [])
        if len(states) != 1 and states != ["approved", "withdrawn"]:
            yield f"approval {approval} has the decisions {states}"
        if consumed[approval] > 1 or (consumed[approval] and states != ["approved"]):
            yield f"approval {approval} was used {consumed[approval]} times, decided {states}"
    for row in conn.execute("SELECT * FROM approvals"):
        yield from _approval(row, decided.get(row["id"]) or ["pending"], consumed[row["id"]])


def _approval(row: sqlite3.Row, states: Sequence[str], consumed: int) -> Iterator[str]:
    if row["state"] != states[-1]:
        yield f"approval {row['id']} is {row['state']} in its row and {states} in the journal"
    if bool(row["consumed_at"]) != bool(consumed):
        yield f"approval {row['id']}: its row and the journal differ on whether it was used"
    if row["state"] == "expired" and row["decided_at"] < row["expires_at"]:
        yield f"approval {row['id']} expired {row['expires_at'] - row['decided_at']:.1f} s too early"


def _messages(conn: sqlite3.Connection, evidence: Evidence) -> Iterator[str]:
    posted = Counter(key for args in evidence.posts if (key := _key(args)))
    standing: dict[str, list[Json]] = {}
    for message in evidence.messages:
        if key := _key(message):
            standing.setdefault(key, []).append(message)
    rows = {row["message_key"]: row for row in conn.execute("SELECT * FROM outbox")}
    for key in standing.keys() - rows.keys():
        yield f"message {key} stands in Slack and is owed by nothing"
    for key, row in rows.items():
        if row["sent"] < row["wanted"]:
            yield f"message {key} is owed revision {row['wanted']}, Slack has {row['sent']} ({row['error']})"
        if posted[key] > 1:
            yield f"message {key} was posted {posted[key]} times"
        for message in standing.get(key, ()):
            if (message["channel"], message["ts"]) != (row["channel"], row["ts"]):
                yield f"message {key} stands at {message['ts']}, its row says {row['ts']}"
    yield from _words(conn, standing)


def _streams(conn: sqlite3.Connection, evidence: Evidence) -> Iterator[str]:
    """A run's progress is posted or streamed, once; its stream is over in the end, and its row's own message."""
    posted = Counter(_key(args) for args in evidence.posts)
    begun = [json.dumps(args) for args in evidence.streams]
    for (run,) in conn.execute("SELECT id FROM runs"):
        times = sum(f"`{run}`" in text for text in begun)
        if times + posted[f"progress:{run}"] > 1:
            yield f"progress of {run} was begun {times} times as a stream, posted {posted[f'progress:{run}']} times"
    for message in evidence.messages:
        state = message.get("streaming_state")
        if state == "in_progress":
            yield f"stream {message['ts']} was never ended"
        elif state and not _key(message):
            yield f"stream {message['ts']} stands in Slack and is owed by nothing"


def _words(conn: sqlite3.Connection, standing: Mapping[str, Sequence[Json]]) -> Iterator[str]:
    """Whether what people read is what the database says."""
    for table, kind, says in (
        ("approvals", "card", CARD_SAYS),
        ("takeovers", "takeover", PACKET_SAYS),
        ("runs", "answer", ANSWER_SAYS),
    ):
        for row in conn.execute(f"SELECT * FROM {table}"):  # noqa: S608  # the three names above
            found = standing.get(f"{kind}:{row['id']}", [])
            state = row["status"] if kind == "answer" else row["state"]
            words = json.dumps([(item.get("text"), item.get("blocks")) for item in found])
            if len(found) != 1:
                yield f"{kind} of {row['id']} ({state}): {len(found)} messages stand"
            elif says[state] not in words:
                yield f"{kind} of {row['id']} is {state} in the database; Slack shows {found[0].get('text')!r}"


def _key(message: Json) -> str:
    metadata: Any = message.get("metadata") or {}
    found: Any = json.loads(metadata) if isinstance(metadata, str) else metadata
    return str(found.get("event_payload", {}).get("key", ""))
