"""The Home, the answers to `/agent`, and words that only one person sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent.domain import ApprovalState, Effect, Intent, Outcome, RunStatus, TakeoverState
from agent.errors import AlreadyDecided, NotEntitled, OwnRequest, QuotaExceeded
from agent.facts.model import Facts
from bot.blocks import grants, inquiry, usage
from bot.blocks.home import HomeView, home, refused_home
from bot.blocks.kit import Block, section
from bot.blocks.message import Look, Message
from bot.blocks.status import help_text, run_list, run_status
from bot.words import STILL_SAVING, sentence
from docs.gallery.runs import Runs
from docs.gallery.takeovers import Takeovers
from docs.gallery.values import CARD, INES, NOON, OMAR, THREAD, Cards, Shown, run_line
from docs.gallery.windows import grant_of
from storage.grants import GrantRow
from storage.quotas import Quotas
from storage.spending import Left, Spent
from storage.views import RunLine, StepView

BOT: Final = "U0SECONDKEY"
_TODAY, _LEFT = Spent(4, 138_000, 20_000), Left(6, 91, 2, 0.0)
_USED_UP: Final = Left(0, 88, 1, NOON + 1500)
_BUDGET: Final = 500_000


def home_examples(cards: Cards) -> dict[str, Shown]:
    """The Home of somebody new, of a decider, of an admin, of who is refused."""
    look, made = Look(), Takeovers(cards)
    mine = tuple((line, THREAD) for line in _lines(cards))
    waits = tuple(cards.view(id=key, expires_at=NOON + 600 * at) for at, key in enumerate(("p1",), start=1))
    held = (made.view(TakeoverState.CLAIMED), replace(made.view(), takeover=made.view(id="k2").takeover))
    busy = HomeView(
        approvals=waits, held=held, waiting=mine[:1], mine=mine[1:], today=_TODAY, left=_LEFT, quotas=Quotas(),
        budget_micro_usd=_BUDGET, note=sentence(_lost()), links={"p1": CARD, "k4d8w2q": CARD},
    )  # fmt: skip
    calm = replace(busy, approvals=(), held=(), waiting=(), note="")
    admin = replace(calm, is_admin=True, problems={"slack": cards.texts.problem})
    return {
        "home, empty": home(HomeView(left=_LEFT, budget_micro_usd=_BUDGET), look, BOT),
        "home, busy": home(busy, look, BOT),
        "home, an admin's": home(admin, look, BOT),
        "home, paused": home(replace(calm, is_admin=True, is_paused=True, left=_USED_UP), look, BOT),
        "home, refused": refused_home(cards.texts.refusal),
    }


def _lines(cards: Cards) -> tuple[RunLine, ...]:
    texts, status = cards.texts, RunStatus
    return (
        run_line(id="r2b8c4d", title=texts.danger, status=status.WAITING, requester=INES),
        run_line(title=texts.task),
        run_line(id="r5t3v6w", title="How many orders were paid back in October?", status=status.COMPLETED),
        run_line(id="r9x2y7z", title="Tidy the changelog", status=status.PARTIAL, spent_micro_usd=61_000),
    )


def command_examples(cards: Cards) -> dict[str, Shown]:
    """What `/agent` answers, to the one who typed it."""
    look, runs, made = Look(), Runs(cards), Takeovers(cards)
    steps = (StepView(0, 0, "", "done"), StepView(1, 1, "", "open"))
    asked = cards.action(phase="asked")
    view = runs.view(RunStatus.WAITING, steps=steps, actions=(runs.read(), asked))
    pending = cards.view().approval
    waiting = [inquiry.Waiting(pending, cards.texts.headline, CARD, (OMAR, INES))]
    others = [
        inquiry.Waiting(made.view().takeover, cards.texts.danger, CARD, (OMAR, INES)),
        inquiry.Waiting(made.view(TakeoverState.CLAIMED).takeover, cards.texts.danger, "", ()),
    ]
    facts = Facts(
        effects=(Intent(effect=Effect.MODIFY, target="db:shop/drinks"),), where="database", verbs=("update",),
        counts={"rows": 3},
    )  # fmt: skip
    denied = cards.view(ApprovalState.DENIED, reason=cards.texts.reason).approval
    why = inquiry.why(
        cards.ended(Outcome.DENIED), run_line(), look, approvals=(denied,), facts=facts.model_dump_json()
    )  # fmt: skip
    lines = _lines(cards)
    answers: dict[str, list[Block]] = {
        "help": [section(help_text(look.command, BOT))],
        "status": run_status(view, look, (CARD,)),
        "runs": run_list(lines[1:], look, "mine", more=3),
        "runs, none": run_list((), look, "waiting"),
        "approvals": inquiry.waiting_list(waiting, others, look, NOON + 600),
        "approvals, none": inquiry.waiting_list((), (), look, NOON),
        "why": why,
        "budget": inquiry.budget(_TODAY, _LEFT, Quotas(), _BUDGET, lines[1:]),
        "budget, used up": inquiry.budget(_TODAY, _USED_UP, Quotas(), _BUDGET, ()),
        "grants": grants.listed(_grants(cards), look, NOON),
        "an unknown word": [section(usage.unknown(look.command, "aprovals"))],
    }
    return {f"command, {name}": Message.of("Only you see this", blocks) for name, blocks in answers.items()}


def _grants(cards: Cards) -> list[GrantRow]:
    grant = grant_of(cards)
    row = GrantRow("g3n7", "r7k2m9x", OMAR, NOON, NOON + 86_400, 1, 0, 0.0, "", grant)
    return [row, replace(row, id="g9k1", revoked_at=NOON, revoked_by=INES)]


def _lost() -> AlreadyDecided:
    return AlreadyDecided(state="denied", by=INES, at=NOON + 300)


def word_examples(cards: Cards) -> dict[str, Shown]:
    """What a click is answered with, seen by nobody else, when it changed nothing."""
    words = {
        "somebody was faster": sentence(_lost()),
        "it expired": sentence(AlreadyDecided(state="expired", by="", at=NOON)),
        "not entitled": sentence(NotEntitled()),
        "one's own request": sentence(OwnRequest()),
        "refused": sentence(NotEntitled(cards.texts.refusal)),
        "too many runs": sentence(QuotaExceeded("You have started 10 runs in an hour.", retry_at=NOON + 1500)),
        "a slow database": STILL_SAVING,
    }
    return {f"word, {name}": Message.of("Only you see this", [section(text)]) for name, text in words.items()}
