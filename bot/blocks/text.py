"""Text that came from a model, a tool or a page, made harmless and short enough for Slack (invariant 14).

Everything that people read passes through here: `inline` for one line in a sentence, `escape` for paragraphs, `prose`
for an answer with code in it, `verbatim` for what must be read exactly.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

SECTION: Final = 3000
"""Characters of a section's text."""

_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Marks that Slack reads as formatting, each replaced by a letter that looks the same and means nothing.
_MARKS: Final = str.maketrans({"*": "\u2217", "~": "\u223c", "`": "\u02cb"})
_EDGE_UNDERSCORE: Final = re.compile(r"(?<!\w)_+|_+(?!\w)")
_EMOJI: Final = re.compile(r":(?=[\w+'-]*[A-Za-z])([\w+'-]+):")
_SPLIT: Final = re.compile(r"(?:&[a-z]{0,3}|<[^<>\n]*)\Z")
_FENCE: Final = re.compile(r"```[^\n`]*\n(.*?)(?:\n?```|\Z)", re.DOTALL)
_CODE_OR_BOLD: Final = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*")
# Marks of Markdown that Slack shows as they are typed: a list's dash, a heading's number signs.
_BULLET: Final = re.compile(r"^([ \t]*)[-*][ \t]+(?=\S)", re.MULTILINE)
_HEADING: Final = re.compile(r"^#{1,6}[ \t]+([^\n`*#][^\n`*]*)$", re.MULTILINE)
_FIRST_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_WORD_JOINER: Final = "\u2060"


def width(text: str) -> int:
    """Length as Slack may count it: UTF-16 units, so that an emoji counts twice."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _is_hidden(character: str) -> bool:
    """Whether a character shows nothing and can change how others are read."""
    if character in "\n\t\u200c\u200d":
        return False
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clean(text: str) -> str:
    """The text without control characters, direction overrides and lone surrogates; line ends become newlines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text if "\ud800" <= c <= "\udfff" or not _is_hidden(c)
    )


def shown(text: str) -> str:
    """The text with every hidden character spelled out as ⟨U+202E⟩, so that nothing executes that nobody could see."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"⟨U+{ord(c):04X}⟩" if _is_hidden(c) else c for c in text)


def cut(text: str, limit: int, mark: str = "…") -> str:
    """At most `limit` characters of escaped text; an entity or a mention is kept whole or left out."""
    if width(text) <= limit:
        return text
    room = max(0, limit - width(mark))
    head = (
        text[:room] if text.isascii() else text.encode("utf-16-le", "replace")[: room * 2].decode("utf-16-le", "ignore")
    )
    return _SPLIT.sub("", head) + mark


def _plain(text: str) -> str:
    """Escaped and without any formatting; not yet cut."""
    text = clean(text).translate(_ENTITIES).translate(_MARKS)
    text = _EDGE_UNDERSCORE.sub(lambda match: "\u02cd" * len(match.group()), text)
    return _EMOJI.sub("\u2236\\1\u2236", text)


def escape(text: str, limit: int = SECTION) -> str:
    """Paragraphs for a mrkdwn field: no mention, link, formatting, emoji code or quote can come out of it."""
    some, is_more = _some(text, limit)
    lines = (f"{_WORD_JOINER}{line}" if line.lstrip().startswith("&gt;") else line for line in _plain(some).split("\n"))
    return cut("\n".join(lines) + "…" * is_more, limit)


def inline(text: str, limit: int = 200) -> str:
    """One line for the middle of a sentence; right-to-left text is isolated, so that it reorders nothing else."""
    some, is_more = _some(text, limit)
    line = _plain(" ".join(some.split())) + "…" * is_more
    line = cut(_WORD_JOINER * line.startswith("&gt;") + line, limit - 2)
    if any(unicodedata.bidirectional(character) in {"R", "AL", "AN"} for character in line):
        return f"{_FIRST_ISOLATE}{line}{_POP_ISOLATE}"
    return line


def bare(text: str, limit: int) -> str:
    """One line for a `plain_text` field or a notification, where Slack reads no formatting at all."""
    some, is_more = _some(text, limit)
    return cut(clean(" ".join(some.split())) + "…" * is_more, limit)


def _some(text: str, limit: int) -> tuple[str, bool]:
    """As much of a long text as can matter, so that 100,000 characters cost little; and whether more is left."""
    return text[: limit * 4], len(text) > limit * 4


def verbatim(text: str, limit: int = SECTION) -> str:
    """A code block that shows the text exactly; it can be cut, but neither ended nor disguised from inside."""
    body = shown(text[:limit]).translate(_ENTITIES)
    while "``" in body:
        body = body.replace("``", f"`{_WORD_JOINER}`")
    room = limit - len("```\n\n```")
    if width(body) > room:
        # What is said about the rest stands outside of the code, so that it cannot be forged from inside.
        note = f"\n_… cut; {len(text)} characters in all_"
        if width(note) * 2 > room:
            note = ""
        body = cut(body, room - width(note), mark="")
        return f"```\n{body}\n```{note}"
    return f"```\n{body}\n```"


def prose(text: str, limit: int = SECTION) -> str:
    """An answer: escaped paragraphs in which fenced code, `code`, **bold**, headings and lists keep their looks."""
    text = text[: limit + 1]
    parts, at = list[str](), 0
    for match in _FENCE.finditer(text):
        parts += [_spans(text[at : match.start()], limit), verbatim(match.group(1), limit)]
        at = match.end()
    parts.append(_spans(text[at:], limit))
    return closed(cut("\n".join(part.strip("\n") for part in parts if part.strip()), limit), limit)


def _spans(text: str, limit: int) -> str:
    text = _HEADING.sub(r"**\1**", _BULLET.sub(r"\1• ", text))
    parts, at = list[str](), 0
    for match in _CODE_OR_BOLD.finditer(text):
        parts.append(escape(text[at : match.start()], limit))
        code, bold = match.groups()
        if code is not None:
            parts.append(f"`{shown(code).translate(_ENTITIES)}`")
        else:
            parts.append(f"*{escape(bold, limit)}*")
        at = match.end()
    return "".join([*parts, escape(text[at:], limit)])


def closed(text: str, limit: int) -> str:
    """The text with a code block that the cut left open closed again."""
    if text.count("```") % 2:
        text = f"{cut(text, limit - 4)}\n```" if text.count("```", 0, limit - 8) % 2 else cut(text, limit - 8, "")
    return text
