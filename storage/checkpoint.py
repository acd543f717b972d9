"""Moves the write-ahead log into the database file beside the writer, so that no commit waits for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

EVERY_COMMITS = 100
"""Commits between two checkpoints: about 1,000 pages of log."""


class Checkpointer:
    """A thread with a connection of its own. A passive checkpoint holds up neither the writer nor readers.

    It may fail (a full disk, a locked file): then the log grows until the next one, or until the writer's own, much
    rarer checkpoint comes in, whose failure is the writer's to tell.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._commits = 0
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="sqlite-checkpoint", daemon=True)
        self._thread.start()

    def note(self) -> None:
        """A transaction was committed; called by the writer only."""
        self._commits += 1
        if self._commits >= EVERY_COMMITS:
            self._commits = 0
            self._due.set()

    def stop(self) -> None:
        """End the thread; waits for a checkpoint under way."""
        self._stopping = True
        self._due.set()
        self._thread.join()

    def _serve(self) -> None:
        try:
            conn = self._connect()
        except sqlite3.Error:
            return  # the writer's own checkpoint remains
        try:
            while True:
                self._due.wait()
                self._due.clear()
                if self._stopping:
                    return
                try:
                    conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                except sqlite3.Error:
                    continue  # said above
        finally:
            conn.close()
