"""The payloads of interactions, with the fields that Slack sends."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from simulator.blocks import STATE, as_dict, shown, state_of
from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.people import Json, Person
    from simulator.services import Services
    from simulator.workspace import Channel

#: what a page may say about an element beyond the element itself
_ENTERED: Final = frozenset(field for field, _ in STATE.values()) | {"value"}


def base(services: Services, person: Person, kind: str) -> Json:
    """Return what every interaction says: who, where, for which app."""
    here = services.workspace
    domain = here.team.domain if person.team_id == here.team.id else "elsewhere"
    return {
        "type": kind,
        "user": {"id": person.id, "username": person.name, "name": person.name, "team_id": person.team_id},
        "api_app_id": here.app.id,
        "token": here.app.verification_token,
        "team": {"id": person.team_id, "domain": domain},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def command(services: Services, person: Person, channel: Channel, name: str, text: str) -> Json:
    """Return the form of a slash command."""
    here = services.workspace
    return {
        "token": here.app.verification_token,
        "team_id": person.team_id,
        "team_domain": here.team.domain if person.team_id == here.team.id else "elsewhere",
        "channel_id": channel.id,
        "channel_name": "directmessage" if channel.is_im else channel.name,
        "user_id": person.id,
        "user_name": person.name,
        "command": name,
        "text": text,
        "api_app_id": here.app.id,
        "is_enterprise_install": "false",
        "response_url": response_url(services, person, channel),
        "trigger_id": services.rights.trigger(person.id),
    }


def response_url(services: Services, person: Person, channel: Channel, message: Json | None = None) -> str:
    """Return a new response URL for an interaction."""
    source = message or {}
    token = services.rights.response_url(
        person.id, channel.id, source_ts=source.get("ts"), thread_ts=source.get("thread_ts")
    )
    return f"{services.url}/response/{token}"


def action(block: Json, element: Json, given: Json, action_ts: str) -> Json:
    """Return one entry of `actions`: the element, and what the person chose."""
    if element.get("type") == "feedback_buttons":
        return _feedback(block, element, given, action_ts)
    shape: Json = {key: element[key] for key in ("type", "action_id", "text", "value", "style") if key in element}
    chosen = {key: value for key, value in given.items() if key in _ENTERED and value is not None}
    if element.get("type") in {"button", "icon_button"}:
        chosen.pop("value", None)
    shape |= chosen
    return shape | {"block_id": block["block_id"], "action_ts": action_ts}


def _feedback(block: Json, element: Json, given: Json, action_ts: str) -> Json:
    sides = [as_dict(element.get("positive_button")), as_dict(element.get("negative_button"))]
    pressed = next((side for side in sides if side.get("value") == given.get("value")), None)
    if pressed is None:
        raise SlackError("no_such_action")
    shape: Json = {"type": "feedback_buttons", "action_id": element["action_id"], "block_id": block["block_id"]}
    return shape | {"value": pressed["value"], "text": pressed.get("text"), "action_ts": action_ts}


def message_action(
    services: Services, person: Person, channel: Channel, message: Json, *, one_action: Json, state: Json
) -> Json:
    """Return `block_actions` for an element in a message."""
    ephemeral = bool(message.get("ephemeral"))
    seen = {key: value for key, value in copy.deepcopy(message).items() if key not in {"channel", "ephemeral"}}
    container: Json = {
        "type": "message",
        "message_ts": message["ts"],
        "channel_id": channel.id,
        "is_ephemeral": ephemeral,
    }
    if message.get("thread_ts"):
        container["thread_ts"] = message["thread_ts"]
    values = state_of(shown(message))
    for block_id, entries in state.items():
        values.setdefault(block_id, {}).update(entries)
    return base(services, person, "block_actions") | {
        "container": container,
        "trigger_id": services.rights.trigger(person.id),
        "channel": {"id": channel.id, "name": "directmessage" if channel.is_im else channel.name},
        "message": seen,
        "state": {"values": values},
        "response_url": response_url(services, person, channel, message),
        "actions": [one_action],
    }


def shortcut(services: Services, person: Person, callback_id: str) -> Json:
    """Return `shortcut`, of a global shortcut."""
    return base(services, person, "shortcut") | {
        "callback_id": callback_id,
        "trigger_id": services.rights.trigger(person.id),
        "action_ts": services.workspace.next_ts(),
    }


def message_shortcut(services: Services, person: Person, callback_id: str, channel: Channel, message: Json) -> Json:
    """Return `message_action`, of a shortcut in the menu of a message."""
    seen = {key: value for key, value in copy.deepcopy(message).items() if key != "channel"}
    return base(services, person, "message_action") | {
        "callback_id": callback_id,
        "trigger_id": services.rights.trigger(person.id),
        "action_ts": services.workspace.next_ts(),
        "message_ts": message["ts"],
        "channel": {"id": channel.id, "name": "directmessage" if channel.is_im else channel.name},
        "message": seen,
        "response_url": response_url(services, person, channel, message),
    }


def view_action(services: Services, person: Person, view: Json, one_action: Json) -> Json:
    """Return `block_actions` for an element in a view."""
    return base(services, person, "block_actions") | {
        "container": {"type": "view", "view_id": view["id"]},
        "trigger_id": services.rights.trigger(person.id, view["id"]),
        "view": copy.deepcopy(view),
        "actions": [one_action],
    }


def view_submission(services: Services, person: Person, view: Json) -> Json:
    """Return `view_submission`."""
    return base(services, person, "view_submission") | {
        "trigger_id": services.rights.trigger(person.id, view["id"]),
        "view": copy.deepcopy(view),
        "response_urls": [],
    }


def view_closed(services: Services, person: Person, view: Json, *, is_cleared: bool) -> Json:
    """Return `view_closed`."""
    return base(services, person, "view_closed") | {"view": copy.deepcopy(view), "is_cleared": is_cleared}
