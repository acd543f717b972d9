"""The approval card in every phase, and what stands in its thread."""

from __future__ import annotations

from agent.domain import ApprovalState, Outcome, Revision
from agent.tools.base import Preview
from bot.blocks.approval import CardLinks, approval_card, reminder
from bot.blocks.message import Look
from bot.blocks.result import result_message
from docs.gallery.values import CARD, INES, MAYA, NOON, OMAR, THREAD, Cards, Shown, name_of


def card_examples(cards: Cards) -> dict[str, Shown]:
    """Every phase of the card, in the order of its life."""
    texts, look = cards.texts, Look()
    later = Look(who=name_of, actor=name_of, is_first=False)
    links = CardLinks(run=THREAD, successor=CARD)
    pending, late = cards.view(), {"reminded_at": NOON + 450, "escalated_at": NOON + 900}
    edited, again = (
        cards.action(revision=Revision(of="a0", cause=cause, by=INES)) for cause in ("edit", "ask_again")
    )  # fmt: skip
    diff = Preview(kind="diff", text=f"--- a/menu.md\n+++ b/menu.md\n@@\n-{texts.cell} 4.00\n+{texts.cell} 4.10\n")
    request = Preview(kind="request", text=f"POST https://api.example.com/orders\n\n{texts.cell}")
    unreadable = Preview(kind="text", text=f"What this would change cannot be shown: {texts.cell}")
    file = cards.other("apply_changes", "Put 1 changed file onto the project", {"paths": ["menu.md"]})
    sent = cards.other(
        "http_request",
        "Send an order to api.example.com",
        {
            "method": "POST",
            "url": "https://api.example.com/orders",
            "body": texts.cell,
        },
    )
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
        "a diff": cards.view(item=file, preview=diff.model_dump_json()),
        "a request": cards.view(item=sent, preview=request.model_dump_json()),
        "no preview": cards.view(preview=unreadable.model_dump_json()),
        "approved": cards.view(approved),
        "approved from a terminal": cards.view(approved, self_approved=True, decided_by="local:1000"),
        "allowed beforehand": cards.view(approved, reason="grant:g3n7", because="grant:g3n7"),
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


def reply_examples(cards: Cards) -> dict[str, Shown]:
    """What is posted into a card's thread."""
    look, found = Look(actor=name_of), dict[str, Shown]()
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
        if message is None:
            raise ValueError(outcome)
        found[f"reply, {outcome}"] = message
    found["reply, reminder"] = reminder(cards.view(reminded_at=NOON + 450), look)
    found["reply, escalation"] = reminder(cards.view(reminded_at=NOON + 450, escalated_at=NOON + 900), look)
    return found
