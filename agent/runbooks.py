"""Runbooks: the simple planner that needs no model. It is the default without a key and the fallback when models fail.

A runbook is a TOML table with a pattern for tasks and templated steps. Templates are Jinja2 in its sandbox; they see
`task`, `match` (the pattern's named groups) and `out` (results of earlier calls by id, each with `text` and `data`).
A template that starts with `=` is an expression whose value is taken as it is. Rendered calls are rated like any other.

A pattern is searched in the task without its politeness ("Hi! Could you please … for me? Thanks"), so that it can be
anchored at both ends: a runbook must not take up a task whose remaining words it would ignore.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.environment import TemplateExpression
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, ValidationError

from agent.domain import Json, Plan, PlannedStep, ScriptedCall, Task, Value, Worker
from agent.errors import ConfigurationError

LONGEST_TASK = 4_000
"""Characters: a longer task is none that a pattern could do justice to."""
COMPILED = 1_024
"""Templates kept compiled; they come from files, not from tasks."""
#: So many blanks in a row belong to no task, and two `\\s*` of a pattern would share them out in every way.
_BLANK = re.compile(r"\s{200}")
_OPENING = re.compile(
    r"\s*(?:(?:hi|hello|hey|ok|okay|so|now|please|pls|kindly)\b(?:\s+(?:there|all|team|again)\b)?|(?:can|could|would|will)"
    r"\s+you\b|(?:i|we)(?:['\u2019]d|\s+would)\s+like\s+you\s+to\b|(?:i|we)\s+(?:want|need)\s+you\s+to\b)[\s,.!:;-]*",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"[\s,]+(?:please|pls|thanks|thank\s+you|thx|cheers|for\s+(?:me|us)|(?:right\s+)?now)[\s.!?]*\Z", re.IGNORECASE
)


class Call(Value):
    """A tool call of a runbook step."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    tool: str
    arguments: dict[str, Any] = {}
    rationale: str = ""


class Step(Value):
    """A step of a runbook."""

    worker: Worker
    instruction: str
    expected: str = ""
    together: bool = False
    call: tuple[Call, ...] = Field(min_length=1)


class Runbook(Value):
    """A known task and how to do it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: str
    example: str
    """A task that fits, word for word; shown as a suggestion."""
    pattern: str
    """Regular expression searched in the task without its politeness, case ignored; named groups become `match`."""
    suggest: int = Field(default=0, ge=0)
    """Place among the tasks that are suggested to people, from 1; 0 for none."""
    step: tuple[Step, ...] = Field(min_length=1)
    answer: str
    """Template of the final answer, Markdown."""


class _File(Value):
    runbook: tuple[Runbook, ...] = ()


@dataclass(frozen=True, slots=True)
class Runbooks:
    """An ordered set of runbooks; the first whose pattern fits plans the task."""

    books: tuple[Runbook, ...]

    @classmethod
    def load(cls, files: Iterable[Path] = ()) -> Runbooks:
        """Read files in order, then those that come with the project; raises ConfigurationError with the file named."""
        books: list[Runbook] = []
        for path in files:
            try:
                books += _parse(path.read_text(encoding="utf-8"), str(path))
            except OSError as error:
                raise ConfigurationError(
                    f"{path} cannot be read: {error.strerror}.", fix="Name a runbook file."
                ) from error
        embedded = resources.files("agent").joinpath("runbooks.toml").read_text(encoding="utf-8")
        return cls((*books, *_parse(embedded, "agent/runbooks.toml")))

    @classmethod
    def parse(cls, text: str) -> Runbooks:
        """Read one file's text; raises ConfigurationError."""
        return cls(tuple(_parse(text, "runbooks")))

    def plan(self, task: Task) -> Plan | None:
        """The plan of the first runbook that fits; None when none does."""
        for book in self.books:
            found = _fits(book, task.text)
            if found is not None:
                return _plan(book, task, found)
        return None

    @property
    def examples(self) -> tuple[str, ...]:
        """Tasks that fit, one a runbook, the suggested ones first."""
        return tuple(book.example for book in self._in_order())

    @property
    def prompts(self) -> tuple[tuple[str, str], ...]:
        """Title and task of what is suggested to people, in order."""
        return tuple((book.title, book.example) for book in self._in_order() if book.suggest)

    def _in_order(self) -> list[Runbook]:
        return sorted(self.books, key=lambda book: (not book.suggest, book.suggest))


def asked(text: str) -> str:
    """What is asked for, without greeting, politeness and closing marks."""
    text = text.strip()
    while (opening := _OPENING.match(text)) and opening.end() < len(text):
        text = text[opening.end() :]
    text = text.rstrip(" \t\r\n.?")
    if text.endswith("!") and not text[-2:-1].isdigit():  # 5! is arithmetic
        text = text.rstrip("! ")
    while closing := _CLOSING.search(text[-40:]):
        text = text[: len(text) - (len(text[-40:]) - closing.start())].rstrip(" \t\r\n.!?,")
    return text


