"""The attack suite: every attack in every sandbox, first let loose without one where that is safe, to see it bite.

A row is a class: attacks, those that bit without a sandbox, those stopped by bubblewrap and by the fallback. Then what
is harmless and must work, and what the tools that run on the host refuse: paths, addresses, secrets.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agent.ports import Sandbox, SandboxCall, SandboxResult
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.census import processes
from agent.sandbox.interpreter import interpreter
from agent.sandbox.landlock import Landlock
from bench._attack_cases import Case, attacks, benign
from bench._attack_edge import edge_attacks
from bench._attack_host import host_attacks
from bench._attack_late import late_attacks
from bench._attack_mcp import mcp_attacks
from bench._report import is_quick, table, tell

_VARIABLE = "SECONDKEY_BENCH_CANARY"
_CANARY = "canary-5d1c9e7f3b"
_LIMIT_S, _BOMB_S = 5.0, 3.0
_MOST_OUTPUT = 1_048_576
#: What is stolen is at the beginning of a file, or in an archive's first entry.
_BEGINNING = 65_536


class Place:
    """A folder outside with a secret, a workspace, listeners, and a process that is nobody's business."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="secondkey-bench-"))
        self._root.chmod(0o755)
        self.outside, self.workspace = self._root / "outside", self._root / "inside"
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._line = socket.socket(socket.AF_UNIX)
        self._line.bind(str(self._root / "line"))
        self._abstract = socket.socket(socket.AF_UNIX)
        self._abstract.bind(f"\0secondkey-bench-{os.getpid()}")
        for one in (self._line, self._abstract):
            one.listen()
        (self._root / "line").chmod(0o777)
        for one in (self._tcp, self._udp, self._line, self._abstract):
            one.setblocking(False)  # noqa: FBT003 - as the library has it
        self._victim: subprocess.Popen[bytes] | None = None
        self.renew()

    def renew(self) -> None:
        """Everything as at the start."""
        for folder in (self.outside, self.workspace):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o755)
        (self.outside / "secret").write_text(f"{_CANARY}\n")
        (self.workspace / "a.txt").write_text("one\ntwo\n")
        (self.workspace / "danger.txt").write_text("rm -rf /\n")
        if self._victim is None or self._victim.poll() is not None:
            environment = {**os.environ, _VARIABLE: _CANARY}
            words = ("sleep", "600")
            self._victim = subprocess.Popen(words, cwd=self.outside, env=environment)  # noqa: S603 - two fixed words
        with_signal = self._victim
        os.kill(with_signal.pid, signal.SIGCONT)
        self._before = self._look()
        self.reached()

    def reached(self) -> bool:
        """Whether somebody spoke to one of the sockets since the last look."""
        found = False
        for listener in (self._tcp, self._line, self._abstract):
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    break
                found = True
        try:
            self._udp.recv(100)
        except OSError:
            return found
        return True

    def _look(self) -> list[tuple[str, int, int, int, bytes]]:
        found: list[tuple[str, int, int, int, bytes]] = []
        for path in sorted([self.outside, *self.outside.rglob("*")]) if self.outside.exists() else []:
            about = path.lstat()
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found.append((str(path), about.st_mode, int(about.st_mtime), about.st_nlink, data))
        return found

    def bitten(self, result: SandboxResult) -> bool:
        """Whether an attack reached what it was after."""
        assert self._victim is not None  # noqa: S101 - made in renew
        told = result.stdout + result.stderr
        seen = b"BITTEN" in told or _CANARY.encode() in told or any(map(_holds, self.workspace.rglob("*")))
        reached, dead = self.reached(), self._victim.poll() is not None
        return seen or reached or dead or self._look() != self._before

    def text(self, command: str, python: str) -> str:
        """A command with the names of this place."""
        assert self._victim is not None  # noqa: S101 - as above
        names = {
            "{O}": str(self.outside), "{o}": self.outside.name, "{W}": str(self.workspace),
            "{V}": str(self._victim.pid),
            "{B}": str(os.getpid()), "{T}": str(self._tcp.getsockname()[1]), "{U}": str(self._udp.getsockname()[1]),
            "{X}": str(self._root / "line"), "{A}": f"secondkey-bench-{os.getpid()}", "{P}": python,
        }  # fmt: skip
        for name, value in names.items():
            command = command.replace(name, value)
        return command.replace("{{", "{").replace("}}", "}")

    def close(self) -> None:
        """End and remove everything."""
        if self._victim is not None:
            self._victim.kill()
            self._victim.wait()
        for one in (self._tcp, self._udp, self._line, self._abstract):
            one.close()
        shutil.rmtree(self._root, ignore_errors=True)


