"""The fallback: its own gaps, closed one by one, as root, as nobody in particular, and inside a container's profile."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from agent.errors import SandboxUnavailable
from agent.ports import SandboxCall, SandboxResult
from agent.sandbox import landlock
from agent.sandbox.census import processes
from agent.sandbox.interpreter import interpreter
from agent.sandbox.landlock import Landlock
from agent.sandbox.seccomp import program

ROOT = Path(__file__).parents[2]


async def run(code: str, workspace: Path, **more: object) -> SandboxResult:
    inside = interpreter("landlock")
    call = SandboxCall((*inside.command, "-c", code), workspace, read_only=inside.read_only, **more)  # type: ignore[arg-type]  # passed on as given
    return await Landlock().run(call)


def answer_of(code: bytes, number: int, first: int = 0, second: int = 0) -> object:
    """What a filter answers to one system call on x86_64: `allow`, `kill` or an error's number."""
    words = {0: number, 4: 0xC000003E}
    words |= {16: first & 0xFFFFFFFF, 20: first >> 32, 24: second & 0xFFFFFFFF, 28: second >> 32}
    steps = list(struct.iter_unpack("<HBBI", code))
    at = value = 0
    while True:
        operation, if_true, if_false, operand = steps[at]
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
            case _:
                return {0x7FFF0000: "allow", 0x80000000: "kill"}.get(operand, operand & 0xFFFF)


@pytest.mark.parametrize(
    ("name", "number", "first", "second", "with_namespaces", "alone", "same_user"),
    [
        ("setsid", 112, 0, 0, "allow", errno.EPERM, errno.EPERM),
        ("socket unix", 41, 1, 0, "allow", errno.EPERM, errno.EPERM),
        ("socketpair unix", 53, 1, 0, "allow", "allow", "allow"),
        ("chmod", 90, 1 << 40, 0, "allow", "allow", errno.EPERM),
        ("fchmod", 91, 3, 0, "allow", "allow", errno.EPERM),
        ("utimensat of a path", 280, 3, 1 << 40, "allow", "allow", errno.EPERM),
        ("utimensat of an open file", 280, 3, 0, "allow", "allow", "allow"),
        ("prlimit of another", 302, 77, 0, "allow", errno.EPERM, errno.EPERM),
        ("prlimit of oneself", 302, 0, 0, "allow", "allow", "allow"),
        ("kill", 62, 77, 0, "allow", "allow", "allow"),
        ("shmat", 30, 1, 0, "allow", errno.EPERM, errno.EPERM),
    ],
)
def test_the_filter_is_stricter_where_no_namespace_stands_between(  # noqa: PLR0917  # one row of a table
    name: str, number: int, first: int, second: int, with_namespaces: object, alone: object, same_user: object
) -> None:
    filters = (program("x86_64"), program("x86_64", alone=True, landlock=7), program("x86_64", landlock=7))
    said = tuple(answer_of(code, number, first, second) for code in filters)
    assert said == (with_namespaces, alone, same_user), name


def test_an_old_landlock_is_made_up_for_by_the_filter() -> None:
    old, new = program("x86_64", alone=True, landlock=2), program("x86_64", alone=True, landlock=7)
    for number in (62, 200, 234, 424):
        assert (answer_of(old, number, 77), answer_of(new, number, 77)) == (errno.EPERM, "allow")
    assert (answer_of(old, 76), answer_of(new, 76)) == (errno.EPERM, "allow")


async def test_without_landlock_in_the_kernel_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "landlock_version", lambda: 0)
    with pytest.raises(SandboxUnavailable):
        await run("1", tmp_path)
    assert "no Landlock" in await Landlock().self_test()


