"""The doctor looks at this machine, the configuration, the database and the models, and says what to mend."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from agent.clock import SystemClock
from agent.fakes import ManualClock
from agent.ports import Sandbox
from agent.sandbox.none import NoSandbox
from bot import __main__ as command_line
from bot.checks import prepare_folders
from bot.cli_doctor import examine, report
from bot.config import Settings
from bot.doctor.collector import look_at_collector
from bot.doctor.configured import look_at_configuration
from bot.doctor.finding import Finding, broken, exit_code, mend, unknown, well
from bot.doctor.machine import Machine, file_system, look_at_data, look_at_sandbox
from bot.doctor.manifest import ours, theirs
from bot.doctor.models import look_at_models
from bot.doctor.store import look_at_database
from bot.init import manifest_text
from storage.schema import migrate

MIB = 1024 * 1024
MOUNTS = "/dev/sda / ext4 rw 0 0\nnas:/v /mnt/share nfs4 rw 0 0\noverlay /var/lib/box overlay rw 0 0\n"


class Walls:
    """A sandbox of which only the name is looked at."""

    def __init__(self, name: str) -> None:
        self.name = name


def machine(*, name: str = "bubblewrap", free: int = 4096 * MIB, mounts: str = MOUNTS) -> Machine:
    async def choose() -> Sandbox:
        return NoSandbox("bwrap: not found") if name == "none" else Walls(name)  # type: ignore[return-value]  only its name counts

    return Machine(choose, free=lambda _: free, mounts=lambda: mounts)


def settings(folder: Path, **other: Any) -> Settings:
    given: dict[str, Any] = {"data": folder / "data", "project": folder, "approvers": ("U0OMAR",), "port": 1}
    return Settings(**(given | other))


def of(found: Iterable[Finding], part: str) -> Finding:
    """The worst finding about a part."""
    levels = ("broken", "mend", "unknown", "ok")
    return min((item for item in found if item.part == part), key=lambda item: levels.index(item.level))


def database(folder: Path) -> Path:
    path = folder / "data" / "secondkey.db"
    path.parent.mkdir()
    migrate(path)
    return path


# -- findings --------------------------------------------------------------------------------------------------------


def test_the_exit_code_is_that_of_the_worst_finding() -> None:
    assert exit_code([well("a", "x"), unknown("b", "x")]) == 0
    assert exit_code([well("a", "x"), mend("b", "x", "y")]) == 1
    assert exit_code([mend("a", "x", "y"), broken("b", "x", "y")]) == 2


def test_each_finding_is_printed_with_its_fix_and_control_signs_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([mend("disk", "full\x1b[31m\nsoon", "make room"), well("clock", "right")], as_json=False) == 1
    printed = capsys.readouterr().out
    assert "MEND   disk          full [31m soon" in printed
    assert "Fix: make room" in printed
    assert "ok     clock" in printed
    assert "\x1b" not in printed


def test_the_json_has_every_finding_and_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([broken("disk", "gone", "get one")], as_json=True) == 2
    body = json.loads(capsys.readouterr().out)
    assert body["exit_code"] == 2
    assert body["findings"] == [{"part": "disk", "level": "broken", "text": "gone", "fix": "get one"}]


async def test_a_look_that_fails_keeps_no_other_from_looking_and_tells_no_text_of_the_error() -> None:
    async def bad() -> Iterable[Finding]:
        raise RuntimeError("xoxb-secret")

    async def good() -> Iterable[Finding]:
        return [well("after", "looked")]

    found = await examine({"first": bad, "after": good})
    assert of(found, "first").level == "unknown"
    assert "RuntimeError" in of(found, "first").text
    assert "xoxb" not in of(found, "first").text
    assert of(found, "after").level == "ok"


# -- the machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv/data", "ext4"), ("/mnt/share/data", "nfs4"), ("/mnt/shared", "ext4"), ("/var/lib/box/data", "overlay")],
)
def test_the_file_system_is_that_of_the_longest_mount_point(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind
    assert file_system(Path(path), "\n".join(reversed(MOUNTS.splitlines()))) == kind


@pytest.mark.parametrize(
    ("kind", "level"), [("ext4", "ok"), ("nfs4", "broken"), ("cifs", "broken"), ("overlay", "mend"), ("tmpfs", "mend")]
)
def test_data_on_a_network_or_throw_away_file_system_is_found(tmp_path: Path, kind: str, level: str) -> None:
    found = list(look_at_data(settings(tmp_path), machine(mounts=f"x / {kind} rw 0 0\n")))
    assert of(found, "disk").level == level


@pytest.mark.parametrize(("free", "level"), [(4096 * MIB, "ok"), (500 * MIB, "mend"), (10 * MIB, "broken")])
def test_a_disk_that_fills_up_is_found(tmp_path: Path, free: int, level: str) -> None:
    room = of(look_at_data(settings(tmp_path), machine(free=free)), "room")
    assert room.level == level
    assert bool(room.fix) is (level != "ok")


def test_a_data_folder_under_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = list(look_at_data(settings(tmp_path, data=tmp_path / "file" / "data"), machine()))
    assert of(found, "data").level == "broken"


def test_a_key_that_others_can_read_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "audit.key").write_text("")
    (folder / "audit.key").chmod(0o644)
    closed = [place for place in (folder, *folder.parents) if not place.stat().st_mode & stat.S_IXOTH]
    assert closed, "what pytest makes is closed to others further up"
    assert of(look_at_data(settings(tmp_path), machine()), "data").level == "ok"
    for place in closed:
        place.chmod(place.stat().st_mode | stat.S_IXOTH)
    try:
        assert "audit.key" in of(look_at_data(settings(tmp_path), machine()), "data").text
    finally:
        for place in closed:
            place.chmod(place.stat().st_mode & ~stat.S_IXOTH)


def test_the_database_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    here = settings(tmp_path)
    prepare_folders(here)
    migrate(here.database)
    assert stat.S_IMODE(here.database.stat().st_mode) == 0o600


@pytest.mark.parametrize(("name", "level"), [("bubblewrap", "ok"), ("landlock", "ok"), ("none", "mend")])
async def test_the_sandbox_is_named_and_what_its_lack_costs(name: str, level: str) -> None:
    found = of(await look_at_sandbox(machine(name=name)), "sandbox")
    assert found.level == level
    assert (name if name != "none" else "run_python") in found.text.lower()


# -- the configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "part", "said"),
    [
        ({"approvers": ()}, "policy", "Nobody may approve"),
        ({"policy": Path("nowhere.toml")}, "policy", "cannot be read"),
        ({"project": Path("nowhere")}, "project", "not a folder"),
        ({"runbooks": (Path("nowhere.toml"),)}, "runbooks", "cannot be read"),
        ({"tools": ("nowhere.py",)}, "tools", "nowhere.py"),
        ({"tool_timeouts": {"nothing": 5}}, "tools", "nothing"),
        ({"egress": {"ftp://x": {}}}, "egress", "ftp://x"),
        ({"secrets": {"API_TOKEN": {"from": "env:GONE"}}}, "secrets", "is not set"),
        ({"databases": {"shop": Path("nowhere.db")}}, "databases", "'shop'"),
        ({"python_packages": Path("nowhere")}, "packages", "nowhere"),
        ({"mcp": {"wiki": {}}}, "mcp", "either `command` or `url`"),
    ],
)
def test_what_serve_would_refuse_is_a_finding_with_its_fix(
    tmp_path: Path, other: dict[str, Any], part: str, said: str
) -> None:
    found = of(look_at_configuration(settings(tmp_path, **other), {}), part)
    assert found.level == "broken"
    assert said in found.text
    assert found.fix


def test_everything_is_looked_at_although_the_first_part_is_broken(tmp_path: Path) -> None:
    found = list(look_at_configuration(settings(tmp_path, policy=Path("nowhere.toml")), {}))
    assert {item.part for item in found} == {
        "policy", "project", "runbooks", "tools", "packages", "egress", "secrets", "databases", "mcp",
    }  # fmt: skip


def test_what_is_dangerous_and_works_is_to_be_mended(tmp_path: Path) -> None:
    other = {"egress": {"http://api.example.com": {}}}
    found = list(look_at_configuration(settings(tmp_path, **other), {}))
    assert of(found, "egress").level == "mend"
    assert of(found, "project").level == "mend", "it is no git repository"


def test_an_mcp_server_of_which_nothing_is_trusted_or_whose_program_is_gone_is_named(tmp_path: Path) -> None:
    other = {"mcp": {"wiki": {"command": "sh"}, "gone": {"command": "/nowhere/server"}}}
    found = [item for item in look_at_configuration(settings(tmp_path, **other), {}) if item.part == "mcp"]
    assert [(item.level, item.text[:20]) for item in found] == [
        ("mend", "The program of gone "),
        ("mend", "No tool of wiki is t"),
    ]
    assert found[1].fix == "secondkey mcp trust wiki"


def test_who_is_registered_alone_is_enough_of_an_approver(tmp_path: Path) -> None:
    path = database(tmp_path)
    here = settings(tmp_path, approvers=())
    assert of(look_at_configuration(here, {}), "policy").level == "broken"
    with sqlite3.connect(path) as conn:
        conn.execute(
            "INSERT INTO approvers(principal, tool, channel, tier, valid_until, note, added_by, added_at, removed_by) "
            "VALUES ('U0THEO', '', '', '', 0, '', 'local:0', 0, '')"
        )
    conn.close()
    assert of(look_at_configuration(here, {}), "policy").level == "ok"


# -- the database ----------------------------------------------------------------------------------------------------


async def test_a_fresh_installation_has_no_database_and_that_is_well(tmp_path: Path) -> None:
    found = list(await look_at_database(settings(tmp_path), SystemClock()))
    assert exit_code(found) == 0
    assert "not there yet" in of(found, "database").text


async def test_a_whole_database_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    path = database(tmp_path)
    found = list(await look_at_database(settings(tmp_path), SystemClock()))
    assert [of(found, part).level for part in ("database", "schema", "journal", "server")] == ["ok"] * 4
    path.write_bytes(b"no database" * 400)
    found = list(await look_at_database(settings(tmp_path), SystemClock()))
    assert of(found, "database").level == "broken"
    assert "restore" in of(found, "database").fix


async def test_a_database_of_another_release_is_to_be_migrated(tmp_path: Path) -> None:
    path = database(tmp_path)
    with sqlite3.connect(path) as conn:
        conn.execute("DELETE FROM _sqlite_migrations WHERE id = (SELECT max(id) FROM _sqlite_migrations)")
    conn.close()
    assert of(await look_at_database(settings(tmp_path), SystemClock()), "schema").level == "mend"


async def test_an_edited_journal_is_found(tmp_path: Path) -> None:
    path = database(tmp_path)
    with sqlite3.connect(path) as conn:
        conn.execute(
            "INSERT INTO events(run, seq, type, version, at, epoch, payload, payload_hash, prev_hash, hash) "
            "VALUES ('r1', 1, 'run_created', 1, 0, 0, '{}', x'00', x'00', x'00')"
        )
    conn.close()
    found = of(await look_at_database(settings(tmp_path), SystemClock()), "journal")
    assert found.level == "broken"
    assert "audit verify" in found.fix


async def test_a_kill_file_is_named(tmp_path: Path) -> None:
    database(tmp_path)
    (tmp_path / "data" / "KILL").write_text("")
    assert of(await look_at_database(settings(tmp_path), SystemClock()), "stop").level == "mend"


@pytest.fixture
async def ready() -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """A server's /readyz, and the body that it answers with."""
    body: dict[str, Any] = {"parts": {"database": "ok"}, "warnings": {}}

    async def readyz(_: web.Request) -> web.Response:
        return web.json_response(body)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1]), body
    await runner.cleanup()


