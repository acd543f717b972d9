"""A process that has only imported: it forks the bot as often as it is asked to, each time in milliseconds."""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import threading
from typing import Any

from bench._crash_child import live

Json = dict[str, Any]
_MOST = 65_536


class Zygote:
    """Asks for bots. Make it before any loop or thread of this process."""

    def __init__(self) -> None:
        if threading.active_count() != 1:
            raise RuntimeError("A process with threads cannot be forked safely.")
        self._mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if not self._pid:
            self._mine.close()
            try:
                _breed(theirs)
            finally:
                os._exit(0)
        theirs.close()

    def spawn(self, order: Json) -> Bot:
        """Fork a bot; it tells of itself by the pipe that it is handed."""
        ours, its = os.pipe()
        fds = array.array("i", [its])
        self._mine.sendmsg([json.dumps(order).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        os.close(its)
        return Bot(ours)

    def close(self) -> None:
        """End it; bots end with it."""
        self._mine.close()
        os.waitpid(self._pid, 0)


class Bot:
    """A forked bot and what it told; `gone` is set when its process has ended."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self.pid = 0
        self.born = asyncio.Event()
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.killed_at = ""
        self.failed = ""
        self.points: list[tuple[str, str, int, str]] = []
        self._reading = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        reader = asyncio.StreamReader()
        file = os.fdopen(self._pipe, "rb", buffering=0)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        async for line in reader:
            said: Json = json.loads(line)
            if "pid" in said:
                self.pid = said["pid"]
                self.born.set()
            self.killed_at = said.get("killed", self.killed_at)
            self.failed = said.get("failed", self.failed)
            if "point" in said:
                kind, moment, number, label = said["point"]
                self.points.append((kind, moment, number, label))
            if said.get("ready"):
                self.ready.set()
        self.born.set()
        self.gone.set()  # the pipe is closed when its process is gone, and not before

    async def kill(self) -> None:
        """End it as a power cut would; returns when it is gone."""
        await self.born.wait()
        if not self.gone.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self.gone.wait()


def _breed(orders: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what was imported is shared by all bots, and must not be touched by each collector
    while True:
        data, fds, _, _ = socket.recv_fds(orders, _MOST, 1)
        if not data:
            return
        if not os.fork():
            orders.close()
            os.write(fds[0], json.dumps({"pid": os.getpid()}).encode() + b"\n")
            live(json.loads(data), fds[0])
        os.close(fds[0])
