"""Fetches the files that people attach into the workspaces of their runs; what is owed survives a restart.

The bot's token goes to Slack's own hosts only. What cannot be fetched is said in the thread, and the run goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError

from agent.errors import SecondKeyError, StorageUnavailable, ToolFailed
from agent.ports import Clock
from bot.listeners.attached import FILE_BYTES, refusal_of, url_of
from bot.listeners.payload import mapping
from bot.posting import SlackClient, fault_of
from storage.attachments import AttachmentRow, Attachments

AT_ONCE: Final = 4
"""Runs whose files are fetched at the same time."""
FETCH_S: Final = 60.0
"""How long one file may take, seconds."""
TRIES: Final = 3
WAIT_S: Final = 1.0
"""Before the second try; each further one waits longer."""
IDLE_S: Final = 60.0
HOPS: Final = 3
_PASSING: Final = frozenset({429, 500, 502, 503, 504})
_log = structlog.get_logger("files")

Attach = Callable[[str, str, bytes], Awaitable[str]]
"""Puts a file into a run's workspace: run, name, content → path. Raises ToolFailed."""
Late = Callable[[str, str], Awaitable[None]]
"""Says in a run's thread that a file came too late: run, sentence."""


class NotFetched(Exception):
    """A file cannot be had; the text says why, for people."""

    def __init__(self, why: str, *, passes: bool = False) -> None:
        super().__init__(why)
        self.passes = passes
        """Whether another try may help."""


class Fetching:
    """Fetches what is owed."""

    def __init__(
        self,
        *,
        rows: Attachments,
        client: SlackClient,
        token: str,
        api_url: str,
        attach: Attach,
        late: Late,
        clock: Clock,
    ) -> None:
        self._rows, self._client, self._clock = rows, client, clock
        self._token, self._own = token, _origin(api_url)
        self._attach, self._late = attach, late
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._busy: dict[str, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Files may be owed."""
        self._wake.set()

    def stop(self) -> None:
        """Start with no further file."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Fetch until `stop`; what is owed from before a restart comes first."""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=FETCH_S), auto_decompress=True, trust_env=True
        ) as http:
            try:
                while not self._is_stopping:
                    self._wake.clear()
                    self._start(http)
                    try:
                        async with asyncio.timeout(IDLE_S):
                            await self._wake.wait()
                    except TimeoutError:
                        continue
            finally:
                for task in self._busy.values():
                    task.cancel()  # what is owed stays owed
                await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _start(self, http: aiohttp.ClientSession) -> None:
        """Begin with the runs that are owed files; those of one run come one after the other, in their order."""
        owed: dict[str, list[AttachmentRow]] = {}
        try:
            for row in self._rows.owed():
                owed.setdefault(row.run, []).append(row)
        except SecondKeyError as error:
            _log.warning("files_unreadable", error=str(error))
            return
        for run, rows in owed.items():
            if run not in self._busy and len(self._busy) < AT_ONCE:
                task = self._busy[run] = asyncio.create_task(self._of_run(http, rows))
                task.add_done_callback(lambda _, run=run: self._ended(run))

    def _ended(self, run: str) -> None:
        self._busy.pop(run, None)
        self._wake.set()

    async def _of_run(self, http: aiohttp.ClientSession, rows: list[AttachmentRow]) -> None:
        for row in rows:
            try:
                await self._one(http, row)
            except StorageUnavailable as error:
                _log.warning("files_put_off", run_id=row.run, error=str(error))
                await asyncio.sleep(WAIT_S)
                return

    async def _one(self, http: aiohttp.ClientSession, row: AttachmentRow) -> None:
        path, size, why = "", 0, row.why
        try:
            if not why:
                data = await self._fetch(http, row)
                size, path = len(data), await self._attach(row.run, row.name, data)
        except (NotFetched, ToolFailed) as error:
            why = str(error) or "it cannot be taken"
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  # one file's bug must not keep its run waiting for ever
            _log.exception("file_failed", run_id=row.run, file=row.file)
            why = f"something went wrong ({type(error).__name__})"
        if why:
            _log.info("file_not_taken", run_id=row.run, file=row.file, why=why)
        try:
            in_time = await self._rows.settle(row, path=path, size=size, why=why)
        except StorageUnavailable:
            raise
        except SecondKeyError as error:
            _log.warning("file_not_settled", run_id=row.run, error=str(error))
            await asyncio.sleep(WAIT_S)
            return
        if not in_time:
            await self._late(row.run, f"{row.name} came after the run was over, so it was not read.")

    async def _fetch(self, http: aiohttp.ClientSession, row: AttachmentRow) -> bytes:
        for turn in range(1, TRIES + 1):
            try:
                return await self._download(http, row.url or await self._look_up(row.file), row.kind)
            except NotFetched as error:
                if not error.passes or turn == TRIES or self._is_stopping:
                    raise
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if turn == TRIES or self._is_stopping:
                    raise NotFetched(f"Slack did not give it out in time ({type(error).__name__})") from None
            await asyncio.sleep(WAIT_S * turn * turn)
        raise NotFetched("Slack did not give it out in time")

    async def _look_up(self, file: str) -> str:
        """Where a file is of which the message said no more than its id."""
        try:
            async with asyncio.timeout(FETCH_S):
                shape = mapping((await self._client.files_info(file=file)).get("file"))
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            fault = fault_of(error)
            raise NotFetched(
                f"Slack does not say where it is ({fault.error})", passes=fault.retry_after_s > 0
            ) from None
        if why := refusal_of(shape):
            raise NotFetched(why)
        return url_of(shape)

    async def _download(self, http: aiohttp.ClientSession, url: str, kind: str) -> bytes:
        for _ in range(HOPS):
            if not self._is_slacks(url):
                raise NotFetched("its address is none of Slack's own")
            # Each hop is looked at: the token goes nowhere else.
            headers = {"Authorization": f"Bearer {self._token}"}
            async with http.get(url, headers=headers, allow_redirects=False) as answer:
                if answer.status in {301, 302, 303, 307, 308}:
                    url = urljoin(url, answer.headers.get("Location", ""))
                    continue
                return await _body(answer, kind)
        raise NotFetched("Slack sends from one address to the next")

    def _is_slacks(self, url: str) -> bool:
        """Whether the token may go there: Slack's own hosts by TLS, or exactly where the Web API is."""
        if _origin(url) == self._own:
            return True
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return False
        return (
            parts.scheme == "https"
            and port in {None, 443}
            and "@" not in parts.netloc
            and (host == "slack.com" or host.endswith(".slack.com"))
        )


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.netloc.lower(), parts.port
    except ValueError:
        return "", url, None


async def _body(answer: aiohttp.ClientResponse, kind: str) -> bytes:
    if answer.status != HTTPStatus.OK:
        raise NotFetched(f"Slack refuses to give it out ({answer.status})", passes=answer.status in _PASSING)
    if answer.content_type == "text/html" and kind != "text/html":
        # Without the scope Slack shows a page to log in instead of the file.
        raise NotFetched("Slack shows a page instead of the file; the app may lack files:read")
    data = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        data += chunk
        if len(data) > FILE_BYTES:
            raise NotFetched(f"it is larger than the {FILE_BYTES:,} bytes that are taken")
    return bytes(data)
