"""User groups: made, changed and disabled by people, and told to the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.clock import Clock, Ids
    from simulator.events import Events
    from simulator.people import Json
    from simulator.workspace import Workspace


class Groups:
    """Changes user groups; the workspace holds them."""

    def __init__(self, *, workspace: Workspace, events: Events, clock: Clock, ids: Ids) -> None:
        self._workspace = workspace
        self._events = events
        self._clock = clock
        self._ids = ids

    def change(self, body: Json) -> Json:
        """Make or change a group by `handle` or `id`: `name`, `users`, `disabled`. Raises `user_not_found`."""
        here, now = self._workspace, int(self._clock.now())
        handle = str(body.get("handle") or "").removeprefix("@")
        group = next((g for g in here.usergroups.values() if body.get("id") == g["id"] or handle == g["handle"]), None)
        is_new = group is None
        if group is None:
            if not handle:
                raise SlackError("invalid_arguments")
            group = self._made(handle, now)
            here.usergroups[group["id"]] = group
        before = list(group["users"])
        if "users" in body:
            users = cast("list[Any]", body["users"]) if isinstance(body["users"], list) else []
            group["users"] = [here.person(str(user)).id for user in users]
            group["user_count"] = len(group["users"])
        group["name"] = str(body.get("name") or group["name"])
        if "disabled" in body:
            group["date_delete"] = now if body["disabled"] else 0
        group["date_update"] = now
        self._tell(group, before, is_new=is_new)
        return group

    def _made(self, handle: str, now: int) -> Json:
        return {
            "id": self._ids.new("S"),
            "team_id": self._workspace.team.id,
            "name": handle.title(),
            "handle": handle,
            "users": [],
            "user_count": 0,
            "date_create": now,
            "date_update": now,
            "date_delete": 0,
        }

    def _tell(self, group: Json, before: list[str], *, is_new: bool) -> None:
        ts = self._workspace.next_ts()
        kind = "subteam_created" if is_new else "subteam_updated"
        self._events.emit({"type": kind, "subteam": group | {"is_usergroup": True}, "event_ts": ts})
        added = [user for user in group["users"] if user not in before]
        removed = [user for user in before if user not in group["users"]]
        if is_new or not (added or removed):
            return
        self._events.emit(
            {
                "type": "subteam_members_changed",
                "subteam_id": group["id"],
                "team_id": group["team_id"],
                "date_update": group["date_update"],
                "added_users": added,
                "added_users_count": len(added),
                "removed_users": removed,
                "removed_users_count": len(removed),
                "event_ts": ts,
            }
        )
