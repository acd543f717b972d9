"""The step of Workflow Builder: a workflow gives a task, and goes on with its answer when the run is over."""

from __future__ import annotations

import re
from typing import Any, Final

import structlog
from slack_bolt import BoltResponse

from agent.errors import StorageUnavailable
from bot.listeners import replies
from bot.listeners.payload import Body, mapping, plain, text_of, user_of
from bot.listeners.services import Bolt, Services
from storage.anchors import Anchor, Anchors, State

RUN_AGENT_TASK: Final = "run_agent_task"
"""The step's callback id in the manifest."""
_ID: Final = re.compile(r"[A-Z][A-Z0-9]{1,30}")
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Listen to the execution of the step."""

    async def executed(body: dict[str, Any]) -> BoltResponse | None:
        return await take(services, body)

    app.function(RUN_AGENT_TASK)(executed)


async def take(services: Services, body: Body) -> BoltResponse | None:
    """Keep the task; 503 when it could not be made durable in two seconds, so that Slack sends it again."""
    anchor = anchor_of(services, body)
    if anchor is None:
        services.tasks.start(replies.audit(services, "bad_payload", None, text_of(body.get("event_id")), "function"))
        return None
    try:
        await services.tasks.within(Anchors(services.db).add(anchor))
    except (TimeoutError, StorageUnavailable):
        return BoltResponse(status=503, body="")  # no ack: Slack delivers it again
    if services.anchoring is not None:
        services.anchoring.wake()
    return None


def anchor_of(services: Services, body: Body) -> Anchor | None:
    """The task that a workflow gives; one that cannot be is refused with the reason. None without an execution id."""
    event = mapping(body.get("event"))
    execution, inputs = text_of(event.get("function_execution_id")), mapping(event.get("inputs"))
    if not execution:
        return None
    user = user_of(inputs.get("user")) or user_of(event.get("user"))
    channel, text = text_of(inputs.get("channel")), services.redact(plain(text_of(inputs.get("task")), ""))
    reason = _problem(services, user, channel, text)
    principal = services.identity.principal(user if _ID.fullmatch(user) else "UNKNOWN")
    state: State = "refused" if reason else "asked"
    return Anchor(
        id=f"function:{execution}",
        via="step",
        team=principal.team,
        channel=channel,
        thread_ts="",
        principal=principal.key,
        text="" if reason else text,
        execution=execution,
        state=state,
        reason=reason,
    )


def _problem(services: Services, user: str, channel: str, text: str) -> str:
    """Why this cannot become a run; empty when it can."""
    if not _ID.fullmatch(user):
        return "The step does not say which person asks. Set its field for the person."
    if channel and not _ID.fullmatch(channel):
        return "The step names no channel that there could be. Set its field for the channel."
    if not text.strip():
        return "The step has no task. Set its field for the task."
    if len(text) > services.task_characters:
        return f"The task is {len(text):,} characters long; at most {services.task_characters:,} are taken."
    return ""
