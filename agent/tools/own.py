"""Your own tools: a typed Python function with a decorator."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import create_model

from agent.domain import TOOL_TIMEOUT_S, Effect, Intent, canonical
from agent.errors import ConfigurationError, ToolError, ToolFailed, ToolTimedOut
from agent.facts.model import Facts
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult

ENTRY_POINTS = "secondkey.tools"
_NAME = re.compile(r"[a-z][a-z0-9_]{1,47}")
_MOST_TEXT = 65_536
#: Left for the tool's own end before the run's own clock strikes, seconds.
_MARGIN_S = 0.5


class OwnTool(Tool[Any]):
    """A function as a tool. Calling it calls the function, so that it can be tested as one."""

    def __init__(
        self, function: Callable[..., Any], *, reads: bool, idempotent: bool, target: str, timeout_s: float
    ) -> None:
        """Raises ConfigurationError when the function does not say all that a tool must say."""
        self.function = function
        self.name = getattr(function, "__name__", "")
        self.description = inspect.cleandoc(function.__doc__ or "")
        self.read_only, self.idempotent, self.exclusive = reads, idempotent or reads, not reads
        self.timeout_s = timeout_s
        self._target = target
        if not _NAME.fullmatch(self.name) or not self.description:
            raise ConfigurationError(
                f"The function {self.name!r} cannot be a tool.",
                fix="Give it a name in small letters and a docstring that says what it does.",
            )
        self._wants_context, self.arguments = _arguments(function, self.name)

    def __call__(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever the function takes and gives
        """Call the function itself."""
        return self.function(*args, **more)

    async def facts(self, arguments: Arguments, context: ToolContext) -> Facts:
        """What its author said of it."""
        del context
        given = arguments.model_dump(mode="json")
        if self._target:
            target = self._target.format(**given)
        else:
            target = f"tool:{self.name}:{hashlib.sha256(canonical(given)).hexdigest()[:16]}"
        return Facts(
            effects=(Intent(effect=Effect.READ if self.read_only else Effect.EXECUTE, target=target),),
            where="network",
            reversibility="reversible" if self.read_only else "irreversible",
            verbs=(self.name,),
            flags=("own_tool",),
        )

    def headline(self, arguments: Arguments, preview: Preview) -> str:
        """The first line of the docstring."""
        del arguments, preview
        return f"{self.name}: {self.description.splitlines()[0]}"[:150]

    async def run(self, arguments: Arguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Call it; raises ToolError: its own, or ToolFailed, ToolTimedOut."""
        del preview
        given: dict[str, Any] = {name: getattr(arguments, name) for name in type(arguments).model_fields}
        if self._wants_context:
            given["context"] = context
        try:
            if inspect.iscoroutinefunction(self.function):
                value = await self.function(**given)
            else:
                value = await self._in_a_thread(given)
            return _result(self.name, value)
        except (ToolError, TimeoutError):
            raise
        except Exception as error:
            raise ToolFailed(f"{self.name} failed: {type(error).__name__}: {error}"[:500]) from error

    async def _in_a_thread(self, given: dict[str, Any]) -> object:
        """A plain function cannot be stopped; that is said rather than hidden."""
        work: Awaitable[object] = asyncio.to_thread(self.function, **given)
        done, _ = await asyncio.wait({asyncio.ensure_future(work)}, timeout=max(_MARGIN_S, self.timeout_s - _MARGIN_S))
        if not done:
            raise ToolTimedOut(
                f"{self.name} took longer than its limit; it may still be at it, for it cannot be stopped."
            )
        return done.pop().result()


def tool(
    function: Callable[..., Any] | None = None,
    *,
    reads: bool = False,
    idempotent: bool = False,
    target: str = "",
    timeout_s: float = TOOL_TIMEOUT_S,
) -> Any:  # noqa: ANN401 - an OwnTool, or what makes one
    """Make a tool of a typed function. Its docstring is what models and people read; it is asked unless it only reads.

    `reads`: it changes nothing anywhere. `idempotent`: doing it twice is the same as once. `target`: what it touches,
    with the names of arguments in braces, such as `ticket:{number}`; what was denied for a target is denied for it by
    every tool. A parameter called `context` receives the ToolContext. Raises ConfigurationError.
    """

    def make(made: Callable[..., Any]) -> OwnTool:
        return OwnTool(made, reads=reads, idempotent=idempotent, target=target, timeout_s=timeout_s)

    return make if function is None else make(function)


def load_tools(names: Sequence[str]) -> tuple[OwnTool, ...]:
    """The tools of modules, `.py` files and entry points of the group `secondkey.tools`; raises ConfigurationError."""
    found: list[OwnTool] = []
    for name in names:
        try:
            loaded = _load(name)
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"The tools {name!r} cannot be loaded: {type(error).__name__}: {error}."[:500], fix="Mend the module."
            ) from error
        tools = [loaded] if isinstance(loaded, OwnTool) else list(_tools_of(loaded))
        if not tools:
            raise ConfigurationError(f"There is no tool in {name!r}.", fix="Write @tool above a typed function.")
        found += tools
    return tuple(found)


def _load(name: str) -> object:
    for point in metadata.entry_points(group=ENTRY_POINTS, name=name):
        return point.load()
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name)
    spec = importlib.util.spec_from_file_location(f"secondkey_tools_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"There is no file {name}.", fix="Mend `tools`.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where the names in its annotations are looked up
    spec.loader.exec_module(module)
    return module


def _tools_of(loaded: object) -> Iterator[OwnTool]:
    if isinstance(loaded, ModuleType):
        yield from (value for value in vars(loaded).values() if isinstance(value, OwnTool))


def _arguments(function: Callable[..., Any], name: str) -> tuple[bool, type[Arguments]]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    wants_context = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "context":
            wants_context = True
        elif parameter.name not in hints or parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise ConfigurationError(
                f"The parameter {parameter.name!r} of the tool {name!r} has no type.", fix="Write one: `text: str`."
            )
        else:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
    return wants_context, create_model(f"{name}_arguments", __base__=Arguments, **fields)


def _result(name: str, value: object) -> ToolResult:
    if isinstance(value, ToolResult):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    cut = f"\n… {len(text) - _MOST_TEXT:,} characters left out …" if len(text) > _MOST_TEXT else ""
    data = json.loads(json.dumps(value, default=str)) if not cut else None
    return ToolResult(text=text[:_MOST_TEXT] + cut, data=data, summary=f"{name} ran")
