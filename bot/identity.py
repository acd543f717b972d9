"""Who somebody is: a Slack user as the policy knows them, and what they may ask and decide at this moment.

What Slack says of a person is believed for five minutes of real time; when it says nothing, the answer is no.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from aiohttp import ClientError
from slack_sdk.errors import SlackClientError

from agent.domain import Principal
from agent.errors import NotEntitled
from agent.ports import Clock

DECIDING_FRESH_S = 10.0
"""The same for somebody who decides: who was deactivated a moment ago decides nothing."""
FRESH_S = 300.0
"""How long what Slack said of a person is believed, seconds of transport time."""
LOOK_UP_S = 2.0
"""How long a look-up may take, seconds."""
MOST_KEPT = 10_000
"""People kept in memory; beyond that the oldest are forgotten."""


class NotVerified(NotEntitled):
    """Slack did not tell us who you are just now, so nothing was changed. Please try again in a minute."""

    code: ClassVar[str] = "NOT_VERIFIED"


class UsersClient(Protocol):
    """The part of slack_sdk's AsyncWebClient that is needed here."""

    async def users_info(self, *, user: str) -> Any:  # noqa: ANN401  # slack_sdk's response has no narrower type
        """What Slack knows of a person."""
        ...


@dataclass(frozen=True, slots=True)
class Person:
    """What Slack says of somebody."""

    principal: Principal
    name: str
    is_admin: bool = False
    refusal: str = ""
    """Why they may neither ask nor decide; empty for a full member of the home team."""
    utc_offset_s: float = 0.0
    """How far their clock is ahead of UTC, seconds."""

    def full_member(self) -> Principal:
        """Their principal; raises NotEntitled with the reason when they are no full member of the home team."""
        if self.refusal:
            raise NotEntitled(self.refusal)
        return self.principal


class Identity:
    """Slack users as principals. `decides` says whom the policy names as deciders at this moment."""

    def __init__(
        self, client: UsersClient, home_team: str, clock: Clock, *, decides: Callable[[Principal], bool]
    ) -> None:
        self._client = client
        self._home = home_team
        self._clock = clock
        self._decides = decides
        self._known: dict[str, tuple[float, Person]] = {}
        self.on_decision: Callable[[], None] = _nothing
        """Called whenever somebody who decides is looked up, so that what else is cached can be read anew."""
        self._asking: dict[str, asyncio.Task[Person]] = {}

    @property
    def home_team(self) -> str:
        """The team whose full members may ask."""
        return self._home

    def principal(self, user: str, team: str = "") -> Principal:
        """The principal of a Slack user; without a team the home team is meant."""
        return Principal(team=team or self._home, user=user)

    async def person(self, user: str, team: str = "", *, fresh_s: float = FRESH_S) -> Person:
        """What Slack says of them, asked again when it is older than `fresh_s` seconds; raises NotVerified."""
        if fresh_s <= DECIDING_FRESH_S:
            self.on_decision()
        if known := self._fresh(user, fresh_s):
            return self._of_team(known, team)
        task = self._asking.get(user)
        if task is None:
            task = self._asking[user] = asyncio.create_task(self._ask(user))
            task.add_done_callback(lambda done: self._asked(user, done))
        try:
            return self._of_team(await asyncio.shield(task), team)
        except (SlackClientError, ClientError, TimeoutError, OSError) as error:
            raise NotVerified from error

    async def may_ask(self, user: str, team: str = "") -> Principal:
        """Their principal when they are a full member of the home team; raises NotEntitled with the reason."""
        return (await self.person(user, team)).full_member()

    async def is_admin(self, user: str, team: str = "") -> bool:
        """Whether they administer the home team; raises NotVerified."""
        person = await self.person(user, team)
        return person.is_admin and not person.refusal

    def may_decide(self, principal: Principal, subject: object = None) -> bool:
        """Whether they are a full member, looked up within five minutes, whom the policy names; never waits."""
        del subject  # the policy names people for everything; a finer one would look at it
        if principal.kind != "slack":
            return self._decides(principal)
        known = self._fresh(principal.user)
        return (
            known is not None
            and not known.refusal
            and known.principal == principal
            and self._decides(principal)
        )  # fmt: skip

    def name(self, key: str) -> str:
        """A person's name as far as it is known, else their user id; for texts that must not notify."""
        try:
            who = Principal.parse(key)
        except ValueError:
            return key
        known = self._known.get(who.user)
        return known[1].name if known else who.user

    async def learn(self, keys: Iterable[str], *, fresh_s: float = FRESH_S) -> None:
        """Look people up beforehand, so that their names are known; whom Slack does not know stays an id."""
        users = [key.rpartition(":")[2] for key in keys if key.startswith("slack:")]
        await asyncio.gather(*(self.person(user, fresh_s=fresh_s) for user in users), return_exceptions=True)

    def forget(self, user: str) -> None:
        """Ask Slack anew at the next occasion."""
        self._known.pop(user, None)

    def _fresh(self, user: str, fresh_s: float = FRESH_S) -> Person | None:
        at, person = self._known.get(user, (float("-inf"), None))
        return person if self._clock.monotonic() - at < fresh_s else None

    def _of_team(self, person: Person, team: str) -> Person:
        """Refuse when the payload says that they act from another team than the one that Slack's directory says."""
        if not team or team == self._home or person.refusal:
            return person
        return Person(Principal(team=team, user=person.principal.user), person.name, refusal=_EXTERNAL)

    async def _ask(self, user: str) -> Person:
        async with asyncio.timeout(LOOK_UP_S):
            answer = await self._client.users_info(user=user)
        return self._read(user, _mapping(answer.get("user")))

    def _asked(self, user: str, done: asyncio.Task[Person]) -> None:
        self._asking.pop(user, None)
        if done.cancelled() or done.exception() is not None:
            return
        self._known.pop(user, None)
        self._known[user] = (self._clock.monotonic(), done.result())
        while len(self._known) > MOST_KEPT:
            self._known.pop(next(iter(self._known)))

    def _read(self, user: str, shape: Mapping[str, Any]) -> Person:
        profile = _mapping(shape.get("profile"))
        name = profile.get("display_name") or profile.get("real_name") or shape.get("real_name") or shape.get("name")
        team = str(shape.get("team_id") or "")
        refusal = ""
        if shape.get("id") != user or not team:
            refusal = "Slack does not know you well enough for that."
        elif shape.get("is_bot") or shape.get("is_workflow_bot") or user == "USLACKBOT":
            refusal = "Bots can neither ask nor decide here; a person must."
        elif shape.get("deleted"):
            refusal = "This account is deactivated."
        elif team != self._home or shape.get("is_stranger"):
            refusal = _EXTERNAL
        elif shape.get("is_restricted") or shape.get("is_ultra_restricted"):
            refusal = "Guests can neither give me tasks nor decide on them; please ask a full member of this workspace."
        return Person(
            principal=Principal(team=team or self._home, user=user),
            name=str(name or user),
            is_admin=bool(shape.get("is_admin") or shape.get("is_owner")),
            refusal=refusal,
            utc_offset_s=_offset(shape.get("tz_offset")),
        )


def _offset(value: object) -> float:
    """An offset that can be one; else none."""
    return float(value) if isinstance(value, int) and abs(value) <= 14 * 3600 else 0.0


_EXTERNAL = "Only members of the workspace in which I am installed can give me tasks or decide on them."


def _nothing() -> None:
    """Nothing else is cached."""


def _mapping(value: object) -> Mapping[str, Any]:
    """The value when it is a mapping, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
