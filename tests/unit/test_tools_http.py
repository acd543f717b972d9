"""http_request: where it goes, what it follows, what it takes in, and what leaves with it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.broker import Broker
from agent.domain import Principal, Tier, Worker
from agent.errors import (
    BadArguments,
    ConfigurationError,
    HostNotAllowed,
    SecretNotAllowed,
    ToolFailed,
    ToolNotAllowed,
    ToolTimedOut,
)
from agent.policy import load_policy
from agent.sandbox.fake import FakeSandbox
from agent.tools.addresses import kind_of
from agent.tools.base import ToolContext, ToolResult
from agent.tools.egress import Egress, read_url
from agent.tools.http import HttpRequest
from agent.tools.http_client import MAX_BODY, HttpClient, resolve
from agent.tools.registry import Registry

TOKEN = "s3cr3t-Value/with+signs"


@pytest.mark.parametrize("text", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::"])
def test_a_public_address_is_public(text: str) -> None:
    assert kind_of(text) == "public"


@pytest.mark.parametrize(
    "text",
    """10.0.0.1 172.16.3.4 172.31.255.255 192.168.1.1 127.0.0.1 127.8.8.8 100.64.0.1 ::1 fc00::1 fd12::1
    ::ffff:10.0.0.1 ::ffff:127.0.0.1 64:ff9b::a00:1 2002:a00:1:: ::7f00:1""".split(),  # noqa: SIM905 - a list
)
def test_an_address_behind_this_machine_is_private(text: str) -> None:
    assert kind_of(text) == "private"


@pytest.mark.parametrize(
    "text",
    """169.254.169.254 169.254.170.2 0.0.0.0 100.100.100.200 168.63.129.16 224.0.0.1 255.255.255.255 240.0.0.1
    192.0.0.192 198.18.0.1 :: fe80::1 fe80::1%eth0 ff02::1 fd00:ec2::254 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe
    2002:a9fe:a9fe:: ::a9fe:a9fe 2001:0:1::1 2001:db8::1 100::1 64:ff9b:1::7f00:1
    localhost 2130706433 0x7f.1 1.2.3 nonsense""".split(),  # noqa: SIM905 - as above
)
def test_an_address_of_metadata_or_of_nobody_is_never_reached(text: str) -> None:
    assert kind_of(text) == "forbidden"


@pytest.mark.parametrize(
    "text",
    [
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "//api.example.com/",
        "https:api.example.com/",
        "https://user@api.example.com/",
        "https://user:pass@api.example.com/",
        "https://api.example.com@evil.example/",
        "https://api.example.com\\@evil.example/",
        "https://api.example.com\\.evil.example/",
        "https://api.example.com%2eevil.example/",
        "https://api.example.com%00.evil.example/",
        "https://api.example.com\0/",
        "https://api.example.com/a b",
        "https://api.example.com/\r\nHost: evil",
        "https://api.example.com\t/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://ⓛocalhost/",
        "https://api。example.com/",
        "https://bücher.example/",
        "https://api.example.com./",
        "https://.example.com/",
        "https://api..example.com/",
        "https://-api.example.com/",
        "https://api_x.example.com/",
        "https://api.example.com:/",
        "https://api.example.com:0/",
        "https://api.example.com:99999/",
        "https://api.example.com:443@evil.example/",
        "https://api.example.com:4x/",
        "https://api.example.com/a/../admin",
        "https://api.example.com/%2e%2e/admin",
        "https://api.example.com/.%2E/admin",
        "https://api.example.com/a%2f..%2fadmin",
        "https://api.example.com/a%5c..%5cadmin",
        "https://api.example.com/%zz",
        "https://api.example.com/<script>",
        "https:///path",
        "https://",
        "x" * 5_000,
    ],
)
def test_an_address_that_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(BadArguments):
        read_url(text)


def test_an_address_has_one_spelling() -> None:
    assert str(read_url("HTTPS://API.Example.com:443?a=b#part")) == "https://api.example.com/?a=b"
    assert read_url("http://xn--bcher-kva.example:8080/a").origin == "http://xn--bcher-kva.example:8080"


@pytest.mark.parametrize(
    ("origins", "said"),
    [
        ({"https://h.example/path": {}}, "path"),
        ({"https://h.example": {"methods": ["TRACE"]}}, "unknown"),
        ({"h.example": {}}, "usable"),
        ({"https://h.example": {"typo": True}}, "usable"),
    ],
)
def test_a_list_of_places_that_is_wrong_stops_the_start(origins: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Egress(origins)


# -- on the wire -----------------------------------------------------------------------------------------------------


class Site:
    """A server on this machine that answers to any name, and remembers what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[str, Any] = {}
        self.asked_for: list[str] = []
        self.addresses: dict[str, Sequence[str]] = {}
        self.waiting = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.method, request.path_qs, dict(request.headers), body))
        answer = self.answers.get(request.path, web.Response(text="hello"))
        if callable(answer):
            answer = answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        del port
        self.asked_for.append(host)
        return self.addresses.get(host, ["127.0.0.1"])

    def url(self, path: str = "/", host: str = "api.example") -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
