"""What git would do: what it loses, sends, or makes run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agent.domain import Effect, Intent
from agent.facts.gathered import UNKNOWN, Gathered, has_option, plain

_READS: Final = frozenset(
    """status log diff show blame branch ls-files ls-tree grep rev-parse describe shortlog cat-file config remote tag
    stash reflog rev-list name-rev merge-base worktree bisect help version whatchanged count-objects fsck check-ignore
    for-each-ref show-ref var archive""".split()  # noqa: SIM905  as above
)
_PRINTS: Final = frozenset({"log", "diff", "show", "format-patch", "archive", "shortlog", "stash", "diff-tree"})
_NETWORK: Final = frozenset({"push", "pull", "fetch", "clone", "ls-remote", "submodule", "send-email", "svn", "lfs"})
_ALWAYS: Final = frozenset(
    {"filter-branch", "filter-repo", "restore", "replace", "update-ref", "read-tree", "checkout-index", "rebase"}
)
#: Verb → short letters and long options with which it loses something.
_WITH_OPTIONS: Final = {
    "reset": ("", "--hard", "--merge", "--keep"), "branch": ("dDfMC", "--delete", "--force"),
    "tag": ("df", "--delete", "--force"), "symbolic-ref": ("d", "--delete"),
}  # fmt: skip
#: Verb → words with which it does.
_WITH_WORDS: Final = {
    "stash": frozenset({"drop", "clear", "pop"}), "reflog": frozenset({"expire", "delete"}),
    **dict.fromkeys(("worktree", "remote"), frozenset({"remove", "rm", "prune"})),
    **dict.fromkeys(("commit", "merge", "cherry-pick", "revert", "am"), frozenset({"--amend", "--abort", "--skip"})),
}  # fmt: skip


def read_git(name: str, args: Sequence[str], seen: Gathered) -> None:
    """Gather what one call of git does."""
    del name
    verb, rest = _verb(args, seen)
    seen.verbs[f"git {verb}"] = None
    if verb in _NETWORK:
        seen.flags["network"] = None
    for index, word in enumerate(rest):
        if verb in _PRINTS and (word.startswith("--output=") or (word in {"-o", "--output"} and rest[index + 1 :])):
            seen.touches(Effect.MODIFY, word.partition("=")[2] or rest[index + 1])
    changes = has_option(rest, "e", "--add", "--unset", "--edit", "--replace-all") or len(plain(rest)) > 1
    if verb == UNKNOWN:
        seen.why["It computes what git is to do."] = None
    elif verb == "push":
        seen.effects[Intent(effect=Effect.SEND, target=f"git:{(plain(rest) or ['origin'])[0]}")] = None
        forced = has_option(rest, "fd", "--force", "--force-with-lease", "--delete", "--mirror", "--prune")
        if forced or any(word.startswith((":", "+")) for word in plain(rest)):
            seen.flags["destructive"] = None
    elif (verb == "config" and changes) or verb in {"difftool", "mergetool"} or {"run", "foreach"} & set(rest[:1]):
        seen.why["It makes git run commands, or changes its configuration, which can."] = None
    elif _destroys(verb, rest):
        _loses(verb, rest, seen)
    elif verb not in _READS and not (verb in {"rm", "mv", "prune"} and has_option(rest, "n", "--dry-run")):
        seen.effects[Intent(effect=Effect.MODIFY, target="workspace:.git")] = None


def _verb(args: Sequence[str], seen: Gathered) -> tuple[str, list[str]]:
    """What git is to do, and with what, behind the options before it."""
    words, skip = list[str](), False
    for word in args:
        if skip:
            skip = False
        elif not words and word in {"-C", "-c", "--git-dir", "--work-tree"}:
            skip = True
            if word == "-c":
                seen.why["It sets git's configuration, which can run commands."] = None
        elif words or not word.startswith("-"):
            words.append(word)
    return (words[0], words[1:]) if words else ("help", [])


def _loses(verb: str, rest: Sequence[str], seen: Gathered) -> None:
    seen.flags["destructive"] = None
    paths = plain(rest)
    lost = paths if verb in {"rm", "restore", "clean", "mv"} else rest[rest.index("--") + 1 :] if "--" in rest else []
    for path in lost:
        seen.touches(Effect.DELETE, path)
    if not paths or verb in {"reset", "stash", "clean"}:
        seen.effects[Intent(effect=Effect.DELETE, target="workspace:")] = None


def _destroys(verb: str, rest: Sequence[str]) -> bool:
    if verb in _ALWAYS or has_option(rest, *_WITH_OPTIONS.get(verb, ("",))):
        return True
    match verb:
        case "rm" | "clean" | "mv" | "prune":
            return not has_option(rest, "n", "--dry-run")
        case "checkout" | "switch":
            return _leaves_work(verb, rest)
        case "gc":
            return any(word.startswith("--prune") for word in rest)
        case _:
            return bool(_WITH_WORDS.get(verb, frozenset()) & set(rest))


def _leaves_work(verb: str, rest: Sequence[str]) -> bool:
    """Whether uncommitted work, or where a branch stood, is lost."""
    if "--" in rest or "." in rest or has_option(rest, "fBC", "--force", "--discard-changes", "--force-create"):
        return True
    if verb == "switch" or has_option(rest, "bt", "--orphan", "--track"):
        return False
    words = plain(rest)
    return (
        len(words) > 1  # a commit, and the files that are taken from it
        or has_option(rest, "mp", "--ours", "--theirs", "--patch", "--merge", "--pathspec-from-file")
        or any(word == UNKNOWN or re.search(r"\.[A-Za-z]\w{0,7}$", word) for word in words)
    )
