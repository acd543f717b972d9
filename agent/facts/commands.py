"""What well-known commands do with their arguments: what they read, write, delete, send, or hide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agent.domain import Effect, Intent
from agent.facts.emptied import outputs, sed_empties
from agent.facts.gathered import UNKNOWN, Gathered, has_option, plain
from agent.facts.git import read_git

READS: Final = frozenset(
    """ls cat head tail grep egrep fgrep rg wc sort uniq cut tr echo printf pwd date whoami id uname which type file
    stat du df tree diff cmp md5sum sha1sum sha256sum sha512sum cksum basename dirname realpath readlink true false test
    seq sleep expr bc jq yq xxd od strings nl tac rev paste join comm fold column less more hexdump base64 base32 cal
    hostname ps free uptime printenv locale getconf nproc arch tty groups cd pushd popd shopt local return exit
    break continue shift wait jobs read mapfile readarray getopts hash help history let ulimit umask times : [ fmt look
    numfmt shuf factor tsort zcat zgrep bzcat xzcat man cloc tokei ruff mypy pyright pytest flake8 black isort eslint
    prettier tsc jest vitest tox nox shellcheck hadolint yamllint markdownlint pylint zipinfo lsof lscpu
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
    composer conda mamba poetry make coverage cmake ninja gradle mvn rake just""".split()  # noqa: SIM905  as above
)
_TESTS: Final = frozenset(
    {"test", "check", "build", "vet", "fmt", "clippy", "lint", "list", "ls", "outdated", "show", "freeze", "version",
     "tree", "doc", "env", "info", "view", "audit", "why", "search", "metadata", "help", "report", "html", "xml",
     "--version", "-v", "-V"}
)  # fmt: skip
#: Where stands what they run.
_SCRIPTS: Final = {
    "make": ("Makefile", "makefile", "GNUmakefile"), "rake": ("Rakefile",), "just": ("justfile",),
    **dict.fromkeys(("npm", "yarn", "pnpm", "npx"), ("package.json",)),
}  # fmt: skip
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
    elif name in READS:
        for path in outputs(name, args):
            seen.touches(Effect.DELETE if "/dev/null" in args else Effect.MODIFY, path)
    else:
        seen.why[f"It runs {name[:40]}, of which nothing is known."] = None


def is_known(name: str) -> bool:
    """Whether something is known of a command of this name."""
    return name in _SPECIAL or name in _DESTRUCTIVE or name in NETWORK or name in _MANAGERS or name in READS


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
        emptied = "/dev/null" in targets
        for path in [into] if into else targets[-1:]:
            seen.touches(Effect.DELETE if emptied else Effect.MODIFY, path)
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
        empties = sed_empties(args, has_script=has_script)
        for path in scripts if has_script else scripts[1:]:
            seen.touches(Effect.DELETE if empties else Effect.MODIFY, path)


def _awk(name: str, args: Sequence[str], seen: Gathered) -> None:
    del name
    text = " ".join(args)
    if UNKNOWN in args or re.search(r"system\s*\(|[|>]\s*\"|getline|-f\b|-i\b|@load", text):
        seen.why["Its program can run commands or write files."] = None


def _speak(name: str, args: Sequence[str], seen: Gathered) -> None:
    if list(args) in (["--version"], ["--help"]) or (name in {"terraform", "tofu"} and list(args) == ["fmt", "-check"]):
        return  # it says something of itself, or looks at the files here
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
        for file in _SCRIPTS.get(name, ()):
            seen.ran[seen.place(file)] = None
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
    "git": read_git,
    "rsync": _sync,
    "patch": _patch,
}
