"""Kill the real bot at every append and every effect, restart it, finish, check that nothing is lost or doubled.

Each point is a bot of its own, forked from a process that has only imported, in a workspace of its own. A scenario
with low, medium (approved, denied, expired) and high actions is played; the bot gets SIGKILL at one instant, is started
again a minute of its clock later, people finish what they began, and a checker that knows nothing of the product
compares the database, Slack's side and the effects' own file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench._crash_harness import Harness, Point, Verdict
from bench._crash_plants import PLANTS
from bench._crash_storm import storm
from bench._crash_zygote import Zygote
from bench._report import table, tell

QUICK_POINTS, QUICK_S = 24, 36.0
"""How many points a quick run tries, and after how many seconds it begins no further one."""
LANES = 2
"""Points that are tried at the same time."""


def main(argv: Sequence[str] | None = None) -> int:
    """Try the points and print; 1 when anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m bench.crash", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every k-th point only, at most 45 s")
    parser.add_argument("--only", default="", help="kinds to try, such as tool,post (default: all)")
    parser.add_argument("--points", type=int, default=0, help="at most so many points, evenly spread")
    parser.add_argument("--twice", action="store_true", help="kill the successor, too, while it recovers or soon after")
    parser.add_argument("--at", default="", help="one point only, such as tool:after:3")
    parser.add_argument("--plant", default="", choices=["", *PLANTS], help="put a known bug in; it must be found")
    parser.add_argument("--keep", type=Path, help="keep the folders of points that went wrong here")
    parser.add_argument("--storm", action="store_true", help="a race storm instead: everybody clicks, time passes")
    parser.add_argument("--approvals", type=int, default=200, help="approvals of the storm")
    parser.add_argument("--people", type=int, default=50, help="people of the storm")
    arguments = parser.parse_args(argv)
    zygote = Zygote()
    try:
        return asyncio.run((_storm if arguments.storm else _matrix)(zygote, arguments))
    finally:
        zygote.close()


async def _matrix(zygote: Zygote, arguments: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with tempfile.TemporaryDirectory(prefix="secondkey-crash-") as name:
        harness = Harness(zygote, Path(name), plant=arguments.plant, keep=arguments.keep, is_twice=arguments.twice)
        whole = await harness.play(None)
        kinds = [kind for kind in str(arguments.only).split(",") if kind]
        points = [point for point in whole.points if not kinds or point[0] in kinds]
        most = arguments.points or (QUICK_POINTS if arguments.quick else len(points))
        vital, others = _split(points) if arguments.quick else ([], sorted(points))
        step = max(1, -(-len(others) // max(1, most - len(vital))))
        chosen = [*vital, *others[step // 2 :: step]]
        if arguments.at:
            kind, moment, number = str(arguments.at).split(":")
            chosen = [(kind, moment, int(number), "")]
        until = began + QUICK_S if arguments.quick else float("inf")
        verdicts = [whole, *await _in_lanes(harness, chosen, until)]
    return _tell(verdicts, len(points), step, loop.time() - began)


async def _storm(zygote: Zygote, arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="secondkey-storm-") as name:
        harness = Harness(zygote, Path(name), plant=arguments.plant, keep=arguments.keep)
        result = await storm(harness, arguments.approvals, arguments.people)
    for problem in result.verdict.problems:
        sys.stderr.write(f"{problem}\n")
    rows = [(name, str(count)) for name, count in sorted(result.verdict.states.items())]
    rows += [(name, str(count)) for name, count in result.clicks.items()]
    figures = {
        "approvals": arguments.approvals,
        "people": arguments.people,
        "clicks": sum(result.clicks.values()),
        "bots_killed": result.killed,
        "violations": len(result.verdict.problems),
        "seconds": round(result.verdict.seconds, 1),
    }
    note = "Everybody clicks Approve or Deny on every card while the deadline passes and two bots are killed in turn."
    tell([table("what became of it", ("", "count"), rows)], [note], figures)
    return 1 if result.verdict.problems else 0


def _split(points: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    """The instants around tools, which are few and matter most, and all others by kind."""
    return [point for point in points if point[0] == "tool"], sorted(point for point in points if point[0] != "tool")


async def _in_lanes(harness: Harness, points: Sequence[Point], until: float) -> list[Verdict]:
    left, verdicts = iter(points), list[Verdict]()

    async def lane() -> None:
        for point in left:
            if asyncio.get_running_loop().time() > until:
                return
            verdicts.append(await harness.play(point))

    await asyncio.gather(*(lane() for _ in range(LANES)))
    return verdicts


def _tell(verdicts: Sequence[Verdict], of: int, step: int, seconds: float) -> int:
    tried = [verdict for verdict in verdicts if verdict.point]
    bad = [verdict for verdict in verdicts if verdict.problems]
    kinds = sorted({(verdict.point[0], verdict.point[1]) for verdict in tried if verdict.point})
    rows = list[tuple[str, ...]]()
    for kind in kinds:
        here = [verdict for verdict in tried if verdict.point and verdict.point[:2] == kind]
        rows.append((
            " ".join(kind), str(len(here)), str(sum(verdict.reached for verdict in here)),
            str(sum(verdict.unknown for verdict in here)), str(sum(bool(verdict.problems) for verdict in here)),
        ))  # fmt: skip
    for verdict in bad:
        for problem in verdict.problems:
            sys.stderr.write(f"{' '.join(map(str, verdict.point or ('no kill',)))}: {problem}\n")
    times = sorted(verdict.seconds for verdict in tried) or [0.0]
    killed = sum(verdict.reached for verdict in tried)
    notes = [
        f"k = {step}: every {step}. of {of} points, {LANES} at a time; {seconds:.0f} s in all.",
        f"A point takes {times[len(times) // 2]:.2f} s (median).",
        "not killed: the process did less this time, so that the instant did not come.",
        "unknown: the kill left an action of which nobody knew whether it happened; a person was asked.",
    ]
    figures = {
        "points": killed,
        "kills": sum(verdict.deaths for verdict in tried),
        "not_reached": len(tried) - killed,
        "of": of,
        "k": step,
        "violations": len(bad),
        "seconds": round(seconds, 1),
    }
    tell([table("killed at", ("instant", "points", "killed", "unknown", "violations"), rows)], notes, figures)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
