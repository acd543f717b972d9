"""What leaves a file with nothing in it, though no command says that it deletes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agent.facts.gathered import has_option, plain

#: What a script of sed says that leaves nothing, or nothing from some line on.
_EMPTIES: Final = re.compile(
    r"(?:^|[;{\n=])\s*(?:\d+~1|/(?:\^|\$|\.\*|\^\.\*\$?)?/)?\s*[dDQqz]\s*(?:$|[;}\n])"
    r"|(?:,\s*\$|!)\s*[dDcQqz]|(?:^|[;{\n=])\s*s(.)\^?\.\*\$?\1\1"
)


_COPIES: Final = frozenset(
    {
        "cat",
        "sort",
        "head",
        "tail",
        "grep",
        "paste",
        "cut",
        "tac",
        "uniq",
        "awk",
        "sed",
        "tr",
        "nl",
        "rev",
        "fold",
        "jq",
    }
)
_WITH_OUTPUT: Final = frozenset({"sort", "shuf", "tree", "iconv", "jq", "yq", "objdump", "column", "ruff", "tsc"})


def sed_empties(args: Sequence[str], *, has_script: bool) -> bool:
    """Whether the script of a sed that writes its files drops all lines, or all from some line on."""
    scripts = [word for word in args if not word.startswith("-")]
    texts = args if has_script else scripts[:1]
    silent = has_option([word for word in args if word not in scripts[:1]], "n", "--quiet", "--silent")
    return any(_EMPTIES.search(text) for text in texts) or (silent and not any("p" in text for text in texts))


def outputs(name: str, args: Sequence[str]) -> list[str]:
    """Files that commands write which mostly only print."""
    words = plain(args)
    if name == "uniq" or (name == "xxd" and has_option(args, "r", "--revert")):
        return words[1:2]
    if name == "yq":
        return words[1:] if has_option(args, "i", "--inplace", "--in-place") else []
    if name in {"dos2unix", "unix2dos"}:
        return words
    if name not in _WITH_OUTPUT:
        return []
    long = [word.partition("=")[2] for word in args if word.startswith("--output=")]
    glued = [word[2:] for word in args if re.match(r"^-o[^-=\s]", word)]
    apart = [args[place + 1] for place, word in enumerate(args[:-1]) if word in {"-o", "--output"}]
    return [*long, *glued, *apart]


def prints_nothing(words: Sequence[str], *, fed_nothing: bool) -> bool:
    """Whether a command with these words prints nothing for certain; `fed_nothing` when it reads of an empty file."""
    match words:
        case [":" | "true" | "false", *_] | ["echo"] | ["exec"]:
            return True
        case ["printf" | "echo", *rest]:
            return bool(rest) and set(rest) <= {"", "%s", "-n", "-e"} and rest != ["-e"]
        case [name, *_, "/dev/null"] if name in _COPIES:
            return True
        case ["cat" | "tee", *rest]:
            return fed_nothing and not (words[0] == "cat" and rest)
        case ["head" | "tail", *rest]:
            return bool({"-0", "-c0", "-n0", "--bytes=0", "--lines=0"} & set(rest)) or "0" in rest
        case _:
            return False