async def test_a_server_that_holds_the_lease_is_asked_how_it_is(
    tmp_path: Path, ready: tuple[int, dict[str, Any]]
) -> None:
    port, body = ready
    clock = ManualClock()
    path = database(tmp_path)
    with sqlite3.connect(path) as conn:
        conn.execute("INSERT INTO lease VALUES ('driver', 't', 'host:7', ?, 0)", (clock.transport() + 10,))
    conn.close()
    here = settings(tmp_path, port=port)
    assert of(await look_at_database(here, clock), "server").level == "ok"
    body["parts"]["slack"] = "not connected to Slack"
    found = of(await look_at_database(here, clock), "server")
    assert (found.level, "not connected to Slack" in found.text) == ("mend", True)
    body["parts"] = ["nonsense"]
    assert of(await look_at_database(here, clock), "server").level == "unknown"


# -- the models ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def service() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A model service: its address, and what it answers with and was sent."""
    state: dict[str, Any] = {"status": 200, "body": {"data": [{"id": "gpt-6-luna"}]}, "seen": []}

    async def models(request: web.Request) -> web.Response:
        state["seen"].append(request.headers.get("Authorization"))
        there = {"Location": "/elsewhere"} if state["status"] == 302 else {}
        return web.Response(text=json.dumps(state["body"]), status=state["status"], headers=there)

    async def elsewhere(request: web.Request) -> web.Response:
        state["seen"].append(request.headers.get("Authorization"))
        return web.json_response({"data": []})

    app = web.Application()
    app.router.add_get("/models", models)
    app.router.add_get("/elsewhere", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", state
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "level", "said"),
    [
        (200, {"data": [{"id": "gpt-6-luna"}]}, "ok", "the key is taken"),
        (200, {"data": [{"id": "other"}]}, "mend", "not among"),
        (200, ["nonsense"], "ok", "the key is taken"),
        (401, {}, "broken", "refused"),
        (404, {}, "unknown", "does not list"),
        (302, {}, "unknown", "does not list"),
    ],
)
async def test_a_key_is_tried_without_calling_a_model(
    tmp_path: Path, service: tuple[str, dict[str, Any]], *, status: int, body: Any, level: str, said: str
) -> None:
    url, state = service
    state |= {"status": status, "body": body}
    environment = {"OPENAI_API_KEY": "sk-planted", "OPENAI_BASE_URL": url}
    here = settings(tmp_path, models="openai:gpt-6-luna", prices={"gpt-6-luna": (1, 2)})
    found = of(await look_at_models(here, environment, SystemClock()), "models")
    assert (found.level, said in found.text) == (level, True)
    assert "sk-planted" not in found.text
    assert state["seen"] == ["Bearer sk-planted"]


