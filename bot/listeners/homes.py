"""Who has their Home open, and whose must be shown anew: a small memory, forgotten at a restart without harm."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 200
"""People remembered; the one who has not looked for longest is forgotten first."""
LATELY_S: Final = 3600.0
"""How long after its opening a Home is kept fresh, seconds."""
GAP_S: Final = 1.0
"""A Home is not published more often than this."""
SLOW_GAP_S: Final = 5.0
"""The same for what only moves along, such as what a run has cost so far."""
PROMPT_EVERY_S: Final = 600.0
"""Prompts are offered to a person who looks around no more often than this."""
NOTE_S: Final = 60.0
"""How long a private word stands in a Home."""


@dataclass(slots=True)
class Open:
    """One person's Home. Monotonic seconds."""

    team: str
    opened: float
    published: float = float("-inf")
    wanted: float = float("inf")
    """When it is to be published next; infinity when nothing changed."""
    digest: str = ""
    """Of what was published last, so that the same is not published again."""
    hash: str = ""
    """Slack's own of that view, which keeps an older one from overwriting it."""
    note: str = ""
    """A private word, and until when it stands."""
    note_until: float = float("-inf")
    note_is_shown: bool = True
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Homes:
    """The Homes that were opened lately."""

    def __init__(self) -> None:
        self._open: dict[str, Open] = {}
        self._prompted: dict[str, float] = {}
        self.woken = asyncio.Event()
        self.is_kept = False
        """Whether somebody publishes what changes."""
        self.is_over = False

    def opened(self, user: str, team: str, now: float) -> Open:
        """Somebody looks at theirs now."""
        home = self._open.pop(user, None) or Open(team, now)
        home.team, home.opened = team or home.team, now
        self._open[user] = home
        while len(self._open) > MOST:
            self._open.pop(next(iter(self._open)))
        return home

    def stir(self, user: str = "", *, slowly: bool = False) -> None:
        """What one person's Home shows has changed, or (empty) perhaps everybody's."""
        homes = [home for key, home in self._open.items() if user in {"", key}]
        for home in homes:
            home.wanted = min(home.wanted, home.published + (SLOW_GAP_S if slowly else GAP_S))
        if homes:
            self.woken.set()

    def note(self, user: str, text: str, now: float) -> bool:
        """Have a private word stand on top of their Home for a minute; False when it is not open."""
        home = self._open.get(user)
        if home is None or not self.is_kept:
            return False
        home.note, home.note_until, home.note_is_shown = text, now + NOTE_S, False
        home.wanted = now
        self.woken.set()
        return True

    def may_prompt(self, user: str, now: float) -> bool:
        """Whether prompts are worth offering; from now on they were."""
        if now - self._prompted.get(user, float("-inf")) < PROMPT_EVERY_S:
            return False
        self._prompted.pop(user, None)
        self._prompted[user] = now
        while len(self._prompted) > MOST:
            self._prompted.pop(next(iter(self._prompted)))
        return True

    def close(self) -> None:
        """Nobody publishes any more."""
        self.is_kept, self.is_over = False, True
        self.woken.set()

    def due(self, now: float) -> list[str]:
        """Whose Home is to be published now."""
        for user in [user for user, home in self._open.items() if now - home.opened > LATELY_S]:
            del self._open[user]
        return [user for user, home in self._open.items() if home.wanted <= now]

    def wait_s(self, now: float, longest: float = 30.0) -> float:
        """How long until one is due, seconds."""
        return min([longest, *(max(0.0, home.wanted - now) for home in self._open.values())])

    def get(self, user: str) -> Open | None:
        """The Home of somebody who looked lately."""
        return self._open.get(user)
