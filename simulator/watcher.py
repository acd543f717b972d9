"""The watching half of the test driver: what everybody sees, and waits without polling."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, cast

import aiohttp

from simulator.errors import SimulatorError, WaitTimedOut
from simulator.hub import EVERYONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.people import Json

    Predicate = Callable[[Json], bool]

#: seconds to wait for something unless told otherwise
PATIENCE = 45.0


def _any(_item: Json) -> bool:
    return True


class Watcher:
    """Watches everyone; use it as an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        #: messages as they stand, by channel and ts
        self.messages: dict[tuple[str, str], Json] = {}
        #: ephemeral messages as they stand, by channel and ts, with whom they are for
        self.ephemerals: dict[tuple[str, str], tuple[str, Json]] = {}
        #: open views by person, topmost last
        self.views: dict[str, list[Json]] = {}
        #: published homes by person
        self.homes: dict[str, Json] = {}
        #: runs of the app's functions by id
        self.executions: dict[str, Json] = {}
        #: every push seen, oldest first
        self.pushes: list[Json] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        self._ws = await self._session.ws_connect(f"{self._url}/_sim/ws", params={"as": EVERYONE})
        state = await self._get("state", **{"as": EVERYONE})
        self.homes |= cast("dict[str, Json]", state["homes"])
        self.executions |= {each["id"]: each for each in (await self._get("functions"))["executions"]}
        for channel in cast("list[Json]", state["channels"]):
            for message in await self.history(channel["id"]):
                await self._load(channel["id"], message)
        self._reader = asyncio.get_running_loop().create_task(self._read(self._ws))
        return self

    async def _load(self, channel: str, message: Json) -> None:
        if message.get("ephemeral"):
            return
        self.messages[channel, message["ts"]] = message
        if message.get("reply_count"):
            for reply in await self.history(channel, thread_ts=message["ts"]):
                if not reply.get("ephemeral"):
                    self.messages[channel, reply["ts"]] = reply

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._ws is not None:
            await self._ws.close()
        if self._session is not None:
            await self._session.close()

    async def log(self, after: int = 0) -> list[Json]:
        """Return what went over the wire."""
        return cast("list[Json]", (await self._get("log", after=str(after)))["entries"])

    async def history(self, channel: str, *, user: str = EVERYONE, thread_ts: str | None = None) -> list[Json]:
        """Return what a person sees in a channel or thread, oldest first."""
        thread = {"thread_ts": thread_ts} if thread_ts else {}
        answer = await self._get("history", **{"as": user, "channel": channel}, **thread)
        return cast("list[Json]", answer["messages"])

    async def call(self, name: str, body: Json) -> Json:
        """Post to the control API and return its answer."""
        async with self._open.post(f"{self._url}/_sim/{name}", json=body) as answer:
            return cast("Json", await answer.json())

    async def wait_for_message(
        self,
        channel: str,
        predicate: Predicate = _any,
        *,
        thread_ts: str | None = None,
        timeout: float = PATIENCE,  # noqa: ASYNC109  the wait is on our own condition, and the caller names its patience
    ) -> Json:
        """Return the first message, as it stands now or comes to stand, that satisfies the predicate."""

        def look() -> Json | None:
            for (where, _), message in self.messages.items():
                in_thread = thread_ts is None or message.get("thread_ts") == thread_ts
                if where == channel and in_thread and predicate(message):
                    return message
            return None

        return await self._wait(look, timeout, f"a message in {channel}")

    async def wait_for_ephemeral(
        self,
        user: str,
        predicate: Predicate = _any,
        *,
        timeout: float = PATIENCE,  # noqa: ASYNC109  as above
    ) -> Json:
        """Return the first ephemeral message to a person that satisfies the predicate."""

        def look() -> Json | None:
            return next((m for to, m in self.ephemerals.values() if to == user and predicate(m)), None)

        return await self._wait(look, timeout, f"an ephemeral message to {user}")

    async def wait_for_view(
        self,
        user: str,
        predicate: Predicate = _any,
        *,
        timeout: float = PATIENCE,  # noqa: ASYNC109  as above
    ) -> Json:
        """Return the person's topmost open modal once it satisfies the predicate."""

        def look() -> Json | None:
            stack = self.views.get(user, [])
            return stack[-1] if stack and predicate(stack[-1]) else None

        return await self._wait(look, timeout, f"a modal of {user}")

    async def wait_for_home(
        self,
        user: str,
        predicate: Predicate = _any,
        *,
        timeout: float = PATIENCE,  # noqa: ASYNC109  as above
    ) -> Json:
        """Return the person's App Home once it satisfies the predicate."""

        def look() -> Json | None:
            view = self.homes.get(user)
            return view if view is not None and predicate(view) else None

        return await self._wait(look, timeout, f"the home of {user}")

    async def wait_for_stream(
        self,
        channel: str,
        predicate: Predicate = _any,
        *,
        thread_ts: str | None = None,
        timeout: float = PATIENCE,  # noqa: ASYNC109  as above
    ) -> Json:
        """Return the first message that is or was streamed and satisfies the predicate, as it stands."""

        def streamed(message: Json) -> bool:
            return "streaming_state" in message and predicate(message)

        return await self.wait_for_message(channel, streamed, thread_ts=thread_ts, timeout=timeout)

    async def wait_for_session(
        self,
        channel: str,
        thread_ts: str,
        *statuses: str,
        timeout: float = PATIENCE,  # noqa: ASYNC109  as above
    ) -> Json:
        """Return a thread's agent session once its status is one of these."""

        def look() -> Json | None:
            for push in reversed(self.pushes):
                if push["type"] == "status" and (push["channel"], push["thread_ts"]) == (channel, thread_ts):
                    session = push["session"]
                    return session if session is not None and session["status"] in statuses else None
            return None

        return await self._wait(look, timeout, f"a session that is {' or '.join(statuses)} in {channel}")

    async def wait_for_function(
        self,
        execution_id: str,
        *,
        timeout: float = PATIENCE,  # noqa: ASYNC109  as above
    ) -> Json:
        """Return a run of a function once it has ended, with `state`, `outputs` and `error`."""

        def look() -> Json | None:
            execution = self.executions.get(execution_id)
            return execution if execution is not None and execution["state"] != "running" else None

        return await self._wait(look, timeout, f"the end of {execution_id}")

    async def wait_for_push(
        self,
        predicate: Predicate,
        *,
        after: int = 0,
        timeout: float = PATIENCE,  # noqa: ASYNC109  as above
    ) -> Json:
        """Return the first push, numbered from `after`, that satisfies the predicate: statuses, toasts, the link."""

        def look() -> Json | None:
            return next((push for push in self.pushes[after:] if predicate(push)), None)

        return await self._wait(look, timeout, "a push")

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise SimulatorError("The driver is used as `async with Driver(url) as driver:`.")
        return self._session

    async def _get(self, name: str, **query: str) -> Json:
        async with self._open.get(f"{self._url}/_sim/{name}", params=query) as answer:
            return cast("Json", await answer.json())

    async def _wait(self, look: Callable[[], Json | None], seconds: float, what: str) -> Json:
        found: list[Json] = []

        def seen() -> bool:
            item = look()
            found[:] = [] if item is None else [item]
            return item is not None

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(seen), seconds)
            except TimeoutError:
                raise WaitTimedOut(f"{what} did not come within {seconds:g} s; seen: {self._summary()}") from None
        return found[0]

    def _summary(self) -> list[str]:
        texts = [f"{where}: {m.get('text', '')[:80]}" for (where, _), m in self.messages.items()]
        return texts[-5:] + [f"{p['type']} {p.get('text', '')}" for p in self.pushes[-5:]]

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in ws:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            push: Any = frame.json()
            async with self._changed:
                self._apply(cast("Json", push))
                self._changed.notify_all()

    def _apply(self, push: Json) -> None:
        self.pushes.append(push)
        kind = push["type"]
        if kind in {"message", "message_changed"} and not push["message"].get("ephemeral"):
            message = push["message"]
            self.messages[message["channel"], message["ts"]] = message
        elif kind in {"ephemeral", "message_changed"}:
            message = push["message"]
            self.ephemerals[message["channel"], message["ts"]] = (push["to"][0], message)
        elif kind == "message_deleted":
            self.messages.pop((push["channel"], push["ts"]), None)
            self.ephemerals.pop((push["channel"], push["ts"]), None)
        elif kind == "home_published" or (kind == "view_updated" and push["view"]["type"] == "home"):
            self.homes[push["to"][0]] = push["view"]
        elif kind == "function":
            self.executions[push["execution"]["id"]] = push["execution"]
        elif kind.startswith("view_"):
            self._apply_view(push)

    def _apply_view(self, push: Json) -> None:
        stack = self.views.setdefault(push["to"][0], [])
        if push["type"] == "view_opened":
            stack[:] = [push["view"]]
        elif push["type"] == "view_pushed":
            stack.append(push["view"])
        elif push["type"] == "view_updated":
            stack[:] = [push["view"] if view["id"] == push["view"]["id"] else view for view in stack]
        else:
            stack[:] = [view for view in stack if view["id"] != push["view_id"]]
