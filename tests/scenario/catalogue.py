"""One example of every phase of a card, of its windows and replies; the gallery draws them, a test checks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent import events as ev
from agent.domain import Action, ApprovalState, Outcome, Reason, Revision, RunStatus, Tier
from agent.editing import fields_of
from agent.tools.base import Preview
from bot.blocks import modals
from bot.blocks.approval import CardLinks, approval_card, reminder
from bot.blocks.details import details
from bot.blocks.edit_form import changed_notice, edit_form
from bot.blocks.kit import Block
from bot.blocks.message import Look, Message
from bot.blocks.result import result_message
from bot.blocks.together import together_form, together_notice
from storage.rows import ApprovalRow
from storage.successors import Successor
from storage.views import ActionView, ApprovalView, RunLine

Shown = Message | Block
MAYA, OMAR, INES = (f"slack:T0SECONDKEY:{user}" for user in ("U0MAYA", "U0OMAR", "U0INES"))
DIGEST = "9f2c47d1a05e" + "0" * 52
NOON = 1_795_435_200.0
"""A day in November 2026, 12:00 UTC."""
THREAD = "https://harbour.slack.com/archives/C0DATA/p1795435200000100"
CARD = "https://harbour.slack.com/archives/C0ACTIONS/p1795435260000200"
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
    because: str = "The yes lapsed before it could start."
    arguments: Mapping[str, Any] = field(
        default_factory=lambda: {
            "database": "shop",
            "sql": "UPDATE drinks\nSET price = price + 10\nWHERE name IN ('Oat flat', 'Mocha', 'Tea')",
        }
    )
    cell: str = "Oat flat"


def run_line(**more: Any) -> RunLine:  # fields of a row
    """A run that waits."""
    values: dict[str, Any] = {
        "id": "r7k2m9x", "task": "t1", "team": "T0SECONDKEY", "channel": "C0DATA", "thread_ts": "1795435200.000100",
        "requester": MAYA, "status": RunStatus.WAITING, "epoch": 0, "parent_run": "", "title": "Summer prices",
        "created_at": NOON, "started_at": NOON, "ended_at": 0.0, "steps": 1, "spent_micro_usd": 12_000,
        "reserved_micro_usd": 0, "waiting_on": 1, "in_flight": 0, "seq": 9, "trace_id": "", "span_id": "",
        "answer_blob": "", "summary": "",
    }  # fmt: skip
    return RunLine(**(values | more))


class Cards:
    """Builds the views behind the examples."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts

    def action(self, *, revision: Revision | None = None, **more: Any) -> ActionView:  # fields of a view
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

    def ended(self, outcome: Outcome) -> ActionView:
        """The action with an outcome."""
        is_failure = outcome in {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.REFUSED}
        code = "TOOL_FAILED" if is_failure else ""
        ended = ev.ActionFinished(action="a1", outcome=outcome, summary=self.texts.summary, code=code)
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

    def successor(self, cause: str = "edit", **more: Any) -> Successor:  # fields of a successor
        """What stands in its place."""
        values: dict[str, Any] = {
            "cause": cause, "by": INES, "at": NOON + 300, "run": "r7k2m9x", "action": "a2",
            "run_status": RunStatus.WAITING, "why": self.texts.summary,
        }  # fmt: skip
        return Successor(**(values | more))


def catalogue(texts: Texts | None = None) -> dict[str, Shown]:
    """Name → message or modal view, in the order of a card's life."""
    cards = Cards(texts or Texts())
    return {**_cards(cards), **_replies(cards), **_windows(cards)}


