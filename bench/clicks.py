"""Clicks on Approve as Slack delivers them, 200 a second whatever comes back, over signed HTTP, until they are acked.

Three processes: the simulator says who people are, the app decides, the generator clicks and keeps its own account of
its CPU. The tool is instant and nothing is delivered; each decided run goes on to its end in the app meanwhile. A
click's time counts from when it was due, not from when it was sent. Every 20th click is delivered a second time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from pydantic import SecretStr

from agent.domain import Place, Principal, Task
from bench._pending import Copies, add_pending
from bench._report import is_quick, judge, percentile, table, tell
from bench._threads import between, threads
from bot.app import App
from bot.blocks.approval import value_of
from bot.config import Settings
from bot.memory import settle
from bot.observability import configure_logging
from simulator.http_events import signed_headers
from simulator.server import Simulator
from storage.inbox import Accepted

RATE = 200.0
"""Clicks a second."""
MANY, FEW = 10_000, 1_000
"""Pending approvals of a whole run, and of a quick one."""
SECONDS, QUICK_SECONDS = 30.0, 4.0
AGAIN_EVERY = 20
TARGET_P99_MS = 100.0
LIMIT_S = 900.0
MAYA, OMAR, CHANNEL = "U0MAYA", "U0OMAR", "C0DATA"
_SEEN = 200
_POLICY = """version = 1
[people]
approvers = ["U0OMAR", "U0INES"]
[[rule]]
name = "ask"
when = "tool == 'calculate'"
tier = "medium"
say = "The benchmark asks for it."
"""
_BOOK = """[[runbook]]
name = "count"
title = "Count"
example = "count from 1"
pattern = 'count from (?P<number>[0-9]+)'
answer = "{{ out.sum.text }}"
[[runbook.step]]
worker = "research"
instruction = "Count."
[[runbook.step.call]]
id = "sum"
tool = "calculate"
arguments = { expression = "{{ match.number }} + 1" }
"""

_OVER = """SELECT count(*) FROM runs r JOIN approvals a ON a.run = r.id
  WHERE a.state = 'approved' AND r.status = 'completed'"""

Figures = Mapping[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when the target is missed, or a click was lost or doubled."""
    quick = is_quick("Clicks on Approve, from due to acked.", argv)
    pending, seconds = (FEW, QUICK_SECONDS) if quick else (MANY, SECONDS)
    with tempfile.TemporaryDirectory(prefix="secondkey-bench-") as folder:
        sent, app = asyncio.run(_measure(Path(folder), pending, seconds))
    figures = {
        "clicks_per_s": round(sent["clicks_per_s"], 1),
        "ack_p50_ms": round(sent["ack_p50_ms"], 1),
        "ack_p99_ms": round(sent["ack_p99_ms"], 1),
        "lost": int(app["lost"]),
        "doubled": int(app["doubled"]),
    }
    need = app["each_ms"] / 10 * RATE
    rows = [
        ("clicks acked a second", f"{figures['clicks_per_s']:.1f}", f"{RATE:g} a second are due"),
        ("due → acked p50", f"{figures['ack_p50_ms']:.1f} ms", ""),
        ("due → acked p99", f"{figures['ack_p99_ms']:.1f} ms", "" if quick else f"≤ {TARGET_P99_MS:g} ms"),
        ("slowest", f"{sent['slowest_ms']:.1f} ms", ""),
        ("deliveries refused or failed", f"{sent['failed']:.0f}", ""),
        ("acked, but not decided", f"{figures['lost']}", "0"),
        ("decided or run more than once", f"{figures['doubled']}", "0"),
        ("decided runs that were over 60 s later", f"{app['over']:.0f} of {app['decided']:.0f}", ""),
        ("CPU of the generator", f"{sent['cpu'] * 100:.0f} % of a core", ""),
        ("CPU of the app", f"{app['cpu'] * 100:.0f} % of a core", "while it was clicked"),
        ("of it the event loop", f"{app['loop'] * 100:.0f} % of a core", ""),
        ("of it the writer of the database", f"{app['writer'] * 100:.0f} % of a core", ""),
        ("the loop could go on and had no core", f"{app['no_core'] * 100:.0f} % of the time", "other processes' work"),
        ("decided runs that were over when the clicks were", f"{app['over_then']:.0f}", "they make way for clicks"),
        ("CPU of a click and its run", f"{app['each_ms']:.1f} ms", f"{need:.0f} % of a core at {RATE:g}/s"),
    ]
    notes = [
        f"{sent['clicks']:.0f} clicks in {seconds:g} s, {sent['again']:.0f} of them twice; {pending:,} pending.",
        "Signed HTTP, one person, synchronous=FULL, telemetry off; the tool calculates; nothing is delivered.",
    ]
    tell([table("click → ack", ("", "", ""), rows)], notes, figures)
    wrong = figures["lost"] or figures["doubled"]
    if wrong:
        sys.stderr.write("A click was lost or doubled.\n")
    return 1 if wrong or not (quick or judge("ack_p99_ms", figures["ack_p99_ms"], TARGET_P99_MS, "ms")) else 0


