"""Block Kit as data: walking blocks, filling in ids, reading and keeping the state of inputs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, cast

from simulator.errors import SlackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulator.clock import Ids
    from simulator.people import Json

#: for each kind of element: the field its state stands in and the field of its initial state
STATE: Final[Mapping[str, tuple[str, str]]] = {
    "plain_text_input": ("value", "initial_value"),
    "number_input": ("value", "initial_value"),
    "email_text_input": ("value", "initial_value"),
    "url_text_input": ("value", "initial_value"),
    "rich_text_input": ("rich_text_value", "initial_value"),
    "static_select": ("selected_option", "initial_option"),
    "external_select": ("selected_option", "initial_option"),
    "radio_buttons": ("selected_option", "initial_option"),
    "checkboxes": ("selected_options", "initial_options"),
    "multi_static_select": ("selected_options", "initial_options"),
    "users_select": ("selected_user", "initial_user"),
    "multi_users_select": ("selected_users", "initial_users"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "multi_conversations_select": ("selected_conversations", "initial_conversations"),
    "channels_select": ("selected_channel", "initial_channel"),
    "multi_channels_select": ("selected_channels", "initial_channels"),
    "multi_external_select": ("selected_options", "initial_options"),
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "datetimepicker": ("selected_date_time", "initial_date_time"),
}


def dicts(value: object) -> list[Json]:
    """Return the objects of a list, and nothing else."""
    items: list[Any] = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("Json", item) for item in items if isinstance(item, dict)]


def elements(blocks: object) -> Iterator[tuple[Json, Json]]:
    """Yield every interactive or input element together with its block."""
    for block in dicts(blocks):
        kind = block.get("type")
        if kind in {"actions", "context_actions"}:
            for element in dicts(block.get("elements")):
                yield block, element
        elif kind == "section" and isinstance(block.get("accessory"), dict):
            yield block, block["accessory"]
        elif kind == "input" and isinstance(block.get("element"), dict):
            yield block, block["element"]
        elif kind in {"container", "card"}:
            yield from elements(block.get("child_blocks") or block.get("blocks") or block.get("elements"))
            yield from ((block, action) for action in dicts(block.get("actions")))


def with_ids(blocks: object, ids: Ids) -> list[Json]:
    """Return a copy of blocks in which each block has a block_id and each element an action_id."""
    copied = dicts(copy.deepcopy(blocks))
    for block in copied:
        block.setdefault("block_id", ids.new("b"))
    for block, element in elements(copied):
        block.setdefault("block_id", ids.new("b"))
        if element.get("type") != "image":
            element.setdefault("action_id", ids.new("a"))
    return copied


def shown(message: Json) -> list[Json]:
    """Return all blocks of a message, those in its attachments last."""
    inside = [block for attachment in dicts(message.get("attachments")) for block in dicts(attachment.get("blocks"))]
    return dicts(message.get("blocks")) + inside


def find(blocks: object, given: Json) -> tuple[Json, Json] | None:
    """Return the block and element with the given action_id; block_id and value decide between several."""
    found = [
        (block, element)
        for block, element in elements(blocks)
        if element.get("action_id") == given.get("action_id")
        and given.get("block_id") in {None, "", block.get("block_id")}
    ]
    same_value = [pair for pair in found if pair[1].get("value") == given.get("value")]
    return next(iter(same_value or found), None)


def chosen(element: Json, given: Json) -> Json:
    """Return what a person did with an element, with options named by value looked up. Raises `no_such_option`."""
    kinds = {"static_select", "multi_static_select", "radio_buttons", "checkboxes", "overflow"}
    if element.get("type") not in kinds:
        return given
    groups = [element, *dicts(element.get("option_groups"))]
    options = {option.get("value"): option for group in groups for option in dicts(group.get("options"))}

    def option(value: Any) -> Json:  # noqa: ANN401  an option, or its value
        wanted: Any = value.get("value") if isinstance(value, dict) else value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  any JSON
        if wanted not in options:
            raise SlackError("no_such_option")
        return options[wanted]

    known = dict(given)
    if known.get("selected_option") is not None:
        known["selected_option"] = option(known["selected_option"])
    if isinstance(known.get("selected_options"), list):
        known["selected_options"] = [option(item) for item in known["selected_options"]]
    return known


def as_dict(value: object) -> Json:
    """Return the object, or an empty one if it is something else."""
    return cast("Json", value) if isinstance(value, dict) else {}


def state_of(blocks: object, before: Json | None = None) -> Json:
    """Return `state.values` of blocks: what was entered before, else what the blocks start with."""
    values: Json = {}
    for block, element in elements(blocks):
        kind = element.get("type", "")
        if kind not in STATE:
            continue
        held, initial = STATE[kind]
        block_id, action_id = block["block_id"], element["action_id"]
        kept = as_dict(as_dict(as_dict(before).get(block_id)).get(action_id))
        empty: Any = [] if held.endswith(("options", "users", "conversations", "channels")) else None
        entry: Json = kept or {"type": kind, held: element.get(initial, empty)}
        values.setdefault(block_id, {})[action_id] = entry
    return values


def entered(blocks: object, values: object, before: Json) -> Json:
    """Merge what a person entered into `state.values`; a bare value stands for the element's state."""
    merged = copy.deepcopy(before)
    given = as_dict(values)
    for block, element in elements(blocks):
        kind = element.get("type", "")
        block_id, action_id = block["block_id"], element["action_id"]
        if kind not in STATE or action_id not in as_dict(given.get(block_id)):
            continue
        value = given[block_id][action_id]
        entry: Json = cast("Json", value) if isinstance(value, dict) and "type" in value else {STATE[kind][0]: value}
        if isinstance(value, dict) and STATE[kind][0] in value:
            entry = cast("Json", value)
        merged.setdefault(block_id, {})[action_id] = {"type": kind} | entry
    return merged


def missing(blocks: object, values: Json) -> dict[str, str]:
    """Return what Slack's client says, by block_id, about inputs that are empty, too short or too long."""
    errors: dict[str, str] = {}
    for block, element in elements(blocks):
        kind = element.get("type", "")
        if block.get("type") != "input" or kind not in STATE:
            continue
        value = values.get(block["block_id"], {}).get(element["action_id"], {}).get(STATE[kind][0])
        if not value:
            if not block.get("optional"):
                errors[block["block_id"]] = "Please complete this required field."
        elif isinstance(value, str) and kind == "plain_text_input":
            least, most = element.get("min_length", 0), element.get("max_length", 3000)
            if not least <= len(value) <= most:
                errors[block["block_id"]] = f"Please enter between {least} and {most} characters."
    return errors
