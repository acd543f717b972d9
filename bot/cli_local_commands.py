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
    replay = commands.add_parser(
        "replay",
        help="a recorded run again, offline: what other prompts or another policy would change in it",
        description="Move by move, with the recorded replies and results: no model is asked, no tool runs. Shows the "
        "first request that would be another one, and in full each decision that would.",
    )
    replay.add_argument("run_id", metavar="RUN", help="a run's id, or the beginning of one")
    replay.add_argument("--policy", type=Path, metavar="FILE", help="rate by this policy (default: the configured one)")
    replay.add_argument("--prompts", type=Path, metavar="DIR", help="compare with the prompts in this folder")
    replay.add_argument("--to-scenario", type=Path, metavar="FILE", help="write it as a test scenario instead")
    replay.add_argument("--json", action="store_true", help="print JSON")
    replay.set_defaults(run=_replay)

    backup = commands.add_parser(
        "backup",
        help="save database and signed heads in one file, beside a running server",
        description="One consistent snapshot, checked before it stands there: journal, bodies, decisions, signed heads "
        "and their public key. Not in it: the private key (keep a copy apart), workspaces, configuration, secrets.",
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="file to write; only its owner may read it")
    backup.add_argument("--with-key", action="store_true", help="put the private key of the audit in, too")
    backup.add_argument("--force", action="store_true", help="overwrite the file")
    backup.set_defaults(run=_backup)

    restore = commands.add_parser(
        "restore",
        help="put a backup into the data folder",
        description="Checked before and after. Refused while a process drives the runs there. With --force what stands "
        "there is moved aside, not removed. The private key has to be in the folder already, or in the backup. If runs "
        "were under way, everything is paused afterwards.",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="a backup")
    restore.add_argument("--force", action="store_true", help="also where a database is already; it is kept aside")
    restore.add_argument("--new-key", action="store_true", help="the key is lost: sign with a new one from now on")
    restore.set_defaults(run=_restore)

    migrate = commands.add_parser(
        "migrate",
        help="bring the database to this release's schema",
        description="Says what will be done, checks before and after, and keeps a copy. `serve` does the same at its "
        "start; this is for those who want to see it first.",
    )
    migrate.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    migrate.set_defaults(run=_migrate)
    for parser in (run, trace, replay, backup, restore, migrate):
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


def _backup(arguments: argparse.Namespace) -> int:
    from bot import cli_backup  # noqa: PLC0415  # as at the top

    return cli_backup.backup(_settings(arguments), arguments.file, with_key=arguments.with_key, force=arguments.force)


def _restore(arguments: argparse.Namespace) -> int:
    from bot import cli_backup  # noqa: PLC0415  # as at the top

    return cli_backup.restore(_settings(arguments), arguments.file, force=arguments.force, new_key=arguments.new_key)


def _migrate(arguments: argparse.Namespace) -> int:
    from bot import cli_backup  # noqa: PLC0415  # as at the top

    return cli_backup.migrate(_settings(arguments), dry_run=arguments.dry_run)


def _replay(arguments: argparse.Namespace) -> int:
    from bot import cli_replay_run  # noqa: PLC0415  # as at the top

    wanted = cli_replay_run.Wanted(
        run=arguments.run_id,
        policy=arguments.policy,
        prompts=arguments.prompts,
        scenario=arguments.to_scenario,
        as_json=arguments.json,
    )
    return cli_replay_run.replay_run(_settings(arguments), dict(os.environ), wanted)
