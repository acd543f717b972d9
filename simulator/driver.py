"""The test driver: acts as people over `/_sim` and waits for what they see, without polling."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, cast

from simulator.errors import SimulatorError
from simulator.watcher import Watcher

if TYPE_CHECKING:
    from simulator.people import Json


class Driver(Watcher):
    """Acts as anyone and watches everyone; use it as an async context manager."""

    async def post(self, user: str, channel: str, text: str, *, thread_ts: str | None = None) -> str:
        """Post as a person and return the message's ts. Raises SimulatorError when refused."""
        answer = await self.call("post", {"as": user, "channel": channel, "text": text, "thread_ts": thread_ts})
        if not answer["ok"]:
            raise SimulatorError(answer["error"])
        return str(answer["ts"])

    async def command(self, user: str, channel: str, command: str, text: str = "") -> Json:
        """Run a slash command and return `{"ok": …}`."""
        return await self.call("command", {"as": user, "channel": channel, "command": command, "text": text})

    async def click(
        self, user: str, channel: str, ts: str, action_id: str, value: str | None = None, **more: object
    ) -> Json:
        """Use an element of a message and return the outcome after the acknowledgement."""
        body: Json = {"as": user, "channel": channel, "ts": ts, "action_id": action_id}
        return await self.call("action", body | ({"value": value} if value is not None else {}) | more)

    async def click_in_view(self, user: str, view_id: str, action_id: str, **more: object) -> Json:
        """Use an element of a view and return the outcome after the acknowledgement."""
        return await self.call("action", {"as": user, "view_id": view_id, "action_id": action_id} | more)

    async def submit(self, user: str, view_id: str, values: Json | None = None) -> Json:
        """Send a modal; `values` may give bare values: `{"block": {"action": "text"}}`."""
        return await self.call("view_submit", {"as": user, "view_id": view_id, "values": values or {}})

    async def close_view(self, user: str, view_id: str, *, is_cleared: bool = False) -> Json:
        """Close a modal."""
        return await self.call("view_close", {"as": user, "view_id": view_id, "is_cleared": is_cleared})

    async def fault(self, method: str, kind: str, **more: object) -> None:
        """Order a fault. Raises SimulatorError when it is not understood."""
        answer = await self.call("fault", {"method": method, "kind": kind} | more)
        if not answer["ok"]:
            raise SimulatorError(answer["error"])

    async def clear_faults(self) -> None:
        """Forget ordered faults."""
        async with self._open.delete(f"{self._url}/_sim/fault") as answer:
            await answer.read()

    async def attach(
        self,
        user: str,
        channel: str,
        name: str,
        content: str | bytes,
        *,
        text: str = "",
        thread_ts: str | None = None,
        **lies: object,
    ) -> Json:
        """Post a message with a file and return it; `lies` replace fields of the file object, such as `size`."""
        return await self.attach_all(user, channel, [(name, content)], text=text, thread_ts=thread_ts, **lies)

    async def attach_all(
        self,
        user: str,
        channel: str,
        files: list[tuple[str, str | bytes]],
        *,
        text: str = "",
        thread_ts: str | None = None,
        **lies: object,
    ) -> Json:
        """Post a message with several files and return it. Raises SimulatorError when refused."""
        given = [
            {"name": name, "data": base64.b64encode(data.encode() if isinstance(data, str) else data).decode()} | lies
            for name, data in files
        ]
        body: Json = {"as": user, "channel": channel, "text": text, "thread_ts": thread_ts, "files": given}
        ts = str(self._granted(await self.call("post", body))["ts"])
        return await self.wait_for_message(channel, lambda message: message["ts"] == ts)

    async def shortcut(self, user: str, callback_id: str) -> Json:
        """Use a global shortcut and return the outcome after the acknowledgement."""
        return await self.call("shortcut", {"as": user, "callback_id": callback_id})

    async def message_shortcut(self, user: str, channel: str, ts: str, callback_id: str) -> Json:
        """Use a shortcut in the menu of a message and return the outcome after the acknowledgement."""
        return await self.call("shortcut", {"as": user, "callback_id": callback_id, "channel": channel, "ts": ts})

    async def run_function(self, user: str, callback_id: str, inputs: Json) -> str:
        """Run one of the app's functions as a workflow's step and return its execution's id. Raises SimulatorError."""
        body: Json = {"as": user, "callback_id": callback_id, "inputs": inputs}
        return str(self._granted(await self.call("run_function", body))["function_execution_id"])

    async def feedback(self, user: str, channel: str, ts: str, action_id: str, value: str) -> Json:
        """Press one of two feedback buttons, named by its value, and return the outcome."""
        return await self.click(user, channel, ts, action_id, value)

    async def stop_session(self, user: str, channel: str, thread_ts: str) -> list[str]:
        """Press Slack's own Stop button and return the streamed messages that it broke off. Raises SimulatorError."""
        answer = await self.call("stop_session", {"as": user, "channel": channel, "thread_ts": thread_ts})
        return cast("list[str]", self._granted(answer)["streaming_message_ts"])

    async def open_home(self, user: str, *, tab: str = "home", viewing: str | None = None) -> Json | None:
        """Open the app's Home (or, with `tab="messages"`, its messages) and return the view published so far."""
        answer = self._granted(await self.call("home", {"as": user, "tab": tab, "viewing": viewing}))
        return cast("Json | None", answer["view"])

    async def home(self, user: str) -> Json | None:
        """Return the view published as a person's Home, or None."""
        return cast("Json | None", (await self._get("home", **{"as": user}))["view"])

    async def click_in_home(self, user: str, action_id: str, value: str | None = None, **more: object) -> Json:
        """Use an element of the person's Home and return the outcome. Raises SimulatorError without a Home."""
        view = await self.home(user)
        if view is None:
            raise SimulatorError(f"Nothing is published as the home of {user}.")
        given = more if value is None else {"value": value} | more
        return await self.click_in_view(user, view["id"], action_id, **given)

    async def look_at(self, user: str, channel: str | None) -> Json:
        """Change what a person has before them while the app's agent view is open; None is nothing."""
        return await self.call("look_at", {"as": user, "channel": channel})

    async def streams(self, channel: str | None = None) -> list[Json]:
        """Return streamed messages: `ts`, `state`, `text`, `tasks`, `plan_title`, `chunks`, `recipient`."""
        return cast("list[Json]", (await self._get("streams", **({"channel": channel} if channel else {})))["streams"])

    async def expire_streams(self) -> list[str]:
        """End every running stream as Slack does after five minutes, and return the messages' ts."""
        return cast("list[str]", (await self.call("expire_streams", {}))["expired"])

    async def session(self, channel: str, thread_ts: str) -> Json:
        """Return a thread's `status` words, `loading_messages` and agent `session` (None, or its status and title)."""
        return await self._get("session", channel=channel, thread_ts=thread_ts)

    async def group(self, handle: str, **changes: object) -> Json:
        """Make or change a user group: `users`, `name`, `disabled`; return it. Raises SimulatorError."""
        return cast("Json", self._granted(await self.call("group", {"handle": handle} | changes))["group"])

    async def rates(self, *, enabled: bool) -> None:
        """Switch Slack's rate limits on or off."""
        await self.call("rates", {"enabled": enabled})

    def _granted(self, answer: Json) -> Json:
        if not answer["ok"]:
            raise SimulatorError(f"{answer['error']} {answer.get('known') or ''}".strip())
        return answer
