"""Short-lived rights that an interaction hands to the app: trigger ids and response URLs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.clock import Clock, Ids, Timing
    from simulator.people import Team


@dataclass(slots=True)
class Trigger:
    """The right to open one view for a person."""

    user: str
    made_at: float
    #: the view in which the person acted, when it was one
    view_id: str | None = None
    used: bool = False


@dataclass(slots=True)
class ResponseUrl:
    """The right to answer an interaction a few times."""

    user: str
    channel: str
    made_at: float
    #: the message that was clicked, when it was one
    source_ts: str | None = None
    thread_ts: str | None = None
    uses: int = 0


class Rights:
    """All trigger ids and response URLs handed out."""

    def __init__(self, *, clock: Clock, ids: Ids, timing: Timing, team: Team) -> None:
        self._clock = clock
        self._ids = ids
        self._timing = timing
        self._team = team
        self._triggers: dict[str, Trigger] = {}
        self._urls: dict[str, ResponseUrl] = {}

    def trigger(self, user: str, view_id: str | None = None) -> str:
        """Return a new trigger id."""
        token = f"{self._ids.new('')}.{self._team.id}.{self._ids.secret()}"
        self._triggers[token] = Trigger(user, self._clock.now(), view_id)
        return token

    def use_trigger(self, token: str) -> Trigger:
        """Use a trigger id up. Raises SlackError `invalid_trigger_id`, `exchanged_…` or `expired_…`."""
        trigger = self._triggers.get(token)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self._clock.now() - trigger.made_at > self._timing.trigger:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger

    def response_url(self, user: str, channel: str, *, source_ts: str | None, thread_ts: str | None) -> str:
        """Return the token of a new response URL."""
        token = self._ids.secret()
        self._urls[token] = ResponseUrl(user, channel, self._clock.now(), source_ts, thread_ts)
        return token

    def use_response_url(self, token: str) -> ResponseUrl:
        """Count a use of a response URL. Raises SlackError `invalid_url`, `expired_url` or `used_url`."""
        url = self._urls.get(token)
        if url is None:
            raise SlackError("invalid_url")
        if self._clock.now() - url.made_at > self._timing.response_url:
            raise SlackError("expired_url")
        if url.uses >= self._timing.response_url_uses:
            raise SlackError("used_url")
        url.uses += 1
        return url
