"""Makes spans of the journal beside the runs: a thread of its own reads what was committed, and hands it over.

Nothing is added to a run's own path but one name in a set. A collector that does not answer slows nobody down: what is
to be handed over waits here, and after a crash or a long outage it is read from the journal once more.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import structlog
from opentelemetry.sdk.resources import Attributes, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from pydantic import ValidationError

from agent.errors import JournalError, SecondKeyError
from agent.ports import Clock
from agent.span import Span
from agent.spans import COUNTED, RunSpans
from agent.telemetry import CONTENT_CHARACTERS, span_id_of, trace_id_of
from bot.exporting import Redact
from storage.blobs import read_blob
from storage.database import Database, read_only
from storage.journal import read_events
from storage.traced import backlog, forget_old, note_traced, traced_up_to

GATHER_S = 0.2
"""What is committed within this time is handed over together."""
SPANS_A_BATCH = 512
BATCHES = 64
"""Batches that wait for a collector; beyond that the oldest are let go, and their runs are in the journal."""
FOLDS = 1000
"""Runs whose fold is kept; any other is read anew when it goes on."""
SEEN = 50_000
"""Runs of which is kept how far they were read."""
LONGEST_WAIT_S = 30.0
STOP_S = 3.0
"""How long the last spans may take when the process ends."""

Told = Callable[[Span], None]
"""Hears of every span of this process's time, in the thread; for the metrics."""

_EVERYTHING: tuple[str, ...] = ()
_COUNTED = tuple(str(kind.model_fields["type"].default) for kind in COUNTED)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("secondkey")
_OK = Status()
_log = structlog.get_logger(__name__)


def _nobody(span: Span) -> None:
    del span


@dataclass(slots=True)
class _Batch:
    spans: list[ReadableSpan] = field(default_factory=list[ReadableSpan])
    cursors: dict[str, int] = field(default_factory=dict[str, int])


