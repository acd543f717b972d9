"""The reference of the settings, read off the class itself: name, type, bounds, default and its docstring."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bot.config import Settings

_HEAD = """\
# Configuration

<!-- Written by `python -m docs.reference` from bot/config.py; change it there. -->

`secondkey init` writes a commented `secondkey.toml`. Each setting stands there under its name, or in the environment as
`SECONDKEY_` and its name in capitals, which wins; a list or a table is written as JSON in the environment. Relative
paths in the file are relative to the file. An unknown name or a value out of bounds keeps `serve` from starting, with
the name that was probably meant. `secondkey doctor` says what else is wrong.

Secrets stand in the environment only: a token in the file is refused.
"""
_ENVIRONMENT = """\
## In the environment only

| variable | what it is |
|---|---|
| `SLACK_BOT_TOKEN` | the bot's token, `xoxb-…` |
| `SLACK_APP_TOKEN` | the app-level token for Socket Mode, `xapp-…`, with `connections:write` |
| `SLACK_SIGNING_SECRET` | the signing secret, for `serve --http` instead of the app-level token |
| `SLACK_CONFIG_TOKEN` | a configuration token of the app's owner, for `doctor` alone: it compares the manifest |
| `ANTHROPIC_API_KEY`, `ANTHROPIC_BASE_URL` | the key, and another address, of `anthropic:` models |
| `OPENAI_API_KEY`, `OPENAI_BASE_URL` | the same of `openai:` and `openai-chat:`; a server of your own needs no key |
| `OTEL_EXPORTER_OTLP_ENDPOINT` | where traces go; nowhere when it is not set |
| `PORT` | the port, and then all addresses are listened on, as platforms with a Procfile want it |
"""
_TYPES: Mapping[str, str] = {
    "Path": "path",
    "Path | None": "path",
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "`true` or `false`",
    "tuple[str, ...]": "list of texts",
    "tuple[Path, ...]": "list of paths",
}


def meanings() -> dict[str, str]:
    """Each setting's docstring, in the order of the class."""
    (body,) = [node for node in ast.parse(inspect.getsource(Settings)).body if isinstance(node, ast.ClassDef)]
    found: dict[str, str] = {}
    name = ""
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            found[name] = ""
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[name], name = " ".join(str(node.value.value).split()), ""
    return found


def is_secret(field: FieldInfo) -> bool:
    """Whether a field holds a secret, which stands in no file."""
    return field.annotation is SecretStr


def page() -> str:
    """The whole page."""
    said = meanings()
    rows = [
        f"| `{name}` | {said[name]} | {_kind(field)} | {_default(field)} |"
        for name, field in Settings.model_fields.items()
        if not is_secret(field)
    ]
    table = "\n".join(["| setting | meaning | value | default |", "|---|---|---|---|", *rows])
    return f"{_HEAD}\n## Settings\n\n{table}\n\n{_ENVIRONMENT}"


def _kind(field: FieldInfo) -> str:
    annotation = str(field.annotation).replace("pathlib.", "").replace("typing.", "")
    plain = field.annotation.__name__ if isinstance(field.annotation, type) and not get_args(field.annotation) else ""
    known = _TYPES.get(plain or annotation)
    kind = known or ("table" if annotation.startswith("dict") else f"`{_escaped(annotation)}`")
    bounds = "; ".join(_bounds(field.metadata))
    return f"{kind}; {bounds}" if bounds else kind


def _bounds(metadata: Iterable[Any]) -> Iterable[str]:
    words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
    for item in metadata:
        for name, word in words.items():
            if (bound := getattr(item, name, None)) is not None:
                yield f"{word} {bound:,}".replace(",", " ")
        if (pattern := getattr(item, "pattern", None)) is not None:
            yield f"`{_escaped(str(pattern))}`"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}):
        return "none"
    return f"`{_escaped(str(value) if isinstance(value, str | Path) else repr(value))}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
