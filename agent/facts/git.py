"""What git would do: what it loses, sends, or makes run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.domain import Effect, Intent
from agent.facts.gathered import UNKNOWN, Gathered, has_option, plain

_READS: Final = frozenset(
    """status log diff show blame branch ls-files ls-tree grep rev-parse describe shortlog cat-file config remote tag
    stash reflog rev-list name-rev merge-base worktree bisect help version whatchanged count-objects fsck check-ignore
    for-each-ref show-ref var archive""".split()  # noqa: SIM905  as above
)
_NETWORK: Final = frozenset({"push", "pull", "fetch", "clone", "ls-remote", "submodule", "send-email", "svn", "lfs"})


def read_git(name: str, args: Sequence[str], seen: Gathered) -> None:
    """Gather what one call of git does."""
    del name
    verb, rest = _verb(args, seen)
    seen.verbs[f"git {verb}"] = None
    if verb in _NETWORK:
        seen.flags["network"] = None
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


def _destroys(verb: str, rest: Sequence[str]) -> bool:  # noqa: PLR0911  one line a verb reads best
    match verb:
        case "rm" | "clean" | "mv" | "prune":
            return not has_option(rest, "n", "--dry-run")
        case "filter-branch" | "filter-repo" | "restore" | "replace":
            return True
        case "reset":
            return has_option(rest, "", "--hard", "--merge", "--keep")
        case "checkout" | "switch":
            return "--" in rest or "." in rest or has_option(rest, "fB", "--force", "--discard-changes")
        case "branch" | "tag":
            return has_option(rest, "dD", "--delete")
        case "stash":
            return bool({"drop", "clear", "pop"} & set(rest))
        case "reflog":
            return bool({"expire", "delete"} & set(rest))
        case "gc":
            return any(word.startswith("--prune") for word in rest)
        case "update-ref" | "symbolic-ref":
            return has_option(rest, "d", "--delete")
        case "worktree" | "remote":
            return bool({"remove", "rm", "prune"} & set(rest))
        case "rebase" | "commit" | "merge" | "cherry-pick":
            return "--amend" in rest or verb == "rebase"
        case _:
            return False
