"""The walls, proved: secrets are planted outside, and a program inside looks for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Generator
from pathlib import Path

from agent.errors import SandboxUnavailable
from agent.ports import Sandbox, SandboxCall
from agent.sandbox.interpreter import interpreter

_VARIABLE = "SECONDKEY_CANARY"
_TIMEOUT_S = 10.0
_PROBE = r"""
import glob, json, os, socket, sys
told = json.load(sys.stdin)
found = []
def reads(path):
    try:
        with open(path, "rb") as file:
            return file.read(1048576)
    except OSError:
        return b""
if told["part"].encode() in reads(told["file"]):
    found.append("a file outside the workspace could be read")
part = told["variable_part"].encode()
if any(part in reads(path) for path in glob.glob("/proc/*/environ")) or part.decode() in str(os.environ):
    found.append("the environment of the host could be read")
def connects(kind, where):
    try:
        with socket.socket(kind, socket.SOCK_STREAM) as line:
            line.settimeout(1)
            line.connect(where)
            return True
    except OSError:
        return False
if connects(socket.AF_INET, ("127.0.0.1", told["port"])):
    found.append("a listener on the host could be reached")
if connects(socket.AF_UNIX, "\0" + told["abstract"]):
    found.append("a local socket of the host could be reached")
def writes(path):
    try:
        with open(path, "wb") as file:
            file.write(b"x")
        return True
    except OSError:
        return False
if writes(told["file"]) or writes("/usr/secondkey-canary") or writes("/secondkey-canary"):
    found.append("something outside the workspace could be written")
try:
    os.kill(told["pid"], 0)
    found.append("a process of the host could be signalled")
except OSError:
    pass
try:
    os.unshare
except AttributeError:
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    unshare = lambda: libc.unshare(0x10000000) == 0
else:
    def unshare():
        try:
            os.unshare(0x10000000)
        except OSError:
            return False
        return True
if unshare():
    found.append("a new namespace could be made")
if not writes("proof"):
    found.append("the workspace cannot be written")
print(json.dumps(found))
"""


@contextlib.contextmanager
def _planted_variable(value: str) -> Generator[None]:
    """Plant a secret in this process's own environment, since inheriting it is the leak to be found."""
    os.environ[_VARIABLE] = value
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)


async def prove(sandbox: Sandbox) -> str:
    """Run the probe in a sandbox; returns an empty string when nothing leaked, else what did, or why it cannot run."""
    file_canary, variable_canary = secrets.token_hex(16), secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        outside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secondkey-outside-")))
        workspace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secondkey-inside-")))
        canary = outside / "canary"
        canary.write_text(file_canary, encoding="ascii")
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        abstract = f"secondkey-{secrets.token_hex(8)}"
        local = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        local.bind(f"\0{abstract}")
        local.listen()
        stack.enter_context(_planted_variable(variable_canary))
        told = {
            "file": str(canary),
            "part": file_canary,
            "variable_part": variable_canary,
            "port": port,
            "abstract": abstract,
            "pid": os.getpid(),
        }
        python = interpreter(sandbox.name)
        call = SandboxCall(
            command=(*python.command, "-c", _PROBE),
            workspace=workspace,
            stdin=json.dumps(told).encode(),
            timeout_s=_TIMEOUT_S,
            read_only=python.read_only,
        )
        try:
            result = await sandbox.run(call)
        except SandboxUnavailable as error:
            return str(error)
        if result.timed_out:
            return "the self-test did not end in time"
        try:
            leaks = json.loads(result.stdout)
        except ValueError:
            said = result.stderr.decode(errors="replace").strip()[-300:]
            return f"it does not run here ({said or f'exit {result.exit_code}'})"
        proof = await asyncio.to_thread((workspace / "proof").exists)
        if not proof:
            leaks.append("what it writes does not arrive in the workspace")
        return ", ".join(leaks)
