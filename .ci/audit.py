# noqa: INP001  # a script beside the one of CI, no package
"""`make audit`: what the public databases know of the locked dependencies, and of how many of them they were asked.

Ends with 0 when each was checked and nothing is known of any, 1 when something is known, 2 when something could not be
checked: nothing is called well of which nobody knows.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATABASES = ("pypi", "osv")
"""As pip-audit names them: the second is asked only where the first did not know all."""
FLAWED, UNCHECKED = 1, 2
SHOWN = 5
TIMEOUT_S = 900
REASON = 200


def asked(tool: Sequence[str], database: str, lock: Path) -> tuple[list[dict[str, Any]], str]:
    """What one database says of each locked dependency, or why it could not be asked."""
    command = (
        *tool, "--format=json", "--progress-spinner=off", "--disable-pip", "--require-hashes",
        f"--vulnerability-service={database}", f"--requirement={lock}",
    )  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)  # noqa: S603  # our own command
        return list(json.loads(done.stdout)["dependencies"]), ""
    except subprocess.TimeoutExpired:
        return [], f"no answer within {TIMEOUT_S} s"
    except OSError as error:
        return [], str(error)
    except (ValueError, KeyError, TypeError):
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"it ended with {done.returncode}"]
        return [], lines[-1].strip()[:REASON]


def locked(lock: Path) -> dict[str, str]:
    """Names and versions that the lock pins, with the names spelt as databases do."""
    pins = re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {spelt(name): version for name, version in pins}


def spelt(name: str) -> str:
    """A distribution's name in its normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def audit(tool: Sequence[str], lock: Path) -> int:
    """Ask, print what came of it, and return the exit code."""
    pins = locked(lock)
    checked: dict[str, list[dict[str, Any]]] = {}
    why: list[str] = []
    for database in DATABASES:
        found, problem = asked(tool, database, lock)
        answers = {spelt(one["name"]): one["vulns"] for one in found if "vulns" in one}
        skipped = [str(one.get("skip_reason", "")) for one in found if "vulns" not in one]
        for name in pins.keys() & answers.keys():
            checked.setdefault(name, []).extend(answers[name])
        if problem or skipped:
            rest = f"{len(skipped)} not known there, such as: {skipped[0][:REASON]}" if skipped else ""
            why.append(f"  {database}: {problem or rest}")
        if len(checked) == len(pins):
            break
    flawed = {name: known for name, known in sorted(checked.items()) if known}
    for name, known in flawed.items():
        for one in known:
            fixed = ", ".join(one.get("fix_versions", ())) or "none yet"
            _say(f"{name} {pins[name]}: {one['id']} (mended in: {fixed}) {one.get('description', '')[:REASON]}")
    missing = sorted(pins.keys() - checked.keys())
    _say(f"{len(checked)} of {len(pins)} locked dependencies checked, {len(flawed)} with known flaws.")
    if missing:
        named = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
        _say(f"NOT checked, so nothing is said of them: {named}.\nWhy:")
        _say("\n".join(why))
        _say("Ask from a network that reaches these databases; some mirrors of the index have packages alone.")
    return FLAWED if flawed else UNCHECKED if missing or not pins else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--tool", nargs="+", default=[str(Path(sys.executable).with_name("pip-audit"))])
    given = parser.parse_args()
    sys.exit(audit(given.tool, given.lock))
