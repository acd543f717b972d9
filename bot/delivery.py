"""Drains the outbox: renders at send time, posts once, then updates in place.

A row is a reference, never a message. One message is written by one task at a time; different messages go concurrently,
the higher lane first. A post whose answer was lost is looked for by its metadata before it is posted again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

import structlog

from agent.errors import SecondKeyError
from agent.ports import Clock
from agent.telemetry import DELIVERY_OUTCOME, Telemetry, failed
from bot.blocks.kit import Block
from bot.blocks.message import Message
from bot.outgoing import Outbox, Render, Rendered
from bot.pace import PROGRESS, Pace
from bot.posting import Kind, Poster, PostFault, metadata_of
from bot.streams import CONFLICT, Streams
from storage.outbox import OutboxRow

T = TypeVar("T")
AT_ONCE: Final = 4
"""Messages that are on their way at the same time."""
WINDOW: Final = 256
"""Due rows looked at in one round: many, since some that Slack has no room for stand before others that could go."""
LONGEST_WAIT_S: Final = 60.0
IDLE_S: Final = 30.0
"""Without a signal the outbox is looked at this often."""
SOON_S: Final = 0.2
"""How soon a row that only waits for Slack's rates is looked at again."""
CARD: Final = "approval"
NO_ACCESS: Final = frozenset(
    {"missing_scope", "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"}
)
"""Answers to whatever we send, until an operator mends the installation."""
UPDATES: Final = "update"
"""All updates share one rate; posts have one a channel."""


_WAITS: Final = {"card": "approval", "takeover": "takeover"}
"""Messages that show a wait, and the span of that."""

Count = Callable[[str, str], None]
"""A metric's name and its label, counted by one."""


def _no_count(name: str, label: str) -> None:
    """Count nothing."""
    del name, label


