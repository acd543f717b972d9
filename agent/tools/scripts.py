"""Files that a command runs: what stands in them is part of what is asked, and of what the yes is for."""

from __future__ import annotations

import asyncio
import hashlib

from agent.domain import Effect, Intent
from agent.errors import ToolError
from agent.facts.path import path_flags
from agent.facts.shell import scripts_in
from agent.tools.base import ToolContext
from agent.tools.beneath import Beneath
from agent.workspace import Workspace

MOST_FILES = 5
_MOST_BYTES = 1_048_576
_SHOWN = 4_096
"""Characters of one file that people are shown."""


async def scripts_of(command: str, context: ToolContext) -> dict[str, bytes | None]:
    """The files of the workspace that a command runs, each with what is in it; None when it cannot be read."""
    paths = scripts_in(command)[:MOST_FILES]
    return await asyncio.to_thread(_read, paths, context) if paths else {}


def intents_of(scripts: dict[str, bytes | None]) -> tuple[Intent, ...]:
    """One effect a file, which is another one as soon as the file is: a yes is for what stood there when asked."""
    hashes = (
        hashlib.sha256(data).hexdigest()[:16] if data is not None else f"?{path}" for path, data in scripts.items()
    )
    return tuple(Intent(effect=Effect.EXECUTE, target=f"script:{one}") for one in hashes)


def shown(scripts: dict[str, bytes | None]) -> str:
    """The files as people see them under the command; nothing of what usually holds secrets."""
    parts: list[str] = []
    for path, data in scripts.items():
        if data is None or "touches_credentials" in path_flags(path):
            continue
        text = data.decode(errors="replace")
        cut = f"\n… {len(text) - _SHOWN:,} characters left out …" if len(text) > _SHOWN else ""
        parts.append(f"\n\n{path} holds:\n{text[:_SHOWN].rstrip()}{cut}")
    return "".join(parts)


def _read(paths: tuple[str, ...], context: ToolContext) -> dict[str, bytes | None]:
    copy = Workspace(context.workspace, context.project)
    found: dict[str, bytes | None] = {}
    with Beneath(copy.files if copy.exists else context.project) as folder:
        for path in paths:
            try:
                found[path] = folder.read(path, _MOST_BYTES)
            except (ToolError, OSError):
                found[path] = None
    return found
