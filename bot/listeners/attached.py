"""The files that a message names, read field by field; what is not to be taken says why."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, cast

from bot.listeners.payload import Body, mapping, text_of
from storage.attachments import Offered

FILES: Final = 10
"""Files of one message that are taken."""
FILE_BYTES: Final = 20 * 1_048_576
"""Size of one file that is taken."""
_NAMED: Final = 20
_NAME: Final = 100
_HARMLESS: Final = re.compile(r"[^\w .()+,=@-]", re.UNICODE)
_REFUSED: Final = {
    "external": "it stands outside of Slack, which has only a link to it",
    "tombstone": "it was deleted",
    "hidden_by_limit": "Slack does not give it out any more",
    "canvas": "it is a canvas and no file",
    "quip": "it is a canvas and no file",
    "list": "it is a list and no file",
    "space": "it is a post and no file",
    "post": "it is a post and no file",
}


def offered(event: Body) -> tuple[Offered, ...]:
    """The files of a message in their order, each once; more than `FILES` are named as not taken."""
    given: object = event.get("files")
    shapes = [mapping(item) for item in cast("Sequence[object]", given)] if isinstance(given, list) else []
    found: dict[str, Offered] = {}
    for shape in shapes[:_NAMED]:
        item = _one(shape, len(found))
        if item.file:
            found.setdefault(item.file, item)
    return tuple(found.values())


def _one(shape: Body, before: int) -> Offered:
    size = shape.get("size")
    why = refusal_of(shape)
    if before >= FILES:
        why = f"at most {FILES} files of one message are taken"
    return Offered(
        file=text_of(shape.get("id"))[:_NAME],
        name=safe_name(text_of(shape.get("name")) or text_of(shape.get("title"))),
        kind=kind_of(text_of(shape.get("mimetype"))),
        size=size if isinstance(size, int) and size >= 0 else 0,
        url=url_of(shape),
        why=why,
        uploader=text_of(shape.get("user")),
    )


def refusal_of(shape: Body) -> str:
    """Why a file is not taken, by what Slack says of it; empty when it is."""
    mode, filetype = text_of(shape.get("mode")), text_of(shape.get("filetype"))
    if shape.get("is_external") is True:
        mode = "external"
    if why := _REFUSED.get(mode) or _REFUSED.get(filetype):
        return why
    size = shape.get("size")
    if isinstance(size, int) and size > FILE_BYTES:
        return f"it has {size:,} bytes, and at most {FILE_BYTES:,} are taken"
    return ""


def url_of(shape: Body) -> str:
    """Where Slack keeps it."""
    return text_of(shape.get("url_private_download")) or text_of(shape.get("url_private"))


def kind_of(mimetype: str) -> str:
    """A media type in one harmless spelling; empty when it is none."""
    found = re.match(r"[\w.+-]{1,60}/[\w.+-]{1,60}", mimetype)
    return found[0].lower() if found else ""


def safe_name(name: str) -> str:
    """A file name without folders, hidden characters, leading dots and what shells or cards would read."""
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    base = _HARMLESS.sub("_", base).strip(" .-")
    if len(base) > _NAME:
        stem, dot, ending = base.rpartition(".")
        ending = ending if dot and len(ending) <= 10 else ""  # noqa: PLR2004  longer is no file name's ending
        base = f"{(stem if ending else base)[: _NAME - len(ending) - 1]}{f'.{ending}' if ending else ''}"
    return base or "file"
