"""The house without Slack: what a terminal needs to ask, to watch and to decide on its own medium actions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.domain import Principal, RunStatus, Task, Tier
from agent.errors import ConfigurationError
from agent.policy import Policy
from agent.ports import Clock, Ids, Stored
from agent.workspace import Workspace
from storage.control import Control
from storage.database import Database
from storage.inbox import Accepted, Inbox
from storage.journal import read_events
from storage.lease import Lease
from storage.queries import Queries
from storage.quotas import Quotas
from storage.rows import ApprovalRow, TakeoverRow
from storage.terminal_decisions import TerminalDecisions

GONE = "The terminal in which it was asked is gone."


@dataclass(frozen=True, slots=True)
class TerminalEntitlement:
    """The one person of a terminal may decide on their own medium actions where the policy's `self_approve` says so."""

    policy: Callable[[], Policy]
    who: Principal

    def may_decide(self, principal: Principal, subject: ApprovalRow | TakeoverRow) -> bool:
        """Whether it is this person, their own task, and the policy lets them."""
        own = principal == self.who and principal.key == subject.requester
        return own and self.policy().may_approve_own(principal, subject.rules)

    def self_approval_allowed(
        self, principal: Principal, tool: str, tier: Tier, rules: Sequence[str] = ()
    ) -> bool:  # fmt: skip
        """Only medium actions, never high ones (invariant 5)."""
        del tool
        return principal == self.who and tier is Tier.MEDIUM and self.policy().may_approve_own(principal, rules)

    async def still_entitled(self, approval: str, voters: Sequence[str]) -> frozenset[str]:
        """Of these voters, those who may still decide: at the start they are looked at once more."""
        del approval
        return frozenset({self.who.key} & set(voters))


@dataclass(frozen=True, slots=True)
class LocalDoor:
    """What a terminal asks and decides through: the same inbox, journal and decisions as behind Slack."""

    db: Database
    inbox: Inbox
    decisions: TerminalDecisions
    queries: Queries
    control: Control
    clock: Clock
    ids: Ids
    quota: Quotas
    who: Principal
    redact: Callable[[str], str]
    data: Path
    project: Path
    """Resolved."""
    task_characters: int
    budget_micro_usd: int

    async def ask(self, text: str, workspace: Path | None = None) -> str:
        """Accept a task and return its run; raises QuotaExceeded, ConfigurationError or StorageUnavailable.

        `workspace` is the resolved folder that keeps the run's copy of the project, instead of one among the data.
        """
        if not text.strip():
            raise ConfigurationError("The task is empty.", fix='Type one: secondkey run "…".')
        if len(text) > self.task_characters:
            told = f"The task has {len(text):,} characters; at most {self.task_characters:,} are taken."
            raise ConfigurationError(told, fix="Put the long part into a file of the project, or set task_characters.")
        for flag in self.control.standing():
            if flag.kind in {"pause", "kill"} and flag.scope.covers(run="", tool="", people=(self.who.key,)):
                raise ConfigurationError("Everything is paused.", fix="Type: secondkey resume")
        if any(scope.covers(run="", tool="", people=(self.who.key,)) for scope in self.control.kill_scopes()):
            fix = "Remove KILL from the data folder."
            raise ConfigurationError("The kill file stands, so nothing starts.", fix=fix)
        if workspace is not None:
            await asyncio.to_thread(self._check_workspace, workspace)
            await Workspace(workspace, self.project).ensure()
        task = Task(id=self.ids.new("task"), text=self.redact(text.strip()), principal=self.who)
        accepted = await self.inbox.accept("", task, quota=self.quota)
        if not isinstance(accepted, Accepted):
            raise TypeError("a task without a message is never a duplicate")
        if workspace is not None:
            await asyncio.to_thread(self._link, accepted.run, workspace)
        return accepted.run

    def _check_workspace(self, folder: Path) -> None:
        """See that the copy can be made there, or that an earlier run left it there. Blocks."""
        if folder.is_relative_to(self.project):
            raise ConfigurationError(f"{folder} lies in the project itself.", fix="Name a folder outside of it.")
        is_new = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if not is_new and not Workspace(folder, self.project).exists:
            raise ConfigurationError(
                f"{folder} holds something else than a workspace.", fix="Name a new or empty folder with --workspace."
            )
        folder.parent.mkdir(parents=True, exist_ok=True)

    def _link(self, run: str, folder: Path) -> None:
        """Put it where the driver, undo and whoever comes later look for a run's workspace. Blocks."""
        link = (self.data / "workspaces").resolve() / run
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder, target_is_directory=True)

    def news(self, run: str, after: int) -> tuple[Stored, ...]:
        """The run's events with a higher seq."""
        return self.db.read(lambda conn: read_events(conn, run, after))

    async def stop(self, run: str, reason: str) -> None:
        """End the run; what it was doing is cancelled."""
        await self.control.stop(run, by=self.who.key, reason=reason)

    def is_over(self, run: str) -> bool:
        """Whether the run has ended."""
        line = self.queries.run(run)
        return line is None or line.status.is_final

    def left_over(self) -> tuple[str, ...]:
        """Runs of terminals that are gone: whoever has the lease is the only terminal there is."""
        lines = self.queries.runs(statuses=(RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING), limit=1000)
        return tuple(line.id for line in lines if line.requester.startswith("local:"))


def must_be_alone(lease: Lease, data: Path) -> None:
    """Raise ConfigurationError: another process drives the runs of this data folder."""
    current = lease.current()
    holder = current.holder if current is not None else "another process"
    raise ConfigurationError(
        f"{holder} drives the runs in {data}, and only one process may.",
        fix="Ask for it in Slack, or work beside it in a folder of its own: secondkey run --data FOLDER …",
    )
