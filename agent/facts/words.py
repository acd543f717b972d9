"""Words of a shell command as the shell would see them, from the nodes of tree-sitter-bash; `?` when computed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tree_sitter import Node

from agent.facts.gathered import UNKNOWN


class Words:
    """Reads words, with the values of the variables that the text itself sets once."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def of_command(self, node: Node) -> list[str]:
        """The name and the arguments of a command."""
        name = node.child_by_field_name("name")
        words = [self.word(name)] if name is not None else []
        return words + [self.word(part) for part in node.children_by_field_name("argument")]

    def word(self, node: Node) -> str:  # noqa: PLR0911  one line a kind of word
        """One word."""
        match node.type:
            case "command_name":
                return self.word(node.children[0]) if node.children else UNKNOWN
            case "word" | "number" | "variable_name" | "extglob_pattern" | "regex" | "special_variable_name":
                text = re.sub(r"\\\n", "", text_of(node))
                if re.search(r"(?<!\\)[{][^}]*(?:,|\.\.)", text) or "$" in text.replace("\\$", ""):
                    return UNKNOWN
                return re.sub(r"\\(.)", r"\1", text)
            case "raw_string":
                return text_of(node)[1:-1]
            case "ansi_c_string":
                return _ansi(text_of(node)[2:-1])
            case "string" | "translated_string":
                if all(child.type == "string_content" for child in node.named_children):
                    return re.sub(r'\\([$`"\\\n])', r"\1", text_of(node).strip("$")[1:-1])
                return self._join(node.named_children)
            case "concatenation":
                joined = self._join(node.children)
                return UNKNOWN if re.search(r"\{[^}]*(?:,|\.\.)", text_of(node)) else joined
            case "simple_expansion" | "expansion":
                name = text_of(node).strip("${}")
                return self.values.get(name, UNKNOWN)
            case "string_content":
                return re.sub(r'\\([$`"\\\n])', r"\1", text_of(node))
            case _:
                return UNKNOWN

    def _join(self, nodes: Sequence[Node]) -> str:
        parts = [self.word(node) for node in nodes]
        return UNKNOWN if UNKNOWN in parts else "".join(parts)


def all_of(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the text's order."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(reversed(one.children))


def topmost(node: Node, kinds: frozenset[str]) -> Iterator[Node]:
    """The nodes of these kinds that are in no other such node."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one.type in kinds:
            yield one
        else:
            waiting.extend(reversed(one.children))


def text_of(node: Node) -> str:
    """The node's text."""
    return (node.text or b"").decode("utf-8", "replace")


def plain_body(body: Node) -> str:
    """The text of a here-document; `?` when something in it is computed."""
    kinds = {child.type for child in body.named_children}
    return text_of(body) if kinds <= {"heredoc_content"} and "\\" not in text_of(body) else UNKNOWN


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
