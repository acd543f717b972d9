"""The command line of `secondkey doctor`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_doctor(commands: Any) -> None:  # noqa: ANN401  # argparse has no public name for it
    """Add it to the command line."""
    doctor = commands.add_parser(
        "doctor",
        help="look at tokens, scopes, channels, people, models, sandbox, clock, disk and database; say what to mend",
        description="Reads only, and works without a server and without tokens. Ends with 0 when all is well, 1 when "
        "something should be mended, 2 when `serve` would not start or not do its work.",
    )
    doctor.add_argument("--config", type=Path, help="configuration file (default: secondkey.toml)")
    doctor.add_argument("--http", action="store_true", help="for `serve --http`: a signing secret, and no app token")
    doctor.add_argument("--port", type=int, help="port of the server that is asked how it is")
    doctor.add_argument("--offline", action="store_true", help="ask neither Slack nor the models' services")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from bot import cli_doctor  # noqa: PLC0415  # commands import what they need, so that each starts fast

    return cli_doctor.doctor(
        cli_doctor.Wanted(
            config=arguments.config,
            port=arguments.port,
            over_http=arguments.http,
            offline=arguments.offline,
            as_json=arguments.json,
        )
    )
