"""What there is once the database is open: everything else is built on it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from agent.runbooks import Runbooks
from bot.composition.deciding import Deciding
from bot.composition.materials import Materials
from bot.keeper import Keeper
from bot.policies import Policies
from bot.tidying import Tidying
from bot.undo import Undo
from storage.control import Control
from storage.database import Database
from storage.lease import Lease
from storage.queries import Queries
from storage.retention import Retention
from storage.signer import Signer
from storage.upgrade import upgraded

UPGRADE_PATIENCE_S = 15.0
"""How long an upgrade waits for the lease of a process that was killed."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ground:
    """What there is once the database is open: everything else is built on it."""

    materials: Materials
    deciding: Deciding
    policies: Policies
    runbooks: Runbooks
    db: Database
    lease: Lease
    control: Control
    is_local: bool = False
    """Whether it is for one terminal, which drives only what was asked there."""

    @classmethod
    async def open(
        cls, materials: Materials, deciding: Deciding, policies: Policies, runbooks: Runbooks, *, is_local: bool = False
    ) -> Ground:
        """Open the database, made or brought to this release; raises ConfigurationError and StorageUnavailable."""
        settings = materials.settings
        now = materials.clock.transport
        upgrade = await asyncio.to_thread(upgraded, settings.database, now, patience_s=UPGRADE_PATIENCE_S)
        if upgrade is not None:
            _log.warning("database_upgraded", migrations=len(upgrade.todo), copy=str(upgrade.copy))
        db = await Database.open(settings.database, clock=materials.clock)
        holder = f"{socket.gethostname()}:{os.getpid()}{' (a terminal)' if is_local else ''}"
        lease, control = Lease(db, materials.ids, holder=holder), Control(db, kill_file=settings.kill_file)
        return cls(materials, deciding, policies, runbooks, db, lease, control, is_local)

    def to_drive(self) -> tuple[str, ...]:
        """Runs that this process drives: a terminal leaves alone what was asked in Slack."""
        return tuple(run for run in Queries(self.db).to_drive() if self.is_ours(run))

    def is_ours(self, run: str) -> bool:
        """Whether this process drives that run."""
        line = Queries(self.db).run(run) if self.is_local else None
        return not self.is_local or (line is not None and line.requester.startswith("local:"))

    def keeper(self, resumed: Callable[[], None]) -> Keeper:
        """What keeps the lease, and carries out what is asked for from outside; `resumed` ends a pause."""
        settings, db, control = self.materials.settings, self.db, self.control
        signer = Signer(db, folder=settings.data, heads_file=settings.heads_file)
        db.subscribe("head", signer.moved)
        return Keeper(
            self.lease,
            control,
            self.materials.clock,
            resumed=resumed,
            signer=signer,
            retention=Retention(db, days=settings.retention_days),
            undo=Undo(db, control, settings.data / "workspaces", settings.project).carry_out,
            tidy=Tidying(db, settings.data / "workspaces", days=settings.workspace_days).tidy,
        )
