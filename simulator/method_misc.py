"""Web API: who and where we are, users and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.arguments import flag, page, text
from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services


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
    """List the user groups, disabled ones only if asked for."""
    groups: list[Json] = []
    for group in services.workspace.usergroups.values():
        if group["date_delete"] and not flag(args, "include_disabled"):
            continue
        users = {"users": group["users"]} if flag(args, "include_users") else {}
        groups.append({key: value for key, value in group.items() if key != "users"} | users)
    return {"usergroups": groups}


async def group_users(services: Services, args: Json) -> Json:
    """List who is in a user group."""
    group = services.workspace.usergroups.get(text(args, "usergroup"))
    if group is None or (group["date_delete"] and not flag(args, "include_disabled")):
        raise SlackError("no_such_subteam")
    return {"users": list(group["users"])}


async def bot_info(services: Services, args: Json) -> Json:
    """Describe the bot."""
    app = services.workspace.app
    if text(args, "bot", app.bot_id) != app.bot_id:
        raise SlackError("bot_not_found")
    shape = {"id": app.bot_id, "app_id": app.id, "user_id": app.user_id, "name": app.name}
    return {"bot": shape | {"deleted": False, "updated": 0}}


async def export_manifest(services: Services, args: Json) -> Json:
    """Return the app's manifest."""
    here = services.workspace
    if text(args, "app_id") != here.app.id or not here.manifest:
        raise SlackError("invalid_app_id")
    return {"manifest": here.manifest}


async def team_info(services: Services, _args: Json) -> Json:
    """Describe the workspace."""
    team = services.workspace.team
    return {"team": {"id": team.id, "name": team.name, "domain": team.domain}}


METHODS = {
    "api.test": api_test,
    "auth.test": auth_test,
    "apps.connections.open": open_connection,
    "apps.manifest.export": export_manifest,
    "users.info": user_info,
    "users.list": list_users,
    "usergroups.list": list_groups,
    "usergroups.users.list": group_users,
    "bots.info": bot_info,
    "team.info": team_info,
}