class Traces:
    """`moved` hears of every append; `tracer` makes the spans that are in no journal, such as those of deliveries."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        redact: Redact,
        *,
        exporter: SpanExporter | None = None,
        told: Told = _nobody,
        content: bool = False,
        version: str = "",
    ) -> None:
        self._db, self._clock, self._redact, self._exporter, self._told = db, clock, redact, exporter, told
        self._with_content = content and exporter is not None
        self._resource = _Here(
            {**Resource.create().attributes, "service.name": "secondkey", "service.version": version}
        )
        self._dirty: dict[str, None] = {}
        self._live: deque[ReadableSpan] = deque(maxlen=BATCHES * SPANS_A_BATCH)
        self._news, self._stopping = threading.Event(), threading.Event()
        self._folds: OrderedDict[str, tuple[RunSpans, int]] = OrderedDict()
        self._waiting: deque[_Batch] = deque()
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._failures = 0
        self._busy = False
        self._not_before = 0.0
        self._since = clock.now()
        self._loop = asyncio.get_running_loop()
        self._saving: set[asyncio.Task[None]] = set()
        self.exported = 0
        """Spans that a collector or the file has taken."""
        self.dropped = 0
        """Spans that nobody took for too long."""
        self.cpu_s = 0.0
        """Processor time that the thread took."""
        self._provider: TracerProvider | None = None
        if exporter is not None:
            self._provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
            self._provider.add_span_processor(_Collect(self._add))
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)

    @property
    def provider(self) -> TracerProvider | None:
        """Of spans that are in no journal; None when nobody keeps them."""
        return self._provider

    def start(self) -> None:
        """Hand over what an earlier process could not, then what comes."""
        self._db.subscribe("head", self.moved)
        self._thread.start()
        if self._exporter is not None:
            self._save_by(forget_old(self._db))

    def moved(self, run: str) -> None:
        """A run's journal grew."""
        self._dirty[run] = None
        self._news.set()

    async def stop(self) -> None:
        """Hand over what there is, for `STOP_S` at most; before the database is closed."""
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, STOP_S)
        await asyncio.sleep(0)  # what the thread has just asked for
        if self._saving:
            await asyncio.wait(self._saving, timeout=1.0)

    @property
    def is_idle(self) -> bool:
        """Whether everything committed so far was handed over, and noted."""
        return not (self._dirty or self._live or self._waiting or self._busy or self._saving)

    # -- in the thread -------------------------------------------------------------------------------------------

    def _add(self, span: ReadableSpan) -> None:
        self._live.append(span)
        self._news.set()

    def _work(self) -> None:
        try:
            with closing(read_only(self._db.path)) as conn:
                if self._exporter is not None:
                    self._dirty.update(dict.fromkeys(backlog(conn, self._clock.now())))
                    self._news.set()
                while not self._stopping.is_set():
                    self._news.wait(1.0 if self._waiting else None)
                    self._stopping.wait(GATHER_S)
                    self._news.clear()
                    self._round(conn)
                self._not_before = 0.0
                self._round(conn)
        except sqlite3.Error:
            _log.exception("traces_ended")

    def _round(self, conn: sqlite3.Connection) -> None:
        self._busy = True
        try:
            batch = _Batch()
            while self._live:
                batch = self._with(batch, self._live.popleft())
            for run in tuple(self._dirty):
                self._dirty.pop(run, None)
                try:
                    batch = self._read(conn, run, batch)
                except sqlite3.Error:
                    raise
                except Exception:  # noqa: BLE001  # one run that cannot be told must not leave all others untold
                    _log.exception("run_not_traced", run_id=run)
            self._push(batch)
            self._hand_over()
        finally:
            self.cpu_s = time.thread_time()
            self._busy = False

    def _read(self, conn: sqlite3.Connection, run: str, batch: _Batch) -> _Batch:
        """The spans of what a run's journal has gained."""
        fold, done = self._folds.pop(run, None) or (self._fold(conn, run), 0)
        try:
            known = self._seen.pop(run, 0) or (traced_up_to(conn, run) if self._exporter is not None else 0)
            events = read_events(conn, run, done, _EVERYTHING if self._exporter is not None else _COUNTED)
        except (JournalError, ValidationError, sqlite3.Error) as error:
            _log.warning("run_not_traced", run_id=run, error=type(error).__name__)
            return batch
        for stored in events:
            made = fold.feed(stored)
            done = stored.seq
            if stored.seq <= known:
                continue  # handed over by a process before this one
            for span in made:
                if stored.at >= self._since:
                    self._told(span)
                if self._exporter is not None:
                    batch = self._with(batch, self._readable(span))
        self._folds[run], self._seen[run] = (fold, done), done
        if len(self._folds) > FOLDS:
            self._folds.popitem(last=False)
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        if self._exporter is not None and done > known:
            batch.cursors[run] = done
        return batch

    def _with(self, batch: _Batch, span: ReadableSpan) -> _Batch:
        batch.spans.append(span)
        if len(batch.spans) < SPANS_A_BATCH:
            return batch
        self._push(batch)
        return _Batch()

    def _push(self, batch: _Batch) -> None:
        if not batch.spans and not batch.cursors:
            return
        self._waiting.append(batch)
        if len(self._waiting) > BATCHES:
            self.dropped += len(self._waiting.popleft().spans)

    def _hand_over(self) -> None:
        if self._exporter is None or self._clock.monotonic() < self._not_before:
            return
        while self._waiting:
            batch = self._waiting[0]
            try:
                taken = not batch.spans or self._exporter.export(batch.spans) is SpanExportResult.SUCCESS
            except Exception:  # noqa: BLE001  # they never could be written down, and those behind them can
                _log.exception("spans_not_written", spans=len(batch.spans))
                self.dropped += len(self._waiting.popleft().spans)
                continue
            if not taken:
                self._failures += 1
                wait_s = min(LONGEST_WAIT_S, 2.0 ** min(self._failures, 10) / 2)
                self._not_before = self._clock.monotonic() + wait_s
                if self._failures == 1:
                    _log.warning("spans_not_taken", waiting=sum(len(one.spans) for one in self._waiting))
                return
            self._waiting.popleft()
            self._failures = 0
            self.exported += len(batch.spans)
            if batch.cursors:
                self._save(batch.cursors)

    def _save(self, cursors: Mapping[str, int]) -> None:
        try:
            self._loop.call_soon_threadsafe(lambda: self._save_by(note_traced(self._db, cursors)))
        except RuntimeError:
            return  # the loop is closed: the next process hands them over once more, under the same ids

    def _save_by(self, writing: Coroutine[None, None, object]) -> None:
        async def save() -> None:
            try:
                await writing
            except SecondKeyError as error:
                _log.warning("traces_not_noted", error=str(error))

        task = asyncio.get_running_loop().create_task(save())
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    def _fold(self, conn: sqlite3.Connection, run: str) -> RunSpans:
        only_counted = self._exporter is None
        return RunSpans(run, redact=self._redact, content=self._content_of(conn), counted=only_counted)

    def _content_of(self, conn: sqlite3.Connection) -> Callable[[str], str] | None:
        if not self._with_content:
            return None

        def content(digest: str) -> str:
            try:
                return self._redact(read_blob(conn, digest))[:CONTENT_CHARACTERS]
            except KeyError:
                return ""  # retention dropped it

        return content

    def _readable(self, span: Span) -> ReadableSpan:
        trace_id = trace_id_of(span.run)
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace_id, span.id, is_remote=False, trace_flags=_SAMPLED),
            parent=_context(trace_id, span.parent) if span.parent else None,
            resource=self._resource,
            attributes=span.attributes,
            events=[Event(one.name, one.attributes, _ns(one.at)) for one in span.events],
            links=[Link(_context(trace_id_of(span.link), span_id_of(span.link)))] if span.link else (),
            kind=SpanKind.CLIENT if span.is_client else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.error) if span.error else _OK,
            start_time=_ns(span.start),
            end_time=_ns(span.end),
            instrumentation_scope=_SCOPE,
        )


class _Here(Resource):
    """This process: the encoder asks for the hash with every span, and the SDK writes JSON for it each time."""

    def __init__(self, attributes: Attributes) -> None:
        super().__init__(attributes)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class _Collect(SpanProcessor):
    """Gives spans that have ended to the thread."""

    def __init__(self, add: Callable[[ReadableSpan], None]) -> None:
        self._add = add

    def on_end(self, span: ReadableSpan) -> None:
        self._add(span)


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


def _ns(at: float) -> int:
    return int(at * 1_000_000_000)
