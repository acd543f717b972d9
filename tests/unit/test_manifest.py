"""Hold manifest.yml to Slack's limits and to what the code under bot/ really registers and calls."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
import yaml
from slack_bolt import BoltResponse
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

from agent.domain import Principal, Task
from agent.runbooks import Runbooks
from bot.blocks.usage import USAGE, hint
from bot.config import Settings
from bot.listeners import register
from bot.listeners.commands import VERBS
from simulator.people import FUNCTIONS, SHORTCUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
BOT = ROOT / "bot"

#: Web API method → the bot scopes of which it needs at least one; an empty set is a method that any token may call.
METHOD_SCOPES: dict[str, frozenset[str]] = {
    "agents.sessions.rename": frozenset({"chat:write"}),
    "agents.sessions.setStatus": frozenset({"assistant:write"}),
    "api.test": frozenset(),
    "apps.connections.open": frozenset(),
    "apps.manifest.export": frozenset(),
    "assistant.threads.setStatus": frozenset({"assistant:write", "chat:write"}),
    "assistant.threads.setSuggestedPrompts": frozenset({"assistant:write"}),
    "assistant.threads.setTitle": frozenset({"assistant:write"}),
    "auth.test": frozenset(),
    "blocks.validate": frozenset(),
    "bots.info": frozenset({"users:read"}),
    "chat.appendStream": frozenset({"chat:write"}),
    "chat.delete": frozenset({"chat:write"}),
    "chat.getPermalink": frozenset(),
    "chat.postEphemeral": frozenset({"chat:write"}),
    "chat.postMessage": frozenset({"chat:write"}),
    "chat.startStream": frozenset({"chat:write"}),
    "chat.stopStream": frozenset({"chat:write"}),
    "chat.stream": frozenset({"chat:write"}),
    "chat.update": frozenset({"chat:write"}),
    "conversations.history": frozenset({"channels:history", "groups:history", "im:history"}),
    "conversations.info": frozenset({"channels:read", "groups:read", "im:read"}),
    "conversations.list": frozenset({"channels:read", "groups:read", "im:read"}),
    "conversations.members": frozenset({"channels:read", "groups:read", "im:read"}),
    "conversations.open": frozenset({"im:write"}),
    "conversations.replies": frozenset({"channels:history", "groups:history", "im:history"}),
    "files.info": frozenset({"files:read"}),
    "reactions.add": frozenset({"reactions:write"}),
    "reactions.remove": frozenset({"reactions:write"}),
    "usergroups.users.list": frozenset({"usergroups:read"}),
    "users.conversations": frozenset({"channels:read", "groups:read", "im:read"}),
    "users.info": frozenset({"users:read"}),
    "views.open": frozenset(),
    "views.publish": frozenset(),
    "views.push": frozenset(),
    "views.update": frozenset(),
    "functions.completeError": frozenset(),
    "functions.completeSuccess": frozenset(),
}

#: Subscribed event → the bot scopes that Slack demands for it.
EVENT_SCOPES: dict[str, frozenset[str]] = {
    "agent_session_stopped": frozenset({"assistant:write"}),
    "app_context_changed": frozenset({"assistant:write"}),
    "app_home_opened": frozenset(),
    "app_mention": frozenset({"app_mentions:read"}),
    "function_executed": frozenset(),
    "message.channels": frozenset({"channels:history"}),
    "message.groups": frozenset({"groups:history"}),
    "message.im": frozenset({"im:history"}),
    "subteam_created": frozenset({"usergroups:read"}),
    "subteam_members_changed": frozenset({"usergroups:read"}),
    "subteam_updated": frozenset({"usergroups:read"}),
}

#: The SDK's way of writing a method (`chat_postMessage`) → Slack's (`chat.postMessage`).
SDK_METHODS = {
    name: name.replace("_", ".")
    for name, value in vars(AsyncWebClient).items()
    if callable(value) and "_" in name.strip("_") and name not in {"api_call", "files_upload_v2"}
}
SLACK_METHODS = set(SDK_METHODS.values()) | set(METHOD_SCOPES)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def nodes() -> list[ast.AST]:
    """Every node of every module under bot/, docstrings left out."""
    return [node for path in sorted(BOT.rglob("*.py")) for node in ast.walk(ast.parse(path.read_text("utf-8")))]


def ast_calls(nodes: list[ast.AST]) -> Iterator[ast.Call]:
    return (node for node in nodes if isinstance(node, ast.Call))


def calls(nodes: list[ast.AST], attribute: str) -> Iterator[ast.Call]:
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == attribute:
            yield node


class Recorder:
    """Stands for Bolt's app while the listeners register: keeps what each kind of listener was registered for."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}

    def __getattr__(self, kind: str) -> Callable[..., Callable[..., None]]:
        def register_for(constraint: object = None, *_: object, **more: object) -> Callable[..., None]:
            match constraint or more:
                case str(name):
                    self.names.setdefault(kind, set()).add(name)
                case {"type": str(name)} | {"callback_id": str(name)}:
                    self.names.setdefault(kind, set()).add(name)
                case _:
                    pass  # a catch-all, or a middleware
            return lambda *_: None

        return register_for


