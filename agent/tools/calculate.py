"""calculate: arithmetic without Python's doors."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any

import simpleeval  # pyright: ignore[reportMissingTypeStubs] - it ships none
from pydantic import Field

from agent.errors import BadArguments, ToolFailed
from agent.facts.bounds import too_large
from agent.facts.model import Facts
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult

_LONGEST = 1_000
_MOST_BITS = 8_192
_LARGEST_FACTORIAL = 500
_MOST_DIGITS = 400
_EXACT = 2**53

Number = int | float


class CalculateArguments(Arguments):
    """One expression."""

    expression: str = Field(description="Arithmetic such as (1250 * 1.19) / 3 or sum([1, 2, 3]).", max_length=_LONGEST)


def _bounded(number: Number) -> Number:
    if isinstance(number, int) and number.bit_length() > _MOST_BITS:
        raise ToolFailed("A number in it grows too large.")
    return number


def _power(base: Number, exponent: Number) -> Number:
    bits = max(1, math.ceil(math.log2(abs(base) + 1))) if base else 1
    if abs(exponent) > _MOST_BITS or bits * abs(exponent) > _MOST_BITS:
        raise ToolFailed("A number in it grows too large.")
    value: Number = base**exponent
    return value


def _factorial(number: int) -> int:
    if number > _LARGEST_FACTORIAL:
        raise ToolFailed("A number in it grows too large.")
    return math.factorial(number)


def _round(number: Number, digits: int = 0) -> Number:
    if abs(digits) > _MOST_DIGITS:
        raise ToolFailed("It rounds to more digits than a number has.")
    return round(number, digits) if digits else round(number)


def _remainder(left: object, right: object) -> Number:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise BadArguments("Only numbers have a remainder.")
    return left % right


def _times(left: object, right: object) -> Number:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise BadArguments("Only numbers can be multiplied.")
    return _bounded(left * right)


def _mean(numbers: Sequence[Number]) -> float:
    return math.fsum(numbers) / len(numbers)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "factorial": _factorial,
    "float": float,
    "floor": math.floor,
    "int": int,
    "len": len,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "mean": _mean,
    "min": min,
    "round": _round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "sum": sum,
    "tan": math.tan,
}


def evaluate(expression: str) -> int | float | str | bool:
    """The value of an arithmetic expression; an integer beyond 2**53 as text. Raises BadArguments, ToolFailed."""
    large = too_large(expression)
    if large:
        raise BadArguments(large)
    engine: Any = simpleeval.EvalWithCompoundTypes(functions=_FUNCTIONS, names={"pi": math.pi, "e": math.e})
    engine.operators = {
        **engine.operators,
        ast.Pow: _power,
        ast.Mult: _times,
        ast.Mod: _remainder,
    }
    for node in (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Attribute, ast.JoinedStr, ast.Dict):
        engine.nodes.pop(node, None)
    for operator in (ast.LShift, ast.RShift, ast.BitXor, ast.BitOr, ast.BitAnd, ast.Invert):
        engine.operators.pop(operator, None)
    try:
        value = engine.eval(expression)
    except (ToolFailed, BadArguments):
        raise
    except ZeroDivisionError as error:
        raise ToolFailed("It divides by zero.") from error
    except Exception as error:
        # simpleeval raises its own, Python's and the parser's errors; all say that it is no arithmetic.
        raise BadArguments(f"This cannot be calculated: {error}."[:300]) from error
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _bounded(value) if abs(value) <= _EXACT else str(_bounded(value))
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ToolFailed("The result is not a number.")


class Calculate(Tool[CalculateArguments]):
    """Work out an arithmetic expression."""

    name = "calculate"
    description = "Work out one arithmetic expression exactly: + - * / // % **, comparisons, sqrt, round, sum, mean, …"
    arguments = CalculateArguments
    read_only = True
    idempotent = True
    exclusive = False

    async def facts(self, arguments: CalculateArguments, context: ToolContext) -> Facts:
        """It touches nothing."""
        del arguments, context
        return Facts(verbs=("calculate",))

    def headline(self, arguments: CalculateArguments, preview: Preview) -> str:
        """Such as "Calculate 1250 * 1.19"."""
        del preview
        return f"Calculate {' '.join(arguments.expression.split())[:120]}"

    async def run(self, arguments: CalculateArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """The value; raises BadArguments, ToolFailed. Bounded in size, so it does not need a thread."""
        del context, preview
        value = evaluate(arguments.expression)
        return ToolResult(
            text=str(value), data={"result": value}, summary=f"{arguments.expression[:80]} = {value}"[:200]
        )
