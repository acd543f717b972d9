"""The command lines of `secondkey run`, `replay`, `trace`, `backup`, `restore` and `migrate`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # commands import what they need, so that each starts fast
    from bot.config import Settings

_RUN = """\
Without Slack: the same driver, policy, gate, sandbox and journal, in the configured database. What is medium is asked
at the prompt, and your yes is journalled as self_approved where the policy allows that (people.self_approve). What is
high is never run: you are told what to do, and say done, hand it back, or abort. Where nobody can be asked (no
terminal, --json, --auto-deny) everything that needs a yes is denied. While a server or another terminal drives the
runs of the data folder it is refused; --data names another folder. Ctrl-C ends the run cleanly, a second one kills it.
"""
_CODES = "Ends with 0 completed, 1 partly done or failed, 2 configuration, 3 ended for want of a yes, 130 stopped."


def add_local(commands: Any) -> None:  # noqa: ANN401  # argparse has no public name for it
    """Add them to the command line."""
    run = commands.add_parser("run", help="do a task here, without Slack", description=_RUN, epilog=_CODES)
    run.add_argument("task", metavar="TASK", help="what to do; - reads it from standard input")
    run.add_argument("--json", action="store_true", help="JSON Lines: every event, and the result as the last object")
    run.add_argument("--auto-deny", action="store_true", help="deny whatever needs a yes instead of asking")
    run.add_argument("--project", type=Path, metavar="DIR", help="the project to work on (default: `project`)")
    run.add_argument("--workspace", type=Path, metavar="DIR", help="keep the run's copy of the project in this folder")
    run.add_argument("--data", type=Path, metavar="DIR", help="folder of database and workspaces (default: `data`)")
    run.set_defaults(run=_run)

    trace = commands.add_parser(
        "trace",
        help="a run's tree: steps, calls, waits and decisions, with times, tokens and cost",
        description="From the journal: needs neither a server nor a collector. Waits are in business time.",
    )
    trace.add_argument("run_id", metavar="RUN", help="a run's id, or the beginning of one")
    trace.add_argument("--json", action="store_true", help="print JSON")
    trace.set_defaults(run=_trace)
    for parser in (run, trace):
        _config(parser)


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="configuration file (default: secondkey.toml)")


def _settings(arguments: argparse.Namespace) -> Settings:
    from bot.config import load_settings  # noqa: PLC0415  # as at the top

    return load_settings(arguments.config, dict(os.environ))


def _run(arguments: argparse.Namespace) -> int:
    from bot import cli_run  # noqa: PLC0415  # as at the top

    wanted = cli_run.Wanted(
        task=arguments.task,
        as_json=arguments.json,
        auto_deny=arguments.auto_deny,
        workspace=arguments.workspace,
        project=arguments.project,
        data=arguments.data,
    )
    return cli_run.run(_settings(arguments), dict(os.environ), wanted)


def _trace(arguments: argparse.Namespace) -> int:
    from bot import cli_trace  # noqa: PLC0415  # as at the top

    return cli_trace.trace(_settings(arguments), arguments.run_id, dict(os.environ), as_json=arguments.json)
