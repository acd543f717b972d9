"""What the examples are made of: people, texts that a test can replace by hostile ones, and the views behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agent import events as ev
from agent.domain import Action, ApprovalState, Outcome, Reason, Revision, RunStatus, Tier, content_hash
from agent.tools.base import Preview
from bot.blocks.kit import Block
from bot.blocks.message import Message
from bot.words import person
from storage.rows import ApprovalRow
from storage.successors import Successor
from storage.views import ActionView, ApprovalView, RunLine

Shown = Message | Block
MAYA, OMAR, INES = (f"slack:T0SECONDKEY:{user}" for user in ("U0MAYA", "U0OMAR", "U0INES"))
NAMES: Final = {MAYA: "Maya Lind", OMAR: "Omar Reyes", INES: "Ines Costa"}
DIGEST = content_hash("the call of the examples")
NOON = 1_795_435_200.0
"""A day in November 2026, 12:00 UTC."""
THREAD = "https://harbour.slack.com/archives/C0DATA/p1795435200000100"
CARD = "https://harbour.slack.com/archives/C0ACTIONS/p1795435260000200"
_CODES: Final = {
    Outcome.FAILED: "TOOL_FAILED",
    Outcome.TIMED_OUT: "TOOL_TIMED_OUT",
    Outcome.REFUSED: "PREVIEW_MISMATCH",
}
SCHEMA: Mapping[str, Any] = {
    "properties": {
        "database": {"type": "string", "description": "Name of the database."},
        "sql": {"type": "string", "description": "One statement of SQL."},
        "limits": {"type": "object"},
    }
}


@dataclass(frozen=True, slots=True)
class Texts:
    """What comes from models, tools and people; a test puts hostile texts here."""

    headline: str = "Change 3 rows of drinks in database shop"
    rationale: str = "The task asks for the summer prices, and these three drinks are on the list."
    reason: str = "We agreed to leave prices alone until Monday."
    rule: str = "sql_update"
    say: str = "It changes rows that can be previewed."
    summary: str = "3 rows changed"
    failure: str = "The database was busy for 30 seconds."
    because: str = "The yes lapsed before it could start."
    arguments: Mapping[str, Any] = field(
        default_factory=lambda: {
            "database": "shop",
            "sql": "UPDATE drinks\nSET price = price + 10\nWHERE name IN ('Oat flat', 'Mocha', 'Tea')",
        }
    )
    cell: str = "Oat flat"
    task: str = "Put the summer prices onto oat flat, mocha and tea, and tell me what changed."
    first_step: str = "Look up the summer prices in docs/prices.md"
    second_step: str = "Change the three prices in the shop's database"
    third_step: str = "Compare the new prices with the list"
    answer: str = (
        "The summer prices stand in the shop's database:\n\n"
        "- **Oat flat**: $4.00 → $4.10\n- **Mocha**: $4.50 → $4.60\n- **Tea**: $2.50 → $2.60\n\n"
        "All three are as in `docs/prices.md`. I changed nothing else."
    )
    danger: str = "Delete all 1,204 rows of orders in database shop"
    instruction: str = "Do not delete them. Copy the orders of 2024 to orders_archive, and leave the rest alone."
    done: str = "Copied the table to orders_2024, checked the count, then deleted the rows."
    reference: str = "OPS-2231"
    evidence: str = "1,204 rows before, 0 after; orders_2024 has 1,204."
    question: str = "Nothing was deleted yet. The agent wants to delete every row of orders, because the task says so."
    rule_high: str = "sql_delete_without_where"
    because_high: str = "It deletes every row of a table, and nothing brings them back."
    refusal: str = "Guests can neither ask nor decide here; a full member of this workspace must."
    problem: str = "Slack has answered slowly for 4 minutes; cards may come late."


def name_of(key: str) -> str:
    """A person by name, as a message shows them that was changed since its first post."""
    return NAMES.get(key) or person(key)


def run_line(**more: Any) -> RunLine:
    """A run that waits."""
    values: dict[str, Any] = {
        "id": "r7k2m9x", "task": "t1", "team": "T0SECONDKEY", "channel": "C0DATA", "thread_ts": "1795435200.000100",
        "requester": MAYA, "status": RunStatus.WAITING, "epoch": 0, "parent_run": "",
        "title": "Put the summer prices onto oat flat, mocha and tea", "created_at": NOON, "started_at": NOON,
        "ended_at": 0.0, "steps": 1, "spent_micro_usd": 12_000,
        "reserved_micro_usd": 0, "waiting_on": 1, "in_flight": 0, "seq": 9, "trace_id": "", "span_id": "",
        "answer_blob": "", "summary": "",
    }  # fmt: skip
    return RunLine(**(values | more))


class Cards:
    """Builds the views behind the examples."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts

    def action(self, *, revision: Revision | None = None, **more: Any) -> ActionView:
        """The action of the card."""
        texts = self.texts
        action = Action(
            id="a1", step=0, turn=0, tool="query_sql", arguments=dict(texts.arguments), digest=DIGEST, schema_hash="s",
            rationale=texts.rationale, revision=revision,
        )  # fmt: skip
        rating = ev.ActionRated(
            action="a1", tier=Tier.MEDIUM, reasons=(Reason(rule=texts.rule, text=texts.say),), headline=texts.headline
        )
        return replace(ActionView("a1", "asked", None, "p1", "", 0.0, 0.0, action, rating, None), **more)

    def other(self, tool: str, headline: str, arguments: Mapping[str, Any]) -> ActionView:
        """A call of another tool."""
        item = self.action()
        action = item.action.model_copy(update={"tool": tool, "arguments": dict(arguments)})
        reason = Reason(rule=tool, text="Others rely on what it changes.")
        update = {"headline": headline, "reasons": (reason,)}
        return replace(item, action=action, rating=item.rating.model_copy(update=update) if item.rating else None)

    def ended(self, outcome: Outcome) -> ActionView:
        """The action with an outcome."""
        said, code = self.texts.failure, _CODES.get(outcome, "")
        if not code:
            said = self.texts.summary if outcome in {Outcome.SUCCEEDED, Outcome.DONE_BY_HUMAN} else ""
        ended = ev.ActionFinished(action="a1", outcome=outcome, summary=said, code=code)
        return self.action(
            phase="finished", outcome=outcome, started_at=NOON + 400, ended_at=NOON + 403, ended=ended
        )  # fmt: skip

    def rows(self) -> str:
        """A preview of rows."""
        cell = self.texts.cell[:900]
        before = ((1, cell, 400), (2, "Mocha", 450), (3, "Tea", 250))
        after = ((1, cell, 410), (2, "Mocha", 460), (3, "Tea", 260))
        columns = ("id", "name", "price")
        return Preview(kind="rows", columns=columns, before=before, after=after, count=3).model_dump_json()

    def view(
        self,
        state: ApprovalState = ApprovalState.PENDING,
        item: ActionView | None = None,
        *,
        votes: tuple[tuple[str, str, float], ...] = (),
        preview: str | None = None,
        successor: Successor | None = None,
        waiting: tuple[str, ...] = (),
        co_requesters: tuple[str, ...] = (MAYA,),
        **more: Any,  # fields of the row
    ) -> ApprovalView:
        """An approval in a state."""
        decided = state is not ApprovalState.PENDING
        values: dict[str, Any] = {
            "id": "p1", "run": "r7k2m9x", "action": "a1", "tool": "query_sql", "tier": Tier.MEDIUM, "digest": DIGEST,
            "epoch": 0, "state": state, "created_at": NOON, "expires_at": NOON + 1800, "timeout_s": 1800.0,
            "delivered_at": NOON, "decided_at": NOON + 300 if decided else 0.0, "decided_by": OMAR if decided else "",
            "reason": "", "start_before": 0.0, "reason_until": 0.0, "consumed_at": 0.0, "quorum": 1,
            "self_approved": False, "because": "", "reminded_at": 0.0, "escalated_at": 0.0, "requester": MAYA,
            "team": "T0SECONDKEY", "deciders": (OMAR, INES),
        }  # fmt: skip
        return ApprovalView(
            ApprovalRow(**(values | more)), run_line(), item or self.action(), votes,
            self.rows() if preview is None else preview, co_requesters, successor, waiting,
        )  # fmt: skip

    def successor(self, cause: str = "edit", **more: Any) -> Successor:
        """What stands in its place."""
        values: dict[str, Any] = {
            "cause": cause, "by": INES, "at": NOON + 300, "run": "r7k2m9x", "action": "a2",
            "run_status": RunStatus.WAITING, "why": self.texts.failure,
        }  # fmt: skip
        return Successor(**(values | more))