def as_services() -> Any:
    """What the listeners look at while they register."""
    services = MagicMock()
    services.command = "/agent"
    return services


@pytest.fixture(scope="module")
def registered() -> dict[str, set[str]]:
    """Kind of listener → the names for which the bot really registers one."""
    recorder: Any = Recorder()
    register(recorder, as_services())
    return recorder.names


def taken_by(body: dict[str, Any]) -> str:
    """The module of the listener that the real Bolt app hands a payload to."""
    app = AsyncApp(name="manifest", client=AsyncWebClient(token="xoxb-none"), request_verification_enabled=False)
    register(app, as_services())
    request = AsyncBoltRequest(mode="socket_mode", body=body)

    async def first() -> str:
        for listener in app._async_listeners:
            if await listener.async_matches(req=request, resp=BoltResponse(status=200)):
                return str(getattr(listener.ack_function, "__module__", ""))
        return ""

    return asyncio.run(first())


def called_methods(nodes: list[ast.AST]) -> set[str]:
    """Web API methods called under bot/: `client.chat_update(…)`, or by name as in `"chat.update"`."""
    methods: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in SDK_METHODS:
            methods.add(SDK_METHODS[node.attr])
        elif isinstance(node, ast.Constant) and node.value in SLACK_METHODS:
            methods.add(str(node.value))
    return methods


def scopes(manifest: dict[str, Any]) -> set[str]:
    return set(manifest["oauth_config"]["scopes"]["bot"])


def events(manifest: dict[str, Any]) -> set[str]:
    return set(manifest["settings"]["event_subscriptions"]["bot_events"])


def test_display_texts_keep_within_slacks_lengths(manifest: dict[str, Any]) -> None:
    display = manifest["display_information"]
    assert 1 <= len(display["name"]) <= 35
    assert len(display["description"]) <= 140
    assert 175 <= len(display["long_description"]) <= 4000
    assert len(manifest["features"]["bot_user"]["display_name"]) <= 80


def test_the_agent_view_has_at_most_four_prompts_and_a_short_description(manifest: dict[str, Any]) -> None:
    view = manifest["features"]["agent_view"]
    assert len(view["agent_description"]) <= 300
    assert 1 <= len(view["suggested_prompts"]) <= 4
    assert all(set(prompt) == {"title", "message"} for prompt in view["suggested_prompts"])
    assert "assistant_view" not in manifest["features"]


def test_every_suggested_prompt_is_a_task_that_the_runbooks_do_without_a_model(manifest: dict[str, Any]) -> None:
    books = Runbooks.load()
    who = Principal(team="T1", user="U1")
    for prompt in manifest["features"]["agent_view"]["suggested_prompts"]:
        assert prompt["message"] in books.examples
        assert books.plan(Task(id="t1", text=prompt["message"], principal=who)) is not None


def test_people_can_write_to_the_app_in_its_messages_tab(manifest: dict[str, Any]) -> None:
    home = manifest["features"]["app_home"]
    assert home["home_tab_enabled"] is True
    assert home["messages_tab_enabled"] is True
    assert home["messages_tab_read_only_enabled"] is False


def test_commands_are_named_as_slack_allows(manifest: dict[str, Any]) -> None:
    for command in manifest["features"]["slash_commands"]:
        assert command["command"].startswith("/")
        assert command["command"] == command["command"].lower()
        assert len(command["command"]) <= 32
        assert len(command["description"]) <= 2000
        assert len(command["usage_hint"]) <= 1000
        assert command["should_escape"] is True, "mentions must arrive as ids, not as names"


def test_the_flat_manifest_format_is_used_with_socket_mode_on(manifest: dict[str, Any]) -> None:
    assert "_metadata" not in manifest
    assert manifest["settings"]["socket_mode_enabled"] is True
    assert manifest["settings"]["interactivity"]["is_enabled"] is True


def test_no_scope_or_event_stands_twice(manifest: dict[str, Any]) -> None:
    for names in (manifest["oauth_config"]["scopes"]["bot"], manifest["settings"]["event_subscriptions"]["bot_events"]):
        assert names == sorted(set(names))


def test_every_event_in_the_manifest_has_the_scope_that_slack_demands(manifest: dict[str, Any]) -> None:
    for event in events(manifest):
        assert EVENT_SCOPES[event] <= scopes(manifest), event


def test_the_manifest_subscribes_to_exactly_the_events_the_code_listens_to(
    manifest: dict[str, Any], registered: dict[str, set[str]]
) -> None:
    subscribed = {event.partition(".")[0] for event in events(manifest)}
    by_functions = {"function_executed"} if registered.get("function") else set()
    assert subscribed == registered["event"] | by_functions


def test_the_command_in_the_manifest_is_the_one_the_code_takes_and_the_default_of_the_settings(
    manifest: dict[str, Any], registered: dict[str, set[str]]
) -> None:
    commands = {command["command"] for command in manifest["features"]["slash_commands"]}
    assert commands == registered["command"] == {Settings.model_fields["command"].default}


