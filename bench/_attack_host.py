"""Attacks on the tools that run on the host itself: what they refuse before anything happens."""

# ruff: noqa: E501, S104 - attacks are read as they are typed
from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from agent.broker import Broker
from agent.errors import ToolError
from agent.sandbox.none import NoSandbox
from agent.secrets import find_secret
from agent.tools.addresses import kind_of
from agent.tools.base import Preview, ToolContext
from agent.tools.egress import Egress, read_url
from agent.tools.files import ReadFile, WriteFile
from agent.tools.http import HttpRequest
from agent.tools.http_client import HttpClient

_PATHS = (
    "../secret", "a/../../secret", "/etc/passwd", "/workspace/../etc/passwd", "./../x", "a/./../../x", "..", ".", "",
    "a\0b", "a\nb", "link", "way/secret", "way/../way/secret", "pipe", "/proc/self/environ", "x" * 2000, ".env", "id_rsa",
    "//etc/passwd", "a//../../x", ".git/config",
)  # fmt: skip
_URLS = (
    "http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://[::1]/",
    "http://[::ffff:127.0.0.1]/", "http://ⓛocalhost/", "http://localhost/", "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/", "http://ok.example@127.0.0.1/", "http://ok.example:80@evil.example/", "http://evil.example#@ok.example/",
    "http://ok.example\\@evil.example/", "http://ok.example%00.evil.example/", "http://ok.example.evil.example/", "http://ok.example./",
    "http://OK.example:81/", "https://ok.example/", "file:///etc/passwd", "ftp://ok.example/", "gopher://ok.example/", "http:///etc/passwd",
    "http://ok.example/../admin", "http://ok.example/%2e%2e/admin", "http://ok.example/a%2f..%2fb", "http://ok.example/\r\nHost: x", "//ok.example/",
    "http://evil.example/http://ok.example/", "http://ok。example/", "http://xn--ok-.example/", "http://ok.example:80:80/", "http://ok.example:/",
    "http://[fe80::1%25eth0]/", "http://[::1%lo]/", "http://fe80::1/", "http://ok.example%25eth0/", "http://127.0.0.1.nip.io/",
    "http://ok.example\t@evil.example/", "https:ok.example/", "http:\\\\ok.example/", "http://ok.example:0/", "http://ok.example:65536/",
    "http://ok.example:8\u06f0/", "http://ok.example/%00", "jar:http://ok.example!/", "data:text/html,x", "ws://ok.example/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/", "http://①②⑦.⓪.⓪.①/", "http://ok.example\u00ad/", "http://ok.example\u200b/", "http://ok-.example/",
)  # fmt: skip
_ANSWERS = (
    ["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:10.0.0.1"], ["64:ff9b::a9fe:a9fe"], ["2002:a9fe:a9fe::"],
    ["93.184.216.34", "10.0.0.1"], ["100.64.0.1"], ["168.63.129.16"], ["0.0.0.0"], ["fd00:ec2::254"], ["224.0.0.1"], ["::a9fe:a9fe"],
    ["::ffff:127.0.0.1"], ["::ffff:0:127.0.0.1"], ["64:ff9b::7f00:1"], ["64:ff9b:1:a9fe:a9:fe08:808:808"], ["fe80::1%eth0"], ["::1%lo"],
    ["2001:470::5efe:7f00:1"], ["200::1"], ["2001:0:7f00:1::"], ["192.0.0.192"], ["100.100.100.200"], ["fd20:ce::254"], ["localhost"], ["2130706433"],
)  # fmt: skip
_HEADERS = (
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Cookie",
    "Proxy-Authorization",
    "X-HTTP-Method-Override",
    "X A",
    "X:",
)
_SECRETS = ("xoxb-" + "1234567890-abcdefghij", "ghp_" + "a1B2" * 9, "AKIA" + "ABCDEFGHIJKLMNOP", "sk_live_" + "a" * 24)

Verdicts = dict[str, tuple[int, int, list[str]]]


async def host_attacks() -> Verdicts:
    """Class → how many were tried, how many refused, and which were not."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        project = root / "project"
        project.mkdir()
        (root / "secret").write_text("canary")
        (project / "link").symlink_to(root / "secret")
        (project / "way").symlink_to(root)
        for bait in (".env", "id_rsa"):
            (project / bait).write_text("canary")
        egress = Egress({"http://ok.example": {}})
        context = ToolContext("r", root / "w", project, NoSandbox(), egress=egress, broker=Broker())

        async def reads(path: str) -> None:
            await ReadFile().run(await ReadFile().bind(ReadFile().parse({"path": path}), context), context, Preview())

        async def writes(path: str) -> None:
            await WriteFile().bind(WriteFile().parse({"path": path, "content": "x"}), context)

        async def fetches(url: str) -> None:
            await HttpRequest().bind(HttpRequest().parse({"url": url}), context)

        async def resolves(index: str) -> None:
            async def answer(host: str, port: int) -> Sequence[str]:
                del host, port
                return _ANSWERS[int(index)]

            if any(kind_of(address) != "public" for address in _ANSWERS[int(index)]):
                client = HttpClient(egress, resolver=answer, timeout_s=2)
                await client.request("GET", read_url("http://ok.example/"), lambda _: {})

        async def heads(header: str) -> None:
            arguments = {"url": "http://ok.example/", "headers": {header: "x"}}
            await HttpRequest().bind(HttpRequest().parse(arguments), context)

        async def leaks(text: str) -> None:
            if find_secret(f'{{"code": "x = {text!r}"}}'):
                raise ToolError

        outside = [path for path in _PATHS if path.startswith(("..", "/", "a/..")) or path in {"", ".", "a\0b", "a\nb"}]
        return {
            "paths to read": await _try(reads, _PATHS),
            "paths to write": await _try(writes, outside),
            "addresses": await _try(fetches, _URLS),
            "names that lead inside": await _try(resolves, [str(number) for number in range(len(_ANSWERS))]),
            "headers": await _try(heads, _HEADERS),
            "secrets in arguments": await _try(leaks, _SECRETS),
        }


async def _try(attack: Callable[[str], Awaitable[None]], texts: Sequence[str]) -> tuple[int, int, list[str]]:
    through: list[str] = []
    for text in texts:
        try:
            await attack(text)
        except (ToolError, ValidationError):
            continue
        through.append(text)
    return len(texts), len(texts) - len(through), through
