"""Programs that a shell expects are there in either sandbox, also where the system names them by way of /etc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.ports import SandboxCall
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.landlock import Landlock


@pytest.mark.parametrize(
    "sandbox", [pytest.param(Bubblewrap, marks=pytest.mark.needs("bwrap")), Landlock], ids=["bubblewrap", "landlock"]
)
async def test_awk_and_which_are_there_and_bubblewrap_needs_no_etc_for_them(sandbox: Any, tmp_path: Path) -> None:
    script = "echo a b | awk '{print $2}'; which sh >/dev/null && echo found; ls -d /etc"
    result = await sandbox().run(SandboxCall(("/bin/sh", "-c", script), tmp_path))
    assert result.stdout == b"b\nfound\n" + (b"/etc\n" if sandbox is Landlock else b""), result.stderr
