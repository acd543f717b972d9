"""Slack's limits on text objects and on the elements inside blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from simulator.blocks import as_dict, dicts

if TYPE_CHECKING:
    from simulator.people import Json

#: takes a place and what is wrong there
Problems = Callable[[str, str], None]


def check_text(value: object, most: int, *, at: str, problem: Problems, plain: bool = False) -> None:
    """Report a text object that is missing, empty, too long or of the wrong type."""
    if not isinstance(value, dict):
        problem(at, f"missing required field: {at.rsplit('/', 1)[-1]}")
        return
    shape = cast("Json", value)
    kinds = {"plain_text"} if plain else {"plain_text", "mrkdwn"}
    if shape.get("type") not in kinds:
        problem(f"{at}/type", f"must be {' or '.join(sorted(kinds))}")
    text = shape.get("text")
    if not isinstance(text, str) or not text:
        problem(f"{at}/text", "must be more than 0 characters")
    elif len(text) > most:
        problem(f"{at}/text", f"must be less than {most + 1} characters")


def check_element(value: object, *, at: str, problem: Problems) -> None:
    """Report what is wrong with an element of a block."""
    where = f"{at}/" if at else ""
    if not isinstance(value, dict):
        problem(at, "missing required field: element")
        return
    shape = cast("Json", value)
    kind = shape.get("type")
    check = ELEMENTS.get(kind) if isinstance(kind, str) else None
    if check is None:
        problem(f"{where}type", f"unsupported type: {kind}")
        return
    _length(shape, "action_id", 255, where, problem)
    if shape.get("placeholder") is not None:
        check_text(shape["placeholder"], 150, plain=True, at=f"{where}placeholder", problem=problem)
    if shape.get("confirm") is not None:
        _confirm(shape["confirm"], f"{where}confirm", problem)
    check(shape, where, problem)


def _length(shape: Json, key: str, most: int, where: str, problem: Problems) -> None:
    value = shape.get(key)
    if value is None:
        return
    if not isinstance(value, str):
        problem(f"{where}{key}", "must be a string")
    elif len(value) > most:
        problem(f"{where}{key}", f"must be less than {most + 1} characters")


def _confirm(value: object, at: str, problem: Problems) -> None:
    shape = cast("Json", value) if isinstance(value, dict) else {}
    check_text(shape.get("title"), 100, plain=True, at=f"{at}/title", problem=problem)
    check_text(shape.get("text"), 300, at=f"{at}/text", problem=problem)
    for key in ("confirm", "deny"):
        if shape.get(key) is not None:
            check_text(shape[key], 30, plain=True, at=f"{at}/{key}", problem=problem)


def _button(shape: Json, where: str, problem: Problems) -> None:
    check_text(shape.get("text"), 75, plain=True, at=f"{where}text", problem=problem)
    _length(shape, "value", 2000, where, problem)
    _length(shape, "url", 3000, where, problem)
    if shape.get("style") not in {None, "primary", "danger"}:
        problem(f"{where}style", "must be primary or danger")


def _image(shape: Json, where: str, problem: Problems) -> None:
    if not shape.get("image_url") and not shape.get("slack_file"):
        problem(f"{where}image_url", "missing required field: image_url")
    if not shape.get("alt_text"):
        problem(f"{where}alt_text", "missing required field: alt_text")
    _length(shape, "image_url", 3000, where, problem)
    _length(shape, "alt_text", 2000, where, problem)


def _options(shape: Json, where: str, problem: Problems, *, most: int = 100) -> None:
    options = shape.get("options")
    if options is None and shape.get("option_groups"):
        for index, group in enumerate(dicts(shape["option_groups"])):
            _options(group, f"{where}option_groups/{index}/", problem, most=most)
        return
    if not isinstance(options, list) or not options:
        problem(f"{where}options", "must contain at least 1 item")
        return
    items = cast("list[Any]", options)
    if len(items) > most:
        problem(f"{where}options", f"no more than {most} items allowed")
    for index, option in enumerate(dicts(items)):
        at = f"{where}options/{index}/"
        check_text(option.get("text"), 75, at=f"{at}text", problem=problem)
        _length(option, "value", 150, at, problem)


def _few_options(shape: Json, where: str, problem: Problems) -> None:
    _options(shape, where, problem, most=10)


def _overflow(shape: Json, where: str, problem: Problems) -> None:
    _options(shape, where, problem, most=5)


def _text_input(shape: Json, where: str, problem: Problems) -> None:
    most = shape.get("max_length")
    if most is not None and not (isinstance(most, int) and 1 <= most <= 3000):  # noqa: PLR2004  Slack's limit, named once
        problem(f"{where}max_length", "must be between 1 and 3000")
    _length(shape, "initial_value", 3000, where, problem)


def _feedback(shape: Json, where: str, problem: Problems) -> None:
    for key in ("positive_button", "negative_button"):
        side = as_dict(shape.get(key))
        check_text(side.get("text"), 75, plain=True, at=f"{where}{key}/text", problem=problem)
        if not side.get("value"):
            problem(f"{where}{key}/value", "must be more than 0 characters")
        _length(side, "value", 2000, f"{where}{key}/", problem)


def _icon_button(shape: Json, where: str, problem: Problems) -> None:
    check_text(shape.get("text"), 75, plain=True, at=f"{where}text", problem=problem)
    _length(shape, "value", 2000, where, problem)
    if not shape.get("icon"):
        problem(f"{where}icon", "missing required field: icon")


def _free(_shape: Json, _where: str, _problem: Problems) -> None:
    """Let an element through that has no limits of its own."""


ELEMENTS: Final[Mapping[str, Callable[[Json, str, Problems], None]]] = {
    "button": _button,
    "image": _image,
    "static_select": _options,
    "multi_static_select": _options,
    "radio_buttons": _few_options,
    "checkboxes": _few_options,
    "overflow": _overflow,
    "plain_text_input": _text_input,
    "feedback_buttons": _feedback,
    "icon_button": _icon_button,
    **dict.fromkeys(
        (
            "number_input",
            "email_text_input",
            "url_text_input",
            "rich_text_input",
            "file_input",
            "external_select",
            "multi_external_select",
            "users_select",
            "multi_users_select",
            "conversations_select",
            "multi_conversations_select",
            "channels_select",
            "multi_channels_select",
            "datepicker",
            "timepicker",
            "datetimepicker",
            "workflow_button",
        ),
        _free,
    ),
}
