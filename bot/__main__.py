"""The command line: `secondkey init | demo | serve | status | stop | pause | resume | approvals | grants | audit`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.errors import ConfigurationError, SecondKeyError, StorageUnavailable
from bot.cli_commands import add_commands
from bot.cli_operating import add_doctor

EXIT_OK, EXIT_FAILED, EXIT_MISUSE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 2 when the operator must mend something (the fix is on stderr)."""
    arguments = command_line().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more at its end
        return EXIT_OK
    except (SecondKeyError, sqlite3.Error, OSError) as error:
        said, fix, code = _told(error)
        print(f"secondkey: {said}", file=sys.stderr)
        if fix:
            print(f"  Fix: {fix}", file=sys.stderr)
        return code
    except KeyboardInterrupt:
        return EXIT_OK


def _told(error: SecondKeyError | sqlite3.Error | OSError) -> tuple[str, str, int]:
    """What is said of an error, what an operator can do about it, and how the command ends."""
    match error:
        case ConfigurationError():
            return str(error), error.fix, EXIT_MISUSE
        case StorageUnavailable():
            fix = "check that the data folder is there, writable and not full, and its secondkey.db whole."
            return str(error), fix, EXIT_MISUSE
        case SecondKeyError():
            return f"{error} ({error.code})", "", EXIT_FAILED
        case sqlite3.Error():
            fix = "`secondkey doctor` looks at it; `secondkey restore` puts a backup in its place."
            return f"The database cannot be read: {error}.", fix, EXIT_MISUSE
        case OSError():
            about = f"{error.filename}: " if error.filename else ""
            fix = "check that it is there, that you may use it, and that the disk is not full."
            return f"{about}{(error.strerror or type(error).__name__).lower()}.", fix, EXIT_MISUSE


def command_line() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="secondkey", description="Give work to AI agents from Slack and keep people in charge of what they do."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="write a commented configuration and the manifest to paste into Slack")
    init.add_argument("--folder", type=Path, default=Path(), help="where to write (default: here)")
    init.add_argument("--force", action="store_true", help="overwrite what is there")
    init.set_defaults(run=_init)

    demo = commands.add_parser("demo", help="try everything on this machine, in a simulated Slack")
    demo.add_argument("--project", type=Path, help="the project to work on (default: this one)")
    demo.add_argument("--in-place", action="store_true", help="put changes into the project itself, not into a copy")
    demo.add_argument("--data", type=Path, help="keep the state in this folder (default: a fresh one at each start)")
    demo.add_argument("--port", type=int, help="port of the page (default: 3700 or a free one)")
    demo.add_argument("--clock-rate", type=float, help="how much faster deadlines run (default: 1)")
    demo.add_argument("--http", action="store_true", help="signed HTTP requests instead of Socket Mode")
    demo.add_argument("--tour", action="store_true", help="play four tasks by itself, print what happens, and end")
    demo.set_defaults(run=_demo)

    serve = commands.add_parser("serve", help="work in a real Slack workspace")
    serve.add_argument("--config", type=Path, help="configuration file (default: secondkey.toml)")
    serve.add_argument("--http", action="store_true", help="signed HTTP requests instead of Socket Mode")
    serve.add_argument("--host", help="address to listen on")
    serve.add_argument("--port", type=int, help="port to listen on")
    serve.add_argument("--trace-file", type=Path, help="append every span to this file, where no OTLP endpoint is set")
    serve.set_defaults(run=_serve)

    status = commands.add_parser("status", help="show runs, or one run")
    status.add_argument("id", nargs="?", default="", help="a run's id, or the beginning of one")
    status.add_argument("--config", type=Path, help="configuration file (default: secondkey.toml)")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)

    add_commands(commands)
    add_doctor(commands)
    return parser


def _init(arguments: argparse.Namespace) -> int:
    from bot.init import write_files  # noqa: PLC0415  # commands import what they need, so that each starts fast

    for path in write_files(arguments.folder, force=arguments.force):
        print(f"wrote {path}")
    print("Next: create a Slack app from manifest.yml, and set its tokens; `secondkey doctor` says what is missing.")
    return EXIT_OK


def _demo(arguments: argparse.Namespace) -> int:
    from bot.demo import DemoOptions, run  # noqa: PLC0415  # as above

    return run(DemoOptions.of(arguments))


def _serve(arguments: argparse.Namespace) -> int:
    from bot.config import load_settings  # noqa: PLC0415  # as above

    environment = dict(os.environ)
    given = {"host": arguments.host, "port": arguments.port, "trace_file": arguments.trace_file}
    settings = load_settings(arguments.config, environment, **given)
    return asyncio.run(_serving(settings, environment, over_http=arguments.http))


async def _serving(settings: object, environment: dict[str, str], *, over_http: bool) -> int:
    from bot.app import App  # noqa: PLC0415  # as above
    from bot.config import Settings  # noqa: PLC0415  # as above
    from bot.memory import settle  # noqa: PLC0415  # as above

    assert isinstance(settings, Settings)  # noqa: S101  # typed as object so that `--help` needs no pydantic
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    running: App | None = None
    is_asked_early = False

    def read_policy_again() -> None:
        nonlocal is_asked_early
        if running is None:
            is_asked_early = True  # done once there is somebody to do it
        else:
            running.reload_policy()

    loop.add_signal_handler(signal.SIGHUP, read_policy_again)
    app = await App.start(settings, environment=environment, over_http=over_http, stop=stop, log=True)
    if app is None:
        return EXIT_OK
    running = app
    if is_asked_early:
        app.reload_policy()
    settle()
    try:
        return EXIT_FAILED if await app.until(stop) else EXIT_OK
    finally:
        await app.stop()


def _status(arguments: argparse.Namespace) -> int:
    from bot.config import load_settings  # noqa: PLC0415  # as above
    from bot.terminal import print_status  # noqa: PLC0415  # as above

    settings = load_settings(arguments.config, dict(os.environ))
    return print_status(settings, arguments.id, as_json=arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