async def test_neither_files_nor_sockets_nor_processes_of_the_host_can_be_reached(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret").write_text("canary")
    with socket.socket(socket.AF_UNIX) as listener, subprocess.Popen(("sleep", "60")) as victim:  # noqa: ASYNC220, S607 - ended below
        listener.bind(str(outside / "line"))
        listener.listen()
        code = f"""
import os, resource, signal, socket
outside, victim = {str(outside)!r}, {victim.pid}
def tries(name, function, *arguments):
    try:
        function(*arguments)
    except OSError:
        return
    print(name)
def unix():
    socket.socket(socket.AF_UNIX).connect(outside + "/line")
tries("read", open, outside + "/secret")
tries("list", os.listdir, outside)
tries("write", open, outside + "/new", "w")
tries("remove", os.unlink, outside + "/secret")
tries("link in", os.link, outside + "/secret", "stolen")
tries("rename out", os.rename, outside + "/secret", "stolen")
os.symlink(outside + "/secret", "way")
tries("through a link", open, "way")
tries("truncate", os.truncate, outside + "/secret", 0)
tries("chmod", os.chmod, outside + "/secret", 0o777)
tries("times", os.utime, outside + "/secret")
tries("unix socket", unix)
tries("udp", socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
tries("signal", os.kill, victim, signal.SIGTERM)
tries("limits", resource.prlimit, victim, resource.RLIMIT_NOFILE)
tries("priority", os.setpriority, os.PRIO_PROCESS, victim, 19)
tries("environment", open, f"/proc/{{victim}}/environ")
tries("memory", open, f"/proc/{{victim}}/mem", "rb")
tries("device", os.mknod, "device", 0o600 | 0o020000, 0x103)
tries("session", os.setsid)
tries("own proc", open, "/proc/self/environ")
print("end")
"""
        result = await run(code, inside)
        assert victim.poll() is None
        victim.kill()
    assert result.stdout == b"end\n", result.stderr
    assert (outside / "secret").read_text() == "canary"


async def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    mark = f"mark_{tmp_path.name}"
    code = f"""
import os, sys, time
if os.fork() == 0:
    # {mark}
    time.sleep(60)
print("done")
"""
    result = await run(code, tmp_path)
    assert (result.exit_code, result.stdout) == (0, b"done\n")
    assert not [pid for pid in processes() if mark in _command(pid)]


async def test_a_command_that_a_signal_ended_says_so(tmp_path: Path) -> None:
    result = await run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", tmp_path)
    assert result.exit_code == 128 + signal.SIGSEGV


async def test_files_of_both_sides_can_be_used_by_both(tmp_path: Path) -> None:
    (tmp_path / "from_us").write_text("1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "deep").write_text("1")
    code = """
for name in ("from_us", "folder/deep"):
    with open(name, "r+") as file:
        file.write("2")
open("from_it", "w").write("3")
"""
    result = await run(code, tmp_path)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "folder" / "deep").read_text() == "2"
    assert (tmp_path / "from_it").read_text() == "3"


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


#: Runs in a process of its own, whose privileges can be taken away for good.
CHILD = """
import asyncio, ctypes, json, os, struct, sys
from pathlib import Path

def forbid_namespaces():
    # What the default profile of a container engine does: unshare, setns, mount, clone with a new namespace.
    def op(code, value, yes=0, no=0):
        return struct.pack("<HBBI", code, yes, no, value)
    steps = [op(0x20, 0)]
    for number in (272, 308, 165, 166, 155, 428, 429, 430, 431, 432, 433, 442):
        steps += [op(0x15, number, 0, 1), op(0x06, 0x00050001)]
    steps += [op(0x15, 435, 0, 1), op(0x06, 0x00050026)]
    steps += [op(0x15, 56, 0, 3), op(0x20, 16), op(0x45, 0x7E020000, 0, 1), op(0x06, 0x00050001)]
    steps += [op(0x06, 0x7FFF0000)]
    code = b"".join(steps)
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))
    body = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, ctypes.cast(body, ctypes.c_void_p))), 0, 0) == 0

async def main(workspace):
    from agent.ports import SandboxCall
    from agent.sandbox.interpreter import interpreter
    from agent.sandbox.landlock import Landlock
    from agent.sandbox.select import choose
    chosen = await choose()
    one = Landlock()
    python = interpreter("landlock")
    code = "import os; open('made', 'w').write('x'); print(os.getuid())"
    call = SandboxCall((*python.command, "-c", code), Path(workspace), read_only=python.read_only)
    result = await one.run(call)
    said = result.stdout.decode().strip() or result.stderr.decode()
    print(json.dumps({"chosen": chosen.name, "landlock": await one.self_test(), "said": said, "me": os.getuid()}))

if sys.argv[1] == "container":
    forbid_namespaces()
asyncio.run(main(sys.argv[2]))
"""


def in_a_child(profile: str, workspace: Path, *, user: int = 0) -> dict[str, object]:
    """Run CHILD with a container's profile or without, as root or as somebody else."""
    python, more = sys.executable, {}
    if user and os.getuid() == 0:
        # The interpreter may stand where only root can reach it; the system's own of the same version can.
        python = (
            f"/usr/bin/python3.{sys.version_info.minor}" if Path("/root") in Path(sys.base_prefix).parents else python
        )
        more = {"user": user, "group": user, "extra_groups": []}
        os.chown(workspace, user, user)
    paths = (str(ROOT), sysconfig.get_paths()["purelib"])
    done = subprocess.run(  # noqa: S603 - fixed words
        (python, "-c", CHILD, profile, str(workspace)),
        env={"PYTHONPATH": os.pathsep.join(paths), "PATH": os.environ["PATH"], "TMPDIR": "/tmp"},  # noqa: S108 - reachable by all
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    assert done.returncode == 0, done.stderr
    import json  # noqa: PLC0415  # only here

    return json.loads(done.stdout)


@pytest.fixture
def open_folder() -> Path:
    """A folder that everybody can reach, unlike those of pytest."""
    import tempfile  # noqa: PLC0415  # only here

    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    return folder


async def test_where_namespaces_are_forbidden_the_fallback_is_chosen_and_holds(open_folder: Path) -> None:
    found = await asyncio.to_thread(in_a_child, "container", open_folder)
    assert (found["chosen"], found["landlock"]) == ("landlock", "")
    assert (open_folder / "made").read_text() == "x"
    # Root is given up for an id that nobody has.
    assert found["said"] != "0"


@pytest.mark.parametrize("profile", ["container", "none"])
async def test_it_holds_for_an_unprivileged_user_too(open_folder: Path, profile: str) -> None:
    user = 65_534 if os.getuid() == 0 else os.getuid()
    found = await asyncio.to_thread(in_a_child, profile, open_folder, user=user)
    assert found["landlock"] == ""
    assert found["me"] == user
    assert found["said"] == str(user)
    assert profile == "none" or found["chosen"] == "landlock"


async def test_the_sandboxed_command_ends_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    mark = f"mark_{tmp_path.name}"
    script = f"""
import asyncio
from pathlib import Path
from agent.ports import SandboxCall
from agent.sandbox.landlock import Landlock
call = SandboxCall(("/bin/sh", "-c", "echo > ready; (sleep 61; true) & sleep 62 # {mark}"), Path({str(tmp_path)!r}))
asyncio.run(Landlock().run(call))
"""
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    async with asyncio.timeout(20):
        while not (tmp_path / "ready").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    assert [pid for pid in processes() if mark in _command(pid) and pid != owner.pid]
    owner.kill()
    await owner.wait()
    async with asyncio.timeout(5):
        while [pid for pid in processes() if mark in _command(pid)]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