async def test_a_model_without_a_price_is_named(tmp_path: Path, service: tuple[str, dict[str, Any]]) -> None:
    url, state = service
    state["body"] = {"data": [{"id": "house-model"}]}
    environment = {"OPENAI_API_KEY": "sk-planted", "OPENAI_BASE_URL": url}
    here = settings(tmp_path, models="openai:house-model")
    found = of(await look_at_models(here, environment, SystemClock()), "models")
    assert found.level == "mend"
    assert '"openai:house-model"' in found.fix


@pytest.mark.parametrize(
    ("models", "level", "said"),
    [("", "mend", "only runbooks"), ("openai:gpt-6-luna", "mend", "No key"), ("nobody", "broken", "nobody")],
)
async def test_without_a_usable_model_that_is_said(tmp_path: Path, models: str, level: str, said: str) -> None:
    found = of(await look_at_models(settings(tmp_path, models=models), {}, SystemClock()), "models")
    assert (found.level, said in found.text) == (level, True)


async def test_a_service_that_does_not_answer_is_not_called_broken(tmp_path: Path) -> None:
    environment = {"OPENAI_API_KEY": "sk-planted", "OPENAI_BASE_URL": "http://127.0.0.1:9"}
    here = settings(tmp_path, models="openai:gpt-6-luna", prices={"gpt-6-luna": (1, 2)})
    assert of(await look_at_models(here, environment, SystemClock()), "models").level == "unknown"


