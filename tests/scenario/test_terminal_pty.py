"""`secondkey run` as people run it: a process at a real terminal, with a model on one's own machine."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from pydantic_ai import models

from agent.model import WireModel
from agent.ports import ChatModel, Clock
from agent.resilience import Breakers
from tests.contract import wire_servers as wires
from tests.contract.wire_servers import Call, Canned, WireServer
from tests.scenario.faulty import Desk
from tests.scenario.terminal import RAISE
from tests.scenario.world import make_project, make_shop

pytestmark = pytest.mark.needs("git")
MODEL = "llama3.3:70b"
PATIENCE_S = 60
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with wires.wire_server() as opened:
        yield opened


def spoken(*calls: Call | str) -> list[Canned]:
    """Replies as a self-hosted server sends them: without any details of usage that only a large service has."""
    made: list[Canned] = []
    for call in calls:
        body = json.loads(wires.reply("openai-chat", call if isinstance(call, str) else "",
                                      [call] if isinstance(call, Call) else []).body)  # fmt: skip
        made.append(Canned(body=json.dumps(body | {"model": MODEL})))
    return made


def call(number: int, tool: str, **arguments: object) -> Call:
    return Call(f"c{number}", tool, json.dumps(arguments))


RAISES = [
    call(1, "submit_plan", steps=[{"worker": "code", "instruction": "Raise it."}]),
    call(2, "query_sql", database="shop", sql=RAISE),
    call(3, "submit_result", status="done", summary="It costs 410.", sources=[]),
    "The Oat flat costs 410 now.",
]


class Process:
    """`secondkey run` at a terminal of its own."""

    def __init__(self, folder: Path, server: WireServer) -> None:
        self.folder = folder
        make_project(folder / "project")
        make_shop(folder / "shop.db")
        (folder / "secondkey.toml").write_text('data = "data"\nproject = "project"\n[databases]\nshop = "shop.db"\n')
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.environment = {
            **kept, "TERM": "xterm", "COLUMNS": "100", "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(Path(__file__).parents[2]), "SECONDKEY_MODELS": f"openai-chat:{MODEL}",
            "OPENAI_BASE_URL": f"{server.url}/v1",
        }  # fmt: skip
        self.said = ""

    def priced(self, price: float) -> None:
        """Set what the model costs, USD a million tokens."""
        self.environment["SECONDKEY_PRICES"] = json.dumps({MODEL: [price, price]})

    async def run(self, *options: str, types: Sequence[tuple[str, str]] = ()) -> int:
        """Run it to its end; whenever it shows the one text, the other one is typed."""
        master, slave = pty.openpty()
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def read() -> None:
            try:
                self.said += _CONTROL.sub("", os.read(master, 65_536).decode("utf-8", "replace"))
            except OSError:  # the other side was closed
                loop.remove_reader(master)
            news.set()

        os.set_blocking(master, False)
        loop.add_reader(master, read)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "run", *options, "raise the Oat flat", stdin=slave, stdout=slave, stderr=slave,
            cwd=self.folder, env=self.environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        try:
            async with asyncio.timeout(PATIENCE_S):
                seen = 0
                for shown, typed in types:
                    while (at := self.said.find(shown, seen)) < 0:
                        news.clear()
                        await news.wait()
                    seen = at + len(shown)
                    os.write(master, typed.encode())
                code = await process.wait()
            read()
            return code
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            loop.remove_reader(master)
            os.close(master)

    def price(self) -> int:
        conn = sqlite3.connect(self.folder / "shop.db")
        (price,) = conn.execute("SELECT price FROM drinks WHERE name = 'Oat flat'").fetchone()
        conn.close()
        return int(price)


async def test_a_person_at_a_terminal_says_yes_and_the_model_is_on_their_own_machine(
    tmp_path: Path, server: WireServer
) -> None:
    process = Process(tmp_path, server)
    process.priced(0.1)
    server.replies.extend(spoken(*RAISES))
    code = await process.run(types=[("400 → 410", ""), ("Approve?", "y\n")])
    assert code == 0, process.said
    assert process.price() == 410
    assert "approved (self_approved)" in process.said
    assert "The Oat flat costs 410 now." in process.said
    assert "under $0.0001" in process.said  # 36 tokens a call, at 0.1 USD a million
    assert [seen.body["model"] for seen in server.seen] == [MODEL] * 4


async def test_a_model_without_a_price_is_never_called_and_is_free_only_where_that_is_said(
    tmp_path: Path, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "ALLOW_MODEL_REQUESTS", True)

    def without_price(breakers: Breakers, clock: Clock) -> ChatModel:
        return wire(breakers, clock, {})

    def wire(breakers: Breakers, clock: Clock, prices: dict[str, tuple[float, float]]) -> ChatModel:
        environment = {"OPENAI_BASE_URL": f"{server.url}/v1"}
        return WireModel(
            (f"openai-chat:{MODEL}",), environment=environment, prices=prices, clock=clock, breakers=breakers
        )  # fmt: skip

    desk = await Desk.open(tmp_path, without_price)
    try:
        run = await desk.done()
        assert desk.story(run) == "task begin plan?1 unknown_price plan_failed FAILED"
        assert f"Nobody knows what openai:{MODEL} costs; set a price for it" in desk.thread(run)
        assert (desk.cost(run), server.seen) == ((0, 0), [])
        desk.model_of = lambda breakers, clock: wire(breakers, clock, {MODEL: (0.0, 0.0)})
        await desk.restart()
        server.replies.extend(spoken(RAISES[0], RAISES[2], RAISES[3]))
        run = await desk.done()
        assert desk.story(run).endswith("answer?1 ok COMPLETED")
        assert desk.cost(run) == (0, 0)
        assert "410 now." in desk.thread(run)
    finally:
        await desk.close()