async def site() -> AsyncGenerator[Site]:
    made = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    made.port = listener.getsockname()[1]
    await web.SockSite(runner, listener).start()
    yield made
    made.waiting.set()
    await runner.cleanup()


def context(site: Site, tmp_path: Path, *, private: bool = True, **more: Any) -> ToolContext:
    origins = {
        site.url("", "api.example"): {"methods": ["GET", "POST", "DELETE"], "private": private},
        site.url("", "other.example"): {"private": private},
    }
    hosts = [site.url("", "api.example")]
    broker = Broker({"API_TOKEN": {"from": "env:API", "hosts": hosts}}, {"API": TOKEN})
    return ToolContext(
        run="r1",
        workspace=tmp_path / "w",
        project=tmp_path,
        sandbox=FakeSandbox(),
        egress=more.get("egress", Egress(origins)),
        broker=broker,
    )


async def call(site: Site, where: ToolContext, **arguments: Any) -> ToolResult:
    tool = HttpRequest(site.resolve)
    given = await tool.bind(tool.parse(arguments), where)
    await tool.facts(given, where)
    return await tool.run(given, where, await tool.preview(given, where))


async def test_an_allowed_place_is_read(site: Site, tmp_path: Path) -> None:
    site.answers["/a"] = web.json_response({"x": [1]})
    result = await call(site, context(site, tmp_path), url=site.url("/a?q=1"))
    assert result.ok
    assert result.data["json"] == {"x": [1]}
    assert site.seen[0][:2] == ("GET", "/a?q=1")
    assert site.seen[0][2]["Host"] == f"api.example:{site.port}"


async def test_a_name_is_resolved_once_and_that_address_is_connected_to(site: Site, tmp_path: Path) -> None:
    await call(site, context(site, tmp_path), url=site.url())
    assert site.asked_for == ["api.example"]


@pytest.mark.parametrize(
    ("method", "host"), [("GET", "evil.example"), ("PUT", "api.example"), ("POST", "other.example")]
)
async def test_what_is_not_on_the_list_is_refused_before_anybody_is_asked(
    site: Site, tmp_path: Path, method: str, host: str
) -> None:
    tool, where = HttpRequest(site.resolve), context(site, tmp_path)
    with pytest.raises(HostNotAllowed):
        await tool.bind(tool.parse({"method": method, "url": site.url("/", host)}), where)
    with pytest.raises(HostNotAllowed):
        await tool.bind(tool.parse({"url": f"http://api.example:{site.port + 1}/"}), where)
    with pytest.raises(HostNotAllowed):
        await tool.bind(tool.parse({"url": f"https://api.example:{site.port}/"}), where)
    assert site.seen == []


async def test_an_empty_list_reaches_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(HostNotAllowed):
        await call(site, context(site, tmp_path, egress=Egress()), url=site.url())


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["93.184.216.34", "169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["10.1.2.3"],
        [],
    ],
)
async def test_a_name_that_leads_inside_is_not_connected_to(site: Site, tmp_path: Path, addresses: list[str]) -> None:
    site.addresses["api.example"] = addresses
    with pytest.raises((HostNotAllowed, ToolFailed)):
        await call(site, context(site, tmp_path, private=False), url=site.url())
    assert site.seen == []


async def test_metadata_is_not_reached_even_where_private_networks_are(site: Site, tmp_path: Path) -> None:
    site.addresses["api.example"] = ["169.254.169.254"]
    with pytest.raises(HostNotAllowed):
        await call(site, context(site, tmp_path), url=site.url())


