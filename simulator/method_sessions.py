"""Web API: assistant.threads.* and agents.sessions.*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from simulator.arguments import channel_of, text
from simulator.blocks import dicts
from simulator.errors import SlackError
from simulator.sessions import SESSION_STATUS

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services
    from simulator.workspace import Channel

PROMPTS: Final = 4
LOADING_MESSAGES: Final = 10
TITLE: Final = 200
_UNHEARD: Final = "missing_agent_session_stopped_event_subscription"


def _thread(services: Services, args: Json) -> tuple[Channel, str]:
    channel = channel_of(services.workspace, args, "channel_id")
    return channel, str(services.workspace.thread(channel, text(args, "thread_ts"))[0]["ts"])


async def set_status(services: Services, args: Json) -> Json:
    """Show what the app is doing in a thread, for two minutes at most."""
    channel, thread_ts = _thread(services, args)
    given: object = args.get("loading_messages") or []
    loading = [str(item) for item in cast("list[Any]", given)] if isinstance(given, list) else None
    if loading is None or len(loading) > LOADING_MESSAGES:
        raise SlackError("invalid_arguments")
    services.sessions.status(channel, thread_ts, text(args, "status"), loading)
    return {}


async def set_title(services: Services, args: Json) -> Json:
    """Name a thread."""
    channel, thread_ts = _thread(services, args)
    services.workspace.titles[channel.id, thread_ts] = text(args, "title")
    return {}


async def set_prompts(services: Services, args: Json) -> Json:
    """Offer prompts in the direct message with the app."""
    channel_of(services.workspace, args, "channel_id")
    given: object = args.get("prompts")
    prompts = dicts(given)
    whole = all(p.get("title") and p.get("message") for p in prompts) and prompts == given
    if not 1 <= len(prompts) <= PROMPTS or not whole:
        raise SlackError("invalid_arguments")
    services.workspace.prompts = [{"title": str(p["title"]), "message": str(p["message"])} for p in prompts]
    services.workspace.prompts_title = text(args, "title")
    services.hub.tell_all({"type": "channels"})
    return {}


async def set_session(services: Services, args: Json) -> Json:
    """Set the state of an agent session, which the thread shows; processing brings the Stop button."""
    channel = channel_of(services.workspace, args, "channel_id")
    status, title = text(args, "status"), text(args, "title")
    if status not in SESSION_STATUS or len(title) > TITLE:
        raise SlackError("invalid_arguments")
    _, thread_ts = _thread(services, args)
    session = services.sessions.set(
        channel, thread_ts, status, title=title or None, initiator=text(args, "initiator_user_id") or None
    )
    answer: Json = {"status": session.status, "agent_status": session.status, "title": session.title}
    if "agent_session_stopped" not in services.events.subscriptions:
        answer |= {"warning": _UNHEARD, "response_metadata": {"warnings": [_UNHEARD]}}
    return answer


async def rename_session(services: Services, args: Json) -> Json:
    """Change the title of an agent session."""
    title = text(args, "title")
    if not 1 <= len(title) <= TITLE:
        raise SlackError("invalid_arguments")
    channel, thread_ts = _thread(services, args)
    session = services.sessions.rename(channel, thread_ts, title)
    return {"title": session.title, "status": session.status}


METHODS = {
    "assistant.threads.setStatus": set_status,
    "assistant.threads.setTitle": set_title,
    "assistant.threads.setSuggestedPrompts": set_prompts,
    "agents.sessions.setStatus": set_session,
    "agents.sessions.rename": rename_session,
}
