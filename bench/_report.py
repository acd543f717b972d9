"""What every benchmark prints: a table for people, and one JSON object as its last line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

WIDTH = 100
_KIB = 1024


def is_quick(description: str, argv: Sequence[str] | None = None) -> bool:
    """Read the command line of a benchmark: whether `--quick` was asked for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="at most 45 s, and no target is judged")
    return bool(parser.parse_args(argv).quick)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, min(len(ranked) - 1, -int(-share * len(ranked) // 1) - 1))]


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Make a table whose first column names and whose others are figures."""
    made = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index else "left", no_wrap=index == 0)
    for row in rows:
        made.add_row(*row)
    return made


def tell(tables: Sequence[Table], notes: Sequence[str], figures: Mapping[str, object]) -> None:
    """Print tables and notes for people, then the figures as one line of JSON."""
    console = Console(file=sys.stdout, width=WIDTH, highlight=False)
    for each in tables:
        console.print(each)
    for note in notes:
        console.print(note, markup=False)
    print(json.dumps(dict(figures)))


def judge(name: str, value: float, most: float, unit: str) -> bool:
    """Say on stderr when a target is missed; whether it was met."""
    if value <= most:
        return True
    sys.stderr.write(f"{name} is {value:g} {unit}; the target is at most {most:g} {unit}.\n")
    return False


def machine() -> list[tuple[str, str]]:
    """Describe this machine and its software; no names of hosts, users or folders."""
    kernel = f"{platform.system()} {platform.release().split('-', maxsplit=1)[0]}, {platform.machine()}"
    return [
        ("cores", f"{len(os.sched_getaffinity(0))}"),
        ("processor", _line("/proc/cpuinfo", "model name") or platform.machine()),
        ("memory", _memory()),
        ("kernel", kernel),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("SQLite", sqlite3.sqlite_version),
    ]


def _memory() -> str:
    words = _line("/proc/meminfo", "MemTotal").split()
    return f"{int(words[0]) / _KIB / _KIB:.1f} GiB" if words else "unknown"


def _line(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
