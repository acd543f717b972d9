from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Action
from agent.errors import RunPaused, RunStopped
from agent.ports import Intention, Stored
from bot.__main__ import main
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.scopes import EVERYTHING, BadScope, Scope, read_kill_file

OMAR, INES = DECIDERS
TOOL = Scope("tool", "query_sql")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def start(store: Store, run: str, action: Action) -> None:
    started = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.lease.token)
    await store.journal.commit(run, (started,), Intention(epoch=0, starts=action.id, digest=action.digest))


async def starts(store: Store, run: str, tool: str = "query_sql") -> bool:
    """Whether an action of this tool may start in the run now."""
    proposed = await store.propose(run)
    if tool != proposed.tool:
        await store.db.write(
            lambda tx: tx.conn.execute("UPDATE actions SET tool = ? WHERE id = ?", (tool, proposed.id))
        )
    try:
        await start(store, run, proposed)
    except (RunPaused, RunStopped):
        return False
    return True


async def test_a_paused_tool_starts_in_no_run_and_other_tools_go_on(store: Store) -> None:
    runs = [await store.run(), await store.run()]
    await store.control.pause(TOOL, by="ops")
    assert [await starts(store, run) for run in runs] == [False, False]
    assert await starts(store, runs[0], "http_request")
    await store.control.resume(TOOL, by="ops")
    assert await starts(store, runs[0])


async def test_a_paused_run_starts_nothing_and_others_go_on(store: Store) -> None:
    run, other = await store.run(), await store.run()
    await store.control.pause(Scope("run", run), by="ops")
    assert [await starts(store, one) for one in (run, other)] == [False, True]


@pytest.mark.parametrize("name", [OMAR.key, OMAR.user])
async def test_a_paused_person_starts_nothing_in_any_run_that_holds_their_words(store: Store, name: str) -> None:
    asked, joined, other = await store.run(requester=OMAR), await store.run(), await store.run()
    await store.inbox.follow_up(joined, OMAR, "more words")
    await store.control.pause(Scope("person", name), by="ops")
    assert [await starts(store, run) for run in (asked, joined, other)] == [False, False, True]


async def test_resuming_one_scope_leaves_the_others_paused_and_resuming_all_leaves_none(store: Store) -> None:
    run = await store.run()
    for scope in (TOOL, Scope("run", run), EVERYTHING):
        await store.control.pause(scope, by="ops")
    await store.control.resume(TOOL, by="ops")
    assert [str(flag.scope) for flag in store.control.standing()] == [f"run:{run}", "all"]
    await store.control.resume(by="ops")
    assert store.control.standing() == ()
    assert await starts(store, run)


async def test_a_stopped_tool_ends_the_runs_that_use_it_now(store: Store) -> None:
    using, done, other = await store.run(), await store.run(), await store.run()
    await store.propose(using)
    finished = await store.propose(done)
    await start(store, done, finished)
    over = ev.ActionFinished(action=finished.id, outcome="succeeded")
    await store.journal.commit(done, (over,), Intention(epoch=0))
    assert await store.control.stop(scope=TOOL, by="ops") == (using,)
    stopped = [item.event.type for item in await store.journal.read(using)]
    assert stopped[-1] == "stop_requested"
    assert not [item for item in await store.journal.read(other) if item.event.type == "stop_requested"]


async def test_a_stopped_person_ends_the_runs_that_hold_their_words(store: Store) -> None:
    asked, joined, other = await store.run(requester=OMAR), await store.run(), await store.run()
    await store.inbox.follow_up(joined, OMAR, "more words")
    await store.control.write("stop", scope=Scope("person", OMAR.user), by="ops")
    assert [await starts(store, run) for run in (asked, joined, other)] == [False, False, True]
    await store.control.take()
    ended = [
        run for run in (asked, joined, other) if "stop_requested" in [e.event.type for e in await read(store, run)]
    ]
    assert ended == [asked, joined]


async def read(store: Store, run: str) -> tuple[Stored, ...]:
    return await store.journal.read(run)


