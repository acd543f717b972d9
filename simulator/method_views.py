"""Web API: views.* and blocks.validate."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from simulator.arguments import text
from simulator.blocks import as_dict
from simulator.errors import SlackError
from simulator.limits import MESSAGE_BLOCKS, block_problems, check_message, check_view

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services


async def open_view(services: Services, args: Json) -> Json:
    """Open a modal for whoever made the trigger."""
    shape = check_view(args.get("view"))
    trigger = services.rights.use_trigger(_trigger_id(args))
    view = services.views.open(trigger.user, shape)
    return _shown(services, trigger.user, "view_opened", view)


async def push_view(services: Services, args: Json) -> Json:
    """Put a modal on top of the one in which the trigger was made."""
    shape = check_view(args.get("view"))
    trigger = services.rights.use_trigger(_trigger_id(args))
    view = services.views.push(trigger.user, shape)
    return _shown(services, trigger.user, "view_pushed", view)


async def update_view(services: Services, args: Json) -> Json:
    """Change an open modal, if its hash is still the given one."""
    user, view = services.views.find(text(args, "view_id"), text(args, "external_id") or None)
    shape = check_view(args.get("view"), home=view["type"] == "home")
    services.views.update(view, shape, text(args, "hash") or None)
    return _shown(services, user, "view_updated", view)


async def publish_view(services: Services, args: Json) -> Json:
    """Set a person's App Home."""
    shape = check_view(args.get("view"), home=True)
    user = services.workspace.person(text(args, "user_id")).id
    view = services.views.publish(user, shape, text(args, "hash") or None)
    return _shown(services, user, "home_published", view)


async def validate_blocks(_services: Services, args: Json) -> Json:
    """Say whether blocks, a message or a view would be taken."""
    if args.get("view") is not None:
        check_view(args["view"], home=as_dict(args["view"]).get("type") == "home")
    elif isinstance(args.get("message"), dict):
        check_message(args["message"])
    else:
        problems = block_problems(args.get("blocks"), most=MESSAGE_BLOCKS)
        if problems:
            raise SlackError("invalid_blocks", errors=problems, response_metadata={"messages": problems})
    return {}


def _trigger_id(args: Json) -> str:
    trigger_id = text(args, "trigger_id")
    if not trigger_id:
        raise SlackError("invalid_arguments")
    return trigger_id


def _shown(services: Services, user: str, push: str, view: Json) -> Json:
    shown = copy.deepcopy(view)
    services.hub.tell([user], {"type": push, "view": shown})
    return {"view": shown}


METHODS = {
    "views.open": open_view,
    "views.push": push_view,
    "views.update": update_view,
    "views.publish": publish_view,
    "blocks.validate": validate_blocks,
}
