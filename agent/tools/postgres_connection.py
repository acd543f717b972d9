"""Connections to PostgreSQL that cannot do more than they should, and that end when their time is up."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from psycopg.types.string import TextLoader

from agent.broker import Broker
from agent.errors import SecretNotAllowed, ToolFailed, ToolTimedOut
from agent.tools.databases import Server
from agent.tools.threads import Stop

Connection = psycopg.Connection[tuple[Any, ...]]

_CONNECT_S = 5
_LOCK_MS = 2_000
#: How often a running statement is looked after, and how long a cancelled one may take to end, seconds.
_LOOK_S, _GRACE_S = 0.05, 2.0
_SHORTEST_MS = 100
_LONGEST_MESSAGE = 400
#: What comes as a number or a truth value; everything else comes as the text that the server writes.
_KEPT = frozenset({"bool", "bytea", "float4", "float8", "int2", "int4", "int8", "oid"})
_SETTINGS = (
    # Names mean what they say: the server's own first, temporary tables last, nothing of whoever set up the role.
    "search_path = pg_catalog, public, pg_temp",
    "standard_conforming_strings = on",
    "TimeZone = 'UTC'",
    "DateStyle = 'ISO, YMD'",
    "IntervalStyle = 'postgres'",
    "bytea_output = 'hex'",
    "extra_float_digits = 1",
    f"lock_timeout = {_LOCK_MS}",
)


@contextlib.contextmanager
def connected(
    server: Server, broker: Broker, *, write: bool, stop: Stop, deadline: float
) -> Generator[Connection]:  # fmt: skip
    """A connection in a transaction, for one call; `deadline` is on `time.perf_counter`.

    It is left without a commit: who wants one makes it. Raises ToolFailed, ToolTimedOut.
    """
    connection = _connect(server, broker)
    with contextlib.closing(connection), _looked_after(connection, stop, deadline) as ended:
        try:
            for info in connection.adapters.types:
                if info.name not in _KEPT:
                    connection.adapters.register_loader(info.oid, TextLoader)
                if info.array_oid:
                    connection.adapters.register_loader(info.array_oid, TextLoader)
            _begin(connection, deadline, write=write)
            yield connection
        except pg.QueryCanceled as error:
            raise _too_long() from error
        except pg.LockNotAvailable as error:
            raise ToolFailed(
                f"Somebody else works on these rows of the database {server.name} at the moment."
            ) from error
        except psycopg.Error as error:
            if ended.is_set():
                raise _too_long() from error
            raise ToolFailed(f"The database {server.name} says: {_said(error)}.") from error


def _too_long() -> ToolTimedOut:
    return ToolTimedOut("The query took longer than its limit and was ended.")


def _connect(server: Server, broker: Broker) -> Connection:
    try:
        value = broker.fill(server.password, server.bound) if server.password else ""
    except SecretNotAllowed as error:
        raise ToolFailed(f"The password of the database {server.name} is not to be had: {error}") from error
    told: dict[str, str | int] = {
        **server.place,
        "password": value,
        # Neither a password file nor what the environment would add: what the configuration says is all.
        "passfile": "/dev/null",
        "options": "",
        "gssencmode": "disable",
        "client_encoding": "UTF8",
        "application_name": "secondkey",
        "connect_timeout": _CONNECT_S,
        "tcp_user_timeout": 10_000,
    }
    try:
        return psycopg.connect(make_conninfo("", **told), autocommit=True)
    except psycopg.Error as error:
        said = _said(error).replace(value, "…") if value else _said(error)
    # Outside the handler: the driver's error would hold what it connected with.
    raise ToolFailed(f"The database {server.name} cannot be reached: {said}.")


def _begin(connection: Connection, deadline: float, *, write: bool) -> None:
    """Begin what cannot outlive its time, nor write unless it may; for this transaction only, so that poolers do."""
    left_ms = max(_SHORTEST_MS, int((deadline - time.perf_counter()) * 1000))
    lines = [
        f"BEGIN ISOLATION LEVEL REPEATABLE READ, READ {'WRITE' if write else 'ONLY'}",
        *(f"SET LOCAL {setting}" for setting in _SETTINGS),
        f"SET LOCAL statement_timeout = {left_ms}",
        f"SET LOCAL idle_in_transaction_session_timeout = {left_ms + 5_000}",
        # After a first statement, nothing can make a transaction that reads into one that writes.
        "SELECT 1",
    ]
    connection.execute("; ".join(lines).encode())


@contextlib.contextmanager
def _looked_after(connection: Connection, stop: Stop, deadline: float) -> Generator[threading.Event]:
    """Cancel what runs when it is stopped or out of time; hang up on a server that does not hear."""
    done, ended = threading.Event(), threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_S):
            if stop.stopped or time.perf_counter() > deadline:
                break
        if done.is_set():
            return
        ended.set()
        with contextlib.suppress(psycopg.Error, OSError):
            connection.cancel_safe(timeout=_GRACE_S)
        if not done.wait(_GRACE_S):
            _hang_up(connection)

    thread = threading.Thread(target=look, name="postgres-watch", daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        done.set()
        thread.join()


def _hang_up(connection: Connection) -> None:
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=socket.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _said(error: psycopg.Error) -> str:
    """The server's own words, without what it was asked."""
    text = error.diag.message_primary or str(error).partition("\n")[0] or type(error).__name__
    return text.strip().removesuffix(".")[:_LONGEST_MESSAGE]