def _fits(book: Runbook, text: str) -> re.Match[str] | None:
    if len(text) > LONGEST_TASK or _BLANK.search(text):
        return None
    return re.search(book.pattern, asked(text), re.IGNORECASE)


def _parse(text: str, where: str) -> list[Runbook]:
    fix = "See agent/runbooks.toml for the form."
    try:
        books = list(_File.model_validate(tomllib.loads(text)).runbook)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is not TOML: {error}.", fix=fix) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{where}: {place}: {first['msg']}.", fix=fix) from error
    for book in books:
        try:
            pattern = re.compile(book.pattern, re.IGNORECASE)
        except re.error as error:
            raise ConfigurationError(f"{where}: runbook {book.name}: bad pattern: {error}.", fix=fix) from error
        if not re.search(pattern, asked(book.example)):
            raise ConfigurationError(f"{where}: runbook {book.name}: its example does not fit its pattern.", fix=fix)
    return books


def _plan(book: Runbook, task: Task, found: re.Match[str]) -> Plan:
    known = {"task": task.text, "match": {key: value or "" for key, value in found.groupdict().items()}}
    steps = tuple(
        PlannedStep(
            worker=step.worker,
            instruction=render(step.instruction, known),
            expected=step.expected,
            together=step.together,
            script=tuple(
                ScriptedCall(id=call.id, tool=call.tool, arguments=call.arguments, rationale=call.rationale)
                for call in step.call
            ),
        )
        for step in book.step
    )
    return Plan(planner=f"runbook:{book.name}", steps=steps, answer=book.answer)


def values(task: Task, plan: Plan, books: Runbooks, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a template of this plan sees: `task`, `match`, `out`."""
    name = plan.planner.removeprefix("runbook:")
    book = next((item for item in books.books if item.name == name), None)
    found = _fits(book, task.text) if book else None
    groups = {key: value or "" for key, value in found.groupdict().items()} if found else {}
    return {"task": task.text, "match": groups, "out": dict(outputs)}


def render(template: Json, known: Mapping[str, Any]) -> Json:
    """Fill in a template, also inside lists and tables; raises ConfigurationError when it cannot be."""
    match template:
        case str() if template.startswith("="):
            return _evaluate(template[1:].strip(), known)
        case str() if "{{" in template or "{%" in template:
            try:
                return _template(template).render(**known)
            except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
                raise ConfigurationError(f"A runbook's template failed: {error}.") from error
        case list():
            return [render(item, known) for item in template]  # pyright: ignore[reportUnknownVariableType]  # any JSON value
        case dict():
            return {str(key): render(value, known) for key, value in template.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # any JSON value
        case _:
            return template


def _evaluate(expression: str, known: Mapping[str, Any]) -> Json:
    try:
        return _expression(expression)(**known)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise ConfigurationError(f"A runbook's expression failed: {error}.") from error


@functools.lru_cache(maxsize=COMPILED)
def _template(source: str) -> Template:
    return _environment().from_string(source)


@functools.lru_cache(maxsize=COMPILED)
def _expression(source: str) -> TemplateExpression:
    return _environment().compile_expression(source, undefined_to_none=False)


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters["sql"] = _sql_literal
    environment.filters["thousands"] = _thousands
    environment.filters["cents"] = _cents
    environment.filters["table"] = _table
    environment.filters["code"] = _code
    return environment


def _sql_literal(value: object) -> str:
    """A text as an SQL string literal."""
    return "'" + str(value).replace("'", "''").replace("\x00", "") + "'"


def _thousands(value: object) -> str:
    """12345 as 12,345."""
    return f"{int(str(value)):,}"


def _cents(value: object) -> str:
    """123456 as 1,234.56."""
    whole, rest = divmod(abs(int(str(value))), 100)
    return f"{'-' if int(str(value)) < 0 else ''}{whole:,}.{rest:02}"


def _table(rows: Sequence[Sequence[object]], *heads: str) -> str:
    """The first columns of the rows as a table under these headings, in a code block; numbers to the right."""
    cells = [["" if cell is None else str(cell) for cell in row[: len(heads)]] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    right = [bool(cells) and all(_is_number(row[at]) for row in cells) for at in range(len(heads))]
    lines = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in [heads, *cells]
    ]
    return _code("\n".join(lines))


def _code(text: object) -> str:
    """A text as a code block, which it cannot end from inside."""
    return "```\n" + str(text).strip("\n").replace("```", "\u02cb" * 3) + "\n```"


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9][0-9,.]*", cell))