async def test_a_redirect_is_checked_like_the_first_address(site: Site, tmp_path: Path) -> None:
    where = context(site, tmp_path)
    for path, target in {
        "/out": "http://evil.example/",
        "/literal": f"http://127.0.0.1:{site.port}/",
        "/metadata": "http://169.254.169.254/latest/meta-data/",
        "/file": "file:///etc/passwd",
        "/slashes": f"//evil.example:{site.port}/",
        "/user": f"http://x@api.example:{site.port}/",
        "/scheme": "https://api.example/",
        "/back": "/../../admin",
    }.items():
        site.answers[path] = web.Response(status=302, headers={"Location": target})
        with pytest.raises(HostNotAllowed):
            await call(site, where, url=site.url(path))
    assert len(site.seen) == 8


async def test_a_redirect_to_an_allowed_place_whose_name_leads_inside_is_refused(site: Site, tmp_path: Path) -> None:
    where = context(site, tmp_path, private=False)
    egress = Egress({site.url("", "api.example"): {"private": True}, site.url("", "other.example"): {}})
    where = context(site, tmp_path, egress=egress)
    site.answers["/out"] = web.Response(status=302, headers={"Location": site.url("/", "other.example")})
    with pytest.raises(HostNotAllowed):
        await call(site, where, url=site.url("/out"))


async def test_redirects_to_allowed_places_are_followed_and_take_no_secret_along(site: Site, tmp_path: Path) -> None:
    where = context(site, tmp_path)
    site.answers["/one"] = web.Response(status=302, headers={"Location": "two"})
    site.answers["/two"] = web.Response(status=307, headers={"Location": site.url("/three", "other.example")})
    headers = {"Authorization": "Bearer secret:API_TOKEN", "X-Key": "secret:API_TOKEN", "X-Plain": "1"}
    result = await call(site, where, url=site.url("/one"), headers=headers)
    assert result.text.endswith("hello")
    assert [path for _, path, _, _ in site.seen] == ["/one", "/two", "/three"]
    assert [seen[2].get("Authorization") for seen in site.seen] == [f"Bearer {TOKEN}", f"Bearer {TOKEN}", None]
    assert [seen[2].get("X-Key") for seen in site.seen] == [TOKEN, TOKEN, None]
    assert site.seen[2][2]["X-Plain"] == "1"


async def test_a_circle_of_redirects_ends(site: Site, tmp_path: Path) -> None:
    site.answers["/round"] = lambda _: web.Response(status=302, headers={"Location": "/round"})
    with pytest.raises(ToolFailed, match="redirected"):
        await call(site, context(site, tmp_path), url=site.url("/round"))


async def test_what_was_approved_is_sent_once_and_a_redirect_does_not_send_it_elsewhere(
    site: Site, tmp_path: Path
) -> None:
    site.answers["/order"] = web.Response(status=307, headers={"Location": site.url("/again")})
    result = await call(site, context(site, tmp_path), method="POST", url=site.url("/order"), body="one coffee")
    assert result.data["status"] == 307
    assert [(seen[0], seen[1], seen[3]) for seen in site.seen] == [("POST", "/order", b"one coffee")]


async def test_a_small_answer_cannot_become_a_large_one(site: Site, tmp_path: Path) -> None:
    for coding, packed in {
        "gzip": gzip.compress(bytes(300 * MAX_BODY)),
        "deflate": zlib.compress(bytes(300 * MAX_BODY)),
    }.items():
        site.answers["/bomb"] = web.Response(body=packed, headers={"Content-Encoding": coding})
        client = HttpClient(context(site, tmp_path).egress, resolver=site.resolve)
        reply = await client.request("GET", read_url(site.url("/bomb")), lambda _: {})
        assert reply.cut
        assert len(reply.body) == MAX_BODY


async def test_a_packed_answer_is_unpacked_and_an_unknown_packing_refused(site: Site, tmp_path: Path) -> None:
    where = context(site, tmp_path)
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    site.answers["/a"] = web.Response(body=gzip.compress(b"hello " * 1000), headers=headers)
    assert (await call(site, where, url=site.url("/a"))).data["body"] == "hello " * 1000
    site.answers["/b"] = web.Response(body=b"x", headers={"Content-Encoding": "gzip, gzip"})
    with pytest.raises(ToolFailed):
        await call(site, where, url=site.url("/b"))


async def test_an_endless_answer_is_cut(site: Site, tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 65_536)
        except (ConnectionError, asyncio.CancelledError):
            return answer

    site.answers["/endless"] = endless
    result = await call(site, context(site, tmp_path), url=site.url("/endless"))
    assert result.data["cut"]
    assert result.text.endswith("(cut here)")


