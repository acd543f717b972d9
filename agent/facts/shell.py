"""What a shell command would do, by tree-sitter-bash: through wrappers, pipes to shells, functions and here-documents.

What is not understood for certain is undecidable. The sandbox is the boundary, this only a fact for the rating.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Final

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from agent.domain import Effect, Intent
from agent.facts.bounds import too_large
from agent.facts.commands import SWAYS, UNKNOWN, Gathered, has_option, is_known, plain, read_command
from agent.facts.model import Facts
from agent.facts.python import python_facts
from agent.facts.seeds import seed_patterns
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
_DEEPEST = 12
_MOST_STATEMENTS = 20
#: Texts within texts that are read; more of them are no command that a person could read either.
_MOST_TEXTS = 100
#: Modules that `python -m` runs and that only look or test.
_LOOKS: Final = frozenset(
    """pytest unittest json.tool this calendar timeit doctest tokenize ast dis platform sysconfig site ruff mypy pyright
    black isort flake8 pylint compileall py_compile tabnanny trace""".split()  # noqa: SIM905  a list of words
)


@functools.lru_cache(maxsize=1)
def _language() -> Language:
    return Language(tree_sitter_bash.language())


def shell_facts(command: str) -> Facts:
    """The facts of a command line that runs in the sandbox over the workspace; never raises."""
    try:
        return _facts(command)
    except Exception:  # noqa: BLE001  whatever an analyser raises means that it could not tell
        return _undecidable(command, "unparseable", "It is not a command that can be read.")


def _undecidable(command: str, flag: str, why: str) -> Facts:
    seeds = ("seed_pattern",) if seed_patterns(command) else ()
    return Facts(effects=(_whole(command),), where="workspace", flags=(flag, *seeds), undecidable=(why,))


def _whole(command: str) -> Intent:
    text = " ".join(command.split())
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Intent(effect=Effect.EXECUTE, target=f"shell:{digest}")


def _facts(command: str) -> Facts:
    large = too_large(command)
    if large:
        return _undecidable(command, "too_large", large)
    command.encode()
    if "\0" in command:
        return _undecidable(command, "unparseable", "It is not a command that can be read.")
    reader = _Reader()
    reader.read(command)
    seen = reader.seen
    if seed_patterns(command):
        seen.flags["seed_pattern"] = None
    lost = any(item.effect in {Effect.DELETE, Effect.SEND} for item in seen.effects) or "destructive" in seen.flags
    return Facts(
        effects=(_whole(command), *seen.effects),
        where="workspace",
        reversibility="irreversible" if lost and "network" in seen.flags else "compensable" if lost else "reversible",
        verbs=tuple(sorted(seen.verbs))[:100],
        flags=tuple(seen.flags),
        counts={"bytes": len(command.encode()), "commands": reader.commands},
        undecidable=tuple(seen.why)[:10],
        hosts=tuple(seen.hosts)[:20],
    )


class _Reader:
    """Walks syntax trees and gathers what their commands do."""

    def __init__(self) -> None:
        self.seen = Gathered()
        self.commands = 0
        self._names: set[str] = set()
        """Functions and aliases that the text itself defines; their bodies are read where they stand."""
        self._values: dict[str, str] = {}
        self._depth = 0
        self._statements = self._texts = 0

    def read(self, text: str) -> None:
        """Read one text as a script, also one within another."""
        self._texts += 1
        if self._depth >= _DEEPEST or self._texts > _MOST_TEXTS:
            self.seen.why["It is wrapped too often to be followed."] = None
            return
        self._depth += 1
        root = Parser(_language()).parse(text.encode()).root_node
        if root.has_error:
            self.seen.why["It is not a command that can be read for certain."] = None
            self.seen.flags["unparseable"] = None
        self._define(root)
        self._walk(root)
        self._depth -= 1

    def _define(self, root: Node) -> None:
        assigned: dict[str, list[str]] = {}
        for node in _all(root):
            if node.type == "function_definition" and (name := node.child_by_field_name("name")):
                self._names.add(_text(name))
                inner = node.child_by_field_name("body")
                if inner is not None and any(
                    _text(one) == _text(name) for one in _all(inner) if one.type == "command_name"
                ):
                    self.seen.why["It defines a function that calls itself."] = None
            elif node.type == "variable_assignment":
                name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
                if name is not None:
                    assigned.setdefault(_text(name), []).append(self._word(value) if value is not None else "")
            elif node.type == "for_statement" and (name := node.child_by_field_name("variable")):
                assigned.setdefault(_text(name), []).extend((UNKNOWN, UNKNOWN))
        for name, values in assigned.items():
            self._values[name] = values[0] if len(values) == 1 and name not in self._values else UNKNOWN
            if SWAYS.match(name):
                self.seen.why[f"It sets {name}, which changes what other commands do."] = None

    def _walk(self, node: Node) -> None:
        match node.type:
            case "command":
                self._command(node, "")
            case "declaration_command":
                if any(re.match(r"-\w*n", _text(child)) for child in node.named_children):
                    self.seen.why["It gives a variable another name."] = None
                self._children(node)
            case "pipeline":
                self._pipeline([child for child in node.children if child.is_named])
            case "redirected_statement":
                self._redirected(node)
            case "file_redirect":
                self._redirect(node)
            case "comment" | "heredoc_body":
                self._children(node)
            case _:
                self._children(node)

    def _children(self, node: Node) -> None:
        for child in node.children:
            if child.is_named:
                self._walk(child)

    def _redirected(self, node: Node) -> None:
        body = node.child_by_field_name("body")
        fed = ""
        for part in node.children_by_field_name("redirect"):
            fed = fed or self._fed(part)
            self._walk(part)
        if body is None:
            return
        if body.type == "command":
            self._command(body, fed)
            self._nested(body)
        elif body.type == "pipeline":
            self._pipeline([child for child in body.children if child.is_named], fed)
        else:
            self._walk(body)

    def _fed(self, part: Node) -> str:
        """What a here-document or here-string gives to the command; `?` when it is computed, or comes from a file."""
        if part.type == "herestring_redirect":
            words = [child for child in part.children if child.is_named and child.type != "file_descriptor"]
            return self._word(words[-1]) if words else UNKNOWN
        if part.type == "heredoc_redirect":
            body = next((child for child in part.children if child.type == "heredoc_body"), None)
            start = next((child for child in part.children if child.type == "heredoc_start"), None)
            if body is None:
                return UNKNOWN
            quoted = start is not None and _text(start)[:1] in {"'", '"', "\\"}
            return _text(body) if quoted else _expanded(body)
        if part.type == "file_redirect" and any(_text(child) in {"<", "<>"} for child in part.children):
            return UNKNOWN
        return ""

    def _redirect(self, node: Node) -> None:
        signs = [_text(child) for child in node.children if not child.is_named]
        target = node.child_by_field_name("destination")
        if target is None:
            return
        self._children(node)
        word = self._word(target)
        if any(sign in {">", ">|", "&>", ">>", "&>>", "<>"} for sign in signs) or (
            ">&" in signs and not word.isdigit()
        ):
            if word != "-":
                self.seen.touches(Effect.MODIFY, word)
        elif word != UNKNOWN:
            self.seen.looks_at(word)

    def _pipeline(self, parts: Sequence[Node], fed: str = "") -> None:
        for index, part in enumerate(parts):
            inner = part
            if part.type == "redirected_statement" and (body := part.child_by_field_name("body")) is not None:
                inner = body
                for redirect in part.children_by_field_name("redirect"):
                    fed = self._fed(redirect) or fed
                    self._walk(redirect)
            if inner.type == "command":
                self._command(inner, fed)
                fed = self._printed(inner, fed)
                self._after_heredoc(part, fed)
            else:
                self._walk(inner)
                fed = UNKNOWN
            if index == len(parts) - 1:
                return

    def _after_heredoc(self, part: Node, fed: str) -> None:
        """`cat <<X | sh`: the grammar hangs the rest of the pipeline below the here-document."""
        del part, fed

    def _printed(self, node: Node, fed: str) -> str:
        """What a command of a pipeline hands on, as far as that is plain."""
        words = self._words(node)
        if not words or UNKNOWN in words or words[0] in self._names:
            return UNKNOWN
        text = UNKNOWN
        if words == ["cat"] and fed:
            return fed
        if words[0] == "echo":
            text = " ".join(word for word in words[1:] if word not in {"-n", "-e"})
        elif words[0] == "printf" and len(words) > 1:
            text = words[1] if len(words) == 2 else words[1].replace("%s", words[2], 1)  # noqa: PLR2004  format and one value
            text = UNKNOWN if "%" in text else text.replace("\\n", "\n")
        return UNKNOWN if "\\" in text else text  # shells differ in which escapes become new lines

    # -- words -----------------------------------------------------------------------------------------------------

    def _words(self, node: Node) -> list[str]:
        name = node.child_by_field_name("name")
        words = [self._word(name)] if name is not None else []
        return words + [self._word(part) for part in node.children_by_field_name("argument")]

    def _word(self, node: Node) -> str:  # noqa: PLR0911  one line a kind of word
        match node.type:
            case "command_name":
                return self._word(node.children[0]) if node.children else UNKNOWN
            case "word" | "number" | "variable_name" | "extglob_pattern" | "regex" | "special_variable_name":
                text = re.sub(r"\\\n", "", _text(node))
                if re.search(r"(?<!\\)[{][^}]*(?:,|\.\.)", text) or "$" in text.replace("\\$", ""):
                    return UNKNOWN
                return re.sub(r"\\(.)", r"\1", text)
            case "raw_string":
                return _text(node)[1:-1]
            case "ansi_c_string":
                return _ansi(_text(node)[2:-1])
            case "string" | "translated_string":
                if all(child.type == "string_content" for child in node.named_children):
                    return re.sub(r'\\([$`"\\\n])', r"\1", _text(node).strip("$")[1:-1])
                return self._join(node.named_children)
            case "concatenation":
                joined = self._join(node.children)
                return UNKNOWN if re.search(r"\{[^}]*(?:,|\.\.)", _text(node)) else joined
            case "simple_expansion" | "expansion":
                name = _text(node).strip("${}")
                return self._values.get(name, UNKNOWN)
            case "string_content":
                return re.sub(r'\\([$`"\\\n])', r"\1", _text(node))
            case _:
                return UNKNOWN

    def _join(self, nodes: Sequence[Node]) -> str:
        parts = [self._word(node) for node in nodes]
        return UNKNOWN if UNKNOWN in parts else "".join(parts)

    # -- commands --------------------------------------------------------------------------------------------------

    def _command(self, node: Node, fed: str) -> None:
        self._nested(node)
        for child in node.children:
            if child.type == "herestring_redirect":
                fed = self._fed(child)
        name = node.child_by_field_name("name")
        if name is None:
            return
        if any(part.type in {"simple_expansion", "expansion", "command_substitution"} for part in _all(name)):
            self.seen.why["It computes the name of the command that it runs."] = None
        self._run(self._words(node), fed)

    def _nested(self, node: Node) -> None:
        """Commands within the words of a command, and what it is redirected to."""
        for child in node.children:
            if child.type != "herestring_redirect" and child.is_named:
                for inner in _topmost(child, _CARRIERS):
                    self._walk_carrier(inner)

    def _walk_carrier(self, node: Node) -> None:
        self._walk(node) if node.type == "file_redirect" else self._children(node)

    def _run(self, words: Sequence[str], fed: str, *, direct: bool = True) -> None:  # noqa: C901, PLR0912  one case a kind of command
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
                seen.why["It runs a file that was not read."] = None
                return
            name = base
        if name in self._names and direct and not _is_known(name):
            return
        if name in {"alias", "trap"}:
            self._text_commands(args[:1] if name == "trap" else [word.partition("=")[2] for word in args])
            if name == "alias":
                self._names.update(word.partition("=")[0] for word in args)
        elif name == "eval":
            self._text_commands([UNKNOWN if UNKNOWN in args else " ".join(args)])
        elif name in {"source", "."}:
            seen.why["It runs a file that was not read."] = None
        elif name == "find":
            self._find(args)
        elif name == "busybox" and args:
            self._run(args, fed)
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
                self.read(text)

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
        self._run(rest, fed, direct=name in {"time", "coproc"})

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
            self.seen.why["It runs a file that was not read."] = None
        elif fed and fed != UNKNOWN:
            self.read(fed)
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
                if module in {"pip", "venv", "http.server", "ensurepip"}:
                    read_command("pip" if module == "pip" else module, args[index + 2 :], self.seen)
                elif module not in _LOOKS:
                    self.seen.why["It runs a Python module that was not read."] = None
                return
            if word in {"--version", "-V", "-h", "--help"}:
                return
            if not word.startswith("-"):
                self.seen.why["It runs a file that was not read."] = None
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
                self._run([UNKNOWN if item == "{}" else item for item in rest[:end]], "")
            elif word == "-delete":
                self.seen.touches(Effect.DELETE, args[0] if args and not args[0].startswith("-") else ".")
            elif word in {"-fprint", "-fls", "-fprintf", "-fprint0"} and index + 1 < len(args):
                self.seen.touches(Effect.MODIFY, args[index + 1])
            elif word == UNKNOWN:
                self.seen.why["It computes what find is to do."] = None


_CARRIERS: Final = frozenset({"command_substitution", "process_substitution", "file_redirect", "heredoc_redirect"})


def _is_known(name: str) -> bool:
    """Whether a function of this name hides a command that does something; `command` and `sh -c` still find it."""
    wrapped = (
        name in _WRAPPERS or name in _SHELLS or name in _OTHERS or name in _SQL_CLIENTS or name in {"eval", "find"}
    )
    return wrapped or is_known(name) or bool(_PYTHONS.match(name))


def _all(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(reversed(one.children))


def _topmost(node: Node, kinds: frozenset[str]) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one.type in kinds:
            yield one
        else:
            waiting.extend(reversed(one.children))


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _expanded(body: Node) -> str:
    kinds = {child.type for child in body.named_children}
    return _text(body) if kinds <= {"heredoc_content"} and "\\" not in _text(body) else UNKNOWN


def _ansi(text: str) -> str:
    """What $'…' stands for; `?` when it holds an escape that is not plain."""
    if re.search(r"\\[^xu0-7ntr'\"\\]", text):
        return UNKNOWN
    return re.sub(
        r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|([0-7]{1,3})|(.))",
        lambda m: chr(int(m[1], 16)) if m[1] else chr(int(m[2], 16)) if m[2] else chr(int(m[3], 8)) if m[3]
        else {"n": "\n", "t": "\t", "r": "\r"}.get(m[4], m[4]),
        text,
    )  # fmt: skip
