"""`secondkey prompts`: which prompts are in use, where each comes from, and any of them whole."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.errors import ConfigurationError
from agent.prompting import REPLACEABLE, Prompts
from bot.config import Settings
from bot.words import nearest


def print_prompts(settings: Settings, name: str = "", *, as_json: bool = False) -> int:
    """List them, or print one; raises ConfigurationError when the folder or the name is not usable."""
    prompts = Prompts.load(settings.prompts)
    if name and name not in REPLACEABLE:
        near = nearest(name, REPLACEABLE)
        fix = f"Did you mean {near!r}?" if near else f"There are {', '.join(REPLACEABLE)}."
        raise ConfigurationError(f"There is no prompt {name!r}.", fix=fix)
    wanted = (name,) if name else REPLACEABLE
    if as_json:
        found = [
            {
                "name": one,
                "own": prompts.is_own(one),
                "origin": prompts.origin(one),
                "fingerprint": prompts.fingerprint(one),
                "text": prompts.text(one),
            }
            for one in wanted
        ]
        json.dump(found, sys.stdout, indent=2)
        sys.stdout.write("\n")
    elif name:
        sys.stdout.write(f"{prompts.text(name)}\n")
    else:
        table = Table("prompt", "characters", "fingerprint", "from")
        for one in wanted:
            table.add_row(one, f"{len(prompts.text(one)):,}", prompts.fingerprint(one), escape(prompts.origin(one)))
        console = Console()
        console.print(table)
        console.print("Put a file such as research.md into the folder that `prompts` names to replace one of them.")
    return 0
