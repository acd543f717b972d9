"""The real walls, one by one."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from pathlib import Path

import pytest

from agent.errors import SandboxUnavailable
from agent.ports import SandboxCall, SandboxResult
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.fake import FakeSandbox
from agent.sandbox.interpreter import interpreter
from agent.sandbox.none import NoSandbox
from agent.sandbox.seccomp import program
from agent.sandbox.select import choose
from agent.sandbox.selftest import prove
from agent.sandbox.unprivileged import user_for

NEEDS = pytest.mark.needs("bwrap")


async def run(code: str, workspace: Path, **more: object) -> SandboxResult:
    inside = interpreter()
    call = SandboxCall((*inside.command, "-c", code), workspace, read_only=inside.read_only, **more)  # type: ignore[arg-type]  # passed on as given
    return await Bubblewrap().run(call)


def test_the_filter_knows_two_machines_and_no_other() -> None:
    assert len(program("x86_64")) % 8 == 0
    assert program("x86_64") != program("aarch64")
    with pytest.raises(SandboxUnavailable):
        program("riscv64")


@pytest.mark.parametrize(
    ("machine", "architecture", "number", "argument", "answer"),
    [
        ("x86_64", 0xC000003E, 0, 0, "allow"),
        ("x86_64", 0xC000003E, 101, 0, errno.EPERM),
        ("x86_64", 0xC000003E, 41, 2, errno.EAFNOSUPPORT),
        ("x86_64", 0xC000003E, 41, 1, "allow"),
        ("x86_64", 0xC000003E, 56, 0x10000000, errno.EPERM),
        ("x86_64", 0xC000003E, 56, 0x11, "allow"),
        ("x86_64", 0xC000003E, 435, 0, errno.ENOSYS),
        ("x86_64", 0xC000003E, 16, 0x5412, errno.EPERM),
        ("x86_64", 0xC000003E, 16, 0x5401, "allow"),
        ("x86_64", 0xC000003E, 0x40000000 + 59, 0, "kill"),
        ("x86_64", 0x40000003, 1, 0, "kill"),
        ("aarch64", 0xC00000B7, 63, 0, "allow"),
        ("aarch64", 0xC00000B7, 117, 0, errno.EPERM),
        ("aarch64", 0xC00000B7, 198, 16, errno.EAFNOSUPPORT),
        ("aarch64", 0xC00000B7, 220, 0x20000000, errno.EPERM),
        ("aarch64", 0xC00000B7, 29, 0x5412, errno.EPERM),
        ("aarch64", 0xC000003E, 63, 0, "kill"),
    ],
)
def test_the_filter_answers(machine: str, architecture: int, number: int, argument: int, answer: object) -> None:
    words = {0: number, 4: architecture, 16: argument, 24: argument}
    code = list(struct.iter_unpack("<HBBI", program(machine)))
    at = value = 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                value = words[operand]
            case 0x15:
                at += if_true if value == operand else if_false
            case 0x35:
                at += if_true if value >= operand else if_false
            case 0x45:
                at += if_true if value & operand else if_false
            case 0x06:
                break
            case _:
                pytest.fail(f"an operation that is not known: {operation:#x}")
    said = {0x7FFF0000: "allow", 0x80000000: "kill"}.get(operand, operand & 0xFFFF)
    assert said == answer


@NEEDS
async def test_neither_network_nor_home_nor_environment_is_there(tmp_path: Path) -> None:
    code = """
import os, socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
    try:
        socket.socket(family)
        print("socket", family)
    except OSError:
        pass
print(sorted(os.environ), os.getuid(), os.path.exists("/etc"), os.listdir("/home") if os.path.exists("/home") else [])
"""
    result = await run(code, tmp_path)
    user = user_for(tmp_path) or 65_534
    assert result.stdout == b"['HOME', 'LANG', 'PATH', 'PWD'] %d False []\n" % user, result.stderr


@NEEDS
async def test_only_the_workspace_can_be_written(tmp_path: Path) -> None:
    code = """
for path in ("here", "/tmp/x", "/x", "/usr/x", "/dev/x", "/root/x"):
    try:
        open(path, "w").close()
        print(path)
    except OSError:
        pass