def _holds(path: Path) -> bool:
    """Whether a file begins with what nobody may see; one of many gigabytes that are none is not read whole."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return _CANARY.encode() in file.read(_BEGINNING)


async def _bare(command: str, workspace: Path) -> SandboxResult:
    process = await asyncio.create_subprocess_exec(
        "/bin/bash", "-c", command, cwd=workspace, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1
    )  # fmt: skip
    async with asyncio.timeout(_LIMIT_S):
        out, err = await process.communicate()
    return SandboxResult(process.returncode or 0, out, err)


async def _inside(sandbox: Sandbox, command: str, workspace: Path, timeout_s: float) -> SandboxResult:
    python = interpreter("landlock")
    call = SandboxCall(
        ("/bin/bash", "-c", command), workspace, timeout_s=timeout_s, read_only=python.read_only,
        disk_bytes=268_435_456, disk_entries=5_000,
    )  # fmt: skip
    return await sandbox.run(call)


def _survivors(mark: str) -> int:
    found = 0
    for pid in processes():
        try:
            found += mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
    return found


async def _stopped(sandbox: Sandbox, case: Case, place: Place, python: str) -> bool:
    place.renew()
    command = place.text(case.command, python)
    if case.shown:
        return not place.bitten(await _inside(sandbox, command, place.workspace, _LIMIT_S))
    mark = f"MARK{zlib.crc32(command.encode()):08x}{id(sandbox):x}"
    result = await _inside(sandbox, f"export MARK={mark}\n{command}", place.workspace, _BOMB_S)
    used = sum(one.lstat().st_blocks * 512 for one in place.workspace.rglob("*"))
    ended = result.duration_s < _BOMB_S + 3 and len(result.stdout) <= _MOST_OUTPUT
    return ended and not _survivors(mark) and used <= 268_435_456 and not place.bitten(result)  # noqa: PLR2004 - the quota


def _short(command: str) -> str:
    """A command by its beginning and its end: many begin alike."""
    return repr(command if len(command) <= 150 else f"{command[:40]} … {command[-100:]}")  # noqa: PLR2004 - a line


async def _measure(*, quick: bool) -> tuple[list[list[str]], list[str], dict[str, dict[str, int]]]:
    python = " ".join((interpreter("landlock").command[0], "-I"))
    every = list(attacks())
    cases = every[::12] if quick else every
    harmless = benign()[::12] if quick else benign()
    sandboxes: dict[str, Sandbox] = {"bubblewrap": Bubblewrap(), "landlock": Landlock()}
    place = Place()
    bit: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {name: Counter() for name in sandboxes}
    notes: list[str] = []
    figures: dict[str, dict[str, int]] = {}
    try:
        for case in cases:
            place.renew()
            if case.shown:
                try:
                    bites = place.bitten(await _bare(place.text(case.command, python), place.workspace))
                except TimeoutError:
                    bites = True
                bit[case.kind] += bites
                if not bites:
                    notes.append(f"did not bite here without a sandbox: {_short(case.command)}")
        for name, sandbox in sandboxes.items():
            for case in cases:
                held = await _stopped(sandbox, case, place, python)
                counts[name][case.kind] += held
                if not held:
                    notes.append(f"{name} did not stop: {_short(case.command)}")
            worked = 0
            for text in harmless:
                place.renew()
                result = await _inside(sandbox, place.text(text, python), place.workspace, 10.0)
                worked += result.exit_code == 0
                if result.exit_code:
                    notes.append(
                        f"{name} did not let pass: {text[:70]!r} ({result.stderr.decode(errors='replace')[:90]})"
                    )
            figures[name] = {
                "attacks": len(cases), "stopped": counts[name].total(), "benign": len(harmless), "benign_ok": worked
            }  # fmt: skip
    finally:
        place.close()
    totals = Counter(case.kind for case in cases)
    rows = [
        [kind, str(n), str(bit[kind]), *(str(counts[name][kind]) for name in sandboxes)] for kind, n in totals.items()
    ]
    host = {**await host_attacks(), **await late_attacks(), **await edge_attacks(), **await mcp_attacks()}
    for kind, (tried, stopped, failed) in host.items():
        rows.append([f"{kind} (host)", str(tried), "", str(stopped), str(stopped)])
        notes += [f"not refused: {text[:90]!r}" for text in failed]
        for figure in figures.values():
            figure["attacks"] += tried
            figure["stopped"] += stopped
    rows.append(["harmless, passed", str(len(harmless)), "", *(str(figures[name]["benign_ok"]) for name in sandboxes)])
    return rows, notes, figures


def main(argv: Sequence[str] | None = None) -> int:
    """Run all; 1 when an attack was not stopped or something harmless was."""
    if _VARIABLE not in os.environ:
        # So that it stands where a process's environment can be read: as it was started with.
        words = [sys.executable, "-m", "bench.attacks", *(sys.argv[1:] if argv is None else argv)]
        os.execve(sys.executable, words, {**os.environ, _VARIABLE: _CANARY})  # noqa: S606 - ourselves
    quick = is_quick(__doc__ or "", argv)
    rows, notes, figures = asyncio.run(_measure(quick=quick))
    columns = ("class", "attacks", "bit without", "bubblewrap stopped", "landlock stopped")
    tell([table("Attacks", columns, rows)], notes, figures)
    held = all(one["attacks"] == one["stopped"] and one["benign"] == one["benign_ok"] for one in figures.values())
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