async def test_a_place_that_does_not_answer_is_given_up(site: Site, tmp_path: Path) -> None:
    async def silent(_: web.Request) -> web.Response:
        await site.waiting.wait()
        return web.Response()

    site.answers["/silent"] = silent
    client = HttpClient(context(site, tmp_path).egress, resolver=site.resolve, timeout_s=0.3)
    with pytest.raises(ToolTimedOut):
        await client.request("GET", read_url(site.url("/silent")), lambda _: {})


async def test_nobody_listening_is_a_failure_with_a_sentence(site: Site, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as spare:
        port = spare.getsockname()[1]
    origin = f"http://api.example:{port}"
    where = context(site, tmp_path, egress=Egress({origin: {"private": True}}))
    with pytest.raises(ToolFailed, match="did not answer properly"):
        await call(site, where, url=f"{origin}/")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Cookie": "a=b"},
        {"Proxy-Authorization": "x"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-A": "one\r\nX-B: two"},
        {"X A": "one"},
        {"X-A:": "one"},
        {"": "one"},
        {"X-A": "ü"},
        {"X-A": "x" * 3_000},
        {"X-A": "1", "x-a": "2"},
        {f"X-{number}": "1" for number in range(31)},
    ],
)
async def test_a_header_that_is_not_for_the_agent_is_refused(
    site: Site, tmp_path: Path, headers: dict[str, str]
) -> None:
    with pytest.raises(BadArguments):
        await call(site, context(site, tmp_path), url=site.url(), headers=headers)
    assert site.seen == []


async def test_a_secret_joins_at_the_edge_and_stands_nowhere_before(site: Site, tmp_path: Path) -> None:
    tool, where = HttpRequest(site.resolve), context(site, tmp_path)
    arguments = {
        "method": "POST",
        "url": site.url("/login"),
        "headers": {"Content-Type": "application/json", "X-Key": "secret:API_TOKEN"},
        "body": '{"key": "secret:API_TOKEN"}',
    }
    given = await tool.bind(tool.parse(arguments), where)
    preview = await tool.preview(given, where)
    result = await tool.run(given, where, preview)
    assert site.seen[0][2]["X-Key"] == TOKEN
    assert site.seen[0][3] == b'{"key": "' + TOKEN.encode() + b'"}'
    assert TOKEN not in f"{given} {preview} {result} {tool.headline(given, preview)}"
    assert "X-Key: secret:API_TOKEN" in preview.text
    assert preview.kind == "request"


@pytest.mark.parametrize(
    ("path", "host", "name"),
    [("/", "other.example", "API_TOKEN"), ("/", "api.example", "NO_SUCH"), ("/?k=secret:API_TOKEN", "api.example", "")],
)
async def test_a_secret_goes_only_where_it_is_meant_for(
    site: Site, tmp_path: Path, path: str, host: str, name: str
) -> None:
    headers = {"X-Key": f"secret:{name}"} if name else {}
    with pytest.raises((SecretNotAllowed, BadArguments)):
        await call(site, context(site, tmp_path), url=site.url(path, host), headers=headers)
    assert site.seen == []


@pytest.mark.parametrize(
    ("method", "body", "tier"),
    [
        ("GET", "", Tier.LOW),
        ("POST", "x", Tier.MEDIUM),
        ("DELETE", "", Tier.MEDIUM),
        ("POST", "drop table x", Tier.HIGH),
    ],
)
async def test_reading_is_low_and_everything_else_is_asked(
    site: Site, tmp_path: Path, method: str, body: str, tier: Tier
) -> None:
    tool, where = HttpRequest(site.resolve), context(site, tmp_path)
    given = await tool.bind(tool.parse({"method": method, "url": site.url("/x"), "body": body}), where)
    facts = await tool.facts(given, where)
    who = Principal(team="T1", user="U1")
    risk = load_policy(None).rate(tool.name, given.model_dump(), facts, who, read_only=False)
    assert risk.tier is tier


async def test_a_worker_that_only_reads_cannot_send(site: Site, tmp_path: Path) -> None:
    registry = Registry([HttpRequest(site.resolve)], timeouts={"http_request": 7.0})
    tool = registry.get("http_request", Worker.RESEARCH)
    assert tool.timeout_s == 7.0
    where = context(site, tmp_path)
    await tool.bind(tool.parse({"url": site.url()}), where)
    with pytest.raises(ToolNotAllowed):
        await tool.bind(tool.parse({"method": "POST", "url": site.url()}), where)


async def test_the_machines_own_resolver_gives_addresses() -> None:
    assert set(await resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
