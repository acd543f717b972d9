"""What the app says it is doing: statuses of assistant threads, and agent sessions with their lifecycle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.clock import Clock, Timing
    from simulator.hub import Hub
    from simulator.people import Json
    from simulator.workspace import Channel, Workspace

#: an agent session's status → the words that the thread shows
SESSION_STATUS: Final = {"processing": "is working…", "active": "", "suspended": "is waiting for people", "closed": ""}


@dataclass(slots=True)
class Session:
    """An agent session in a thread; `status` is one of `SESSION_STATUS`."""

    status: str
    title: str | None = None
    initiator: str | None = None


@dataclass(slots=True)
class Shown:
    """What a thread's one status line says, and until when on the workspace's clock; None is for ever."""

    words: str
    loading: list[str] = field(default_factory=list[str])
    until: float | None = None


class Sessions:
    """Every thread's status line and agent session; the last call to either road owns the line."""

    def __init__(self, *, workspace: Workspace, hub: Hub, clock: Clock, timing: Timing) -> None:
        self._workspace = workspace
        self._hub = hub
        self._clock = clock
        self._timing = timing
        #: agent sessions by channel and thread
        self.held: dict[tuple[str, str], Session] = {}
        self._lines: dict[tuple[str, str], Shown] = {}

    def set(
        self, channel: Channel, thread_ts: str, status: str, *, title: str | None = None, initiator: str | None = None
    ) -> Session:
        """Set a session's status, making the session if there is none; only then its title counts."""
        key = (channel.id, thread_ts)
        session = self.held.setdefault(key, Session(status, title, initiator))
        session.status = status
        self._show(channel, thread_ts, Shown(SESSION_STATUS[status]), session)
        return session

    def rename(self, channel: Channel, thread_ts: str, title: str) -> Session:
        """Change a session's title. Raises SlackError `session_not_found`."""
        session = self.held.get((channel.id, thread_ts))
        if session is None:
            raise SlackError("session_not_found")
        session.title = title
        self._push(channel, thread_ts)
        return session

    def status(self, channel: Channel, thread_ts: str, words: str, loading: list[str] | None = None) -> None:
        """Show what the app is doing; an empty status, the app's next message or two minutes clear it."""
        if not words:
            self._show(channel, thread_ts, Shown(""))
        else:
            until = self._clock.now() + self._timing.status
            self._show(channel, thread_ts, Shown(words, loading or [], until))

    def spoke(self, channel: Channel, thread_ts: str) -> None:
        """Clear a status because the app said something; a session's status stays, for only the app changes it."""
        line = self._lines.get((channel.id, thread_ts))
        if line is not None and line.until is not None:
            self._show(channel, thread_ts, self._resting(channel.id, thread_ts))

    def sweep(self) -> None:
        """Clear statuses whose time is over."""
        now = self._clock.now()
        for (channel_id, thread_ts), line in list(self._lines.items()):
            if line.until is not None and line.until <= now:
                channel = self._workspace.channel(channel_id)
                self._show(channel, thread_ts, self._resting(channel_id, thread_ts))

    def of(self, channel_id: str, thread_ts: str) -> Json | None:
        """Return a session as the page and the driver see it."""
        session = self.held.get((channel_id, thread_ts))
        return asdict(session) if session is not None else None

    def lines(self, channel_id: str) -> dict[str, Json]:
        """Return the status lines of a channel by thread, and the sessions behind them."""
        self.sweep()
        threads = {ts for c, ts in [*self._lines, *self.held] if c == channel_id}
        return {ts: self._line(channel_id, ts) for ts in sorted(threads)}

    def _resting(self, channel_id: str, thread_ts: str) -> Shown:
        session = self.held.get((channel_id, thread_ts))
        return Shown(SESSION_STATUS[session.status] if session is not None else "")

    def _show(self, channel: Channel, thread_ts: str, line: Shown, session: Session | None = None) -> None:
        key = (channel.id, thread_ts)
        before = self._lines.get(key, Shown(""))
        self._lines[key] = line
        same = (before.words, before.loading) == (line.words, line.loading)
        if session is not None or not same:
            self._push(channel, thread_ts)

    def _line(self, channel_id: str, thread_ts: str) -> Json:
        line = self._lines.get((channel_id, thread_ts), Shown(""))
        return {"status": line.words, "loading_messages": line.loading, "session": self.of(channel_id, thread_ts)}

    def _push(self, channel: Channel, thread_ts: str) -> None:
        push = {"type": "status", "channel": channel.id, "thread_ts": thread_ts}
        self._hub.tell(channel.members, push | self._line(channel.id, thread_ts))
