"""Writes a small database of the release whose code is on PYTHONPATH: `python tests/golden/make.py tests/golden/NAME`.

To be run once at a release, and its files never changed: NAME.sql (a dump, so that it can be read and compared),
NAME.jsonl and NAME.pub (signed heads and their key). Later releases must open, migrate, fold and verify it.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from agent import events as ev
from agent.domain import Outcome, RunStatus, content_hash
from agent.fakes import ManualClock
from agent.ports import Fact
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.signer import Signer

WRITTEN = 1_795_000_000.0
"""Business time of its runs: before any later release could migrate it."""


async def build(folder: Path) -> None:
    """One run of each kind: done with models, denied, expired, taken over, handed back, stopped, and one that waits."""
    store = await Store.open(folder / "secondkey.db", clock=ManualClock(at=WRITTEN))
    signer = Signer(store.db, folder=folder, heads_file=folder / "audit-heads.jsonl")
    store.db.subscribe("head", signer.moved)
    await done(store)
    denied = await store.run("cancel order 8")
    asked = await store.ask(denied)
    await store.decisions.vote(asked.id, DECIDERS[0], "deny")
    await store.decisions.explain_denial(asked.id, DECIDERS[0], "They still want it.")
    expired = await store.run("cancel order 9")
    await store.ask(expired, timeout_s=60)
    taken = await store.run("drop the carts")
    await take_over(store, taken, "done")
    await take_over(store, await store.run("drop the orders"), "handed_back")
    stopped = await store.run("count everything")
    await store.control.stop(stopped, by="local:0", reason="Enough.")
    await store.journal.commit(stopped, (ev.RunFinished(status=RunStatus.CANCELLED, code="STOPPED"),), Fact())
    store.clock.advance(90)
    await store.decisions.sweep(store.clock.now())
    await store.lease.regain()
    waiting = await store.run("pay order 10")
    await store.ask(waiting, quorum=2)
    await store.inbox.follow_up(waiting, REQUESTER, "and order 11")
    await signer.sign()
    await store.lease.release()
    await store.close()


async def done(store: Store) -> None:
    """A run with a plan, model calls, an approved action and an answer."""
    run = await store.run("put order 7 right")
    reply, answer = '{"text": "Fine.", "calls": []}', "Order 7 is **paid**."
    call = ev.ModelCallStarted(call="c1", purpose="work", step=0, model="anthropic:one", reserved_micro_usd=900)
    came = ev.ModelCallFinished(
        call="c1", reply_blob=content_hash(reply), input_tokens=100, output_tokens=5, cost_micro_usd=420, duration_ms=9
    )
    await store.journal.commit(run, (call, came), Fact(), blobs={content_hash(reply): reply})
    asked = await store.ask(run)
    await store.decisions.vote(asked.id, DECIDERS[1], "approve")
    await store.start(run, store.approval(asked.id))
    ended = ev.ActionFinished(action=asked.action, outcome=Outcome.SUCCEEDED, summary="Paid.", duration_ms=4)
    closed = ev.StepFinished(step=0, status="done", summary="Order 7 is paid.")
    over = ev.RunFinished(status=RunStatus.COMPLETED, answer_blob=content_hash(answer), summary=answer)
    await store.journal.commit(run, (ended, closed, over), Fact(), blobs={content_hash(answer): answer})


async def take_over(store: Store, run: str, ending: str) -> None:
    """A takeover that is claimed and ends so."""
    row = await store.take_over(run)
    claimed = await store.decisions.claim(row.id, DECIDERS[0])
    end = "done" if ending == "done" else "handed_back"
    await store.decisions.close_takeover(
        row.id, DECIDERS[0], end, token=claimed.claim_token, what="By hand.", reference="T-1", evidence="See there."
    )


def main() -> None:
    """Write the files."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(build(folder))
        with closing(sqlite3.connect(folder / "secondkey.db")) as conn:
            dump = "\n".join(line for line in conn.iterdump() if "sqlite_sequence" not in line)
        target.with_suffix(".sql").write_text(f"{dump}\n", encoding="utf-8")
        shutil.copyfile(folder / "audit-heads.jsonl", target.with_suffix(".jsonl"))
        shutil.copyfile(folder / "audit.pub", target.with_suffix(".pub"))


if __name__ == "__main__":
    main()