def test_the_usage_hint_in_the_manifest_is_the_table_of_words(manifest: dict[str, Any]) -> None:
    (command,) = manifest["features"]["slash_commands"]
    assert command["usage_hint"] == hint()
    assert set(USAGE) == set(VERBS)


def test_functions_and_shortcuts_in_the_manifest_are_those_the_code_takes(
    manifest: dict[str, Any], registered: dict[str, set[str]]
) -> None:
    assert set(manifest.get("functions", {})) == registered.get("function", set())
    shortcuts = {shortcut["callback_id"] for shortcut in manifest["features"].get("shortcuts", [])}
    assert shortcuts == registered.get("shortcut", set())


def test_every_entry_of_the_manifest_reaches_a_listener_of_its_own(manifest: dict[str, Any]) -> None:
    who = {"user": {"id": "U1", "team_id": "T1"}, "team": {"id": "T1"}}
    payloads: list[dict[str, Any]] = [
        {"type": "event_callback", "event": {"type": event.partition(".")[0]}}
        for event in events(manifest)
        if event != "function_executed"
    ]
    for name in manifest["functions"]:
        executed = {"type": "function_executed", "function": {"callback_id": name}, "function_execution_id": "Fx1"}
        payloads.append({"type": "event_callback", "event": executed})
    kinds = {"message": "message_action", "global": "shortcut"}
    payloads += [
        {"type": kinds[item["type"]], "callback_id": item["callback_id"], **who}
        for item in manifest["features"]["shortcuts"]
    ]
    payloads += [{"command": item["command"], "user_id": "U1"} for item in manifest["features"]["slash_commands"]]
    for payload in payloads:
        module = taken_by(payload)
        assert module.startswith("bot."), payload
        assert module != "bot.listeners.fallback", payload


def test_functions_are_declared_in_the_flat_form_with_what_the_code_reads_and_returns(manifest: dict[str, Any]) -> None:
    function = manifest["functions"]["run_agent_task"]
    assert set(function["input_parameters"]) == {"task", "channel", "user"}
    assert set(function["output_parameters"]) == {"answer", "status", "run_id"}
    for parameters in (function["input_parameters"], function["output_parameters"]):
        for name, parameter in parameters.items():
            assert parameter["name"] == name
            assert parameter["type"] in {"string", "slack#/types/channel_id", "slack#/types/user_id"}
            assert parameter["is_required"] is True
    assert manifest["settings"]["function_runtime"] == "remote"
    assert manifest["settings"]["org_deploy_enabled"] is True  # else Slack offers no step of an app


def test_shortcuts_are_named_as_slack_allows(manifest: dict[str, Any]) -> None:
    for shortcut in manifest["features"]["shortcuts"]:
        assert shortcut["type"] in {"message", "global"}
        assert len(shortcut["name"]) <= 24
        assert len(shortcut["description"]) <= 150
        assert len(shortcut["callback_id"]) <= 255


def test_the_simulator_declares_the_same_shortcuts_and_functions(manifest: dict[str, Any]) -> None:
    ours = {(item["callback_id"], item["type"], item["name"]) for item in manifest["features"]["shortcuts"]}
    assert {(item.callback_id, item.type, item.name) for item in SHORTCUTS} == ours
    for function in FUNCTIONS:
        declared = manifest["functions"][function.callback_id]
        for theirs, kind in ((function.inputs, "input_parameters"), (function.outputs, "output_parameters")):
            assert {item.name for item in theirs} == set(declared[kind])


def test_every_message_has_words_for_notifications_and_screen_readers(nodes: list[ast.AST]) -> None:
    posts = [c for method in ("chat_postMessage", "chat_postEphemeral", "chat_update") for c in calls(nodes, method)]
    posts += [
        call
        for call in ast_calls(nodes)
        for argument in call.args
        if isinstance(argument, ast.Attribute) and argument.attr in {"chat_postMessage", "chat_update"}
    ]
    assert len(posts) >= 4
    for call in posts:
        assert "text" in {keyword.arg for keyword in call.keywords}, ast.unparse(call)


def test_every_method_the_code_calls_is_granted_by_the_manifest(manifest: dict[str, Any], nodes: list[ast.AST]) -> None:
    for method in sorted(called_methods(nodes)):
        assert method in METHOD_SCOPES, f"{method}: say in METHOD_SCOPES which scope it needs"
        needed = METHOD_SCOPES[method]
        assert not needed or needed & scopes(manifest), f"{method} needs one of {sorted(needed)}"


def test_every_scope_in_the_manifest_has_a_use_in_the_code(manifest: dict[str, Any], nodes: list[ast.AST]) -> None:
    used: set[str] = {"commands"} if manifest["features"]["slash_commands"] else set()
    for method in called_methods(nodes):
        used |= METHOD_SCOPES.get(method, frozenset())
    for event in events(manifest):
        used |= EVENT_SCOPES[event]
    assert scopes(manifest) <= used, f"asked for and never used: {sorted(scopes(manifest) - used)}"
