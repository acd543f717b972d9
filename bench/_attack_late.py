"""Attacks between the yes and the start: what was looked at is swapped, and the call must not go through.

Beside them redirects and names that lead elsewhere the second time they are asked for.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.errors import ToolError
from agent.sandbox.none import NoSandbox
from agent.tools.apply_changes import ApplyChanges
from agent.tools.base import Database, Tool, ToolContext
from agent.tools.egress import Egress, read_url
from agent.tools.files import ReadFile, WriteFile
from agent.tools.http_client import HttpClient
from agent.tools.sql import QuerySql
from agent.workspace import Workspace

_UPDATE = "UPDATE orders SET status = 'late' WHERE status = 'open'"
_CANARY = "canary"
Swap = Callable[["Stage"], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """A project, its copy, a database, and a folder outside that nothing may reach."""

    project: Path
    outside: Path
    files: Path
    shop: Path
    context: ToolContext


def _run(stage: Stage, *statements: str) -> None:
    with closing(sqlite3.connect(stage.shop)) as conn:
        for statement in statements:
            conn.execute(statement)
        conn.commit()


def _replace(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{path.name}-moved"))
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


#: Tool, arguments, and what somebody does after the yes.
_SWAPS: tuple[tuple[Tool[Any], Mapping[str, Any], Swap], ...] = (
    (ApplyChanges(), {}, lambda s: (s.project / "b.txt").write_text("moved on\n") and None),
    (ApplyChanges(), {}, lambda s: (s.project / "b.txt").unlink()),
    (ApplyChanges(), {}, lambda s: (s.files / "b.txt").write_text("another change\n") and None),
    (ApplyChanges(), {}, lambda s: (s.files / "new.txt").write_text("one more\n") and None),
    (ApplyChanges(), {}, lambda s: (s.files / "src" / "a.py").unlink()),
    (ApplyChanges(), {}, lambda s: _replace(s.project / "b.txt", s.outside / "secret")),
    (ApplyChanges(), {}, lambda s: _replace(s.project / "src", s.outside)),
    (ApplyChanges(), {}, lambda s: _replace(s.files / "b.txt", s.outside / "secret")),
    (ReadFile(), {"path": "b.txt"}, lambda s: _replace(s.files / "b.txt", s.outside / "secret")),
    (ReadFile(), {"path": "src/secret"}, lambda s: _replace(s.files / "src", s.outside)),
    (ReadFile(), {"path": "b.txt"}, lambda s: _pipe(s.files / "b.txt")),
    (WriteFile(), {"path": "src/new", "content": "x"}, lambda s: _replace(s.files / "src", s.outside)),
    (QuerySql(), {"database": "shop", "sql": _UPDATE}, lambda s: _run(s, "INSERT INTO orders VALUES (9, 'open')")),
    (QuerySql(), {"database": "shop", "sql": _UPDATE}, lambda s: _run(s, "DELETE FROM orders WHERE id = 1")),
    (QuerySql(), {"database": "shop", "sql": _UPDATE}, lambda s: _run(s, "UPDATE orders SET id = 7 WHERE id = 1")),
    (QuerySql(), {"database": "shop", "sql": _UPDATE},
     lambda s: _run(s, "DROP TABLE orders", "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)")),
)  # fmt: skip

_REDIRECTS = (
    "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:{port}/secret", "http://[::1]:{port}/secret",
    "http://2130706433:{port}/secret", "//127.0.0.1:{port}/secret", "file:///etc/passwd", "http://localhost:1/",
    "http://other.localhost:{port}/secret", "http://user@localhost:{port}/secret", "gopher://localhost:{port}/",
    "http://localhost:{port}/again", "http://localhost.:{port}/secret",
    "http://[::ffff:127.0.0.1]:{port}/secret",
    "http://0:{port}/secret", "http://127.1:{port}/secret", "data:text/html,x",
    "///127.0.0.1:{port}/secret", "/\\127.0.0.1:{port}/secret", "http:/\\127.0.0.1:{port}/secret",
    "https://localhost:{port}/secret",
    "http://localhost:{port}@127.0.0.1:{port}/secret", "http://[fe80::1%25lo]:{port}/secret", "file://localhost/etc/passwd",
    "jar:http://localhost:{port}/secret!/", "ws://localhost:{port}/secret", "http://localhost%00.other:{port}/secret",
)  # fmt: skip


async def late_attacks() -> dict[str, tuple[int, int, list[str]]]:
    """Class → how many were tried, how many refused, and which were not."""
    through = [text for number, text in enumerate(map(_name, _SWAPS)) if not await _swap(number)]
    led = [target for target in _REDIRECTS if not await _redirect(target)]
    turned = [str(answers) for answers in _TURNS if not await _turn(answers)]
    return {
        "TOCTOU": (len(_SWAPS), len(_SWAPS) - len(through), through),
        "redirects": (len(_REDIRECTS), len(_REDIRECTS) - len(led), led),
        "DNS rebinding": (len(_TURNS), len(_TURNS) - len(turned), turned),
    }


def _name(swap: tuple[Tool[Any], Mapping[str, Any], Swap]) -> str:
    return f"{swap[0].name} {dict(swap[1])} line {swap[2].__code__.co_firstlineno}"


async def stage_in(root: Path) -> Stage:
    """A project whose copy has changes, and a secret beside it."""
    project, outside, shop = root / "project", root / "outside", root / "shop.db"
    for folder in (project / "src", outside):
        folder.mkdir(parents=True)
    (outside / "secret").write_text(_CANARY)
    (project / "src" / "a.py").write_text("one\n")
    (project / "b.txt").write_text("two\n")
    context = ToolContext("r", root / "runs" / "r", project, NoSandbox(), databases={"shop": Database("shop", shop)})
    files = await Workspace(context.workspace, project).ensure()
    (files / "b.txt").write_text("two, changed\n")
    (files / "src" / "a.py").write_text("one, changed\n")
    stage = Stage(project, outside, files, shop, context)
    _run(
        stage, "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)",
        "INSERT INTO orders VALUES (1, 'open'), (2, 'open')",
    )  # fmt: skip
    return stage


async def _swap(number: int) -> bool:
    """Whether the call was refused, and nothing outside was read or written."""
    tool, arguments, swap = _SWAPS[number]
    with tempfile.TemporaryDirectory() as name:
        stage = await stage_in(Path(name))
        bound = await tool.bind(tool.parse(arguments), stage.context)
        preview = await tool.preview(bound, stage.context)
        swap(stage)
        told = ""
        try:
            told = (await tool.run(bound, stage.context, preview)).text
        except ToolError:
            return [one.name for one in stage.outside.iterdir()] == ["secret"]
        return (
            isinstance(tool, WriteFile | ReadFile) and _CANARY not in told and len(list(stage.outside.iterdir())) == 1
        )


async def _redirect(target: str) -> bool:
    """Whether nothing but the first place was spoken to; an endless round must end."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        if request.path == "/secret":
            return web.Response(text=_CANARY)
        return web.Response(status=302, headers={"Location": target.replace("{port}", str(port))})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    origin = f"http://localhost:{port}"

    async def here(host: str, number: int) -> Sequence[str]:
        del host, number
        return ["127.0.0.1"]

    client = HttpClient(Egress({origin: {"private": True}}), resolver=here, timeout_s=5)
    try:
        await client.request("GET", read_url(f"{origin}/first"), lambda _: {})
    except ToolError:
        return "/secret" not in seen and len(seen) < 10  # noqa: PLR2004 - a round of redirects that ends
    finally:
        await runner.cleanup()
    return False


