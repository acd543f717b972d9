"""`secondkey doctor`: looks at everything that a server needs, and says what to mend. It changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from agent.clock import SystemClock
from agent.errors import ConfigurationError
from agent.ports import Clock
from agent.sandbox.select import choose
from agent.secrets import redact
from bot.checks import known_secrets
from bot.config import Settings, load_settings
from bot.doctor.collector import look_at_collector
from bot.doctor.configured import look_at_configuration
from bot.doctor.finding import Finding, Level, Look, broken, exit_code, unknown
from bot.doctor.machine import Machine, look_at_data, look_at_sandbox
from bot.doctor.manifest import VARIABLE
from bot.doctor.models import look_at_models
from bot.doctor.store import look_at_database
from bot.doctor.workspace import look_at_slack
from bot.words import count

MARKS: Final[Mapping[Level, str]] = {"ok": "ok", "unknown": "?", "mend": "MEND", "broken": "BROKEN"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, as it was typed."""

    config: Path | None = None
    port: int | None = None
    over_http: bool = False
    offline: bool = False
    as_json: bool = False


def doctor(wanted: Wanted) -> int:
    """Look, and print what was found; 0 when all is well, 1 when something is to be mended, 2 when broken."""
    environment = dict(os.environ)
    try:
        settings = load_settings(wanted.config, environment, port=wanted.port)
    except ConfigurationError as error:
        found: Sequence[Finding] = (broken("configuration", str(error), error.fix or "Mend the file."),)
        return report(found, as_json=wanted.as_json)
    looks = looks_of(
        settings,
        environment,
        Machine(choose),
        SystemClock(),
        over_http=wanted.over_http or _only_http(settings),
        offline=wanted.offline,
    )
    known = known_secrets(settings, environment)
    found = [
        item.model_copy(update={"text": redact(item.text, known), "fix": redact(item.fix, known)})
        for item in asyncio.run(examine(looks))
    ]
    return report(found, as_json=wanted.as_json)


def _only_http(settings: Settings) -> bool:
    """Whether the tokens that are set can only be meant for signed HTTP."""
    return bool(settings.slack_signing_secret.get_secret_value()) and not settings.slack_app_token.get_secret_value()


def looks_of(
    settings: Settings,
    environment: Mapping[str, str],
    machine: Machine,
    clock: Clock,
    *,
    over_http: bool = False,
    offline: bool = False,
) -> Mapping[str, Look]:
    """Every look, by the part that it is told under when the look itself fails."""

    async def at_configuration() -> Iterable[Finding]:
        return await asyncio.to_thread(lambda: list(look_at_configuration(settings, environment)))

    async def at_data() -> Iterable[Finding]:
        return await asyncio.to_thread(lambda: list(look_at_data(settings, machine)))

    config_token = environment.get(VARIABLE, "")
    here: dict[str, Look] = {
        "configuration": at_configuration,
        "data": at_data,
        "database": partial(look_at_database, settings, clock),
        "sandbox": partial(look_at_sandbox, machine),
    }
    outside: dict[str, Look] = {
        "traces": partial(look_at_collector, settings, environment),
        "models": partial(look_at_models, settings, environment, clock),
        "slack": partial(look_at_slack, settings, clock, over_http=over_http, config_token=config_token),
    }
    return here | (_not_asked(outside) if offline else outside)


def _not_asked(looks: Iterable[str]) -> dict[str, Look]:
    async def not_asked(part: str) -> Iterable[Finding]:
        return (unknown(part, "Not asked, as you wished (--offline).", "Run it without --offline."),)

    return {part: partial(not_asked, part) for part in looks}


async def examine(looks: Mapping[str, Look]) -> tuple[Finding, ...]:
    """All that the looks find, in their order; one that fails itself is a finding and keeps no other from looking."""
    # One after the other: the sandbox's canaries must be spawned by the loop's own thread, undisturbed.
    found: list[Finding] = []
    for part, look in looks.items():
        try:
            found += list(await look())
        except Exception as error:  # noqa: BLE001  # whatever it is, the operator is to hear it with the rest
            text = f"The look itself failed ({type(error).__name__})."
            found.append(unknown(part, text, "Please report it, with what `secondkey doctor --json` prints."))
    return tuple(found)


def report(found: Sequence[Finding], *, as_json: bool) -> int:
    """Print what was found; returns the exit code."""
    code = exit_code(found)
    if as_json:
        body = {"exit_code": code, "findings": [item.model_dump() for item in found]}
        json.dump(body, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("\n".join(_plain(line) for line in _lines(found)) + "\n")
    return code


def _lines(found: Sequence[Finding]) -> Iterator[str]:
    for item in found:
        yield f"{MARKS[item.level]:7}{item.part:14}{item.text}"
        if item.fix:
            yield f"{'':21}Fix: {item.fix}"
    broke, to_mend = (sum(item.level == level for item in found) for level in ("broken", "mend"))
    if broke or to_mend:
        yield f"{count(broke, 'part')} broken, {count(to_mend, 'thing')} to mend."
    else:
        yield "All is well."


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
