"""Web API: functions.*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.arguments import text
from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services


async def complete_success(services: Services, args: Json) -> Json:
    """End a workflow's step with its outputs."""
    outputs: Any = args.get("outputs")
    if not isinstance(outputs, dict):
        raise SlackError("invalid_arguments")
    services.functions.complete(text(args, "function_execution_id"), outputs)  # pyright: ignore[reportUnknownArgumentType]  any JSON
    return {}


async def complete_error(services: Services, args: Json) -> Json:
    """End a workflow's step with a reason."""
    error = text(args, "error")
    if not error:
        raise SlackError("invalid_arguments")
    services.functions.fail(text(args, "function_execution_id"), error)
    return {}


METHODS = {"functions.completeSuccess": complete_success, "functions.completeError": complete_error}
