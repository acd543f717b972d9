"""Phoenix, a backend that others made, shows a run as one tree with the right kinds and tokens: `make test-phoenix`.

Not part of `make test`: Phoenix takes 600 MB, and its own environment, which is made at the first time.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from agent import events as ev
from agent.ports import ModelReply, ModelRequest
from agent.telemetry import span_id_of, trace_id_of
from bench._engine import Engine
from bench._environments import interpreter
from bench._models import ScriptedChat
from storage.journal import read_events
from tests.scenario.traced import traces_of

HERE = Path(__file__).parent
STARTED_S = 180.0
"""Phoenix makes a database and imports a lot; the machine may be busy."""


class Counted(ScriptedChat):
    """A scripted model whose calls take tokens."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        return replace(await super().complete(request), input_tokens=120, output_tokens=7)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def phoenix(folder: Path) -> AsyncIterator[str]:
    """A Phoenix of its own on the loopback, which asks nothing of the world; its address."""
    python, port = await asyncio.to_thread(interpreter, "phoenix", HERE), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    }
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(python), str(HERE / "serve.py"), env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session, asyncio.timeout(STARTED_S):
            while not await is_up(session, url):
                assert process.returncode is None, (folder / "log").read_text()[-2000:]
                await asyncio.sleep(0.5)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def is_up(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError):
        async with session.get(f"{url}/healthz") as answer:
            return answer.status == 200
    return False


async def spans_of(url: str, wanted: int) -> list[dict[str, Any]]:
    """The spans that Phoenix shows, once it has written as many as were handed over."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            async with session.get(f"{url}/v1/projects/default/spans", params={"limit": "1000"}) as answer:
                found = (await answer.json())["data"] if answer.status == 200 else []
            if len(found) >= wanted:
                return list(found)
            await asyncio.sleep(0.5)


async def test_phoenix_shows_a_run_as_one_tree_with_the_right_kinds_and_tokens(tmp_path: Path) -> None:
    path = tmp_path / "secondkey.db"
    async with phoenix(tmp_path) as url:
        engine = await Engine.open(path, model=Counted())
        traces = traces_of(engine.db, {"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        run, approval = await engine.start(1)
        await engine.decide(run, approval)
        async with asyncio.timeout(30):
            while not traces.is_idle:  # noqa: ASYNC110  # a thread's work has no event in the loop
                await asyncio.sleep(0.02)
        events = [item.event for item in engine.db.read(lambda conn: read_events(conn, run))]
        await traces.stop()
        await engine.close()
        shown = await spans_of(url, traces.exported)

    assert len(shown) == traces.exported
    assert {span["context"]["trace_id"] for span in shown} == {f"{trace_id_of(run):032x}"}
    ids = {span["context"]["span_id"] for span in shown}
    roots = [span for span in shown if not span["parent_id"]]
    assert [(root["name"], root["context"]["span_id"]) for root in roots] == [
        ("invoke_workflow secondkey", f"{span_id_of(run):016x}")
    ]
    assert all(span["parent_id"] in ids for span in shown if span["parent_id"])
    assert {(span["name"].split(" ")[0], span["span_kind"]) for span in shown} == {
        ("invoke_workflow", "CHAIN"), ("run.started", "CHAIN"), ("plan", "AGENT"), ("invoke_agent", "AGENT"),
        ("chat", "LLM"), ("execute_tool", "TOOL"), ("approval.requested", "CHAIN"), ("approval", "GUARDRAIL"),
        ("evaluate", "EVALUATOR"),
    }  # fmt: skip
    calls = [event for event in events if isinstance(event, ev.ModelCallFinished)]
    ledger = Counter({"prompt": sum(e.input_tokens for e in calls), "completion": sum(e.output_tokens for e in calls)})
    assert min(ledger.values()) > 0
    assert tokens(shown) == ledger


def tokens(shown: list[dict[str, Any]]) -> Counter[str]:
    """What Phoenix itself counts as tokens."""
    return Counter(
        {
            kind: sum(int(span["attributes"].get(f"llm.token_count.{kind}", 0)) for span in shown)
            for kind in ("prompt", "completion")
        }
    )
