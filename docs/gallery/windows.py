"""Every modal."""

from __future__ import annotations

from dataclasses import replace

from agent.domain import Effect, Intent, Outcome
from agent.editing import fields_of
from agent.grants import Grant
from bot.blocks import asking, grants, modals
from bot.blocks.details import details
from bot.blocks.edit_form import changed_notice, edit_form
from bot.blocks.feedback import feedback_form
from bot.blocks.kit import modal, section
from bot.blocks.message import Look
from bot.blocks.reason_form import reason_form
from bot.blocks.together import together_form, together_notice
from bot.words import INCOMPLETE
from docs.gallery.values import MAYA, NOON, OMAR, SCHEMA, Cards, Shown


def window_examples(cards: Cards) -> dict[str, Shown]:
    """Modals of cards, then of takeovers, then of the ways to ask."""
    return {**_of_cards(cards), **_of_grants(cards), **_of_takeovers(cards), **_of_tasks(cards)}


def _of_cards(cards: Cards) -> dict[str, Shown]:
    view = cards.view(waiting=("p1", "p2"))
    fields = fields_of(SCHEMA, {**cards.texts.arguments, "limits": {"rows": 3, "note": cards.texts.cell}})
    other = replace(view, approval=replace(view.approval, id="p2"))
    long = {"path": "docs/report.md", "content": "One line of a long report.\n" * 11_000}
    item = cards.action()
    of_many = replace(item, action=item.action.model_copy(update={"arguments": long}))
    return {
        "window, reason": modals.deny_reason("p1", cards.texts.headline),
        "window, required reason": reason_form(view, "approve"),
        "window, edit": edit_form(view, fields, editor=OMAR),
        "window, edit with nobody else": edit_form(cards.view(deciders=(OMAR,)), fields, editor=OMAR),
        "window, changed": changed_notice(),
        "window, not changed": modal("notice", "Nothing was changed", [section(INCOMPLETE)]),
        "window, details": details(view.action, "r7k2m9x", view.preview, subject="p1"),
        "window, details of an outcome": details(cards.ended(Outcome.FAILED), "r7k2m9x", "", subject="p1", page=99),
        "window, details on pages": details(of_many, "r7k2m9x", "", subject="p1", page=1),
        "window, together": together_form([view, other], "r7k2m9x"),
        "window, decided": together_notice(["*Change 3 rows*: approved.", "*Change 1 row*: denied."]),
    }


def _of_grants(cards: Cards) -> dict[str, Shown]:
    action = cards.action()
    intents = (Intent(effect=Effect.MODIFY, target="db:shop/drinks"),)
    rating = action.rating.model_copy(update={"intents": intents}) if action.rating else None
    view = cards.view(item=replace(action, rating=rating))
    grant = grant_of(cards)
    return {
        "window, allow": grants.form(view, Look(), "{}", spends=True),
        "window, allow exactly this": grants.confirm(grant, cards.texts.headline, Look(), "{}"),
    }


def grant_of(cards: Cards) -> Grant:
    """A permission for three changes of prices."""
    arguments = dict(cards.texts.arguments)
    free = tuple(name for name in arguments if name == "sql")
    return Grant(
        id="g3n7", by=OMAR, requester=MAYA, run="r7k2m9x", tool="query_sql", schema_hash="s",
        arguments={name: value for name, value in arguments.items() if name not in free}, free=free,
        intents=(Intent(effect=Effect.MODIFY, target="db:shop/drinks"),), caps={"rows": 3}, expires_at=NOON + 86_400,
        max_uses=3, max_spend_micro_usd=5_000_000,
    )  # fmt: skip


def _of_takeovers(cards: Cards) -> dict[str, Shown]:
    danger = cards.texts.danger
    return {
        "window, takeover done": modals.takeover_done("k4d8w2q", "c1", danger),
        "window, takeover looked up": modals.takeover_done("k4d8w2q", "c1", danger, "unknown"),
        "window, takeover handed back": modals.takeover_hand_back("k4d8w2q", "c1", danger),
        "window, takeover reassigned": modals.takeover_reassign("k4d8w2q", "c1", danger),
        "window, takeover aborted": modals.takeover_abort("k4d8w2q", "c1", danger),
    }


def _of_tasks(cards: Cards) -> dict[str, Shown]:
    quote = f"The new prices are in docs/prices.md, please check them. {cards.texts.cell}"
    return {
        "window, about a message": asking.ask_about_message("message:1", quote),
        "window, a task": asking.give_task("1"),
        "window, feedback": feedback_form("r7k2m9x"),
    }
