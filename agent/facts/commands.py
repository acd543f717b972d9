"""What well-known commands do with their arguments: what they read, write, delete, send, or hide."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.domain import Effect, Intent
from agent.facts.path import path_flags

UNKNOWN: Final = "?"
"""What stands for a word that is computed."""
_ROOT = "/workspace"

READS: Final = frozenset(
    """ls cat head tail grep egrep fgrep rg wc sort uniq cut tr echo printf pwd date whoami id uname which type file
    stat du df tree diff cmp md5sum sha1sum sha256sum sha512sum cksum basename dirname realpath readlink true false test
    seq sleep expr bc jq yq xxd od strings nl tac rev paste join comm fold column less more hexdump base64 base32 cal
    hostname ps free uptime printenv locale getconf nproc arch tty groups cd pushd popd shopt local return exit
    break continue shift wait jobs read mapfile readarray getopts hash help history let ulimit umask times : [ fmt look
    numfmt shuf factor tsort zcat zgrep bzcat xzcat man cloc tokei ruff mypy pyright pytest flake8 black isort eslint
    prettier tsc jest vitest tox nox shellcheck hadolint yamllint markdownlint pylint coverage zipinfo lsof lscpu
    lsblk getfacl nm objdump readelf ldd size iconv pr expand unexpand csplit dos2unix set unset declare typeset
    readonly export disown fg bg bind caller compgen complete dirs enable logout suspend""".split()  # noqa: SIM905  a list of words reads as words
)
"""Commands that change nothing but what they print, or only the shell that runs them."""
NETWORK: Final = frozenset(
    """curl wget nc ncat netcat socat ssh scp sftp ftp telnet ping dig nslookup host whois traceroute mail mailx
    sendmail msmtp mutt aws gcloud az gsutil kubectl helm terraform tofu pulumi ansible ansible-playbook heroku flyctl
    vercel netlify gh glab docker podman doctl http
    https aria2c lynx w3m rclone s3cmd twine psql mysql mongosh mongo redis-cli
    mssql-cli clickhouse-client stripe twilio""".split()  # noqa: SIM905  as above
)
"""Commands that speak to other machines, or to a service on this one."""
_DESTRUCTIVE: Final = frozenset(
    """rm rmdir unlink shred srm wipe wipefs fdisk parted sfdisk mkswap blkdiscard kill killall pkill xkill shutdown
    reboot halt poweroff init telinit userdel groupdel deluser dropdb dropuser truncate mkfs swapoff umount crontab
    iptables ip6tables nft visudo passwd chpasswd usermod at batch systemctl service launchctl sysctl insmod rmmod
    modprobe dmsetup lvremove vgremove pvremove cryptsetup zfs zpool btrfs""".split()  # noqa: SIM905  as above
)
_MANAGERS: Final = frozenset(
    """apt apt-get aptitude dpkg yum dnf rpm pacman apk brew pip pip3 pipx uv npm yarn pnpm npx gem cargo go bundle
    composer conda mamba poetry make cmake ninja gradle mvn rake just""".split()  # noqa: SIM905  as above
)
_TESTS: Final = frozenset(
    {"test", "check", "build", "vet", "fmt", "clippy", "lint", "list", "ls", "outdated", "show", "freeze", "version",
     "tree", "doc", "env", "info", "view", "audit", "why", "search", "metadata", "help", "--version", "-v", "-V"}
)  # fmt: skip
_GIT_READS: Final = frozenset(
    """status log diff show blame branch ls-files ls-tree grep rev-parse describe shortlog cat-file config remote tag
    stash reflog rev-list name-rev merge-base worktree bisect help version whatchanged count-objects fsck check-ignore
    for-each-ref show-ref var archive""".split()  # noqa: SIM905  as above
)
_GIT_NETWORK: Final = frozenset(
    {"push", "pull", "fetch", "clone", "ls-remote", "submodule", "send-email", "svn", "lfs"}
)
_LOST: Final = re.compile(
    r"\b(?:delete|destroy|remove|rm|rmi|rb|purge|prune|drop|dropdatabase|flushall|flushdb|terminate\S*|uninstall|"
    r"unpublish|del|down|kill|stop|drain|rollback|mv|deregister\S*|reset|wipe|erase|nuke|--delete\S*|--prune|"
    r"(?:delete|remove|terminate|purge|empty)-[\w-]+)\b",
    re.IGNORECASE,
)
_SENDS: Final = re.compile(
    r"^(?:-[a-zA-Z]*[dFT]|--data(?:-\w+)?|--form|--upload-file|--json|--post-\w+|--body-\w+)(?:=|$|[^-])"
)
_METHOD: Final = re.compile(r"^(?:-X|--request|--method)=?(\w*)$")


#: Options with which a harmless command runs another one.
_RUNS: Final = re.compile(
    r"^--(?:compress-program|use-compress-program|filter|pre|pager|ext-diff|open-files-in-pager|exec|exec-path|command|rsh|"
    r"rsync-path|to-command|checkpoint-action|upload-pack|receive-pack|editor|init-file|rcfile|unzip-command|new-volume-script"
    r"|info-script|rmt-command|rsh-command|startup|plugin|config-file|rulesdir|resolve-plugins-relative-to)(?:=|$)"
)
_RUNS_SHORT: Final = {
    "tar": "IF", "man": "PH", "rsync": "e", "mapfile": "C", "readarray": "C", "hash": "p", "enable": "f", "bind": "x",
    "zip": "T", "complete": "CF", "compgen": "CF", "less": "k", "git": "O", "pytest": "p",
}  # fmt: skip
SWAYS: Final = re.compile(
    r"^(?:PATH|IFS|LD_\w+|DYLD_\w+|BASH_ENV|ENV|PROMPT_COMMAND|PS4|SHELLOPTS|BASHOPTS|PYTHON(?:PATH|STARTUP|HOME)|GIT_\w+"
    r"|NODE_OPTIONS|PERL5?\w*|RUBYOPT|EDITOR|VISUAL|PAGER|MANPAGER|LESSOPEN|TAR_OPTIONS|GREP_OPTIONS|RIPGREP_CONFIG_PATH"
    r"|PYTEST_\w+|MAKEFLAGS|SHELL|HOME)$"
)
"""Variables that change what other commands do."""


@dataclass(slots=True)
class Gathered:
    """What was gathered over all commands of a text."""

    cwd: str = ""
    effects: dict[Intent, None] = field(default_factory=dict[Intent, None])
    verbs: dict[str, None] = field(default_factory=dict[str, None])
    flags: dict[str, None] = field(default_factory=dict[str, None])
    why: dict[str, None] = field(default_factory=dict[str, None])
    hosts: dict[str, None] = field(default_factory=dict[str, None])

    def place(self, path: str) -> str:
        """The canonical target of a path as the shell would find it: `workspace:a/b`, `host:/etc/x`, or with `?`."""
        if UNKNOWN in (path, self.cwd):
            return f"workspace:{UNKNOWN}"
        if path.startswith("~"):
            return f"host:{path}"
        full = posixpath.normpath(posixpath.join(_ROOT, self.cwd, path))
        if full == _ROOT or full.startswith(f"{_ROOT}/"):
            return f"workspace:{full[len(_ROOT) + 1 :]}"
        return f"host:{full}"

    def touches(self, effect: Effect, path: str) -> None:
        """One effect on one path."""
        if path in {"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "-"} or path.startswith("/dev/fd/"):
            return
        if path.startswith(("/dev/tcp/", "/dev/udp/")):
            self.flags["network"] = None
            return
        target = self.place(path)
        if UNKNOWN in target:
            self.why["It computes the name of what it changes."] = None
        if target.startswith("host:") and not target.startswith("host:/tmp/"):
            self.flags["outside"] = None
        self.effects[Intent(effect=effect, target=target)] = None
        if effect is Effect.DELETE:
            self.flags["destructive"] = None
        self.looks_at(path)

    def looks_at(self, path: str) -> None:
        """Note down a path that is only read."""
        plain_path = path.strip("/").lstrip("~").lstrip("/")
        for flag in path_flags(plain_path, f"{plain_path}/x"):  # a folder stands for what is in it
            self.flags[flag] = None
        if re.match(r"^/(?:etc/(?:shadow|sudoers|gshadow)|proc/(?:\d+|self)/environ|root(?:/|$))", path):
            self.flags["touches_credentials"] = None


def read_command(name: str, args: Sequence[str], seen: Gathered) -> None:
    """Gather what one plain command does; `?` stands for a computed word."""
    seen.verbs[name] = None
    if name.startswith("mkfs"):
        name = "mkfs"
    for word in args:
        if word != UNKNOWN and not word.startswith("-"):
            seen.looks_at(word)
    letters = "" if name == "git" and "grep" not in args else _RUNS_SHORT.get(name, "")
    if any(_RUNS.match(word) for word in args) or has_option(args, letters):
        seen.why[f"It gives {name[:40]} an option that can run commands."] = None
    if name in {"read", "printf", "mapfile", "readarray", "unset", "getopts"} and any(
        SWAYS.match(word) for word in args
    ):
        seen.why["It sets a variable that changes what other commands do."] = None
    special = _SPECIAL.get(name)
    if special is not None:
        special(name, args, seen)
    elif name in _DESTRUCTIVE:
        _destroy(name, args, seen)
    elif name in NETWORK:
        _speak(name, args, seen)
    elif name in _MANAGERS:
        _manage(name, args, seen)
    elif name not in READS:
        seen.why[f"It runs {name[:40]}, of which nothing is known."] = None


def is_known(name: str) -> bool:
    """Whether something is known of a command of this name."""
    return name in _SPECIAL or name in _DESTRUCTIVE or name in NETWORK or name in _MANAGERS or name in READS


def plain(args: Sequence[str]) -> list[str]:
    """The arguments that are no options."""
    found: list[str] = []
    rest = False
    for word in args:
        if word == "--":
            rest = True
        elif rest or not word.startswith("-") or word == "-":
            found.append(word)
    return found


def has_option(args: Sequence[str], short: str, *long: str) -> bool:
    """Whether a short letter (also among others, as in `-rf`) or one of the long options is there."""
    for word in args:
        if word == "--":
            return False
        if word.startswith("--"):
            if word.partition("=")[0] in long:
                return True
        elif word.startswith("-") and any(letter in word[1:] for letter in short):
            return True
    return False


def _destroy(name: str, args: Sequence[str], seen: Gathered) -> None:
    if name == "crontab" and "-l" in args:
        return
    if name in {"systemctl", "service"} and {"status", "show", "list-units", "is-active"} & set(args):
        return
    seen.flags["destructive"] = None
    targets = plain(args)
    if name in {"rm", "rmdir", "unlink", "shred", "srm", "wipe", "truncate"}:
        for path in targets or [UNKNOWN]:
            seen.touches(Effect.DELETE, path)
        if has_option(args, "rR", "--recursive") and any(path.strip("./") == "" or "*" in path for path in targets):
            seen.flags["unbounded"] = None
    else:
        seen.effects[Intent(effect=Effect.EXECUTE, target=f"command:{name}")] = None


def _write(name: str, args: Sequence[str], seen: Gathered) -> None:
    """cp, ln, install, touch, mkdir, tee and their like: the last or all arguments are written."""
    targets = plain(args)
    if name in {"cp", "ln", "install", "link"}:
        into = next((w.partition("=")[2] for w in args if w.startswith("--target-directory=")), "")
        if "-t" in args[:-1]:
            into = args[list(args).index("-t") + 1]
        for path in [into] if into else targets[-1:]:
            seen.touches(Effect.MODIFY, path)
        return
    if name == "mktemp":
        return
    for path in targets:
        seen.touches(Effect.CREATE if name == "mkdir" else Effect.MODIFY, path)


def _move(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name
    targets = plain(args)
    for path in targets[:-1]:
        seen.touches(Effect.DELETE, path)
    for path in targets[-1:]:
        seen.touches(Effect.MODIFY, path)


def _change_rights(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name
    for path in plain(args)[1:]:
        seen.touches(Effect.MODIFY, path)
    if has_option(args, "R", "--recursive"):
        seen.flags["destructive"] = None


def _dd(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name
    for word in args:
        if word.startswith("of="):
            seen.touches(Effect.DELETE, word[3:])
    if UNKNOWN in args:
        seen.why["It computes what it overwrites."] = None


def _sed(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name
    scripts = [word for word in args if not word.startswith("-")]
    if any(re.search(r"(?:^|[;}\d$/,])\s*[ewW](?:\s|$)|/[gpIi\d]*[ew]", script) for script in scripts[:1]):
        seen.why["Its script can run commands or write files."] = None
    if UNKNOWN in scripts[:1]:
        seen.why["Its script is computed."] = None
    if any(word.startswith(("-i", "--in-place")) or re.match(r"^-[nErsuz]*i", word) for word in args):
        has_script = any(word in {"-e", "-f"} or word.startswith(("--expression", "--file")) for word in args)
        for path in scripts if has_script else scripts[1:]:
            seen.touches(Effect.MODIFY, path)


def _awk(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name
    text = " ".join(args)
    if UNKNOWN in args or re.search(r"system\s*\(|[|>]\s*\"|getline|-f\b|-i\b|@load", text):
        seen.why["Its program can run commands or write files."] = None


def _git(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name
    verb, rest = _git_verb(args, seen)
    seen.verbs[f"git {verb}"] = None
    if verb in _GIT_NETWORK:
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
    elif _git_destroys(verb, rest):
        _git_loses(verb, rest, seen)
    elif verb not in _GIT_READS:
        seen.effects[Intent(effect=Effect.MODIFY, target="workspace:.git")] = None


def _git_verb(args: Sequence[str], seen: Gathered) -> tuple[str, list[str]]:
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


def _git_loses(verb: str, rest: Sequence[str], seen: Gathered) -> None:
    seen.flags["destructive"] = None
    paths = plain(rest)
    lost = paths if verb in {"rm", "restore", "clean", "mv"} else rest[rest.index("--") + 1 :] if "--" in rest else []
    for path in lost:
        seen.touches(Effect.DELETE, path)
    if not paths or verb in {"reset", "stash", "clean"}:
        seen.effects[Intent(effect=Effect.DELETE, target="workspace:")] = None


def _git_destroys(verb: str, rest: Sequence[str]) -> bool:  # noqa: PLR0911  one line a verb reads best
    match verb:
        case "rm" | "clean" | "filter-branch" | "filter-repo" | "restore" | "mv" | "prune" | "replace":
            return not (verb == "clean" and has_option(rest, "n", "--dry-run"))
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


def _speak(name: str, args: Sequence[str], seen: Gathered) -> None:
    seen.flags["network"] = None
    text = " ".join(args)
    method = next((m[1] for word in args if (m := _METHOD.match(word))), "")
    if not method:
        method = next((args[i + 1] for i, word in enumerate(args[:-1]) if word in {"-X", "--request"}), "")
    sends = name not in {"ping", "dig", "nslookup", "host", "whois", "traceroute"} and (
        name not in {"curl", "wget", "http", "https", "lynx", "w3m"}
        or any(_SENDS.match(word) for word in args)
        or method.upper() not in {"", "GET", "HEAD"}
    )
    if _LOST.search(text) or method.upper() == "DELETE":
        seen.flags["destructive"] = None
    for word in args:
        host = re.match(
            r"^(?:[a-z][\w+.-]*://)?(?:[^@/\s]+@)?([A-Za-z0-9.-]+\.[A-Za-z]{2,}|\[[\da-f:]+\])(?=[:/]|$)", word
        )
        if host:
            seen.hosts[host[1].lower()] = None
    for index, word in enumerate(args):
        named = word in {"-o", "--output", "--output-document"} or (name == "wget" and word == "-O")
        if named and name in {"curl", "wget"} and index + 1 < len(args):
            seen.touches(Effect.MODIFY, args[index + 1])
    where = next(iter(seen.hosts), name)
    if sends:
        seen.effects[Intent(effect=Effect.SEND, target=f"net:{where}")] = None


def _manage(name: str, args: Sequence[str], seen: Gathered) -> None:
    words = plain(args)
    verb = words[0] if words else (args[0] if args else "")
    seen.verbs[f"{name} {verb}".strip()] = None
    if _LOST.search(verb):
        seen.flags["destructive"] = None
    if verb in {
        "install",
        "i",
        "add",
        "update",
        "upgrade",
        "publish",
        "download",
        "get",
        "fetch",
        "sync",
        "ci",
        "push",
    }:
        seen.flags["network"] = None
        seen.effects[Intent(effect=Effect.EXECUTE, target=f"packages:{name}")] = None
    elif verb not in _TESTS or name in {"make", "npx", "just", "rake"}:
        seen.why[f"{name} runs what stands in the project's files, which was not read."] = None


def _archive(name: str, args: Sequence[str], seen: Gathered) -> None:
    first = args[0] if args else ""
    if name == "tar":
        letters = first.lstrip("-") if not first.startswith("--") else ""
        if "t" in letters or has_option(args, "t", "--list"):
            return
        if "checkpoint-action" in " ".join(args) or "to-command" in " ".join(args):
            seen.why["It makes tar run commands."] = None
        if "remove-files" in " ".join(args):
            seen.flags["destructive"] = None
        if "x" in letters or has_option(args, "x", "--extract"):
            seen.effects[Intent(effect=Effect.MODIFY, target="workspace:")] = None
            return
    if name in {"unzip", "7z", "unrar"}:
        if not has_option(args, "lt", "--list"):
            seen.effects[Intent(effect=Effect.MODIFY, target="workspace:")] = None
        return
    for path in plain(args)[:1] if name in {"zip", "tar"} else plain(args):
        seen.touches(Effect.MODIFY, path)


def _sync(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name
    if any(word.startswith("--del") or word == "--remove-source-files" for word in args):
        seen.flags["destructive"] = None
    if any(re.match(r"^[^/\s]+:", word) or word.startswith("rsync://") for word in plain(args)):
        _speak("rsync", args, seen)
    for path in plain(args)[-1:]:
        seen.touches(Effect.MODIFY, path)


def _patch(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name, args
    seen.effects[Intent(effect=Effect.MODIFY, target="workspace:")] = None


_SPECIAL: Final = {
    **dict.fromkeys(("cp", "ln", "install", "link", "touch", "mkdir", "tee", "mkfifo", "mktemp", "split"), _write),
    **dict.fromkeys(("chmod", "chown", "chgrp", "setfacl", "chattr"), _change_rights),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _awk),
    **dict.fromkeys(("tar", "zip", "unzip", "gzip", "gunzip", "bzip2", "xz", "7z", "unrar", "zstd"), _archive),
    "mv": _move,
    "rename": _move,
    "dd": _dd,
    "sed": _sed,
    "git": _git,
    "rsync": _sync,
    "patch": _patch,
}
