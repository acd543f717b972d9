"""What a tool is: arguments with a schema, facts, a preview that changes nothing, and a run."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from agent.broker import Broker
from agent.domain import TOOL_TIMEOUT_S, Value, canonical
from agent.facts.model import Facts
from agent.ports import Sandbox, ToolSpec
from agent.tools.databases import Database as Database  # noqa: PLC0414  tools and tests name it from here
from agent.tools.databases import NamedDatabase
from agent.tools.egress import Egress

A = TypeVar("A", bound=BaseModel)


class Arguments(BaseModel):
    """Base of every tool's arguments: frozen, unknown fields refused, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Preview(Value):
    """What a call would do, computed without doing it; shown to people and compared at execution."""

    kind: Literal["none", "diff", "rows", "request", "text"] = "none"
    text: str = ""
    """Plain text of the preview: a unified diff, a request, a sentence."""
    columns: tuple[str, ...] = ()
    before: tuple[tuple[str | int | float | None, ...], ...] = ()
    """At most 50 rows as they are now; the key columns come first."""
    after: tuple[tuple[str | int | float | None, ...], ...] = ()
    """The same rows as they would be; empty for a deletion."""
    count: int = 0
    """Rows or files touched in all."""
    fingerprint: str = ""
    """What execution compares: a hash over everything that would be touched."""


class ToolResult(Value):
    """What a call gave back: text for the model, optional data for templates, one sentence for people."""

    text: str
    data: Any = None
    summary: str = ""
    ok: bool = True
    kept: str = ""
    """Where in the workspace all of the text is, when it is longer than a model is shown."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What one run hands to its tools."""

    run: str
    workspace: Path
    """The run's own copy of the project; made lazily by `agent.workspace`."""
    project: Path
    """Where `apply_changes` puts the workspace's diff."""
    sandbox: Sandbox
    databases: Mapping[str, NamedDatabase] = field(default_factory=dict[str, NamedDatabase])
    max_files: int = 50
    """The policy's cap on files of one `apply_changes`."""
    egress: Egress = field(default_factory=Egress)
    """Where http_request may go; nowhere by default."""
    broker: Broker = field(default_factory=Broker)
    """The secrets that tools may use without seeing them."""


class Tool(Generic[A]):
    """A tool. Subclasses set the class attributes and implement `facts` and `run`."""

    name: str
    description: str
    arguments: type[A]
    read_only: bool = False
    idempotent: bool = False
    """Running it twice is the same as once; a crash between start and result may then run it again."""
    exclusive: bool = True
    """Never at the same time as another exclusive action of the run."""
    needs_sandbox: ClassVar[bool] = False
    timeout_s: float = TOOL_TIMEOUT_S
    """Real seconds; an operator may set another limit."""

    def parse(self, arguments: Mapping[str, Any]) -> A:
        """Validated arguments; raises pydantic.ValidationError."""
        return self.arguments.model_validate(dict(arguments))

    def repeatable(self, arguments: A) -> bool:
        """Whether exactly this call may run twice: after a crash, or after a passing fault of its service."""
        del arguments
        return self.idempotent or self.read_only

    async def bind(self, arguments: A, context: ToolContext) -> A:
        """Complete the arguments with what a yes must be bound to (a diff's hash); reads only."""
        del context
        return arguments

    def unbound(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Undo `bind`, so that the same call can be proposed anew; drops what `bind` filled in."""
        return dict(arguments)

    async def facts(self, arguments: A, context: ToolContext) -> Facts:
        """What can be read off the call; any exception counts as undecidable."""
        raise NotImplementedError

    async def preview(self, arguments: A, context: ToolContext) -> Preview:
        """What the call would do, without doing it."""
        del arguments, context
        return Preview()

    def headline(self, arguments: A, preview: Preview) -> str:
        """What would happen, in one plain sentence for people, at most 150 characters."""
        raise NotImplementedError

    async def run(self, arguments: A, context: ToolContext, preview: Preview) -> ToolResult:
        """Do it. Raises ToolError; cancellation must leave nothing running. `preview` is what people were shown."""
        raise NotImplementedError

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments; made once, so nobody may change it."""
        return self.arguments.model_json_schema()

    @functools.cached_property
    def schema_hash(self) -> str:
        """Hash of name, description and schema; a changed tool is a new tool."""
        body = {"description": self.description, "name": self.name, "schema": self.schema}
        return hashlib.sha256(canonical(body)).hexdigest()

    def service(self, arguments: A) -> str:
        """What is left alone for a while when calls of it fail in a row; empty for what no service stands behind.

        A command in the sandbox is the model's own, so its time-out says nothing of the sandbox.
        """
        del arguments
        return "" if self.needs_sandbox else self.name

    def spec(self) -> ToolSpec:
        """What a model is told of it."""
        return ToolSpec(name=self.name, description=self.description, schema=self.schema)
