"""Web API: who and where we are, users and groups, assistant threads and agent sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.arguments import channel_of, flag, page, text
from simulator.blocks import dicts
from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services

SESSION_STATUS: Final = {"processing": "is working…", "active": "", "suspended": "is waiting for people", "closed": ""}
PROMPTS: Final = 4


async def api_test(_services: Services, args: Json) -> Json:
    """Return the arguments, or the error asked for."""
    if args.get("error"):
        raise SlackError(text(args, "error"))
    return {"args": {key: value for key, value in args.items() if key != "token"}}


async def auth_test(services: Services, _args: Json) -> Json:
    """Say whose token this is."""
    here = services.workspace
    return {
        "url": f"{services.url}/",
        "team": here.team.name,
        "user": here.people[here.app.user_id].name,
        "team_id": here.team.id,
        "user_id": here.app.user_id,
        "bot_id": here.app.bot_id,
        "is_enterprise_install": False,
    }


async def open_connection(services: Services, _args: Json) -> Json:
    """Return the address of a new socket."""
    link = services.url.replace("http", "ws", 1)
    return {"url": f"{link}/link?ticket={services.sockets.ticket()}&app_id={services.workspace.app.id}"}


async def user_info(services: Services, args: Json) -> Json:
    """Describe a person."""
    return {"user": services.workspace.person(text(args, "user")).as_user()}


async def list_users(services: Services, args: Json) -> Json:
    """List the people."""
    items, cursor = page([p.as_user() for p in services.workspace.people.values()], args, default=200)
    return {"members": items, "cache_ts": int(services.clock.now()), "response_metadata": {"next_cursor": cursor}}


async def list_groups(services: Services, args: Json) -> Json:
    """List the user groups."""
    groups: list[Json] = []
    for group in services.workspace.usergroups.values():
        users = {"users": group["users"]} if flag(args, "include_users") else {}
        groups.append({key: value for key, value in group.items() if key != "users"} | users)
    return {"usergroups": groups}


async def group_users(services: Services, args: Json) -> Json:
    """List who is in a user group."""
    group = services.workspace.usergroups.get(text(args, "usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group["users"])}


async def bot_info(services: Services, args: Json) -> Json:
    """Describe the bot."""
    app = services.workspace.app
    if text(args, "bot", app.bot_id) != app.bot_id:
        raise SlackError("bot_not_found")
    shape = {"id": app.bot_id, "app_id": app.id, "user_id": app.user_id, "name": app.name}
    return {"bot": shape | {"deleted": False, "updated": 0}}


async def team_info(services: Services, _args: Json) -> Json:
    """Describe the workspace."""
    team = services.workspace.team
    return {"team": {"id": team.id, "name": team.name, "domain": team.domain}}


async def set_status(services: Services, args: Json) -> Json:
    """Show what the app is doing in a thread."""
    channel = channel_of(services.workspace, args, "channel_id")
    thread = services.workspace.thread(channel, text(args, "thread_ts"))
    services.posting.status(channel, thread[0]["ts"], text(args, "status"))
    return {}


async def set_title(services: Services, args: Json) -> Json:
    """Name a thread."""
    channel = channel_of(services.workspace, args, "channel_id")
    services.workspace.thread(channel, text(args, "thread_ts"))
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
    services.hub.tell_all({"type": "channels"})
    return {}


async def set_session(services: Services, args: Json) -> Json:
    """Set the state of an agent session, which the thread shows."""
    channel = channel_of(services.workspace, args, "channel_id")
    status = text(args, "status")
    if status not in SESSION_STATUS:
        raise SlackError("invalid_arguments")
    thread_ts = text(args, "thread_ts")
    if thread_ts:
        thread_ts = services.workspace.thread(channel, thread_ts)[0]["ts"]
    services.sessions[channel.id, thread_ts] = {"status": status, "title": args.get("title")}
    services.posting.session(channel, thread_ts, SESSION_STATUS[status])
    return {"session": {"channel_id": channel.id, "thread_ts": thread_ts, "status": status}}


METHODS = {
    "api.test": api_test,
    "auth.test": auth_test,
    "apps.connections.open": open_connection,
    "users.info": user_info,
    "users.list": list_users,
    "usergroups.list": list_groups,
    "usergroups.users.list": group_users,
    "bots.info": bot_info,
    "team.info": team_info,
    "assistant.threads.setStatus": set_status,
    "assistant.threads.setTitle": set_title,
    "assistant.threads.setSuggestedPrompts": set_prompts,
    "agents.sessions.setStatus": set_session,
}
