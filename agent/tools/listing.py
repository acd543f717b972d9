"""Which files of a project an agent may see: what git lists, without credentials and without links."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from agent.errors import ToolFailed
from agent.facts.path import is_credentials, is_dotfile, is_plain
from agent.tools.beneath import Beneath

_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*")
_SKIPPED = frozenset({".venv", "venv", "node_modules", "__pycache__"})
_GIT_TIMEOUT_S = 10.0


def _git(project: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    try:
        return subprocess.run(  # noqa: S603 - fixed words; paths go in by stdin
            (*_GIT, "-C", str(project), *arguments),
            input=stdin,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolFailed("This project is kept in git, and git is not installed here.") from error
    except subprocess.TimeoutExpired as error:
        raise ToolFailed("git took too long to list the project.") from error


def _in_git(project: Path) -> bool:
    return any((folder / ".git").exists() for folder in (project, *project.parents))


def list_project(project: Path) -> tuple[str, ...]:
    """The regular files of the project that an agent may see, sorted; raises ToolFailed. Blocks."""
    if not project.is_dir():
        raise ToolFailed("The project's folder does not exist.")
    with Beneath(project) as folder:
        if _in_git(project):
            answer = _git(project, "ls-files", "-z", "-co", "--exclude-standard")
            if answer.returncode:
                raise ToolFailed(f"git cannot list the project: {answer.stderr.decode(errors='replace').strip()[:200]}")
            named = {os.fsdecode(name) for name in answer.stdout.split(b"\0") if name}
            paths = [path for path in named if _is_regular(folder, path)]
        else:
            paths = [path for path, found in folder.walk() if stat.S_ISREG(found.st_mode) and not _is_skipped(path)]
    return tuple(sorted(path for path in paths if is_plain(path) and not is_credentials(path)))


def ignored(project: Path, paths: Iterable[str]) -> frozenset[str]:
    """Those of the paths that the project does not keep (build products, caches); raises ToolFailed. Blocks."""
    asked = [path for path in paths if is_plain(path)]
    left = frozenset(path for path in asked if _SKIPPED & set(path.split("/")))
    if not asked or not _in_git(project):
        return left
    answer = _git(project, "check-ignore", "-z", "--stdin", stdin="\0".join(asked).encode())
    # 1 says that none is ignored; anything else that nothing can be said, and then all are shown.
    return left | {os.fsdecode(name) for name in answer.stdout.split(b"\0") if name}


def _is_regular(folder: Beneath, path: str) -> bool:
    try:
        found = folder.stat(path)
    except OSError:
        # A link on the way.
        return False
    return found is not None and stat.S_ISREG(found.st_mode)


def _is_skipped(path: str) -> bool:
    folders = path.split("/")[:-1]
    return bool(_SKIPPED & set(folders)) or any(is_dotfile(folder) for folder in folders)


@lru_cache(maxsize=256)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """A pattern for a glob: `*` stays in a folder, `**` does not; without a slash the file's name is matched."""
    if "/" not in glob:
        return re.compile(rf"(?:.*/)?(?:{_segment(glob)})", re.DOTALL)
    runs: list[list[str]] = [[]]
    for part in glob.removeprefix("./").split("/"):
        if part == "**":
            runs.append([])
        else:
            runs[-1].append(_segment(part))
    if len(runs) == 1:
        return re.compile("/".join(runs[0]), re.DOTALL)
    first, *middle, last = runs
    # What stands between two stars is best found as early as can be, and then never moved (the atomic groups): else a
    # glob with twenty stars would be tried in more ways than anybody can wait for.
    pieces = [f"{part}/" for part in first]
    pieces += [f"(?>(?:.*?/)??{'/'.join(run)}/)" for run in middle if run]
    pieces.append(f"(?:.*/)?{'/'.join(last)}" if last else ".*")
    return re.compile("".join(pieces), re.DOTALL)


def _segment(part: str) -> str:
    fixed = [re.escape(text).replace(r"\?", "[^/]") for text in re.sub(r"\*+", "*", part).split("*")]
    if len(fixed) == 1:
        return fixed[0]
    first, *middle, last = fixed
    return first + "".join(f"(?>[^/]*?{text})" for text in middle) + f"[^/]*{last}"
