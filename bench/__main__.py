"""Run every benchmark, each in a process of its own, and write `bench/RESULTS.md` with this machine described."""

from __future__ import annotations

import argparse
import json
import pkgutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import bench
from bench._report import machine

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True, slots=True)
class Run:
    """What one benchmark printed."""

    name: str
    text: str
    """The table for people."""
    figures: str
    """Its last line, a JSON object; empty when it printed none."""
    said: str
    """What it said on stderr: a missed target, or why it failed."""
    code: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run all; 1 when one failed or missed its target."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run every benchmark.")
    parser.add_argument("--quick", action="store_true", help="a look only: nothing is judged and nothing written")
    parser.add_argument("--only", nargs="+", choices=names(), help="these alone; what is kept of the others stays")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where to write (default: bench/RESULTS.md)")
    arguments = parser.parse_args(argv)
    runs = [_run(name, quick=arguments.quick) for name in arguments.only or names()]
    if not arguments.quick:
        kept = _kept(arguments.output) if arguments.only else {}
        arguments.output.write_text(report(runs, kept), encoding="utf-8")
        print(f"wrote {arguments.output.name}")
    return 0 if all(run.code == 0 and run.figures for run in runs) else 1


def names() -> list[str]:
    """Every benchmark's name."""
    return sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if not module.name.startswith("_"))


def _run(name: str, *, quick: bool) -> Run:
    print(f"bench.{name} …", flush=True)
    command = [sys.executable, "-m", f"bench.{name}", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603  # our own module
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    text, figures = split(done.stdout)
    return Run(name, text, figures, done.stderr.strip(), done.returncode)


def split(output: str) -> tuple[str, str]:
    """What was printed, without and with only its last line; all of it is text when that line is no JSON object."""
    text, _, last = output.rstrip("\n").rpartition("\n")
    try:
        is_object = isinstance(json.loads(last), dict)
    except ValueError:
        is_object = False
    return (text, last) if is_object else (output.rstrip("\n"), "")


def _kept(path: Path) -> dict[str, str]:
    """The sections of an earlier report, by benchmark."""
    if not path.is_file():
        return {}
    sections = path.read_text(encoding="utf-8").split("\n## bench.")[1:]
    return {section.partition("\n")[0]: section.partition("\n")[2].strip("\n") for section in sections}


def report(runs: Sequence[Run], kept: Mapping[str, str] = MappingProxyType({})) -> str:
    """The whole file: what was run now, and the sections kept of others."""
    lines = ["# Results", "", "Written by `make bench`; do not edit.", "", "| machine | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in machine()]
    for name in sorted(kept.keys() - {run.name for run in runs}):
        lines += ["", f"## bench.{name}", "", *kept[name].splitlines()]
    for run in runs:
        lines += ["", f"## bench.{run.name}", "", "```text", *(line.rstrip() for line in run.text.splitlines()), "```"]
        if run.figures:
            lines += ["", "```json", run.figures, "```"]
        if run.code:
            # The last line names what went wrong; a traceback's others would name folders of this machine.
            why = run.said.splitlines()[-1] if run.said else f"it ended with code {run.code}"
            lines += ["", f"**Not as it should be:** {why}"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
