"""The audit's key is made once, whoever comes first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from storage.keys import PRIVATE, PUBLIC, load_or_make


def test_threads_that_ask_for_the_key_at_once_get_the_same_one_and_leave_nothing_behind(tmp_path: Path) -> None:
    for turn in range(20):
        folder = tmp_path / str(turn)
        folder.mkdir()
        together = threading.Barrier(4)

        def ask(where: Path = folder, gate: threading.Barrier = together) -> bytes:
            gate.wait()
            return load_or_make(where).public_key().public_bytes_raw()

        with ThreadPoolExecutor(4) as threads:
            keys = [made.result() for made in [threads.submit(ask) for _ in range(4)]]
        assert len(set(keys)) == 1
        assert sorted(path.name for path in folder.iterdir()) == [PRIVATE, PUBLIC]
        assert (folder / PRIVATE).stat().st_mode & 0o777 == 0o600
