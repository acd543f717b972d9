"""A span that has ended, and how one is made: its ids follow from the journal's own. Knows no SDK."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from agent import telemetry as t

Attribute = str | int | float | bool | tuple[str, ...]
Kind = Literal["CHAIN", "AGENT", "LLM", "TOOL", "GUARDRAIL", "EVALUATOR"]
Content = Callable[[str], str]
"""The body of this hash, redacted and cut; empty when there is none."""


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something at one moment of a span."""

    name: str
    at: float
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Span:
    """A span that has ended. Times are business seconds since the epoch."""

    run: str
    id: int
    parent: int
    """0 for the run's own."""
    name: str
    start: float
    end: float
    attributes: Mapping[str, Attribute]
    is_client: bool = False
    error: str = ""
    """A code, never a text; empty when nothing failed."""
    events: tuple[SpanEvent, ...] = ()
    link: str = ""
    """The run that this one follows."""


class Maker:
    """Makes the spans of one run: with ids that follow from the journal's own, and texts redacted and cut."""

    def __init__(
        self, run: str, *, redact: Callable[[str], str], content: Content | None = None, has_ids: bool = True
    ) -> None:
        self.run = run
        self._has_ids = has_ids
        self._redact = redact
        self.content = content
        """None where spans carry no texts."""

    def id_of(self, *key: str | int) -> int:
        """The id of one of this run's spans; without a key that of the run's own. 0 where spans have none."""
        return t.span_id_of(self.run, *key) if self._has_ids else 0

    def moment(self, name: str, at: float, parent: int, attributes: Mapping[str, Attribute], key: str = "") -> Span:
        """A span without a length, so that what goes on is seen before its own span ends."""
        ids = ("moment", name, key) if key else ("moment", name)
        return self.span(name, "CHAIN", at, at, attributes, id_=ids, parent=parent or self.id_of())

    def span(
        self,
        name: str,
        kind: Kind,
        start: float,
        end: float,
        attributes: Mapping[str, Attribute],
        *,
        id_: tuple[str | int, ...],
        parent: int | None = None,
        error: str = "",
        is_client: bool = False,
        events: tuple[SpanEvent, ...] = (),
        link: str = "",
    ) -> Span:
        """A span that has ended; `parent` is the run's own unless given, and 0 for none."""
        common: dict[str, Attribute] = {t.OPENINFERENCE_KIND: kind, t.CONVERSATION: self.run}
        failed: dict[str, Attribute] = {t.ERROR_TYPE: error} if error else {}
        return Span(
            run=self.run,
            id=self.id_of(*id_),
            parent=self.id_of() if parent is None else parent,
            name=name,
            start=start,
            end=max(start, end),  # the machine's clock may have been set back in between
            attributes={**common, **attributes, **failed},
            is_client=is_client,
            error=error,
            events=events,
            link=link,
        )

    def name(self, text: str) -> str:
        """A name that a model or a service gave: it may be as long as they like, and hold what they like."""
        return self._redact(text[: 2 * t.CONTENT_CHARACTERS])[: t.NAME_CHARACTERS]

    def cut(self, text: str) -> str:
        """A text as spans carry it."""
        return self._redact(text)[: t.CONTENT_CHARACTERS]


def hashed(principal: str) -> str:
    """A person in a trace: told apart from others, and not named."""
    return hashlib.sha256(f"principal/{principal}".encode()).hexdigest()[:16]