class Delivery:
    """The one task that drains the outbox. `delivered` is told when the card of an approval first stands in Slack."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        poster: Poster,
        render: Render,
        delivered: Callable[[str, float], Awaitable[object]],
        clock: Clock,
        count: Count = _no_count,
        streams: Streams | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._telemetry = telemetry or Telemetry()
        self._outbox = outbox
        self._poster = poster
        self._render = render
        self._delivered = delivered
        self._clock = clock
        self._count = count
        self._streams = streams
        self._log = structlog.get_logger("delivery")
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._posted: dict[str, tuple[str, str, str]] = {}
        self._pace = Pace(poster, clock)
        self._is_stopping = False
        self._since = clock.transport()
        self.problem = ""
        """Why people do not see cards where they should, one sentence; empty when all is well."""
        self._is_refused = False

    def wake(self, key: str = "") -> None:
        """There may be something to send; to be subscribed to the "outbox" signal."""
        del key
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Drain until `stop`; an error of ours is logged and never ends it."""
        while not self._is_stopping:
            self._wake.clear()
            wait_s = self._start_due()
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue
        if self._busy:
            await asyncio.wait(self._busy.values())

    def stop(self) -> None:
        """Let what is on its way end, and start nothing more."""
        self._is_stopping = True
        self._wake.set()

    async def drained(self) -> None:
        """Wait until nothing is due and nothing is on its way."""
        await self._idle.wait()

    def _start_due(self) -> float:
        """Start what can go out now; returns the seconds until it is worth another look."""
        try:
            now = self._clock.transport()
            rows = self._outbox.due(now, WINDOW)
            later = self._outbox.next_at(now)
        except SecondKeyError as error:
            self._log.warning("outbox_unreadable", error=str(error))
            return 1.0
        held = False
        ahead = Counter[str]()
        for row in rows:
            if len(self._busy) >= AT_ONCE:
                break
            if row.key in self._busy:
                continue
            rate = UPDATES if row.ts else self._place(row)
            if not self._pace.may_go(row, self._place(row), ahead[rate]):
                held = True
                continue
            ahead[rate] += 1
            task = asyncio.create_task(self._deliver(row))
            self._busy[row.key] = task
            task.add_done_callback(lambda _, key=row.key: self._ended(key))
        if not rows and not self._busy:
            self._idle.set()
        wait_s = SOON_S if held else IDLE_S
        return wait_s if later is None else max(0.01, min(wait_s, later - now))

    def _place(self, row: OutboxRow) -> str:
        return row.channel or self._render.channels.get(row.kind, "")

    def _ended(self, key: str) -> None:
        self._busy.pop(key, None)
        self._wake.set()

    async def _deliver(self, row: OutboxRow) -> None:
        kind, _, subject = row.key.partition(":")
        about = (_WAITS[kind], subject) if kind in _WAITS else ("", "")
        with self._telemetry.delivery(row.run, row.kind, about, self._clock.now) as span:
            outcome = await self._tried(row)
            span.set_attribute(DELIVERY_OUTCOME, outcome)
            if outcome != "sent":
                failed(span, outcome)

    async def _tried(self, row: OutboxRow) -> str:
        """Send it, or put it off; returns `sent`, or in one word why not."""
        try:
            await self._send(row)
        except PostFault as fault:
            await self._put_off(row, fault)
            return fault.kind.value
        except SecondKeyError as error:
            self._log.warning("outbox_not_saved", key=row.key, error=str(error))
            await asyncio.sleep(SOON_S)
            return "not_saved"
        except Exception as error:  # noqa: BLE001  # one message's bug must not stop all the others
            self._log.exception("delivery_failed", key=row.key)
            await self._put_off(row, PostFault(Kind.REFUSED, type(error).__name__))
            return "internal"
        return "sent"

    async def _send(self, row: OutboxRow) -> None:
        key = row.key
        if key in self._posted and not row.ts:
            # It was posted, and only the database did not take it down.
            await self._save(row, 0, *self._posted[key])
            return
        rendered = self._render(row, not row.ts)
        if rendered is None:
            await self._outbox.sent(key, row.wanted, row.channel, row.ts)
            return
        self._pace.wrote(row)
        if row.ts:
            if self._streams is not None and await self._streams.show(row, rendered.live):
                await self._outbox.sent(key, row.wanted, row.channel, row.ts)
                return
            try:
                await self._update(row, rendered)
            except PostFault as fault:
                if fault.kind not in {Kind.MISSING, Kind.UNREACHABLE}:
                    raise
                self._log.warning("message_gone", key=key, error=fault.error)
                again = self._render(replace(row, ts=""), False)  # noqa: FBT003  # a Protocol of two positions
                await self._post(
                    replace(row, ts="", channel="" if row.kind in self._render.channels else row.channel),
                    again or rendered,
                )
            return
        if self._may_stand_already(row) and (found := await self._find(row)):
            self._count("secondkey_delivery_reconciled", row.kind)
            await self._save(row, found[2], found[0], found[1], rendered.then)
            return
        # After any doubt it is posted whole: that can be found by its key.
        streams = self._streams if not row.error else None
        if streams is not None and (place := await streams.begin(row, rendered.live)):
            self._posted[key] = (*place, "")
            await self._save(row, row.wanted, *place, "")
            return
        await self._post(row, rendered)

    def _may_stand_already(self, row: OutboxRow) -> bool:
        """Whether an earlier try, of this process or of one before it, may have posted it."""
        return row.error.startswith(Kind.UNCLEAR) or row.created_at <= self._since

    async def _find(self, row: OutboxRow) -> tuple[str, str, int] | None:
        try:
            marker = f"`{row.run}`" if row.kind == PROGRESS and self._streams is not None else ""
            found = await self._poster.find(self._place(row), row.thread_ts, row.key, marker)
        except PostFault as fault:
            if fault.kind is Kind.UNREACHABLE:
                return None
            raise
        return (self._place(row), *found) if found else None

    async def _update(self, row: OutboxRow, rendered: Rendered) -> None:
        metadata = metadata_of(row.key, row.wanted)
        for channel, ts in zip(row.channel.split(","), row.ts.split(","), strict=False):

            async def write(text: str, blocks: list[Block], c: str = channel, t: str = ts) -> None:
                try:
                    await self._poster.update(c, t, text, blocks, metadata)
                except PostFault as fault:
                    if fault.error != CONFLICT or self._streams is None:
                        raise
                    await self._streams.settle(row, c, t, rendered.live)
                    await self._poster.update(c, t, text, blocks, metadata)

            await self._shaped(rendered.message, write)
        if rendered.tells:
            self._pace.told(row)
        self._has_access()
        await self._outbox.sent(row.key, row.wanted, row.channel, row.ts, rendered.then)
        self._count("secondkey_delivery_updated", row.kind)

    async def _post(self, row: OutboxRow, rendered: Rendered) -> None:
        try:
            channel, ts = await self._post_one(row, rendered, self._place(row), row.thread_ts)
        except PostFault as fault:
            if fault.kind is not Kind.UNREACHABLE:
                raise
            if row.kind in self._render.channels:
                self.problem = f"{self._place(row) or 'The approvals channel'} cannot be written to ({fault.error})."
            self._log.warning("channel_unreachable", key=row.key, error=fault.error)
            channel, ts = await self._post_directly(row, rendered, fault)
        else:
            if row.kind in self._render.channels:
                self.problem = ""
        self._has_access()
        self._posted[row.key] = (channel, ts, rendered.then)
        await self._save(row, row.wanted, channel, ts, rendered.then)
        self._count("secondkey_delivery_posted", row.kind)

    async def _post_directly(self, row: OutboxRow, rendered: Rendered, why: PostFault) -> tuple[str, str]:
        """Write to each person; the places are kept side by side, separated by commas."""
        places = list[tuple[str, str]]()
        last = why
        for user in rendered.people:
            try:
                channel = await self._poster.open_dm(user)
                found = await self._poster.find(channel, "", row.key) if self._may_stand_already(row) else None
                places.append((channel, found[0]) if found else await self._post_one(row, rendered, channel, ""))
            except PostFault as fault:
                last = fault
        if not places:
            raise last
        return ",".join(channel for channel, _ in places), ",".join(ts for _, ts in places)

    async def _post_one(self, row: OutboxRow, rendered: Rendered, channel: str, thread_ts: str) -> tuple[str, str]:
        metadata = metadata_of(row.key, row.wanted)
        return await self._shaped(
            rendered.message, lambda text, blocks: self._poster.post(channel, thread_ts, text, blocks, metadata)
        )

    async def _shaped(self, message: Message, call: Callable[[str, list[Block]], Awaitable[T]]) -> T:
        """The full form; should Slack refuse its blocks, the shorter one, then bare text: nobody is left without it."""
        try:
            return await call(message.text, message.blocks)
        except PostFault as fault:
            if fault.kind is not Kind.SHAPE:
                raise
            self._log.error("blocks_refused", error=fault.error)
            self._count("secondkey_delivery_refused", fault.error)
        try:
            return await call(message.text, message.shorter)
        except PostFault as fault:
            if fault.kind is not Kind.SHAPE:
                raise
        return await call(message.text, [])

    async def _save(self, row: OutboxRow, revision: int, channel: str, ts: str, then: str) -> None:
        if row.kind == CARD:
            await self._delivered(row.subject, self._clock.now())
        await self._outbox.sent(row.key, revision, channel, ts, then)
        self._posted.pop(row.key, None)

    def _has_access(self) -> None:
        """Slack took something, so what refused us before was mended."""
        if self._is_refused:
            self._is_refused, self.problem = False, ""

    async def _put_off(self, row: OutboxRow, fault: PostFault) -> None:
        """Try again later: when Slack said so, else after a span that doubles."""
        wait_s = fault.retry_after_s or min(LONGEST_WAIT_S, 0.5 * 2 ** min(row.attempts, 10))
        if fault.kind is not Kind.LIMITED:
            self._log.warning("not_delivered", key=row.key, fault=str(fault), again_in_s=wait_s)
        self._count("secondkey_delivery_failed", fault.kind.value)
        if fault.error in NO_ACCESS:
            self._is_refused = True
            self.problem = (
                f"Slack refuses what the bot sends ({fault.error}): mend its token or scopes and install it again; "
                "`secondkey doctor` says what is missing."
            )
        try:
            await self._outbox.failed(row.key, str(fault), self._clock.transport() + wait_s)
        except SecondKeyError as error:
            self._log.warning("outbox_not_saved", key=row.key, error=str(error))
            await asyncio.sleep(SOON_S)
