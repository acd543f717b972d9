"""The app's manifest as Slack has it, beside that of this release; needs a configuration token of the app's owner."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.doctor.finding import Finding, broken, mend, unknown, well
from bot.init import manifest_text

VARIABLE = "SLACK_CONFIG_TOKEN"
ASK_S = 10.0
_LISTS = {
    "scopes": re.compile(r"^  scopes:\n    bot:\n((?:      - \S+\n)+)", re.MULTILINE),
    "events": re.compile(r"^    bot_events:\n((?:      - \S+\n)+)", re.MULTILINE),
}
_COMMAND = re.compile(r"^    - command: (\S+)$", re.MULTILINE)
_SHORTCUT = re.compile(r"^      callback_id: (\S+)$", re.MULTILINE)
_FUNCTIONS = re.compile(r"^functions:\n((?:  .*\n)+)", re.MULTILINE)
_FUNCTION = re.compile(r"^  (\w+):$", re.MULTILINE)
_PASTE = "Paste manifest.yml of this release into the app's settings (App Manifest), and reinstall the app."


@dataclass(frozen=True, slots=True)
class Manifest:
    """What of a manifest decides whether everything reaches the bot."""

    scopes: frozenset[str]
    events: frozenset[str]
    commands: frozenset[str]
    shortcuts: frozenset[str]
    functions: frozenset[str]

    @property
    def parts(self) -> Mapping[str, frozenset[str]]:
        """Each part by its name for people."""
        return {
            "scope": self.scopes,
            "event": self.events,
            "command": self.commands,
            "shortcut": self.shortcuts,
            "function": self.functions,
        }


def ours(text: str | None = None) -> Manifest:
    """The manifest of this release. It is our own file, so that these few patterns will do for reading it."""
    given = manifest_text() if text is None else text
    lists = {name: _items(found[1]) if (found := pattern.search(given)) else () for name, pattern in _LISTS.items()}
    functions = _FUNCTIONS.search(given)
    return Manifest(
        scopes=frozenset(lists["scopes"]),
        events=frozenset(lists["events"]),
        commands=frozenset(_COMMAND.findall(given)),
        shortcuts=frozenset(_SHORTCUT.findall(given)),
        functions=frozenset(_FUNCTION.findall(functions[1])) if functions else frozenset(),
    )


def _items(lines: str) -> Iterable[str]:
    return (line.strip().removeprefix("- ") for line in lines.splitlines())


def theirs(manifest: object) -> Manifest:
    """The manifest as Slack exports it; what is not as it should be counts as not there."""
    features, settings = _at(manifest, "features"), _at(manifest, "settings")
    return Manifest(
        scopes=_texts(_at(_at(_at(manifest, "oauth_config"), "scopes"), "bot")),
        events=_texts(_at(_at(settings, "event_subscriptions"), "bot_events")),
        commands=_texts(_each(_at(features, "slash_commands"), "command")),
        shortcuts=_texts(_each(_at(features, "shortcuts"), "callback_id")),
        functions=_texts(list(cast("dict[str, Any]", _at(manifest, "functions") or {}))),
    )


def _at(value: object, key: str) -> object:
    return cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None


def _each(value: object, key: str) -> list[object]:
    return [_at(item, key) for item in cast("list[object]", value)] if isinstance(value, list) else []


def _texts(value: object) -> frozenset[str]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return frozenset(item for item in items if isinstance(item, str))


async def look_at_manifest(client: AsyncWebClient, bot_id: str, token: str, *, command: str) -> tuple[Finding, ...]:
    """Compare; without a token it says what cannot be known. `command` is the configured slash command."""
    if not token:
        text = f"A bot's token cannot read events, commands, shortcuts and functions of the app; {VARIABLE} can."
        fix = f"Set {VARIABLE} to a configuration token (api.slack.com/apps), or compare App Manifest by hand."
        return (unknown("manifest", text, fix),)
    slack = cast("Any", client)  # the SDK types its methods only in part
    try:
        async with asyncio.timeout(ASK_S):
            app = (await slack.bots_info(bot=bot_id)).get("bot", {}).get("app_id", "")
            answer = await slack.apps_manifest_export(app_id=app, token=token)
        given: object = answer.get("manifest")
        manifest = theirs(json.loads(given) if isinstance(given, str) else given)
    except SlackApiError as error:
        code = str(cast("Any", error).response.get("error", "unknown"))
        return (
            unknown("manifest", f"Slack does not export it ({code}).", f"Make {VARIABLE} anew; it lasts 12 hours."),
        )
    except (SlackClientError, ClientError, TimeoutError, OSError, ValueError) as error:
        return (unknown("manifest", f"It could not be had ({type(error).__name__}).", "Run this again."),)
    return tuple(_compared(manifest, command))


def _compared(manifest: Manifest, command: str) -> Iterator[Finding]:
    wanted = ours()
    missing = [
        f"the {kind} {name}"
        for kind, names in wanted.parts.items()
        for name in sorted(names - manifest.parts[kind] - ({"/agent"} if kind == "command" else set[str]()))
    ]
    if command not in manifest.commands:
        missing.append(f"the command {command}")
    more = [
        f"the {kind} {name}"
        for kind, names in manifest.parts.items()
        for name in sorted(names - wanted.parts[kind] - {command})
    ]
    if missing:
        yield broken("manifest", f"The app's manifest lacks {', '.join(missing)}.", _PASTE)
    if more:
        yield mend("manifest", f"The app's manifest has more than is used: {', '.join(more)}.", _PASTE)
    if not missing and not more:
        yield well("manifest", "The app's manifest has what this release uses, and no more.")
