"""Completes a step of Workflow Builder when its run is over, or fails it with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog

from agent.domain import RunStatus
from bot.blocks.text import clean
from bot.posting import SlackClient, fault_of
from bot.words import WENT_WRONG
from storage.anchors import Anchor, Anchors
from storage.queries import Queries

GIVE_UP_AFTER: Final = 30
"""Tries at completing a step; Slack does not know it any more by then."""
CALL_S: Final = 10.0
ANSWER_CHARS: Final = 8000
_GONE: Final = frozenset({"execution_not_in_running_state", "function_execution_not_found", "access_denied"})
"""Slack's words for: this step needs no completion (any more)."""
_log = structlog.get_logger("anchors")


class Completion:
    """Tells Slack what became of steps. Said twice it is said once: Slack refuses the second."""

    def __init__(self, client: SlackClient, anchors: Anchors, queries: Queries) -> None:
        self._client, self._anchors, self._queries = client, anchors, queries

    async def complete(self, anchor: Anchor) -> None:
        """Complete or fail the step of an anchor that is refused or whose run is over; raises PostFault."""
        if not anchor.execution:
            await self._anchors.over(anchor.id)
            return
        method, body = self._said(anchor)
        try:
            async with asyncio.timeout(CALL_S):
                # The SDK's own method puts everything into the address, which is too short for an answer.
                await self._client.api_call(method, json={"function_execution_id": anchor.execution, **body})
        except Exception as error:
            fault = fault_of(error)
            if fault.error not in _GONE and anchor.attempts < GIVE_UP_AFTER:
                raise fault from error
            _log.warning("step_not_completed", anchor=anchor.id, error=fault.error)
        await self._anchors.over(anchor.id)

    def _said(self, anchor: Anchor) -> tuple[str, Mapping[str, Any]]:
        view = self._queries.run_view(anchor.run) if anchor.run else None
        if view is None:
            return "functions.completeError", {"error": _for_workflow(anchor.reason or WENT_WRONG)}
        run, answer = view.run, _for_workflow(view.answer or view.run.summary)
        if run.status in {RunStatus.COMPLETED, RunStatus.PARTIAL}:
            outputs = {
                "answer": answer or "There is nothing to report.",
                "status": run.status.value,
                "run_id": run.id,
            }
            return "functions.completeSuccess", {"outputs": outputs}
        head = "The run was stopped." if run.status is RunStatus.CANCELLED else "The run failed."
        return "functions.completeError", {"error": f"{head} {answer}".strip()}


def _for_workflow(text: str) -> str:
    """Text that a later step may post: nothing in it mentions anybody or hides an address (invariant 14)."""
    text = clean(text).replace("<", "<\u2060")
    return text if len(text) <= ANSWER_CHARS else f"{text[:ANSWER_CHARS]}… ({len(text)} characters in all)"
