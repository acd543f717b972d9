"""Modals and App Homes: a stack of at most three modals a person, versions by hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.blocks import state_of, with_ids
from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.clock import Clock, Ids
    from simulator.people import App, Json, Team

STACK: Final = 3
_KEPT: Final = (
    "type",
    "title",
    "submit",
    "close",
    "private_metadata",
    "callback_id",
    "external_id",
    "clear_on_close",
    "notify_on_close",
)


class Views:
    """Every open modal and published home."""

    def __init__(self, *, team: Team, app: App, ids: Ids, clock: Clock) -> None:
        self._team = team
        self._app = app
        self._ids = ids
        self._clock = clock
        #: open modals by person, root first
        self.stacks: dict[str, list[Json]] = {}
        #: published homes by person
        self.homes: dict[str, Json] = {}

    def open(self, user: str, shape: Json) -> Json:
        """Open a root modal, in place of what the person had open."""
        view = self._new(shape)
        self.stacks[user] = [view]
        return view

    def push(self, user: str, shape: Json) -> Json:
        """Put a modal on top of the stack. Raises SlackError `push_limit_reached` or `not_found`."""
        stack = self.stacks.get(user)
        if not stack:
            raise SlackError("not_found")
        if len(stack) >= STACK:
            raise SlackError("push_limit_reached")
        view = self._new(shape)
        view["root_view_id"] = stack[0]["id"]
        view["previous_view_id"] = stack[-1]["id"]
        stack.append(view)
        return view

    def publish(self, user: str, shape: Json, expected_hash: str | None) -> Json:
        """Set a person's App Home. Raises SlackError `hash_conflict`."""
        old = self.homes.get(user)
        if expected_hash and old and old["hash"] != expected_hash:
            raise SlackError("hash_conflict")
        view = self._new(shape)
        if old:
            view["id"] = view["root_view_id"] = old["id"]
        self.homes[user] = view
        return view

    def update(self, view: Json, shape: Json, expected_hash: str | None = None) -> Json:
        """Change a view in place; inputs that stay keep what was entered. Raises SlackError `hash_conflict`."""
        if expected_hash and view["hash"] != expected_hash:
            raise SlackError("hash_conflict")
        new = self._new(shape, before=view["state"]["values"])
        for key in ("id", "root_view_id", "previous_view_id"):
            new[key] = view[key]
        view.clear()
        view.update(new)
        return view

    def find(self, view_id: str | None, external_id: str | None = None) -> tuple[str, Json]:
        """Return a view and whose it is. Raises SlackError `not_found`."""
        homes = [(user, view) for user, view in self.homes.items()]
        modals = [(user, view) for user, stack in self.stacks.items() for view in stack]
        for user, view in modals + homes:
            if view["id"] == view_id or (external_id and view["external_id"] == external_id):
                return user, view
        raise SlackError("not_found")

    def close(self, user: str, view: Json, *, everything: bool = False) -> list[Json]:
        """Take a modal, and what stands on it, off the stack; return what was closed, topmost first."""
        stack = self.stacks.get(user, [])
        keep = 0 if everything or view not in stack else stack.index(view)
        closed = stack[keep:][::-1]
        del stack[keep:]
        return closed

    def _new(self, shape: Json, before: Json | None = None) -> Json:
        blocks = with_ids(shape.get("blocks"), self._ids)
        view_id = self._ids.new("V")
        view: Json = {
            "id": view_id,
            "team_id": self._team.id,
            "app_id": self._app.id,
            "bot_id": self._app.bot_id,
            "app_installed_team_id": self._team.id,
            "root_view_id": view_id,
            "previous_view_id": None,
            "hash": f"{self._clock.now():.0f}.{self._ids.new('h')}",
            "blocks": blocks,
            "state": {"values": state_of(blocks, before)},
        }
        defaults: Json = {
            "type": "modal",
            "title": None,
            "submit": None,
            "close": None,
            "clear_on_close": False,
            "notify_on_close": False,
        }
        for key in _KEPT:
            view[key] = shape.get(key, defaults.get(key, ""))
        return view