@pytest.mark.parametrize(
    ("text", "halted"),
    [
        ("", {"mine", "hers", "tool"}),
        ("all\n", {"mine", "hers", "tool"}),
        ("  \n\n", {"mine", "hers", "tool"}),
        ("run:{mine}\n", {"mine"}),
        ("tool:http_request", {"tool"}),
        ("person:U2\ntool:http_request\n", {"hers", "tool"}),
        ("person:slack:T1:U2", {"hers"}),
        ("tool:", {"mine", "hers", "tool"}),
        ("tools:http_request", {"mine", "hers", "tool"}),
        ("tool:http_request\nplease stop", {"mine", "hers", "tool"}),
        ("tool:a b", {"mine", "hers", "tool"}),
        ("run:{mine}\n" * 20_000, {"mine", "hers", "tool"}),
    ],
)
async def test_the_kill_file_stops_what_it_names_and_everything_when_it_is_unclear(
    store: Store, text: str, halted: set[str]
) -> None:
    mine, hers = await store.run(), await store.run(requester=OMAR)
    store.db.path.with_suffix(".kill").write_text(text.format(mine=mine))
    found = {"mine": await starts(store, mine), "hers": await starts(store, hers)}
    found["tool"] = await starts(store, await store.run(), "http_request")
    assert {name for name, may in found.items() if not may} == halted


def test_a_kill_file_that_cannot_be_read_means_everything(tmp_path: Path) -> None:
    folder, bytes_ = tmp_path / "KILL", tmp_path / "bytes"
    folder.mkdir()
    bytes_.write_bytes(b"tool:\xff\xfe")
    assert read_kill_file(folder) == read_kill_file(bytes_) == (EVERYTHING,)
    assert read_kill_file(tmp_path / "none") == read_kill_file(None) == ()


@pytest.mark.parametrize("word", ["", "run", "run:", "run: x", "tool:a\nb", "everything", "tool:" + "x" * 201])
def test_a_scope_without_a_name_is_none_at_all(word: str) -> None:
    with pytest.raises(BadScope):
        Scope.parse(word)
    with pytest.raises(BadScope):
        Scope("tool", "")


def test_the_command_line_pauses_and_resumes_a_tool_a_run_and_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secondkey.toml").write_text(f'data = "{tmp_path / "data"}"\n')
    monkeypatch.chdir(tmp_path)

    async def prepare() -> str:
        opened = await Store.open(tmp_path / "data" / "secondkey.db")
        run = await opened.run()
        await opened.lease.release()
        await opened.close()
        return run

    run = asyncio.run(prepare())
    assert main(["pause", "--tool", "query_sql"]) == 0
    assert capsys.readouterr().out == "Pause of tool:query_sql: stored; honoured at the next start.\n"
    assert main(["pause", "--tool", "query_sql"]) == 0
    assert "tool:query_sql is paused already; `secondkey resume --tool query_sql` goes on." in capsys.readouterr().out
    assert main(["pause", "--run", run[:3]]) == 0
    assert main(["pause", "--person", f"<@{REQUESTER.user}>"]) == 0
    assert main(["pause", "--tool", "tpyo"]) == 0
    assert "No tool tpyo is known here" in capsys.readouterr().out
    assert main(["pause", "--run", "nothing"]) == 1
    assert main(["pause", "--person", "a b"]) == 1
    capsys.readouterr()
    assert main(["resume", "--tool", "query_sql"]) == 0
    assert f"Still paused: run:{run}, person:{REQUESTER.user}, tool:tpyo." in capsys.readouterr().out
    assert main(["resume", "--all"]) == 0
    assert main(["resume"]) == 0
    assert "Nothing was paused." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["pause", "--tool", "a", "--run", "b"])
    assert main(["stop", "--tool", "query_sql"]) == 0
    assert "No run of tool:query_sql was going." in capsys.readouterr().out
    assert main(["stop", "--person", REQUESTER.user]) == 0
    assert f"Stop of 1 run of person:{REQUESTER.user}: stored" in capsys.readouterr().out
