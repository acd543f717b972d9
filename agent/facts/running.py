"""Commands that run other commands or programs: wrappers, shells, interpreters, clients of databases, find."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from agent.domain import Effect
from agent.facts.commands import SWAYS, is_known, read_command
from agent.facts.gathered import UNKNOWN, Gathered, has_option, plain
from agent.facts.python import python_facts
from agent.facts.sql import embedded_sql

_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "rbash", "fish", "busybox"})
_OTHERS: Final = frozenset({"perl", "ruby", "node", "nodejs", "deno", "bun", "php", "lua", "Rscript", "osascript",
                            "tclsh", "expect", "ed", "ex", "vi", "vim", "emacs", "nvim", "gdb", "m4"})  # fmt: skip
_PYTHONS: Final = re.compile(r"^(?:python|pypy)[\d.]*$")
#: Wrapper → its options that take a value, and those that take none; what follows is another command.
_WRAPPERS: Final = {
    "sudo": ("ugCpTrRDh", "nHSEbkKPABis"), "doas": ("uC", "ns"), "env": ("uC", "i0v"), "nice": ("n", ""),
    "ionice": ("cnp", "t"), "nohup": ("", ""), "timeout": ("ks", "v"), "gtimeout": ("ks", "v"), "time": ("fo", "pvaq"),
    "chrt": ("", "bfior"), "setsid": ("", "cfw"), "stdbuf": ("ioe", ""), "command": ("", "pvV"), "builtin": ("", ""),
    "exec": ("a", "cl"), "watch": ("n", "bcdegtpx"), "strace": ("eopsPu", "fcqtTvy"), "ltrace": ("eopsu", "fcS"),
    "flock": ("wE", "nusxoF"), "unbuffer": ("", "p"), "parallel": ("jn", "kX"), "xargs": ("IiLlnPsdEa", "0rtpox"),
    "coproc": ("", ""), "chroot": ("", ""), "taskset": ("", "c"), "caffeinate": ("t", "disu"), "entr": ("", "cdnprsz"),
    "runuser": ("ugsG", "lm"), "unshare": ("", "muipnUCfr"), "nsenter": ("tSG", "muipnUCaF"), "faketime": ("", "f"),
}  # fmt: skip
_NO_VALUE: Final = frozenset(
    """--preserve-env --ignore-environment --foreground --verbose --preserve-status --null --no-run-if-empty --login
    --non-interactive --background --nonblock --shared --exclusive --unlock --fork --ctty --wait --interactive --exit
    --portability --differences --no-title --beep --errexit --map-root-user --help --version --set-home""".split()  # noqa: SIM905  as above
)
_TAKES_ONE_FIRST: Final = frozenset({"timeout", "gtimeout", "flock", "chroot", "chrt", "taskset", "faketime"})
_SQL_CLIENTS: Final = {"sqlite3": "", "psql": "c", "mysql": "e", "mariadb": "e", "duckdb": "c"}
_MOST_STATEMENTS = 20
#: Modules that `python -m` runs and that only look or test.
_LOOKS: Final = frozenset(
    """pytest unittest json.tool this calendar timeit doctest tokenize ast dis platform sysconfig site ruff mypy pyright
    black isort flake8 pylint compileall py_compile tabnanny trace""".split()  # noqa: SIM905  a list of words
)


class Runner:
    """Gathers what one command does, and reads what it makes run: texts go back to `read`, as scripts."""

    def __init__(self, seen: Gathered, read: Callable[[str], None]) -> None:
        self.seen, self._read = seen, read
        self.commands = 0
        self.names: set[str] = set()
        """Functions and aliases that the text itself defines; their bodies are read where they stand."""
        self._statements = 0

    def run(self, words: Sequence[str], fed: str, *, direct: bool = True) -> None:  # noqa: C901, PLR0912  one case a kind of command
        """Gather what a command with these words does; `fed` is what it reads from the command before it."""
        self.commands += 1
        seen = self.seen
        if not words:
            return
        name, args = words[0], list(words[1:])
        if name != "[" and any(letter in name for letter in "*[?"):  # `?` is also what stands for a computed word
            seen.why["It computes the name of the command that it runs."] = None
            return
        base = name.rpartition("/")[2]
        if "/" in name:
            if not re.match(r"^/(?:usr/(?:local/)?)?s?bin/[\w.+-]+$", name):
                seen.verbs[base or name] = None
                seen.runs(name)
                return
            name = base
        if name in self.names and direct and not _is_known(name):
            return
        if name in {"alias", "trap"}:
            self._text_commands(args[:1] if name == "trap" else [word.partition("=")[2] for word in args])
            if name == "alias":
                self.names.update(word.partition("=")[0] for word in args)
        elif name == "eval":
            self._text_commands([UNKNOWN if UNKNOWN in args else " ".join(args)])
        elif name in {"source", "."}:
            seen.runs((plain(args) or [UNKNOWN])[0])
        elif name == "find":
            self._find(args)
        elif name == "busybox" and args:
            self.run(args, fed)
        elif name in _SHELLS or name == "su":
            self._shell(name, args, fed)
        elif _PYTHONS.match(name):
            self._python(args, fed)
        elif name in _OTHERS:
            if not set(args) <= {"--version", "-v", "-V", "--help"}:
                seen.why[f"It runs {name}, whose program was not read."] = None
            seen.verbs[name] = None
        elif name in _SQL_CLIENTS:
            self._sql(name, args, fed)
        elif name in _WRAPPERS:
            self._wrapper(name, args, fed)
        else:
            if name == "cd":
                place = (plain(args) or ["~"])[0]
                seen.cwd = (
                    UNKNOWN
                    if UNKNOWN in (place, seen.cwd)
                    else f"{seen.cwd}/{place}".lstrip("/")
                    if seen.cwd or not place.startswith("/")
                    else place
                )
            read_command(name, args, seen)

    def _text_commands(self, texts: Sequence[str]) -> None:
        for text in texts:
            if text == UNKNOWN:
                self.seen.why["It runs a text that is computed."] = None
            elif text not in {"", "-"}:
                self._read(text)

    def _wrapper(self, name: str, args: list[str], fed: str) -> None:
        self.seen.verbs[name] = None
        if name in {"sudo", "doas", "chroot", "nsenter", "unshare", "runuser"}:
            self.seen.flags["privileged"] = None
        if name == "env" and (texts := [word for word in args if word.startswith(("-S", "--split-string"))]):
            place = args.index(texts[0])
            after = args[place + 1 : place + 2] or [UNKNOWN]
            self._text_commands(
                after if texts[0] in {"-S", "--split-string"} else [texts[0].partition("=")[2] or texts[0][2:]]
            )
            return
        rest = args[self._skip_options(name, args) :]
        if not rest:
            if name == "sudo" and has_option(args, "is"):
                self._shell("sh", [], fed)
            return
        if name in {"xargs", "parallel", "entr"}:
            rest = [*(UNKNOWN if "{}" in word else word for word in rest), UNKNOWN]
        if name == "command" and has_option(args, "vV"):
            return
        if name in {"watch", "parallel"}:  # they give all of their words to a shell as one text
            self._text_commands([UNKNOWN if UNKNOWN in rest else " ".join(rest)])
        self.run(rest, fed, direct=name in {"time", "coproc"})

    def _skip_options(self, name: str, args: Sequence[str]) -> int:
        """Where the wrapped command begins; an option that is not known could swallow a word, so it is undecidable."""
        takes, alone = _WRAPPERS[name]
        one_first, index = name in _TAKES_ONE_FIRST, 0
        while index < len(args):
            word = args[index]
            if word == "--":
                return index + 1
            if name in {"env", "sudo", "doas"} and (assigned := re.match(r"^([A-Za-z_]\w*)=", word)):
                if SWAYS.match(assigned[1]):
                    self.seen.why[f"It sets {assigned[1]}, which changes what other commands do."] = None
            elif word.startswith("--"):
                if "=" not in word and word not in _NO_VALUE:
                    self.seen.why[f"It gives {name} an option that is not known."] = None
            elif word.startswith("-") and len(word) > 1:
                index += self._letters(name, word[1:], takes, alone)
            elif one_first:
                one_first = False
            else:
                break
            index += 1
        return index

    def _letters(self, name: str, letters: str, takes: str, alone: str) -> int:
        """How many words a cluster of short options takes besides its own."""
        for place, letter in enumerate(letters):
            if letter in takes:
                return int(place == len(letters) - 1)
            if letter not in alone and not (name == "nice" and letter.isdigit()):
                self.seen.why[f"It gives {name} an option that is not known."] = None
        return 0

    def _shell(self, name: str, args: list[str], fed: str) -> None:
        self.seen.verbs[name] = None
        for index, word in enumerate(args):
            if re.match(r"^-[a-zA-Z]*c[a-zA-Z]*$", word) or word == "--command":
                self._text_commands(args[index + 1 : index + 2] or [UNKNOWN])
                return
        files = [word for word in plain(args) if word != "-"]
        if name == "su":
            self.seen.why["It becomes somebody else and runs what follows."] = None
        elif "--version" in args or "--help" in args:
            return
        elif files and not has_option(args, "s"):
            self.seen.runs(files[0])
        elif fed and fed != UNKNOWN:
            self._read(fed)
        else:
            self.seen.why["It runs what another command hands to it."] = None

    def _python(self, args: list[str], fed: str) -> None:
        self.seen.verbs["python"] = None
        for index, word in enumerate(args):
            if re.match(r"^-[bBdEiIOqsSuvx]*c$", word):
                self._code((args[index + 1 : index + 2] or [UNKNOWN])[0])
                return
            if word == "-m":
                module = (args[index + 1 : index + 2] or [UNKNOWN])[0]
                if args[index + 2 :] == ["--help"] and module in {"pip", "venv", "http.server", "ensurepip"}:
                    return
                if module in {"pip", "venv", "http.server", "ensurepip"}:
                    read_command("pip" if module == "pip" else module, args[index + 2 :], self.seen)
                elif module not in _LOOKS:
                    self.seen.why["It runs a Python module that was not read."] = None
                return
            if word in {"--version", "-V", "-h", "--help"}:
                return
            if not word.startswith("-"):
                self.seen.runs(word)
                return
        self._code(fed or UNKNOWN)

    def _code(self, code: str) -> None:
        if code == UNKNOWN:
            self.seen.why["It runs Python that is computed."] = None
            return
        facts = python_facts(code)
        self.seen.flags.update(dict.fromkeys(facts.flags))
        self.seen.why.update(dict.fromkeys(facts.undecidable))
        self.seen.effects.update(dict.fromkeys(facts.effects))

    def _sql(self, name: str, args: list[str], fed: str) -> None:
        self.seen.verbs[name] = None
        letter = _SQL_CLIENTS[name]
        texts = [
            args[i + 1]
            for i, word in enumerate(args[:-1])
            if letter and word in {f"-{letter}", "--command", "--execute"}
        ]
        if not letter:
            texts = plain(args)[1:]
        texts = texts or ([fed] if fed else [])
        if not texts or UNKNOWN in texts or any(text.startswith((".", "\\")) for text in texts):
            self.seen.why["It runs SQL that was not read."] = None
        self._statements += len(texts)
        if self._statements > _MOST_STATEMENTS:
            self.seen.why["It holds more SQL than can be read."] = None
            return
        for text in texts:
            facts = embedded_sql(text)
            self.seen.effects.update(dict.fromkeys(facts.effects))
            self.seen.flags.update(dict.fromkeys(facts.flags))
            self.seen.why.update(dict.fromkeys(facts.undecidable))
            if any(item.effect is not Effect.READ for item in facts.effects):
                self.seen.flags["destructive"] = None

    def _find(self, args: list[str]) -> None:
        self.seen.verbs["find"] = None
        for index, word in enumerate(args):
            if word in {"-exec", "-execdir", "-ok", "-okdir"}:
                rest = args[index + 1 :]
                end = next((i for i, item in enumerate(rest) if item in {";", "+"}), len(rest))
                self.run([UNKNOWN if item == "{}" else item for item in rest[:end]], "")
            elif word == "-delete":
                self.seen.touches(Effect.DELETE, args[0] if args and not args[0].startswith("-") else ".")
            elif word in {"-fprint", "-fls", "-fprintf", "-fprint0"} and index + 1 < len(args):
                self.seen.touches(Effect.MODIFY, args[index + 1])
            elif word == UNKNOWN:
                self.seen.why["It computes what find is to do."] = None


def _is_known(name: str) -> bool:
    """Whether a function of this name hides a command that does something; `command` and `sh -c` still find it."""
    wrapped = (
        name in _WRAPPERS or name in _SHELLS or name in _OTHERS or name in _SQL_CLIENTS or name in {"eval", "find"}
    )
    return wrapped or is_known(name) or bool(_PYTHONS.match(name))
