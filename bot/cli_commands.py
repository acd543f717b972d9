"""The commands of a second process, beside a server or without one: stop, pause, resume, approvals, audit."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bot.cli_local_commands import add_local
from bot.cli_policy_commands import add_approvers, add_policy

if TYPE_CHECKING:  # commands import what they need, so that each starts fast
    from bot.cli_control import Named
    from bot.config import Settings

_KILL = (
    "Without a command: as long as a file named KILL stands in the data folder, nothing starts and every run is "
    "stopped; `touch` it to stop everything, remove it to go on. Written into it, one a line, run:ID, tool:NAME and "
    "person:ID stop only these."
)
_FLAG = "It is stored in the database: a running server obeys within a quarter of a second, another when it starts."


class Commands(Protocol):
    """Where subcommands are added; argparse has no public name for it."""

    def add_parser(
        self,
        name: str,
        *,
        help: str | None = ...,  # noqa: A002  # argparse's own name
        description: str | None = ...,
        epilog: str | None = ...,
    ) -> argparse.ArgumentParser:
        """Add one subcommand."""
        ...


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    stop = commands.add_parser("stop", help="end a run, or all of them", description=_FLAG, epilog=_KILL)
    which = stop.add_mutually_exclusive_group(required=True)
    which.add_argument("run_id", nargs="?", metavar="RUN", help="a run's id, or the beginning of one")
    which.add_argument("--all", action="store_true", help="every run that is not over")
    which.add_argument("--tool", default="", help="every run with an unfinished call of this tool")
    which.add_argument("--person", default="", metavar="ID", help="every run that holds words of this person")
    stop.add_argument("--reason", default="", help="why; it stands in the journal")
    stop.set_defaults(run=_stop)

    pause = commands.add_parser(
        "pause", help="let nothing new start, of everything, a run, a tool or a person", description=_FLAG, epilog=_KILL
    )  # fmt: skip
    _scoped(pause, "everything (default)")
    pause.add_argument("--reason", default="", help="why")
    pause.set_defaults(run=_pause)

    resume = commands.add_parser("resume", help="end a pause", description=_FLAG, epilog=_KILL)
    _scoped(resume, "every pause, whatever it is about (default)")
    resume.set_defaults(run=_resume)

    undo = commands.add_parser(
        "undo",
        help="take back what a run put into the project, within a day",
        description=f"Only where every file is as the run left it; else nothing is changed. {_FLAG}",
    )
    undo.add_argument("run_id", metavar="RUN", help="a run's id, or the beginning of one")
    undo.add_argument("--reason", default="", help="why")
    undo.set_defaults(run=_undo)

    _add_tool(commands)
    _add_mcp(commands)
    approvals = commands.add_parser("approvals", help="what waits for a yes, for how long, and whose")
    approvals.add_argument("--json", action="store_true", help="print JSON")
    approvals.add_argument("--stats", action="store_true", help="how fast and how often each person says yes")
    approvals.add_argument("--since", default="", metavar="TIME", help="with --stats: from then on (ISO 8601)")
    approvals.set_defaults(run=_approvals)

    budget = commands.add_parser("budget", help="what model calls cost today, and what is left")
    budget.add_argument("--json", action="store_true", help="print JSON")
    budget.set_defaults(run=_budget)
    _config(budget)

    prompts = commands.add_parser("prompts", help="what the models are told of their work, and where it stands")
    prompts.add_argument("name", nargs="?", default="", metavar="NAME", help="print this prompt whole")
    prompts.add_argument("--json", action="store_true", help="print JSON")
    prompts.set_defaults(run=_prompts)
    _config(prompts)

    grants = commands.add_parser("grants", help="what people allowed beforehand, and taking it back")
    verbs = grants.add_subparsers(required=True, metavar="VERB", dest="verb")
    listed = verbs.add_parser("list", help="what is allowed, by whom, until when, and how often it was used")
    listed.add_argument("--json", action="store_true", help="print JSON")
    taken = verbs.add_parser("revoke", help="take one back", description=_FLAG)
    taken.add_argument("grant", help="a grant's id, or the beginning of one")
    for parser in (listed, taken):
        parser.set_defaults(run=_grants)
        _config(parser)

    for parser in (stop, pause, resume, undo, approvals):
        _config(parser)
    _add_audit(commands)
    add_policy(commands)
    add_local(commands)
    add_approvers(commands)


def _scoped(parser: argparse.ArgumentParser, everything: str) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help=everything)
    which.add_argument("--run", dest="run_id", default="", metavar="RUN", help="one run")
    which.add_argument("--tool", default="", help="every call of one tool")
    which.add_argument("--person", default="", metavar="ID", help="every run that holds words of one person")


def _add_tool(commands: Commands) -> None:
    tool = commands.add_parser("tool", help="call a tool from the shell, through policy and sandbox")
    verbs = tool.add_subparsers(required=True, metavar="VERB")
    call = verbs.add_parser(
        "call",
        help="one call",
        description="Through allowlist, validation, facts, policy and sandbox, as an agent's call. Ends with 0 when it "
        "was done, 1 when it failed, 3 when it was refused, 4 when it needs a person. The folder itself is the "
        "workspace: what the call writes stays there.",
    )
    call.add_argument("tool", metavar="TOOL", help="its name, such as run_shell")
    call.add_argument("--args", default="{}", metavar="JSON", help="its arguments (default: none)")
    call.add_argument(
        "--workspace", type=Path, default=Path(), metavar="DIR", help="the project (default: this folder)"
    )
    call.add_argument("--approve", action="store_true", help="say yes to a medium call; a high one is never run")
    call.add_argument("--sandbox", choices=("bubblewrap", "landlock", "none"), default="", help="default: what works")
    call.add_argument("--json", action="store_true", help="print JSON")
    call.set_defaults(run=_tool_call)
    _config(call)


def _add_mcp(commands: Commands) -> None:
    mcp = commands.add_parser("mcp", help="servers of tools: what they offer, and what of it is trusted")
    verbs = mcp.add_subparsers(required=True, metavar="VERB", dest="verb")
    listed = verbs.add_parser("list", help="the declared servers and their trusted tools; speaks to none of them")
    tested = verbs.add_parser(
        "test", help="speak to one", description="Ends with 1 when it cannot be reached or offers not what was trusted."
    )
    trusted = verbs.add_parser(
        "trust",
        help="let agents propose the tools of one",
        description="Shows what it offers, and pins it word for word: a tool that changes afterwards goes to a person. "
        "Each call is still asked unless the policy says otherwise.",
    )
    trusted.add_argument("--yes", action="store_true", help="do not ask")
    forgotten = verbs.add_parser("forget", help="trust no tool of one any more")
    for parser in (tested, trusted, forgotten):
        parser.add_argument("server", metavar="NAME", help="as in [mcp.NAME]")
    for parser in (listed, tested, trusted, forgotten):
        if parser is not forgotten:
            parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=_mcp)
        _config(parser)


def _add_audit(commands: Commands) -> None:
    audit = commands.add_parser("audit", help="verify the journal, export it, drop what is too old")
    verbs = audit.add_subparsers(required=True, metavar="VERB")

    verify = verbs.add_parser(
        "verify",
        help="find any edited, removed or reordered row, tail or run",
        description="Reads only, and needs no server. Ends with 0 when everything verifies, 1 when something was "
        "changed, 2 when the files cannot be used. It says what it cannot find.",
    )
    verify.add_argument("--heads", type=Path, help="file of signed heads (default: audit-heads.jsonl beside it)")
    verify.add_argument("--public-key", type=Path, help="key that signed them (default: audit.pub beside it)")
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=_verify)

    export = verbs.add_parser("export", help="write the journal as JSON Lines or CSV")
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl")
    export.add_argument(
        "--since", default="", metavar="TIME", help="from this moment on (ISO 8601; UTC without a zone)"
    )
    export.add_argument("--until", default="", metavar="TIME", help="up to this moment, itself not included")
    export.add_argument("--run", dest="run_id", default="", metavar="RUN", help="one run's id, or the beginning of it")
    export.add_argument(
        "--principal", default="", metavar="WHO", help="what a person did, and the runs that they asked for"
    )
    export.add_argument("--output", type=Path, help="file to write (default: standard output)")
    export.set_defaults(run=_export)

    retain = verbs.add_parser("retain", help="drop the payloads of runs that ended long ago; hashes stay")
    retain.add_argument("--days", type=float, help="days after a run's end (default: retention_days, 396)")
    retain.add_argument("--dry-run", action="store_true", help="say what would be dropped, and drop nothing")
    retain.set_defaults(run=_retain)

    for parser in (verify, export, retain):
        _config(parser)
    for parser in (verify, export):
        parser.add_argument("--database", type=Path, help="database file, or a copy of one (default: the server's)")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="configuration file (default: secondkey.toml)")


def _settings(arguments: argparse.Namespace) -> Settings:
    from bot.config import load_settings  # noqa: PLC0415  # as at the top

    return load_settings(arguments.config, dict(os.environ))


def _stop(arguments: argparse.Namespace) -> int:
    from bot import cli_control  # noqa: PLC0415  # as at the top

    return cli_control.stop(_settings(arguments), _named(arguments), reason=arguments.reason)


def _pause(arguments: argparse.Namespace) -> int:
    from bot import cli_control  # noqa: PLC0415  # as at the top

    return cli_control.pause(_settings(arguments), _named(arguments), reason=arguments.reason)


def _resume(arguments: argparse.Namespace) -> int:
    from bot import cli_control  # noqa: PLC0415  # as at the top

    return cli_control.resume(_settings(arguments), _named(arguments))


def _named(arguments: argparse.Namespace) -> Named:
    from bot.cli_control import Named  # noqa: PLC0415  # as at the top

    return Named(run=arguments.run_id or "", tool=arguments.tool, person=arguments.person)


def _grants(arguments: argparse.Namespace) -> int:
    from bot import cli_grants  # noqa: PLC0415  # as at the top

    settings = _settings(arguments)
    if arguments.verb == "revoke":
        return cli_grants.revoke(settings, arguments.grant)
    return cli_grants.print_grants(settings, as_json=arguments.json)


def _tool_call(arguments: argparse.Namespace) -> int:
    from bot import cli_tool  # noqa: PLC0415  # as at the top

    wanted = cli_tool.Wanted(
        tool=arguments.tool,
        arguments=arguments.args,
        workspace=arguments.workspace,
        approved=arguments.approve,
        sandbox=arguments.sandbox,
    )
    return cli_tool.call(_settings(arguments), wanted, as_json=arguments.json)


def _mcp(arguments: argparse.Namespace) -> int:
    from bot import cli_mcp  # noqa: PLC0415  # as at the top

    settings = _settings(arguments)
    match arguments.verb:
        case "list":
            return cli_mcp.print_list(settings, as_json=arguments.json)
        case "test":
            return cli_mcp.test(settings, arguments.server, as_json=arguments.json)
        case "trust":
            return cli_mcp.trust_server(settings, arguments.server, yes=arguments.yes, as_json=arguments.json)
        case _:
            return cli_mcp.forget(settings, arguments.server)


def _undo(arguments: argparse.Namespace) -> int:
    from bot import cli_undo  # noqa: PLC0415  # as at the top

    return cli_undo.undo(_settings(arguments), arguments.run_id, reason=arguments.reason)


def _budget(arguments: argparse.Namespace) -> int:
    from bot import cli_budget  # noqa: PLC0415  # as at the top

    return cli_budget.print_budget(_settings(arguments), as_json=arguments.json)


def _prompts(arguments: argparse.Namespace) -> int:
    from bot import cli_prompts  # noqa: PLC0415  # as at the top

    return cli_prompts.print_prompts(_settings(arguments), arguments.name, as_json=arguments.json)


def _approvals(arguments: argparse.Namespace) -> int:
    from bot import cli_approvals  # noqa: PLC0415  # as at the top

    if arguments.stats:
        from bot import cli_audit, cli_stats  # noqa: PLC0415  # as at the top

        since = cli_audit.moment_of(arguments.since, 0.0)
        return cli_stats.print_stats(_settings(arguments), since=since, as_json=arguments.json)
    return cli_approvals.print_pending(_settings(arguments), as_json=arguments.json)


def _verify(arguments: argparse.Namespace) -> int:
    from bot import cli_audit  # noqa: PLC0415  # as at the top

    database = arguments.database or _settings(arguments).database
    return cli_audit.verify(database, arguments.heads, arguments.public_key, as_json=arguments.json)


def _export(arguments: argparse.Namespace) -> int:
    from bot import cli_audit  # noqa: PLC0415  # as at the top

    wanted = cli_audit.Wanted(
        format=arguments.format,
        since=arguments.since,
        until=arguments.until,
        run=arguments.run_id,
        principal=arguments.principal,
        output=arguments.output,
    )
    return cli_audit.export(arguments.database or _settings(arguments).database, wanted)


def _retain(arguments: argparse.Namespace) -> int:
    from bot import cli_audit  # noqa: PLC0415  # as at the top

    return cli_audit.retain(_settings(arguments), arguments.days, dry_run=arguments.dry_run)
