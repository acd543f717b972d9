"""The tables, as the statements of each migration, oldest first; a released one is never edited.

Values are kept short: hashes of the chain and of bodies are 32 raw bytes, times are REAL business seconds unless a
comment says otherwise, "not yet" is NULL. What an action was proposed with stands in its events; its row holds their
seq.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

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
    # payload_hash is empty as long as the payload is there, since it can be worked out.
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
_CARDS = (
    # What a person had proposed in place of an approval that was not decided, and where it is: an action of the same
    # run, or (empty) whatever a new run proposes.
    """CREATE TABLE successors (
      approval TEXT PRIMARY KEY, cause TEXT NOT NULL, "by" TEXT NOT NULL, at REAL NOT NULL, run TEXT NOT NULL,
      action TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX successors_run ON successors(run)",
)
_ENTRY = (
    # Tasks that were asked elsewhere than in a message: the message of ours under which such a run lives is owed, then
    # the run, then (for a step of a workflow: `execution`) its completion. `text` is empty while its window is open.
    # Times with a `next_` are transport seconds.
    """CREATE TABLE anchors (
      id TEXT PRIMARY KEY, via TEXT NOT NULL, team TEXT NOT NULL, channel TEXT NOT NULL, thread_ts TEXT NOT NULL,
      principal TEXT NOT NULL, author TEXT NOT NULL, text TEXT NOT NULL, quote TEXT NOT NULL, execution TEXT NOT NULL,
      state TEXT NOT NULL, tried INTEGER NOT NULL, run TEXT NOT NULL, reason TEXT NOT NULL, created_at REAL NOT NULL,
      attempts INTEGER NOT NULL, next_at REAL NOT NULL, error TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX anchors_owed ON anchors(next_at) WHERE state IN ('asked', 'taken', 'refused')",
    "CREATE INDEX anchors_open ON anchors(created_at) WHERE state IN ('draft', 'over')",
    "CREATE INDEX actions_id ON actions(id)",
)
_THREAD = (
    # One vote a person and run under an answer; the word is what they said of it, if anything.
    """CREATE TABLE feedback (
      run TEXT NOT NULL, principal TEXT NOT NULL, vote TEXT NOT NULL, word TEXT NOT NULL, at REAL NOT NULL,
      PRIMARY KEY (run, principal)
    ) STRICT, WITHOUT ROWID""",
    # Who added words to a running task and when, for the quota; a row older than its window is dropped.
    "CREATE TABLE follow_ups (principal TEXT NOT NULL, at REAL NOT NULL, run TEXT NOT NULL) STRICT",
    "CREATE INDEX follow_ups_by ON follow_ups(principal, at)",
    # Files that people attached: owed until they are in the run's workspace (done) or cannot be (failed). `batch` is
    # the message that they came with; at most one row a file and message.
    """CREATE TABLE attachments (
      run TEXT NOT NULL, batch TEXT NOT NULL, file TEXT NOT NULL, n INTEGER NOT NULL, name TEXT NOT NULL,
      kind TEXT NOT NULL, size INTEGER NOT NULL, url TEXT NOT NULL, state TEXT NOT NULL, path TEXT NOT NULL,
      why TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (run, batch, file)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX attachments_owed ON attachments(at) WHERE state = 'owed'",
)
_TAKEOVER = (
    # Who handed a claim on, when its holder did not take it themselves.
    "ALTER TABLE takeovers ADD COLUMN given_by TEXT NOT NULL DEFAULT ''",
    # What somebody asked in a takeover's thread; quiet: a person had it, so it was only kept.
    """CREATE TABLE questions (
      run TEXT NOT NULL, seq INTEGER NOT NULL, takeover TEXT NOT NULL, asked_by TEXT NOT NULL, quiet INTEGER NOT NULL,
      text_blob TEXT NOT NULL, answer_blob TEXT, PRIMARY KEY (run, seq)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX questions_open ON questions(run) WHERE answer_blob IS NULL",
    # A call beside the run, for a question about it: it counts as nothing in flight.
    "ALTER TABLE calls ADD COLUMN beside INTEGER NOT NULL DEFAULT 0",
    # At most one of run, tool and person is set; none: everything. grant_id: the grant that another process revokes.
    "ALTER TABLE control ADD COLUMN tool TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE control ADD COLUMN person TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE control ADD COLUMN grant_id TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX control_grant ON control(grant_id) WHERE grant_id <> ''",
    # grant_json is agent.grants.Grant; the columns beside it are what changes, and what it is looked for by.
    """CREATE TABLE grants (
      id TEXT PRIMARY KEY, run TEXT NOT NULL, approval TEXT NOT NULL, requester TEXT NOT NULL, tool TEXT NOT NULL,
      given_by TEXT NOT NULL, given_at REAL NOT NULL, expires_at REAL NOT NULL, uses INTEGER NOT NULL,
      spent_micro_usd INTEGER NOT NULL, revoked_at REAL, revoked_by TEXT NOT NULL, grant_json TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX grants_standing ON grants(requester, tool, expires_at) WHERE revoked_at IS NULL",
)
_POLICY = (
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
_TRACED = (
    # The seq up to which the spans of a run's journal were handed over; no row as long as nothing was.
    "CREATE TABLE traced (run TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID",
)
_RECEIPTS = (
    # The signature of each vote, and (voter empty) of each decision: over the rows beside it, and what stands here.
    """CREATE TABLE receipts (
      approval TEXT NOT NULL, voter TEXT NOT NULL, at REAL NOT NULL, policy_version TEXT NOT NULL,
      voters_json TEXT NOT NULL, signature TEXT NOT NULL, PRIMARY KEY (approval, voter)
    ) STRICT, WITHOUT ROWID""",
    # Real seconds for which the card must have stood before a yes counts.
    "ALTER TABLE approval_terms ADD COLUMN floor_s REAL NOT NULL DEFAULT 0",
)

_FAULTS = (
    # Model money by UTC day of business time: for everybody (empty name), each person, each model.
    """CREATE TABLE ledger (
      day INTEGER NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, reserved_micro_usd INTEGER NOT NULL,
      spent_micro_usd INTEGER NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (day, scope, name)
    ) STRICT, WITHOUT ROWID""",
    # Where a call is booked; day 0: reserved before there was a ledger.
    "ALTER TABLE calls ADD COLUMN day INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE calls ADD COLUMN model TEXT NOT NULL DEFAULT ''",
    # Services that failed lately. opened_at: transport time; NULL while calls go through.
    """CREATE TABLE breakers (
      name TEXT PRIMARY KEY, failures INTEGER NOT NULL, opened_at REAL
    ) STRICT, WITHOUT ROWID""",
)
_MCP = (
    # Tools of MCP servers as an operator trusted them, word for word; hash is that of the definition.
    """CREATE TABLE mcp_tools (
      server TEXT NOT NULL, tool TEXT NOT NULL, hash TEXT NOT NULL, definition_json TEXT NOT NULL,
      trusted_by TEXT NOT NULL, trusted_at REAL NOT NULL, PRIMARY KEY (server, tool)
    ) STRICT, WITHOUT ROWID""",
)
_ENDINGS = (
    # The signature of how a takeover ended, over its row and what stands here.
    """CREATE TABLE takeover_receipts (
      takeover TEXT PRIMARY KEY, again INTEGER NOT NULL, policy_version TEXT NOT NULL, signature TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

STATEMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "m001_tables": _FIRST,
        "m002_audit": _SECOND,
        "m004_cards": _CARDS,
        "m005_thread": _THREAD,
        "m006_takeover": _TAKEOVER,
        "m007_entry": _ENTRY,
        "m008_policy": _POLICY,
        "m009_faults": _FAULTS,
        "m011_traced": _TRACED,
        "m013_receipts": _RECEIPTS,
        "m014_mcp": _MCP,
        "m015_endings": _ENDINGS,
    }
)
"""A migration's name and its statements."""
