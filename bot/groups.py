"""Slack user groups: who is in them, believed for a minute, and nobody when Slack does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import structlog
from aiohttp import ClientError
from slack_sdk.errors import SlackClientError

from agent.ports import Clock

BELIEVED_S: Final = 60.0
"""How long a list counts, seconds of real time: who left a group decides nothing after that, whatever happens."""
REFRESH_S: Final = 25.0
LOOK_UP_S: Final = 5.0
_log = structlog.get_logger(__name__)


class GroupsClient(Protocol):
    """The part of slack_sdk's AsyncWebClient that is needed here."""

    async def usergroups_users_list(self, *, usergroup: str) -> Any:  # noqa: ANN401  # slack_sdk's response has no narrower type
        """Who is in a user group."""
        ...


class UserGroups:
    """Members of the user groups that the policy names, as frozen snapshots that any thread may read."""

    def __init__(self, client: GroupsClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._known: Mapping[str, tuple[float, frozenset[str]]] = {}
        self._stale = asyncio.Event()
        self._times_changed = 0
        self.problem = ""
        """Why some group counts as empty, one sentence; empty when all are known."""

    def members(self, group: str) -> frozenset[str]:
        """Slack user ids of its members; nobody when what is known is older than a minute."""
        at, users = self._known.get(group, (float("-inf"), frozenset[str]()))
        return users if self._clock.monotonic() - at < BELIEVED_S else frozenset()

    def is_known(self, group: str) -> bool:
        """Whether Slack told its members within the last minute."""
        at, _ = self._known.get(group, (float("-inf"), frozenset[str]()))
        return self._clock.monotonic() - at < BELIEVED_S

    async def refresh(self, groups: Iterable[str]) -> None:
        """Ask Slack for each of them; what cannot be had keeps its age, and so counts as empty before long."""
        before = self._times_changed
        found = await asyncio.gather(*(self._ask(group) for group in groups))
        if self._times_changed != before:
            return  # what Slack said is older than what it has said since: it is asked again
        at = self._clock.monotonic()
        known = dict(self._known)
        known.update({group: (at, users) for group, users in found if users is not None})
        self._known = known
        failed = [group for group, users in found if users is None]
        self.problem = f"the members of {', '.join(failed)} cannot be read, so they count as nobody" if failed else ""

    def changed(self) -> None:
        """Slack says that a group changed: nothing is believed any more until it was asked again."""
        self._known = {}
        self._times_changed += 1
        self._stale.set()

    async def keep(self, groups: Callable[[], Iterable[str]]) -> None:
        """Refresh for ever; a failure is logged and tried again."""
        while True:
            self._stale.clear()
            before = self.problem
            await self.refresh(groups())
            if self.problem and self.problem != before:
                _log.warning("user_groups_unknown", problem=self.problem)
            try:
                async with asyncio.timeout(REFRESH_S if not self.problem else LOOK_UP_S):
                    await self._stale.wait()
            except TimeoutError:
                continue

    async def _ask(self, group: str) -> tuple[str, frozenset[str] | None]:
        try:
            async with asyncio.timeout(LOOK_UP_S):
                answer = await self._client.usergroups_users_list(usergroup=group)
            users: object = answer.get("users")
        except (SlackClientError, ClientError, TimeoutError, OSError):
            return group, None
        if not isinstance(users, list):
            return group, None
        return group, frozenset(str(user) for user in users)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # Slack's JSON
