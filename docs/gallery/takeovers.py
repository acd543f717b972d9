"""The packet of a takeover in every state, and the words in its thread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent import events as ev
from agent.domain import Outcome, Principal, RunStatus, TakeoverState, Tier
from agent.tools.base import Preview
from bot.blocks.message import Look
from bot.blocks.takeover import takeover_packet
from bot.blocks.takeover_notes import said, takeover_note
from docs.gallery.runs import Runs, call
from docs.gallery.values import INES, MAYA, NOON, OMAR, Cards, Shown, name_of
from storage.questions import Question
from storage.rows import TakeoverRow
from storage.views import StepView, TakeoverView

_UNTIL = NOON + 7 * 86_400
_ON_CALL = "<!subteam^S0ONCALL|@on-call>"


class Takeovers:
    """Builds the views behind the examples."""

    def __init__(self, cards: Cards) -> None:
        self.cards, self.texts = cards, cards.texts

    def view(self, state: TakeoverState = TakeoverState.OPEN, **more: Any) -> TakeoverView:
        """A takeover in a state."""
        values: dict[str, Any] = {
            "id": "k4d8w2q", "run": "r7k2m9x", "action": "a5", "tool": "query_sql", "state": state, "cause": "high",
            "opened_at": NOON, "give_up_at": _UNTIL, "claimed_by": "", "claim_token": "", "claimed_at": 0.0,
            "claim_until": 0.0, "reminded_at": 0.0, "escalated_at": 0.0, "closed_at": 0.0, "closed_by": "", "what": "",
            "reference": "", "evidence": "", "epoch": 0, "requester": MAYA, "team": "T0SECONDKEY",
            "deciders": (OMAR, INES),
        }  # fmt: skip
        if state is TakeoverState.CLAIMED:
            values |= {"claimed_by": OMAR, "claim_token": "c1", "claimed_at": NOON + 60, "claim_until": NOON + 1860}
        elif state.is_final:
            values |= {"closed_at": NOON + 900, "closed_by": OMAR}
        row = TakeoverRow(**(values | more))
        arguments, runs = {"database": "shop", "sql": "DELETE FROM orders"}, Runs(self.cards)
        item = call(
            "a5", "query_sql", arguments, self.texts, tier=Tier.HIGH, headline=self.texts.danger, phase="with_person",
            reason=self.texts.because_high,
        )  # fmt: skip
        columns = ("id", "placed", "total")
        before = ((1, "2024-01-02", 1180), (2, "2024-01-02", 460), (3, "2024-01-03", 950))
        preview = Preview(kind="rows", columns=columns, before=before, count=1204).model_dump_json()
        steps = (StepView(0, 0, "", "done"), StepView(1, 1, "", "open"))
        changed = replace(self.cards.ended(Outcome.SUCCEEDED), id="a1")
        run = runs.view(RunStatus.WAITING, steps=steps, actions=(runs.read(), changed, item), takeovers=(row,))
        return TakeoverView(takeover=row, action=item, preview=preview, view=run)


def takeover_examples(cards: Cards) -> dict[str, Shown]:
    """The packet in every state, then what is said in its thread."""
    made, texts, state = Takeovers(cards), cards.texts, TakeoverState
    first, later = Look(on_call=_ON_CALL), Look(who=name_of, actor=name_of, is_first=False)
    alone = made.view(deciders=(MAYA,))
    views = {
        "escalated": made.view(reminded_at=NOON + 3600, escalated_at=NOON + 7200),
        "nobody could take it": alone,
        "claimed": made.view(state.CLAIMED),
        "handed on": made.view(state.CLAIMED, claimed_by=INES, given_by=OMAR),
        "done": made.view(state.DONE, what=texts.done, reference=texts.reference, evidence=texts.evidence),
        "handed back": made.view(state.HANDED_BACK, what=texts.instruction),
        "aborted": made.view(state.ABORTED, what=texts.reason),
        "unknown": made.view(cause="unknown"),
        "unknown, it happened": made.view(state.DONE, cause="unknown", what="It happened."),
    }
    packets: dict[str, Shown] = {
        "takeover, open": takeover_packet(made.view(), first),
        **{f"takeover, {name}": takeover_packet(view, later) for name, view in views.items()},
    }
    return packets | _notes(made)


def _notes(made: Takeovers) -> dict[str, Shown]:
    look, open_ = Look(actor=name_of, on_call=_ON_CALL), made.view()
    given = made.view(TakeoverState.CLAIMED, claimed_by=INES, given_by=OMAR)
    ines = Principal.parse(INES)
    notes = {
        "handed on": (given, ev.TakeoverClaimed(
            takeover="k4d8w2q", by=ines, claim_token="c1", at=NOON, until=NOON + 1860, given_by=OMAR)),
        "released": (open_, ev.TakeoverReleased(takeover="k4d8w2q", by=OMAR, at=NOON, why="released")),
        "lapsed": (open_, ev.TakeoverReleased(takeover="k4d8w2q", by=OMAR, at=NOON, why="lapsed")),
        "reminder": (open_, ev.TakeoverReminded(takeover="k4d8w2q", at=NOON + 3600)),
        "escalation": (open_, ev.TakeoverReminded(takeover="k4d8w2q", at=NOON + 7200, escalated=True)),
    }  # fmt: skip
    found: dict[str, Shown] = {}
    for name, (view, event) in notes.items():
        message = takeover_note(view, event, look)
        if message is None:
            raise ValueError(name)
        found[f"takeover note, {name}"] = message
    asked = Question("r7k2m9x", 9, "k4d8w2q", OMAR, quiet=False, text="Is anything gone?", answer=made.texts.question)
    return {**found, "takeover note, a question answered": said(asked, look)}
