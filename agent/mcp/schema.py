"""Arguments against a server's own JSON Schema, checked here before anybody is asked; no schema can keep us busy.

Patterns are left to the server: a regular expression can be written so that it takes for ever. References stay within
the schema, and are followed so often only.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, cast

from agent.domain import Json
from agent.errors import BadArguments

_MOST_REFERENCES = 2_000
_MOST_BYTES = 65_536
#: Regular expressions of a stranger, and formats, which are such in disguise.
_LEFT_OUT = frozenset({"pattern", "patternProperties", "format"})
_SUPERFLUOUS = ("additionalProperties", "unevaluatedProperties")
_DIALECTS = ("$schema", "$id", "id", "$vocabulary", "$dynamicRef", "$recursiveRef", "$dynamicAnchor")


class _TooMuch(Exception):
    """The schema refers to itself more often than anything would need."""


def check_schema(schema: Mapping[str, Any]) -> str:
    """Why a schema cannot be used, one sentence; empty when it can."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - comes with the extra only
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - as above

    if schema.get("type", "object") != "object":
        return "Its arguments are no object."
    if any(not str(one).startswith("#") for one in _references(schema)):
        return "Its schema refers to another document."
    try:
        Draft202012Validator.check_schema(_tamed(schema))
        _problem(schema, {})
    except SchemaError as error:
        return f"Its schema is none: {error.message[:120]}."
    except (_TooMuch, RecursionError, ValueError, TypeError, LookupError) as error:
        return f"Its schema cannot be followed ({type(error).__name__.lstrip('_')})."
    return ""


def check_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any], size: int) -> None:
    """Raise BadArguments with the place when arguments do not fit; `size` is that of their JSON in bytes."""
    if size > _MOST_BYTES:
        raise BadArguments(f"The arguments take more than {_MOST_BYTES // 1024} KiB.")
    try:
        problem = _problem(schema, arguments)
    except (_TooMuch, RecursionError, ValueError, TypeError, LookupError) as error:
        raise BadArguments("The arguments cannot be checked against the tool's schema.") from error
    if problem:
        raise BadArguments(problem)


def _problem(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """The first thing that is wrong, one sentence; empty when nothing is."""
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - as above
    from referencing import Registry  # noqa: PLC0415 - as above
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - as above

    followed = 0
    library: Any = Draft202012Validator
    plain: Any = library.VALIDATORS["$ref"]

    def counted(validator: Any, reference: Any, instance: Any, inner: Any) -> Generator[Any]:  # noqa: ANN401 - untyped there
        nonlocal followed
        followed += 1
        if followed > _MOST_REFERENCES:
            raise _TooMuch
        yield from plain(validator, reference, instance, inner) or ()

    extend: Any = validators.extend  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # untyped there
    empty: Any = cast("Any", Registry)()  # nothing is fetched from anywhere
    validator: Any = extend(library, {"$ref": counted})(_tamed(schema), registry=empty)
    try:
        error: Any = next(iter(validator.iter_errors(dict(arguments))), None)
    except Unresolvable as gone:
        raise ValueError(str(gone)) from gone
    if error is None:
        return ""
    place = ".".join(str(part) for part in error.absolute_path) or "arguments"
    return f"{place}: {str(error.message)[:200]}"


def _references(value: Json) -> Generator[Json]:
    waiting: list[Json] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(cast("list[Json]", one))
        elif isinstance(one, dict):
            inner = cast("dict[str, Json]", one)
            if isinstance(inner.get("$ref"), str):
                yield inner["$ref"]
            waiting.extend(inner.values())


def _tamed(value: Json, *, names: bool = False) -> Json:
    """The schema without what could keep us busy; `names`: the keys of this object are names of fields."""
    if isinstance(value, list):
        return [_tamed(one) for one in cast("list[Json]", value)]
    if not isinstance(value, dict):
        return value
    made: dict[str, Json] = {}
    given = cast("dict[str, Json]", value)
    # What a pattern would have let in must not be refused as superfluous.
    left_out = {*_LEFT_OUT, *_DIALECTS, *(_SUPERFLUOUS if "patternProperties" in given else ())}
    for key, one in given.items():
        if not names and key in left_out:
            continue
        if not names and key in {"enum", "const", "default", "examples"}:
            made[key] = one
        else:
            made[key] = _tamed(
                one, names=not names and key in {"properties", "$defs", "definitions", "dependentSchemas"}
            )
    return made