# -- the traces ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "level", "said"),
    [
        ("", "ok", "sent nowhere"),
        ("http://127.0.0.1:9", "mend", "Nobody listens"),
        ("collector", "mend", "is no address"),
        ("http://[::", "mend", "is no address"),
        ("http://127.0.0.1:999999", "mend", "is no address"),
    ],
)
async def test_a_collector_that_does_not_listen_is_named(tmp_path: Path, endpoint: str, level: str, said: str) -> None:
    found = of(await look_at_collector(settings(tmp_path), {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}), "traces")
    assert (found.level, said in found.text) == (level, True)


async def test_a_collector_that_listens_and_a_file_for_traces_are_well(
    tmp_path: Path, service: tuple[str, dict[str, Any]]
) -> None:
    found = of(await look_at_collector(settings(tmp_path), {"OTEL_EXPORTER_OTLP_ENDPOINT": service[0]}), "traces")
    assert (found.level, "Somebody listens" in found.text) == ("ok", True)
    for name, level in (("traces.jsonl", "ok"), ("nowhere/traces.jsonl", "mend")):
        here = settings(tmp_path, trace_file=tmp_path / name)
        assert of(await look_at_collector(here, {}), "traces").level == level


# -- the command -----------------------------------------------------------------------------------------------------


def test_our_manifest_is_read_as_yaml_reads_it() -> None:
    assert ours() == theirs(yaml.safe_load(manifest_text()))
    assert all(ours().parts.values())


@pytest.mark.parametrize(
    "given", [None, [], "x", {"features": {"slash_commands": [1, {"command": {}}]}, "settings": 3}]
)
def test_a_manifest_of_any_other_shape_is_one_with_nothing_in_it(given: object) -> None:
    assert not any(theirs(given).parts.values())


@pytest.mark.parametrize("text", ["port = 70000", "aprovers = []", "approvers = ["])
def test_a_configuration_that_cannot_be_read_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secondkey.toml").write_text(text)
    assert command_line.main(["doctor", "--json"]) == 2
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["part"], finding["level"]) == ("configuration", "broken")
    assert finding["fix"]
