"""What leaves a file with nothing in it, though no command says that it deletes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agent.facts.gathered import has_option

#: What a script of sed says that leaves nothing, or nothing from some line on.
_EMPTIES: Final = re.compile(
    r"(?:^|[;{\n=])\s*(?:\d+~1|/(?:\^|\$|\.\*|\^\.\*\$?)?/)?\s*[dDQqz]\s*(?:$|[;}\n])"
    r"|(?:,\s*\$|!)\s*[dDcQqz]|(?:^|[;{\n=])\s*s(.)\^?\.\*\$?\1\1"
)


def sed_empties(args: Sequence[str], *, has_script: bool) -> bool:
    """Whether the script of a sed that writes its files drops all lines, or all from some line on."""
    scripts = [word for word in args if not word.startswith("-")]
    texts = args if has_script else scripts[:1]
    silent = has_option([word for word in args if word not in scripts[:1]], "n", "--quiet", "--silent")
    return any(_EMPTIES.search(text) for text in texts) or (silent and not any("p" in text for text in texts))


def prints_nothing(words: Sequence[str], *, fed_nothing: bool) -> bool:
    """Whether a command with these words prints nothing for certain; `fed_nothing` when it reads of an empty file."""
    match words:
        case [":" | "true" | "false", *_] | ["cat", "/dev/null"] | ["printf", ""] | ["echo", "-n"] | ["echo", "-n", ""]:
            return True
        case ["cat" | "tee", *rest]:
            return fed_nothing and not (words[0] == "cat" and rest)
        case ["head" | "tail", *rest]:
            return bool({"-0", "-c0", "-n0", "--bytes=0", "--lines=0"} & set(rest)) or "0" in rest
        case _:
            return False