async def _measure(folder: Path, pending: int, seconds: float) -> tuple[Figures, Figures]:
    async with await Simulator.start(rates=False) as simulator:
        slack = simulator.workspace.app
        (folder / "start.json").write_text(
            json.dumps({"api": simulator.api_url, "token": slack.bot_token, "secret": slack.signing_secret}),
            encoding="utf-8",
        )
        app = await _spawn("serve", folder, pending, stdin=subprocess.PIPE)
        assert app.stdin is not None  # noqa: S101  # it is a pipe
        assert app.stdout is not None  # noqa: S101  # as above
        try:
            if (await asyncio.wait_for(app.stdout.readline(), LIMIT_S)).strip() != b"ready":
                raise RuntimeError("The app did not come up.")
            generator = await _spawn("click", folder, round(seconds * RATE))
            sent, _ = await asyncio.wait_for(generator.communicate(), LIMIT_S)
            app.stdin.write(b"done\n")
            counted, _ = await asyncio.wait_for(app.communicate(), LIMIT_S)
        finally:
            if app.returncode is None:
                app.kill()
                await app.wait()
    return json.loads(sent), json.loads(counted.rstrip().rpartition(b"\n")[2])


async def _spawn(
    what: str, folder: Path, number: int, *, stdin: int = subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.clicks", "--child", what, str(folder), str(number),
        stdin=stdin, stdout=subprocess.PIPE,
    )  # fmt: skip


# -- the app -----------------------------------------------------------------------------------------------------------


async def _serve(folder: Path, pending: int) -> None:
    start = json.loads((folder / "start.json").read_text(encoding="utf-8"))
    configure_logging(lambda text: text, file=folder / "app.log")
    (folder / "policy.toml").write_text(_POLICY, encoding="utf-8")
    (folder / "books.toml").write_text(_BOOK, encoding="utf-8")
    (folder / "project").mkdir()
    settings = Settings(
        data=folder / "data",
        project=folder / "project",
        policy=folder / "policy.toml",
        runbooks=(folder / "books.toml",),
        port=0,
        slack_api_url=start["api"],
        slack_bot_token=SecretStr(start["token"]),
        slack_signing_secret=SecretStr(start["secret"]),
    )
    app = await App.start(settings, environment={}, over_http=True)
    assert app is not None  # noqa: S101  # nothing else holds the lease
    assert app.delivery is not None  # noqa: S101  # it has started
    app.delivery.stop()
    assert app.sessions is not None  # noqa: S101  # as above
    app.sessions.stop()
    clicks = await _fill(app, pending)
    settle()
    (folder / "clicks.json").write_text(json.dumps({"url": app.url, **clicks}), encoding="utf-8")
    began, cpu, before = time.monotonic(), _cpu(), threads()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    lasted, used, after = time.monotonic() - began, _cpu() - cpu, threads()
    loop, writer = between(before, after, "MainThread"), between(before, after, "sqlite-writer")
    over_then = app.db.read(lambda conn: conn.execute(_OVER).fetchone()[0])
    counted = await _count(app, folder)
    account = {
        "cpu": used / lasted,
        "loop": loop.cpu_s / lasted,
        "writer": writer.cpu_s / lasted,
        "no_core": loop.waited_s / lasted,
        "over_then": over_then,
        "each_ms": (_cpu() - cpu) * 1000 / max(1, counted["over"]),
    }
    await app.stop()
    print(json.dumps({**counted, **account}), flush=True)


async def _fill(app: App, pending: int) -> dict[str, object]:
    services, runtime = app.services, app.runtime
    assert services is not None  # noqa: S101  # it has started
    assert runtime is not None  # noqa: S101  # as above
    team = services.identity.home_team
    await services.identity.learn([Principal(team=team, user=OMAR).key])

    def task(number: int) -> Task:
        place = Place(team=team, channel=CHANNEL, message_ts=f"1700000000.{number:06d}")
        return Task(
            id=f"t{number}", text=f"count from {number}", principal=Principal(team=team, user=MAYA), place=place
        )

    accepted = await services.inbox.accept("Ev0", task(0))
    assert isinstance(accepted, Accepted)  # noqa: S101  # it is the first
    state = await runtime.settled(accepted.run)
    (item,) = state.actions.values()
    copies = Copies(
        item.action.schema_hash, task, lambda number: {**item.action.arguments, "expression": f"{number} + 1"}
    )
    made = await add_pending(app.db, accepted.run, copies, range(1, pending))
    return {"team": team, "values": [value_of(each.approval, each.digest) for each in made]}


