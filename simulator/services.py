"""The parts of a running simulator, put together once and handed to whoever serves requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.clock import Clock, Ids, Timing
    from simulator.delivery import Delivery
    from simulator.events import Events
    from simulator.faults import Faults
    from simulator.files import Files
    from simulator.functions import Functions
    from simulator.groups import Groups
    from simulator.http_events import HttpEvents
    from simulator.hub import Hub
    from simulator.log import Log
    from simulator.posting import Posting
    from simulator.rates import Rates
    from simulator.sessions import Sessions
    from simulator.socket_mode import SocketMode
    from simulator.streaming import Streaming
    from simulator.streams import Streams
    from simulator.triggers import Rights
    from simulator.views import Views
    from simulator.workspace import Workspace


@dataclass(slots=True)
class Services:
    """Everything that a Web API method or a control request may need."""

    clock: Clock
    ids: Ids
    timing: Timing
    workspace: Workspace
    hub: Hub
    faults: Faults
    log: Log
    rates: Rates
    rights: Rights
    views: Views
    sockets: SocketMode
    http: HttpEvents
    delivery: Delivery
    events: Events
    posting: Posting
    sessions: Sessions
    streams: Streams
    streaming: Streaming
    files: Files
    functions: Functions
    groups: Groups
    #: how much faster than real the business clock runs; shown, not used
    clock_rate: float
    #: where this server listens, such as `http://127.0.0.1:8900`
    url: str = ""

    def sweep(self) -> None:
        """Let pass what has had its time: running streams and statuses of assistant threads."""
        self.streaming.sweep()
        self.sessions.sweep()