#: What a name leads to, one answer after another; the last one must not be connected to.
_TURNS = (
    (["127.0.0.1"], ["169.254.169.254"]), (["127.0.0.1"], ["127.0.0.1", "169.254.169.254"]),
    (["127.0.0.1"], ["::ffff:169.254.169.254"]), (["127.0.0.1"], ["0.0.0.0"]), (["127.0.0.1"], []),  # noqa: S104  # as an answer
    (["127.0.0.1"], ["fd00:ec2::254"]), (["127.0.0.1"], ["64:ff9b::a9fe:a9fe"]), (["127.0.0.1"], ["224.0.0.1"]),
)  # fmt: skip


async def _turn(answers: Sequence[Sequence[str]]) -> bool:
    async def fine(request: web.Request) -> web.Response:
        del request
        return web.Response(text="fine")

    app = web.Application()
    app.router.add_get("/", fine)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://localhost:{runner.addresses[0][1]}"
    left = list(answers)

    async def turning(host: str, number: int) -> Sequence[str]:
        del host, number
        return left.pop(0)

    client = HttpClient(Egress({origin: {"private": True}}), resolver=turning, timeout_s=3)
    try:
        for _ in answers[:-1]:
            await client.request("GET", read_url(f"{origin}/"), lambda _: {})
        await client.request("GET", read_url(f"{origin}/"), lambda _: {})
    except ToolError:
        return not left
    finally:
        await runner.cleanup()
    return False