async def _count(app: App, folder: Path) -> dict[str, float]:
    """What became of the clicks that were acked, once the decided runs are over."""
    acked = json.loads((folder / "acked.json").read_text(encoding="utf-8"))
    runtime = app.runtime
    assert runtime is not None  # noqa: S101  # it has started
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            while not runtime.is_idle:
                await asyncio.sleep(0.05)
    with contextlib.closing(sqlite3.connect(f"file:{app.db.path}?mode=ro", uri=True)) as conn:
        approved = {row[0] for row in conn.execute("SELECT id FROM approvals WHERE state = 'approved'")}
        twice = "SELECT count(*) FROM (SELECT 1 FROM events WHERE type = ? GROUP BY run HAVING count(*) > 1)"
        kinds = ("vote_cast", "approval_decided", "action_started", "action_finished")
        doubled = sum(conn.execute(twice, (kind,)).fetchone()[0] for kind in kinds)
        over = conn.execute(_OVER).fetchone()[0]
    lost = sum(1 for value in acked if value.partition("|")[0] not in approved)
    return {"lost": lost, "doubled": doubled, "over": over, "decided": len(approved)}


# -- the generator -----------------------------------------------------------------------------------------------------


async def _click(folder: Path, wanted: int) -> None:
    plan = json.loads((folder / "clicks.json").read_text(encoding="utf-8"))
    secret = json.loads((folder / "start.json").read_text(encoding="utf-8"))["secret"]
    values: list[str] = plan["values"][:wanted]
    due: list[tuple[str, str]] = []
    for number, value in enumerate(values):
        body = urlencode({"payload": json.dumps(_payload(plan["team"], number, value))})
        due.append((value, body))
        if number % AGAIN_EVERY == AGAIN_EVERY - 1:
            due.append((value, body))
    took: list[float] = []
    acked: list[str] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began, cpu = time.perf_counter(), _cpu()

        async def one(at: float, value: str, body: str) -> None:
            # A real clock, since a signature is only good for five minutes.
            headers = signed_headers(secret, str(int(_now())), body, content_type="application/x-www-form-urlencoded")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(f"{plan['url']}/slack/events", data=body, headers=headers) as answer:
                    await answer.read()
                    if answer.status == _SEEN:
                        took.append((time.perf_counter() - at) * 1000)
                        acked.append(value)

        tasks: list[asyncio.Task[None]] = []
        for number, (value, body) in enumerate(due):
            at = began + number / RATE
            if (wait := at - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(one(at, value, body)))
        await asyncio.gather(*tasks)
        lasted = time.perf_counter() - began
        share = (_cpu() - cpu) / lasted
    (folder / "acked.json").write_text(json.dumps(acked), encoding="utf-8")
    figures = {
        "clicks": len(values),
        "again": len(due) - len(values),
        "failed": len(due) - len(acked),
        "clicks_per_s": len(acked) / lasted,
        "ack_p50_ms": percentile(took, 0.5),
        "ack_p99_ms": percentile(took, 0.99),
        "slowest_ms": max(took),
        "cpu": share,
    }
    print(json.dumps(figures), flush=True)


def _payload(team: str, number: int, value: str) -> dict[str, object]:
    """A click as Slack sends it, with the message around the button."""
    text = {"type": "mrkdwn", "text": "*Calculate* something that somebody asked for, and says why. " * 12}
    button = {"type": "button", "action_id": "approve", "block_id": "decide", "value": value, "style": "primary"}
    blocks = [{"type": "section", "block_id": f"b{index}", "text": text} for index in range(2)]
    blocks.append({"type": "actions", "block_id": "decide", "elements": [button]})  # pyright: ignore[reportArgumentType]  # blocks differ
    return {
        "type": "block_actions",
        "team": {"id": team, "domain": "bench"},
        "user": {"id": OMAR, "username": "omar", "name": "omar", "team_id": team},
        "api_app_id": "A0BENCH",
        "token": "none",
        "container": {"type": "message", "message_ts": f"1700000001.{number:06d}", "channel_id": "C0ACTIONS"},
        "trigger_id": f"{number}.17.bench",
        "channel": {"id": "C0ACTIONS", "name": "ai-actions"},
        "message": {"type": "message", "ts": f"1700000001.{number:06d}", "text": "An approval", "blocks": blocks},
        "response_url": "http://127.0.0.1:9/none",
        "actions": [
            {**button, "action_ts": f"1700000002.{number:06d}", "text": {"type": "plain_text", "text": "Approve"}}
        ],
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _now() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME)


def _as_child() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", choices=("serve", "click"), required=True)
    parser.add_argument("folder", type=Path)
    parser.add_argument("number", type=int)
    arguments = parser.parse_args()
    work = _serve if arguments.child == "serve" else _click
    asyncio.run(work(arguments.folder, arguments.number))


if __name__ == "__main__":
    if "--child" in sys.argv:
        _as_child()
    else:
        sys.exit(main())
