"""Attacks at the edge of the host: answers that swell or never end, and links swapped while changes are applied."""

# ruff: noqa: PTH104, PTH105, PTH108, PTH211 - the calls of the system itself, one after the other
from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.errors import ToolError
from agent.tools.apply_changes import ApplyChanges
from agent.tools.egress import Egress, read_url
from agent.tools.http_client import MAX_BODY, HttpClient
from bench._attack_late import Stage, stage_in

_SWELLS = bytes(16 * 1_048_576)
_TIMEOUT_S, _ROUNDS = 1.0, 5
_LATE_S = 15.0


def _answer(body: bytes, *headers: str) -> bytes:
    lines = ("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Content-Type: text/plain", *headers)
    return "\r\n".join((*lines, "", "")).encode() + body


def _raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(9, zlib.DEFLATED, -15)
    return made.compress(data) + made.flush()


def _bombs() -> Mapping[str, tuple[bytes, bytes]]:
    """Name → how the answer begins, and what comes again and again until the line is cut."""
    once = gzip.compress(_SWELLS, 9)
    twice = gzip.compress(once, 9)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return {
        "gzip that swells": (_answer(once, "Content-Encoding: gzip"), b""),
        "x-gzip that swells": (_answer(once, "Content-Encoding: x-gzip"), b""),
        "deflate that swells": (_answer(zlib.compress(_SWELLS), "Content-Encoding: deflate"), b""),
        "gzip within gzip": (_answer(twice, "Content-Encoding: gzip, gzip"), b""),
        "gzip said twice": (_answer(twice, "Content-Encoding: gzip", "Content-Encoding: gzip"), b""),
        "an encoding that is not read": (_answer(b"x" * 100, "Content-Encoding: br"), b""),
        "gzip that is none": (_answer(b"x" * 100, "Content-Encoding: gzip"), b""),
        "raw deflate": (_answer(_raw_deflate(_SWELLS), "Content-Encoding: deflate"), b""),
        "a body without an end": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536),
        "chunks without an end": (chunked, b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        "chunks of one byte": (chunked, b"1\r\nx\r\n"),
        "a chunk of any size": (chunked + b"f" * 40 + b"\r\n", b"x" * 100),
        "headers without an end": (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"y" * 1_000 + b"\r\n"),
        "one header without an end": (b"HTTP/1.1 200 OK\r\nX-A: ", b"y" * 65_536),
        "a first line without an end": (b"HTTP/1.1 200 ", b"y" * 65_536),
        "one more answer first, for ever": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "silence": (b"", b""),
        "silence within": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", b""),
        "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, b""),
        "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 900\r\n\r\nx", b""),
        "length and chunks": (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nxxxx", b""),
    }


async def _bomb(first: bytes, again: bytes) -> bool:
    """Whether the request ended in time, with an error or with an answer that was cut."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            await writer.drain()
            while again and not gone.is_set():
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(0.001)
            await gone.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = f"http://localhost:{server.sockets[0].getsockname()[1]}"

    async def here(host: str, number: int) -> Sequence[str]:
        del host, number
        return ["127.0.0.1"]

    client = HttpClient(Egress({origin: {"private": True}}), resolver=here, timeout_s=_TIMEOUT_S)
    began = time.perf_counter()
    try:
        reply = await client.request("GET", read_url(f"{origin}/"), lambda _: {})
        held = reply.cut and len(reply.body) <= MAX_BODY
    except ToolError:
        held = True
    finally:
        gone.set()
        server.close()
    return held and time.perf_counter() - began < _LATE_S


def _folder(path: Path, outside: Path) -> None:
    aside = path.with_name(f"{path.name}-aside")
    os.rename(path, aside)
    os.symlink(outside, path)
    os.unlink(path)
    os.rename(aside, path)


def _file(path: Path, outside: Path) -> None:
    """The file, a link to the secret, and the file again, each in one step."""
    link, plain = path.with_name(".link"), path.with_name(".plain")
    plain.write_bytes(path.read_bytes())
    os.symlink(outside / "secret", link)
    os.replace(link, path)
    os.replace(plain, path)


#: What somebody swaps for a link, over and over, while the changes are put into the project.
_SWAPPED: Mapping[str, Callable[[Stage], None]] = {
    "a folder of the project": lambda s: _folder(s.project / "src", s.outside),
    "a folder of the copy": lambda s: _folder(s.files / "src", s.outside),
    "a file of the project": lambda s: _file(s.project / "b.txt", s.outside),
    "a file of the copy": lambda s: _file(s.files / "b.txt", s.outside),
}


async def _swapped(swap: Callable[[Stage], None]) -> bool:
    """Whether in no round anything went outside, or came from there into the project."""
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            stage = await stage_in(Path(name))
            tool = ApplyChanges()
            bound = await tool.bind(tool.parse({}), stage.context)
            preview = await tool.preview(bound, stage.context)
            done = threading.Event()

            def swaps(stage: Stage = stage, done: threading.Event = done) -> None:
                while not done.is_set():
                    with contextlib.suppress(OSError):
                        swap(stage)

            swapping = threading.Thread(target=swaps)
            swapping.start()
            try:
                await tool.run(bound, stage.context, preview)
            except (ToolError, OSError):
                pass
            finally:
                done.set()
                swapping.join()
            secret = (stage.outside / "secret").read_text()
            taken = any(_holds(path, secret) for path in stage.project.rglob("*"))
            if taken or sorted(one.name for one in stage.outside.iterdir()) != ["secret"] or secret != "canary":  # noqa: S105  as planted
                return False
    return True


def _holds(path: Path, secret: str) -> bool:
    return path.is_file() and not path.is_symlink() and secret in path.read_text(errors="replace")


async def edge_attacks() -> dict[str, tuple[int, int, list[str]]]:
    """Class → how many were tried, how many refused, and which were not."""
    bombs = _bombs()
    held = await asyncio.gather(*(_bomb(first, again) for first, again in bombs.values()))
    swelled = [name for name, one in zip(bombs, held, strict=True) if not one]
    through = [name for name, swap in _SWAPPED.items() if not await _swapped(swap)]
    return {
        "answers that swell": (len(bombs), len(bombs) - len(swelled), swelled),
        "swapped meanwhile": (len(_SWAPPED), len(_SWAPPED) - len(through), through),
    }