"""
    result = await run(code, tmp_path)
    assert result.stdout == b"here\n/tmp/x\n"
    assert (tmp_path / "here").exists()


@NEEDS
async def test_memory_files_and_processes_are_bounded(tmp_path: Path) -> None:
    code = """
import os, sys
try:
    bytearray(2 << 30)
except MemoryError:
    print("memory", flush=True)
try:
    with open("big", "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
except OSError:
    print("file", flush=True)
made = 0
try:
    for _ in range(500):
        if os.fork() == 0:
            import time
            time.sleep(20)
            os._exit(0)
        made += 1
except OSError:
    print("processes", made < 100, flush=True)
os._exit(0)
"""
    result = await run(code, tmp_path)
    assert result.stdout.split(b"\n") == [b"memory", b"file", b"processes True", b""]


@NEEDS
async def test_nothing_lives_on_after_a_cancellation(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    code = """
import os, subprocess, sys
child = "import os, time; os.setsid(); f = open('alive', 'wb'); f.write(b'x'); f.flush(); time.sleep(60)"
subprocess.run([sys.executable, "-c", child])
"""
    task = asyncio.create_task(run(code, tmp_path))
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()
    readable: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        data = os.read(reader, 10)
        readable.put_nowait(data)
        if not data:
            loop.remove_reader(reader)

    loop.add_reader(reader, read)
    assert await asyncio.wait_for(readable.get(), 30) == b"x"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The pipe ends when its last writer, a daemon in a session of its own, is gone.
    assert await asyncio.wait_for(readable.get(), 30) == b""
    os.close(reader)


@NEEDS
async def test_what_is_given_on_stdin_arrives(tmp_path: Path) -> None:
    result = await run("import sys; print(sys.stdin.read())", tmp_path, stdin=b"given")
    assert result.stdout == b"given\n"
    assert (await run("pass", tmp_path, stdin=b"x" * 1_000_000)).exit_code == 0


@NEEDS
async def test_the_first_sandbox_whose_walls_hold_is_chosen() -> None:
    chosen = await choose()
    assert chosen.name == "bubblewrap"


async def test_without_walls_everything_is_refused(tmp_path: Path) -> None:
    chosen = await choose([FakeSandbox(leak="a secret"), Bubblewrap(command="no-such-bwrap")])
    assert chosen.name == "none"
    assert "a secret" in await chosen.self_test()
    assert "not installed" in await chosen.self_test()
    with pytest.raises(SandboxUnavailable):
        await chosen.run(SandboxCall(("true",), tmp_path))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (SandboxResult(0, b'["a leak"]', b""), "a leak"),
        (SandboxResult(1, b"", b"bwrap: No permissions"), "No permissions"),
        (SandboxResult(-9, b"", b"", timed_out=True), "in time"),
        (SandboxResult(0, b"[]", b""), "does not arrive"),
    ],
)
async def test_the_self_test_tells_what_is_wrong(result: SandboxResult, said: str) -> None:
    assert said in await prove(FakeSandbox([result]))


class Unwalled:
    """Runs commands on the host as they are."""

    name = "unwalled"

    async def self_test(self) -> str:
        return await prove(self)

    async def run(self, call: SandboxCall) -> SandboxResult:
        process = await asyncio.create_subprocess_exec(
            *call.command, cwd=call.workspace, stdin=-1, stdout=-1, stderr=-1
        )
        out, err = await process.communicate(call.stdin)
        return SandboxResult(process.returncode or 0, out, err)


async def test_the_self_test_finds_every_leak_where_there_are_no_walls() -> None:
    leaks = await Unwalled().self_test()
    Path("/usr/secondkey-canary").unlink(missing_ok=True)  # noqa: ASYNC240 - a moment's tidying
    Path("/secondkey-canary").unlink(missing_ok=True)  # noqa: ASYNC240 - a moment's tidying
    for said in ("a file outside", "the environment", "a listener", "a local socket", "could be written", "signalled"):
        assert said in leaks


async def test_no_sandbox_says_why() -> None:
    assert await NoSandbox("because").self_test() == "because"
    assert await NoSandbox().self_test()
