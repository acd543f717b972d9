"""The command lines of `secondkey policy` and `secondkey approvers`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # commands import what they need, so that each starts fast
    from bot.config import Settings


def add_policy(commands: Any) -> None:  # noqa: ANN401  # argparse has no public name for it
    """Add them to the command line."""
    policy = commands.add_parser("policy", help="read a policy, try it, explain a rating, replay the journal")
    verbs = policy.add_subparsers(required=True, metavar="VERB")

    check = verbs.add_parser("check", help="find rules that never count or let too much through")
    check.add_argument("--strict", action="store_true", help="end with 1 whatever was found")
    check.set_defaults(run=_check)

    test = verbs.add_parser("test", help="try the policy against its table of tests")
    test.add_argument(
        "--tests", type=Path, help="table (default: NAME_tests.toml beside NAME.toml, or the shipped one)"
    )
    test.set_defaults(run=_test)

    explain = verbs.add_parser("explain", help="why a call is rated as it is; needs no server")
    explain.add_argument("action", nargs="?", default="", help="an action's id, or the beginning of one")
    explain.add_argument("--tool", default="", help="a tool, for a call that nobody made")
    explain.add_argument("--args", "--arguments", dest="arguments", default="", metavar="JSON", help="its arguments")
    explain.add_argument("--principal", default="", metavar="KEY", help="who asks, such as slack:T0:U0 or local:1000")
    explain.add_argument("--channel", default="", help="id of the channel in which it is asked")
    explain.add_argument("--at", default="", metavar="TIME", help="when (ISO 8601; UTC without a zone); default now")
    explain.add_argument("--chain", default="", metavar="JSON", help="the run so far, such as '{\"rows\": 900}'")
    explain.add_argument("--facts", default="", metavar="JSON", help="facts that only files and databases would tell")
    explain.add_argument("--run", dest="run_id", default="", help="a run whose chain, requester and channel count")
    explain.set_defaults(run=_explain)

    replay = verbs.add_parser("replay", help="which ratings of the journal this policy would change")
    replay.set_defaults(run=_replay)
    for parser in (check, test, explain, replay):
        parser.add_argument("--policy", type=Path, help="policy file (default: the configured one)")
        _config(parser)
    for parser in (check, explain, replay):
        parser.add_argument("--json", action="store_true", help="print JSON")


def add_approvers(commands: Any) -> None:  # noqa: ANN401  # as above
    """Add them to the command line."""
    approvers = commands.add_parser("approvers", help="who may decide besides those that the policy names")
    verbs = approvers.add_subparsers(required=True, metavar="VERB")

    listing = verbs.add_parser("list", help="everybody who is registered")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)

    add = verbs.add_parser("add", help="register somebody; without a scope for everything")
    add.add_argument("person", help="a Slack user id such as U0123, or a key such as local:1000")
    add.add_argument("--until", default="", metavar="TIME", help="last moment (ISO 8601; UTC without a zone)")
    add.add_argument("--note", default="", help="why")
    add.set_defaults(run=_add)

    remove = verbs.add_parser("remove", help="take somebody out")
    remove.add_argument("who", help="a person, or the number of one entry")
    remove.set_defaults(run=_remove)

    test = verbs.add_parser("test", help="whether somebody may decide on such an action now")
    test.add_argument("person", help="a Slack user id or a key")
    test.add_argument("--team", default="", help="the home team's id, when the policy names keys with it")
    test.add_argument("--args", dest="arguments", default="", metavar="JSON", help="the call's arguments, with --tool")
    test.add_argument("--json", action="store_true", help="print JSON")
    test.set_defaults(run=_try)
    for parser in (add, test):
        parser.add_argument("--tool", default="", help="only this tool; a glob")
        parser.add_argument("--channel", default="", help="only what was asked in this channel; its id")
        parser.add_argument("--tier", default="", choices=("medium", "high"), help="only this tier")
    for parser in (listing, add, remove, test):
        _config(parser)


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="configuration file (default: secondkey.toml)")


def _settings(arguments: argparse.Namespace) -> Settings:
    from bot.config import load_settings  # noqa: PLC0415  # as at the top

    return load_settings(arguments.config, dict(os.environ))


def _check(arguments: argparse.Namespace) -> int:
    from bot import cli_policy  # noqa: PLC0415  # as at the top

    return cli_policy.check(_settings(arguments), arguments.policy, strict=arguments.strict, as_json=arguments.json)


def _test(arguments: argparse.Namespace) -> int:
    from bot import cli_policy  # noqa: PLC0415  # as at the top

    return cli_policy.test(_settings(arguments), arguments.policy, arguments.tests)


def _explain(arguments: argparse.Namespace) -> int:
    from agent.errors import ConfigurationError  # noqa: PLC0415  # as at the top
    from bot import cli_explain  # noqa: PLC0415  # as at the top

    settings, as_json = _settings(arguments), arguments.json
    if arguments.tool:
        around = cli_explain.Around(
            principal=arguments.principal,
            channel=arguments.channel,
            at=arguments.at,
            chain=arguments.chain,
            facts=arguments.facts,
            run=arguments.run_id,
        )
        return cli_explain.explain_call(
            settings,
            arguments.policy,
            tool=arguments.tool,
            arguments=arguments.arguments,
            around=around,
            as_json=as_json,
        )
    if not arguments.action:
        raise ConfigurationError("What shall be explained?", fix="Name an action, or --tool with --args.")
    return cli_explain.explain_action(
        settings, arguments.policy, arguments.action, at=arguments.at, as_json=as_json
    )  # fmt: skip


def _replay(arguments: argparse.Namespace) -> int:
    from bot import cli_replay  # noqa: PLC0415  # as at the top

    return cli_replay.replay(_settings(arguments), arguments.policy, as_json=arguments.json)


def _list(arguments: argparse.Namespace) -> int:
    from bot import cli_approvers  # noqa: PLC0415  # as at the top

    return cli_approvers.list_all(_settings(arguments), as_json=arguments.json)


def _add(arguments: argparse.Namespace) -> int:
    from bot import cli_approvers  # noqa: PLC0415  # as at the top

    entry = cli_approvers.Entry(
        person=arguments.person,
        tool=arguments.tool,
        channel=arguments.channel,
        tier=arguments.tier,
        until=arguments.until,
        note=arguments.note,
    )
    return cli_approvers.add(_settings(arguments), entry)


def _remove(arguments: argparse.Namespace) -> int:
    from bot import cli_approvers  # noqa: PLC0415  # as at the top

    return cli_approvers.remove(_settings(arguments), arguments.who)


def _try(arguments: argparse.Namespace) -> int:
    from bot import cli_approvers, cli_entitled  # noqa: PLC0415  # as at the top

    cli_approvers.check_person(arguments.person)
    question = cli_entitled.Question(
        person=arguments.person,
        tool=arguments.tool,
        channel=arguments.channel,
        tier=arguments.tier,
        arguments=arguments.arguments,
        team=arguments.team,
    )
    return cli_entitled.test(_settings(arguments), question, as_json=arguments.json)
