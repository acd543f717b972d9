"""`secondkey tool call`: one call from the shell, through allowlist, validation, facts, policy and sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.broker import Broker
from agent.domain import Principal, Tier
from agent.errors import (
    BadArguments,
    HostNotAllowed,
    PreviewMismatch,
    SandboxUnavailable,
    SecretInArguments,
    SecretNotAllowed,
    ToolError,
    ToolNotAllowed,
    ToolTimedOut,
)
from agent.policy import load_policy
from agent.proposing import first_problem
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.landlock import Landlock
from agent.sandbox.none import NoSandbox
from agent.sandbox.select import choose
from agent.secrets import find_secret, redact, redacted
from agent.tools.base import ToolContext
from agent.tools.databases import named_databases
from agent.tools.egress import Egress
from agent.tools.http import HttpRequest
from agent.tools.mcp import McpTool
from agent.tools.own import load_tools
from agent.tools.packages import load_packages
from agent.tools.registry import Registry, default_tools
from agent.workspace import Workspace
from bot.checks import known_secrets
from bot.cli_mcp import servers_of, trusted_tools
from bot.config import Settings

DONE, FAILED, REFUSED, NEEDS_A_PERSON = 0, 1, 3, 4
_REFUSALS = (
    BadArguments, HostNotAllowed, PreviewMismatch, SandboxUnavailable, SecretInArguments, SecretNotAllowed,
    ToolNotAllowed,
)  # fmt: skip
_SANDBOXES = {"bubblewrap": (Bubblewrap, lambda: Bubblewrap(masked_proc=True)), "landlock": (Landlock,)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    tool: str
    arguments: str
    workspace: Path
    approved: bool = False
    sandbox: str = ""
    """`bubblewrap`, `landlock` or `none`; the best that works when empty."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it."""

    code: int
    outcome: str
    tier: str = ""
    reasons: tuple[str, ...] = ()
    text: str = ""
    error: str = ""
    data: Any = None


def call(settings: Settings, wanted: Wanted, *, as_json: bool) -> int:
    """Make the call and print what came of it: 0 done, 1 failed, 3 refused, 4 needs a person."""
    told, cover = asyncio.run(_call(settings, wanted))
    if as_json:
        body = {"code": told.code, "outcome": told.outcome, "tier": told.tier, "reasons": list(told.reasons)}
        body |= {"text": told.text, "error": told.error, "data": told.data}
        sys.stdout.write(json.dumps(cover(body)) + "\n")
    else:
        lines = [f"{told.outcome}{f' ({told.tier})' if told.tier else ''}", *told.reasons, told.text, told.error]
        sys.stdout.write("\n".join(str(cover(line)) for line in lines if line) + "\n")
    return told.code


async def _call(settings: Settings, wanted: Wanted) -> tuple[Told, Any]:
    with tempfile.TemporaryDirectory(prefix="secondkey-call-") as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)  # a server's program may not be root's
        return await _call_in(settings, wanted, Path(folder) / "workspace")


async def _call_in(settings: Settings, wanted: Wanted, root: Path) -> tuple[Told, Any]:
    environment = dict(os.environ)
    broker, egress = Broker(settings.secrets, environment), Egress(settings.egress)

    def cover(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        known = {**known_secrets(settings, environment), **broker.known}
        return redacted(value, lambda text: redact(text, known))

    http = (HttpRequest(egress=egress, broker=broker),) if egress else ()
    packages = load_packages(settings.python_packages) if settings.python_packages is not None else None
    databases = named_databases(settings.databases, broker)
    registry = Registry(
        (*default_tools(databases, packages), *http, *load_tools(settings.tools)), timeouts=settings.tool_timeouts
    )
    policy = load_policy(settings.policy)
    context = ToolContext(
        run="shell",
        workspace=root,
        project=wanted.workspace.resolve(),
        sandbox=NoSandbox(),
        databases=databases,
        max_files=policy.limits.max_files,
        egress=egress,
        broker=broker,
    )
    servers = servers_of(settings, broker, root.parent)
    registry.extend(servers.tools(trusted_tools(settings)))
    try:
        tool = registry.get(wanted.tool)
        if not context.project.is_dir():
            raise BadArguments(f"{wanted.workspace} is not a folder.")
        if tool.name == "apply_changes":
            raise ToolNotAllowed("Here the workspace is the folder itself, so there is nothing to put into it.")
        await Workspace(context.workspace, context.project).adopt()
        if tool.needs_sandbox:
            context = replace(context, sandbox=await _sandbox(wanted.sandbox))
        if isinstance(tool, McpTool):
            servers.sandbox = await _sandbox(wanted.sandbox)
        given = _read(wanted.arguments)
        if kind := find_secret(wanted.arguments, broker.known):
            raise SecretInArguments(f"The arguments hold what looks like {kind}; write secret:NAME instead.")
        arguments = await tool.bind(tool.parse(given), context)
        facts = await tool.facts(arguments, context)
        preview = await tool.preview(arguments, context)
        who = Principal(kind="local", user=str(os.getuid()))
        risk = policy.rate(
            tool.name, arguments.model_dump(mode="json"), facts, who, read_only=tool.read_only
        )  # fmt: skip
        reasons = tuple(f"{reason.rule}: {reason.text}" for reason in risk.reasons)
        if risk.tier is Tier.HIGH or (risk.tier is Tier.MEDIUM and not wanted.approved):
            shown = preview.text or tool.headline(arguments, preview)
            return Told(NEEDS_A_PERSON, "needs a person", risk.tier.value, reasons, text=shown), cover
        async with asyncio.timeout(tool.timeout_s):
            result = await tool.run(arguments, context, preview)
        outcome = ("done", DONE) if result.ok else ("failed", FAILED)
        return Told(outcome[1], outcome[0], risk.tier.value, reasons, result.text, data=result.data), cover
    except ValidationError as error:
        return Told(REFUSED, "refused", error=first_problem(error)), cover
    except _REFUSALS as error:
        return Told(REFUSED, "refused", error=f"{error} ({error.code})"), cover
    except (TimeoutError, ToolTimedOut) as error:
        return Told(FAILED, "timed out", error=str(error) or "It took longer than its limit."), cover
    except ToolError as error:
        return Told(FAILED, "failed", error=f"{error} ({error.code})"), cover
    finally:
        await servers.close()


async def _sandbox(name: str) -> Any:  # noqa: ANN401 - a Sandbox
    if name == "none":
        return NoSandbox()
    return await choose([make() for make in _SANDBOXES[name]] if name else None)


def _read(text: str) -> Mapping[str, Any]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadArguments("The arguments are no JSON.") from error
    if not isinstance(given, dict):
        raise BadArguments("The arguments are no JSON object.")
    return given  # pyright: ignore[reportUnknownVariableType]  # JSON as it was written
