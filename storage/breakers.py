"""Circuit breakers over restarts: what a process knows of services that failed lately, for the next one."""

from __future__ import annotations

import asyncio

import structlog

from agent.errors import StorageUnavailable
from agent.resilience import Kept
from storage.database import Database, Tx

_log = structlog.get_logger(__name__)
_KEEP = """INSERT INTO breakers VALUES (?, ?, ?)
  ON CONFLICT(name) DO UPDATE SET failures = excluded.failures, opened_at = excluded.opened_at"""


class KeptBreakers:
    """Reads what a former process left, and writes changes behind the calls that they come from."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._changed: dict[str, Kept] = {}
        self._writing: asyncio.Task[None] | None = None

    def load(self) -> dict[str, Kept]:
        """Every service that failed lately, by name; raises StorageUnavailable."""
        rows = self._db.fetch("SELECT name, failures, opened_at FROM breakers", ())
        return {name: Kept(failures, opened_at) for name, failures, opened_at in rows}

    def keep(self, name: str, kept: Kept) -> None:
        """Write a change soon; what cannot be written is only logged, since calls must not wait for it."""
        self._changed[name] = kept
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="breakers")

    async def aclose(self) -> None:
        """Write what is left."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._changed:
            changed, self._changed = self._changed, {}

            def write(tx: Tx, changed: dict[str, Kept] = changed) -> None:
                for name, kept in changed.items():
                    if kept.failures or kept.opened_at is not None:
                        tx.conn.execute(_KEEP, (name, kept.failures, kept.opened_at))
                    else:
                        tx.conn.execute("DELETE FROM breakers WHERE name = ?", (name,))

            try:
                await self._db.write(write)
            except StorageUnavailable as error:
                _log.warning("breakers_not_kept", error=str(error), names=sorted(changed))
