"""A real PostgreSQL server of Debian's package, for a session of tests: on the loopback, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

OWNER, AGENT = "owner", "agent"
PASSWORD = "correct-horse-battery"
_FAST = {
    "fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB", "max_connections": "30", "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap", "listen_addresses": "127.0.0.1",
}  # fmt: skip


def binary(name: str) -> Path | None:
    """Where a program of the server is: Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path) if on_path else None


@dataclass
class PostgresServer:
    """A running server; its databases are made from a template."""

    port: int
    folder: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def execute(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        """Run a text as the owner, who may do everything."""
        place = f"host=127.0.0.1 port={self.port} user={OWNER} password={PASSWORD} dbname={database}"
        with closing(psycopg.connect(place, autocommit=True)) as connection:
            cursor = connection.execute(sql.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def copy(self, template: str) -> str:
        """A fresh database like the template."""
        name = f"copy_{next(self._numbers)}"
        self.execute("postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def url(self, database: str, user: str = AGENT) -> str:
        """Its address as an operator writes it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"


@contextmanager
def running() -> Iterator[PostgresServer]:
    """Start a server and stop it at the end; as root it runs as somebody else, for root is refused."""
    folder = Path(tempfile.mkdtemp(prefix="secondkey-pg-"))
    user = _user()
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        words = folder / "password"
        words.write_text(PASSWORD)
        words.chmod(0o644)
        data = folder / "data"
        owner = ("-U", OWNER, "-A", "scram-sha-256", f"--pwfile={words}")
        _run(user, folder, "initdb", "-D", str(data), *owner, "-E", "UTF8", "--locale=C", "--no-sync")
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            port = int(probe.getsockname()[1])
        settings = {**_FAST, "port": str(port), "unix_socket_directories": str(folder)}
        given = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = str(folder / "log")
        _run(user, folder, "pg_ctl", "-D", str(data), "-w", "-t", "60", "-l", log, "-o", given, "start")
        try:
            server = PostgresServer(port, folder)
            server.execute("postgres", f"CREATE ROLE {AGENT} LOGIN PASSWORD '{PASSWORD}'")
            yield server
        finally:
            _run(user, folder, "pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> pwd.struct_passwd | None:
    if os.geteuid():
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _run(user: pwd.struct_passwd | None, folder: Path, name: str, *arguments: str) -> None:
    command = binary(name)
    assert command is not None, f"{name} is not installed"
    given_up: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    said = folder / "said"
    # A file, for the server that pg_ctl leaves behind would keep a pipe open.
    with said.open("wb") as out:
        done = subprocess.run(  # noqa: S603 - the fixed words of this file
            (str(command), *arguments),
            cwd=folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
            **given_up,
        )
    assert done.returncode == 0, said.read_text()
