"""Who may decide: the policy with the people of the settings, and looking people up also before Slack can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from agent.domain import Principal
from agent.errors import SecondKeyError, StorageUnavailable
from agent.policy import Policy, load_policy
from bot.composition.materials import Materials
from bot.deciders import Roster, Voters
from bot.groups import UserGroups
from bot.identity import DECIDING_FRESH_S, Identity, NotVerified
from bot.local import TerminalEntitlement
from bot.policies import Policies
from bot.running import Running
from storage.database import Database
from storage.policies import note_policy

_log = structlog.get_logger(__name__)


class Deciding:
    """User groups, registry and policy at once; identity and voters as soon as `known` was called."""

    def __init__(self, materials: Materials, client: AsyncWebClient) -> None:
        self._settings = materials.settings
        self.groups = UserGroups(client, materials.clock)
        self.roster = Roster(self.groups, materials.clock)
        self._identity: Identity | None = None
        self._voters: Voters | TerminalEntitlement | None = None
        self._can_ask = asyncio.Event()

    def known(self, voters: Voters | TerminalEntitlement, identity: Identity | None = None) -> None:
        """From now on people can be looked up; in a terminal there is no identity."""
        self._voters, self._identity = voters, identity
        self._can_ask.set()

    def policy(self) -> Policy:
        """The policy, read anew, with the people whom the settings name; raises ConfigurationError."""
        policy = load_policy(self._settings.policy)
        approvers = tuple(dict.fromkeys((*policy.people.approvers, *self._settings.approvers)))
        admins = tuple(dict.fromkeys((*policy.people.admins, *self._settings.admins)))
        people = policy.people.model_copy(update={"approvers": approvers, "admins": admins})
        return replace(policy, people=people, directory=self.roster)

    async def may_still(self, key: str) -> bool:
        """Whether this principal may decide now, looked up as at a click, the registry too; no answer is a no."""
        identity = self._identity
        if identity is None:
            return False
        principal = Principal.parse(key)
        try:
            if principal.kind == "slack":
                await identity.person(principal.user, principal.team, fresh_s=DECIDING_FRESH_S)
        except (NotVerified, StorageUnavailable):
            return False
        return identity.may_decide(principal)

    async def still_entitled(self, approval: str, voters: Sequence[str]) -> frozenset[str]:
        """As Voters; a run that is taken up again at the start waits until Slack can be asked."""
        await self._can_ask.wait()
        return await self._voters.still_entitled(approval, voters) if self._voters is not None else frozenset()


def note_reloads(running: Running, policies: Policies) -> None:
    """Note down which policy is in force, now and after each reload."""
    db = running.db
    noting: set[asyncio.Task[None]] = set()

    def told(version: str, problem: str) -> None:
        task = asyncio.create_task(_note(db, version, problem))
        noting.add(task)
        task.add_done_callback(noting.discard)

    policies.told = told
    told(policies().version, "")


async def _note(db: Database, version: str, problem: str) -> None:
    try:
        await db.write(lambda tx: note_policy(tx, version, problem))
    except SecondKeyError as error:
        _log.warning("policy_not_noted", error=str(error))
