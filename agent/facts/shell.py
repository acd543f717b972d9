"""What a shell command would do, by tree-sitter-bash: through wrappers, pipes to shells, functions and here-documents.

What is not understood for certain is undecidable. The sandbox is the boundary, this only a fact for the rating.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from typing import Final

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from agent.domain import Effect, Intent
from agent.facts.bounds import too_large
from agent.facts.commands import SWAYS
from agent.facts.emptied import prints_nothing
from agent.facts.gathered import UNKNOWN, Gathered, has_option, plain
from agent.facts.model import Facts
from agent.facts.running import Runner
from agent.facts.seeds import seed_patterns
from agent.facts.words import Words, all_of, plain_body, text_of, topmost

_DEEPEST = 12
#: Texts within texts that are read; more of them are no command that a person could read either.
_MOST_TEXTS = 100
_COMPOUND: Final = frozenset(
    {"compound_statement", "subshell", "if_statement", "while_statement", "for_statement", "case_statement"}
)
_CARRIERS: Final = frozenset({"command_substitution", "process_substitution", "file_redirect", "heredoc_redirect"})


@functools.lru_cache(maxsize=1)
def _language() -> Language:
    return Language(tree_sitter_bash.language())


def shell_facts(command: str) -> Facts:
    """The facts of a command line that runs in the sandbox over the workspace; never raises."""
    try:
        return _facts(command)
    except Exception:  # noqa: BLE001  whatever an analyser raises means that it could not tell
        return _undecidable(command, "unparseable", "It is not a command that can be read.")


def scripts_in(command: str) -> tuple[str, ...]:
    """Paths in the workspace of the files that a command runs without their text standing in it; never raises."""
    if too_large(command):
        return ()
    reader = _Reader()
    try:
        reader.read(command)
    except Exception:  # noqa: BLE001  as above; then it is undecidable anyway
        return ()
    kind = "workspace:"
    return tuple(one.removeprefix(kind) for one in reader.seen.ran if one.startswith(kind) and UNKNOWN not in one)


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
    if seed_patterns(command) and not seen.only_searches(reader.runner.names):
        seen.flags["seed_pattern"] = None
    lost = any(item.effect in {Effect.DELETE, Effect.SEND} for item in seen.effects) or "destructive" in seen.flags
    return Facts(
        effects=(_whole(command), *seen.effects),
        where="workspace",
        reversibility="irreversible" if lost and "network" in seen.flags else "compensable" if lost else "reversible",
        verbs=tuple(sorted(seen.verbs))[:100],
        flags=tuple(seen.flags),
        counts={"bytes": len(command.encode()), "commands": reader.runner.commands},
        undecidable=tuple(seen.why)[:10],
        hosts=tuple(seen.hosts)[:20],
    )


class _Reader:
    """Walks syntax trees and gathers what their commands do."""

    def __init__(self) -> None:
        self.seen = Gathered()
        self.runner = Runner(self.seen, self.read)
        self._words = Words()
        self._depth = self._texts = 0

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
        for node in all_of(root):
            if node.type == "function_definition" and (name := node.child_by_field_name("name")):
                self.runner.names.add(text_of(name))
                inner = node.child_by_field_name("body")
                if inner is not None and any(
                    text_of(one) == text_of(name) for one in all_of(inner) if one.type == "command_name"
                ):
                    self.seen.why["It defines a function that calls itself."] = None
            elif node.type == "variable_assignment":
                name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
                if name is not None:
                    assigned.setdefault(text_of(name), []).append(self._words.word(value) if value is not None else "")
            elif node.type == "for_statement" and (name := node.child_by_field_name("variable")):
                assigned.setdefault(text_of(name), []).extend((UNKNOWN, UNKNOWN))
        for name, values in assigned.items():
            self._words.values[name] = values[0] if len(values) == 1 and name not in self._words.values else UNKNOWN
            if SWAYS.match(name):
                self.seen.why[f"It sets {name}, which changes what other commands do."] = None

    def _walk(self, node: Node) -> None:
        match node.type:
            case "command":
                self._command(node, "")
            case "declaration_command":
                if any(re.match(r"-\w*n", text_of(child)) for child in node.named_children):
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
        parts = node.children_by_field_name("redirect")
        last = body
        while last is not None and last.type in {"list", "pipeline", "negated_command"}:  # to it belongs what follows
            last = last.named_children[-1]
        words = self._words.of_command(last) if last is not None and last.type == "command" else []
        silent = body is None
        if last is not None and last.type in _COMPOUND:  # of several commands, none of which says anything
            inner = [one for one in all_of(last) if one.type == "command"]
            silent = all(prints_nothing(self._words.of_command(one), fed_nothing=False) for one in inner)
        self._emptied(parts, words, is_all=silent)
        for part in parts:
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
            return self._words.word(words[-1]) if words else UNKNOWN
        if part.type == "heredoc_redirect":
            body = next((child for child in part.children if child.type == "heredoc_body"), None)
            start = next((child for child in part.children if child.type == "heredoc_start"), None)
            if body is None:
                return UNKNOWN
            quoted = start is not None and text_of(start)[:1] in {"'", '"', "\\"}
            return text_of(body) if quoted else plain_body(body)
        if part.type == "file_redirect" and any(text_of(child) in {"<", "<>"} for child in part.children):
            return UNKNOWN
        return ""

    def _emptied(self, parts: Sequence[Node], words: Sequence[str], *, is_all: bool = False) -> None:
        """Files that lose what they held: nothing is written over it, or what is read is written to."""
        aims: list[tuple[str, str]] = []
        for part in parts:
            target = part.child_by_field_name("destination")
            if target is not None:
                signs = "".join(text_of(child) for child in part.children if not child.is_named)
                aims.append((signs, self._words.word(target)))
        over = [aim for sign, aim in aims if sign in {">", ">|", "&>"}]
        fed_nothing = ("<", "/dev/null") in aims
        nothing = is_all or prints_nothing(words, fed_nothing=fed_nothing)
        lost = [aim for aim in over if nothing or aim in words[1:] or ("<", aim) in aims]
        if fed_nothing and words[:1] == ["tee"] and not has_option(words[1:], "a", "--append"):
            lost += plain(words[1:])
        for aim in lost:
            self.seen.touches(Effect.DELETE, aim)

    def _redirect(self, node: Node) -> None:
        signs = [text_of(child) for child in node.children if not child.is_named]
        target = node.child_by_field_name("destination")
        if target is None:
            return
        self._children(node)
        word = self._words.word(target)
        if any(sign in {">", ">|", "&>", ">>", "&>>", "<>"} for sign in signs) or (
            ">&" in signs and not word.isdigit()
        ):
            if word != "-":
                self.seen.touches(Effect.MODIFY, word)
        elif word != UNKNOWN:
            self.seen.looks_at(word)

    def _pipeline(self, parts: Sequence[Node], fed: str = "") -> None:
        before: list[str] | None = None
        for index, part in enumerate(parts):
            inner = part
            if part.type == "redirected_statement" and (body := part.child_by_field_name("body")) is not None:
                inner = body
                redirects = part.children_by_field_name("redirect")
                self._emptied(redirects, self._words.of_command(inner) if inner.type == "command" else [])
                for redirect in redirects:
                    fed = self._fed(redirect) or fed
                    self._walk(redirect)
            words = self._words.of_command(inner) if inner.type == "command" else []
            if words[:1] == ["tee"] and before is not None and prints_nothing(before, fed_nothing=False):
                for path in plain(words[1:]):
                    self.seen.touches(Effect.DELETE, path)
            before = words
            if inner.type == "command":
                self._command(inner, fed)
                fed = self._printed(inner, fed)
            else:
                self._walk(inner)
                fed = UNKNOWN
            if index == len(parts) - 1:
                return

    def _printed(self, node: Node, fed: str) -> str:
        """What a command of a pipeline hands on, as far as that is plain."""
        words = self._words.of_command(node)
        if not words or UNKNOWN in words or words[0] in self.runner.names:
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

    def _command(self, node: Node, fed: str) -> None:
        self._nested(node)
        for child in node.children:
            if child.type == "herestring_redirect":
                fed = self._fed(child)
        name = node.child_by_field_name("name")
        if name is None:
            return
        if any(part.type in {"simple_expansion", "expansion", "command_substitution"} for part in all_of(name)):
            self.seen.why["It computes the name of the command that it runs."] = None
        self.runner.run(self._words.of_command(node), fed)

    def _nested(self, node: Node) -> None:
        """Commands within the words of a command, and what it is redirected to."""
        for child in node.children:
            if child.type != "herestring_redirect" and child.is_named:
                for inner in topmost(child, _CARRIERS):
                    self._walk_carrier(inner)

    def _walk_carrier(self, node: Node) -> None:
        self._walk(node) if node.type == "file_redirect" else self._children(node)