def _cards(cards: Cards) -> dict[str, Shown]:
    texts, look = cards.texts, Look()
    later = Look(who=lambda key: key.rpartition(":")[2].lower()[2:], is_first=False)
    links = CardLinks(run=THREAD, successor=CARD)
    pending, late = cards.view(), {"reminded_at": NOON + 450, "escalated_at": NOON + 900}
    edited, again = (
        cards.action(revision=Revision(of="a0", cause=cause, by=INES)) for cause in ("edit", "ask_again")
    )  # fmt: skip
    diff = Preview(kind="diff", text=f"--- a/prices.txt\n+++ b/prices.txt\n@@\n-{texts.cell}\n+{texts.cell} 4.10\n")
    request = Preview(kind="request", text=f"POST https://api.example.com/orders\n\n{texts.cell}")
    unreadable = Preview(kind="text", text=f"What this would change cannot be shown: {texts.cell}")
    approved, expired = ApprovalState.APPROVED, ApprovalState.EXPIRED
    superseded, withdrawn = ApprovalState.SUPERSEDED, ApprovalState.WITHDRAWN
    by_nobody = {"decided_by": ""}
    new, takeover = cards.successor(approval="p2"), cards.successor(takeover="k1")
    views = {
        "reminded": cards.view(reminded_at=NOON + 450),
        "escalated": cards.view(**late),
        "several wait": cards.view(waiting=("p1", "p2", "p3")),
        "half a quorum": cards.view(quorum=2, votes=((OMAR, "approve", NOON + 60),)),
        "nobody else could decide": cards.view(co_requesters=(MAYA, OMAR, INES)),
        "edited": cards.view(item=edited, co_requesters=(MAYA, INES)),
        "asked again": cards.view(item=again, co_requesters=(MAYA, INES)),
        "asked again by the agent": cards.view(because=texts.because),
        "a diff": cards.view(preview=diff.model_dump_json()),
        "a request": cards.view(preview=request.model_dump_json()),
        "no preview": cards.view(preview=unreadable.model_dump_json()),
        "approved": cards.view(approved),
        "approved from a terminal": cards.view(approved, self_approved=True, decided_by="local:1000"),
        "running": cards.view(approved, cards.action(phase="started", started_at=NOON + 301)),
        **{f"approved, {outcome}": cards.view(approved, cards.ended(outcome)) for outcome in Outcome},
        "denied": cards.view(ApprovalState.DENIED),
        "denied with a reason": cards.view(ApprovalState.DENIED, reason=texts.reason),
        "expired": cards.view(expired, **by_nobody),
        "expired, asked again": cards.view(expired, successor=cards.successor("ask_again", approval="p2"), **by_nobody),
        "expired, new run": cards.view(expired, successor=cards.successor("ask_again", action=""), **by_nobody),
        "withdrawn": cards.view(withdrawn, decided_by=MAYA),
        "withdrawn by the run": cards.view(withdrawn, reason=texts.reason, **by_nobody),
        "withdrawn, asked again": cards.view(withdrawn, successor=cards.successor("ask_again"), decided_by=MAYA),
        "superseded, being rated": cards.view(superseded, successor=cards.successor(), decided_by=INES),
        "superseded": cards.view(superseded, successor=new, decided_by=INES),
        "superseded, rated high": cards.view(superseded, successor=takeover, decided_by=INES),
        "superseded, refused": cards.view(
            superseded, successor=cards.successor(outcome=Outcome.REFUSED), decided_by=INES
        ),
    }  # fmt: skip
    first: dict[str, Shown] = {"card, pending": approval_card(pending, look, links)}
    return first | {f"card, {name}": approval_card(view, later, links) for name, view in views.items()}


def _replies(cards: Cards) -> dict[str, Shown]:
    look, found = Look(actor=lambda key: key.rpartition(":")[2].lower()[2:]), dict[str, Shown]()
    states = {
        Outcome.DENIED: ApprovalState.DENIED,
        Outcome.EXPIRED: ApprovalState.EXPIRED,
        Outcome.WITHDRAWN: ApprovalState.WITHDRAWN,
    }
    for outcome in Outcome:
        state = states.get(outcome, ApprovalState.APPROVED)
        reason = cards.texts.reason if outcome is Outcome.DENIED else ""
        view = cards.view(state, cards.ended(outcome), reason=reason, decided_by="" if "expired" in state else OMAR)
        message = result_message(view, look, THREAD)
        assert message is not None
        found[f"reply, {outcome}"] = message
    found["reply, reminder"] = reminder(cards.view(reminded_at=NOON + 450), look)
    found["reply, escalation"] = reminder(cards.view(reminded_at=NOON + 450, escalated_at=NOON + 900), look)
    return found


def _windows(cards: Cards) -> dict[str, Shown]:
    view = cards.view(waiting=("p1", "p2"))
    fields = fields_of(SCHEMA, {**cards.texts.arguments, "limits": {"rows": 3, "note": cards.texts.cell}})
    other = replace(view, approval=replace(view.approval, id="p2"))
    return {
        "window, reason": modals.deny_reason("p1", cards.texts.headline),
        "window, edit": edit_form(view, fields, editor=OMAR),
        "window, edit with nobody else": edit_form(cards.view(deciders=(OMAR,)), fields, editor=OMAR),
        "window, changed": changed_notice(),
        "window, details": details(view.action, "r7k2m9x", view.preview, subject="p1"),
        "window, details of an outcome": details(cards.ended(Outcome.FAILED), "r7k2m9x", "", subject="p1", page=99),
        "window, together": together_form([view, other], "r7k2m9x"),
        "window, decided": together_notice(["*Change 3 rows*: approved.", "*Change 1 row*: denied."]),
    }
