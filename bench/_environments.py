"""Each peer's own virtual environment, made beforehand in the user's cache folder, and anew when its pins change."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).with_name("peers_env")
"""Workers and requirements: pinned direct dependencies, no addresses."""
_DONE = "complete"


class NotBuilt(RuntimeError):
    """The environment could not be made; most often because no package index can be reached."""


def cache(environment: Mapping[str, str]) -> Path:
    """Where environments are kept."""
    root = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".cache")
    return Path(root) / "secondkey-bench"


def wanted(name: str, requirements: str, python: str, root: Path) -> Path:
    """The environment's folder: its name says what is in it."""
    digest = hashlib.sha256(f"{python}\0{requirements}".encode()).hexdigest()
    return root / f"{name}-{digest[:12]}"


def interpreter(name: str, folder: Path = FOLDER) -> Path:
    """The Python of a peer's environment, built when it is not there yet; raises NotBuilt."""
    requirements = folder / f"{name}.txt"
    root = cache(os.environ)
    made = wanted(name, requirements.read_text(encoding="utf-8"), sys.version, root)
    if not (made / _DONE).exists():
        for old in (*root.glob(f"{name}-*"),):  # half-made, or of other pins
            shutil.rmtree(old, ignore_errors=True)
        root.mkdir(parents=True, exist_ok=True)
        print(f"making the environment of {name} (once) …", file=sys.stderr, flush=True)
        _build(made, requirements)
        (made / _DONE).touch()
    return made / "bin" / "python"


def _build(folder: Path, requirements: Path) -> None:
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    python = str(folder / "bin" / "python")
    if uv:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", python, "--requirement", str(requirements))
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(python, "-m", "pip", "--quiet", "install", "--requirement", str(requirements))


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603  # our own command
    if done.returncode:
        raise NotBuilt(done.stderr.strip()[-1000:] or f"{Path(command[0]).name} ended with {done.returncode}")
