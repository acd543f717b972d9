"""What every test stands on: no model is called, nothing leaves this machine, and nothing is skipped in CI."""

from __future__ import annotations

import ipaddress
import os
import shutil
import sys
from pathlib import Path

import pytest
from pydantic_ai import models

#: A command that a test may need → the Debian package that brings it.
PACKAGES = {"bwrap": "bubblewrap", "chromium": "chromium", "git": "git", "postgres": "postgresql"}
PACKAGES |= {"prometheus": "prometheus", "promtool": "prometheus"}
#: Where Debian keeps programs that are not for everybody's PATH.
OFF_PATH = {"postgres": "usr/lib/postgresql/*/bin"}


class NetworkRefusedError(RuntimeError):
    """Raised when a test reaches for a machine other than this one."""


def _is_here(host: object) -> bool:
    """Say whether a name or address means this machine; an empty one does."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse_other_machines(event: str, args: tuple[object, ...]) -> None:
    """Refuse name look-ups and traffic beyond the loopback, whichever library asks."""
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = args[1]
        # A tuple is an IPv4 or IPv6 address; a path or a netlink address stays on this machine.
        host = address[0] if isinstance(address, tuple) and isinstance(address[0], str) else None
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = args[0]
    else:
        return
    if not _is_here(host):
        message = f"{event} to {host!r}: tests use the loopback only"
        raise NetworkRefusedError(message)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and put up the guard, which an audit hook makes final for this process."""
    config.addinivalue_line("markers", "needs(command): the test needs this command, such as chromium or bwrap")
    sys.addaudithook(_refuse_other_machines)


def _is_installed(command: str) -> bool:
    folders = OFF_PATH.get(command)
    return bool(shutil.which(command) or (folders and any(Path("/").glob(f"{folders}/{command}"))))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose command is missing, naming the line to type; in CI fail it."""
    for marker in item.iter_markers("needs"):
        for command in marker.args:
            if _is_installed(command):
                continue
            sentence = f"needs {command}: apt-get install {PACKAGES[command]}"
            if os.environ.get("CI") == "true":
                pytest.fail(sentence, pytrace=False)
            pytest.skip(sentence)


@pytest.fixture(autouse=True)
def no_model_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test spend money; one that speaks to a loopback server allows it for itself."""
    monkeypatch.setattr(models, "ALLOW_MODEL_REQUESTS", False)
