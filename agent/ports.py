"""The ports of the agent: what it needs from the world, at most five methods each. Fakes stand in `agent/fakes.py`."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from agent.events import Event


@dataclass(frozen=True, slots=True)
class Stored:
    """An event as it stands in the journal; `seq` counts from 1 in its run."""

    seq: int
    at: float
    event: Event


@dataclass(frozen=True, slots=True)
class Fact:
    """Unconditional append: a result, a settled cost, an observed crash. Never fenced."""


@dataclass(frozen=True, slots=True)
class Intention:
    """Conditional append: everything named here must hold in the very transaction that writes the events.

    Raises (from commit): LeaseLost, EpochMoved, RunStopped, RunPaused, RunQueued, ApprovalNotValid, AlreadyStarted,
    BudgetExceeded.
    """

    epoch: int
    """The run_epoch on which this was decided."""
    starts: str = ""
    """Action id when the events start an effect: control flags are read, and the action must not be started yet."""
    digest: str = ""
    """Digest of the action that starts; must equal the one proposed."""
    consumes: str = ""
    """Approval id that is used up by the start: must be approved, unexpired, unused, and on exactly `digest`."""
    grant: str = ""
    """Grant of which the start is a use: must stand, cover the action, and have its approval among the events."""
    effect_s: float = 0.0
    """How long the effect may take, seconds; kept beside the lease so that a successor waits for it."""
    budget_micro_usd: int | None = None
    """What the run may have spent and reserved with the model calls among the events; None: nothing is reserved."""


Condition = Fact | Intention


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit wrote: sequence numbers `first_seq … first_seq + count - 1`."""

    first_seq: int
    events: tuple[Stored, ...]


class Journal(Protocol):
    """The append-only record of runs; everything else is derived from it in the same transaction."""

    lease_token: str
    """Token of the process that holds the lease; written into `started`."""

    async def commit(
        self, run: str, events: Sequence[Event], condition: Condition, *, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Append events in one transaction, with the bodies they name; raises JournalError or StorageUnavailable.

        When the caller is cancelled, that is raised once they were written; if they cannot be, the reason is.
        """
        ...

    async def read(self, run: str, after: int = 0) -> tuple[Stored, ...]:
        """The run's events with seq > after, in order; empty when there are none."""
        ...

    async def blob(self, digest: str) -> str:
        """A stored body; raises KeyError when retention dropped it or it never was."""
        ...


class Clock(Protocol):
    """Two clocks: business time may run faster in a demo, transport time is real."""

    rate: float
    """Business seconds that pass in one real second."""

    def now(self) -> float:
        """Business time, seconds since the epoch."""
        ...

    def transport(self) -> float:
        """Real time, seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Real seconds from an arbitrary start, never backwards."""
        ...


class Ids(Protocol):
    """A source of identifiers; injected so that tests can tell them beforehand."""

    def new(self, kind: str) -> str:
        """A fresh id that starts with the kind's letter, short enough to type."""
        ...


@dataclass(frozen=True)
class ToolSpec:
    """What a model is told of a tool: name, sentence, JSON Schema of its arguments; the schema stays as it is."""

    name: str
    description: str
    schema: Mapping[str, Any]

    @functools.cached_property
    def size(self) -> int:
        """Bytes of it as JSON; the same few tools are sent with every call, and a schema is long."""
        written = f"{self.name}{self.description}{json.dumps(self.schema, default=str)}"
        return len(written.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for; `arguments` is parsed JSON, or the raw text when it was no JSON object."""

    id: str
    tool: str
    arguments: Mapping[str, Any] | str


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of a model's thinking, which some services want back, unchanged, beside the calls that followed it."""

    text: str
    signature: str
    """The service's own seal, or the thinking itself where it is not to be read."""
    provider: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. Role `tool` answers `call_id`; `assistant` may carry tool calls."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    tool: str = ""
    thoughts: tuple[Thought, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One wire call. `output` names the tool that the model must call to answer in structure, if any."""

    model: str
    """Such as `anthropic:claude-sonnet-5-5`."""
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    must_call_tool: bool = False
    max_tokens: int = 4096
    timeout_s: float = 60.0
    goes_on: bool = False
    """What is sent now is sent again with the next turn, so that a service may keep it in its cache."""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What came back, with tokens and cost (micro-USD)."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    input_tokens: int = 0
    """All that was read, from the service's cache or not."""
    output_tokens: int = 0
    cost_micro_usd: int = 0
    model: str = ""
    response_id: str = ""
    finish_reason: str = ""
    thoughts: tuple[Thought, ...] = ()
    cache_read_tokens: int = 0
    """Of the input tokens, those that the service had in its cache."""
    cache_write_tokens: int = 0
    """Of the input tokens, those that it put there."""


class ChatModel(Protocol):
    """A chain of models behind one door."""

    @property
    def chain(self) -> tuple[str, ...]:
        """Model names in the order of trying; empty when no model is configured."""
        ...

    def highest_cost(self, request: ModelRequest) -> int:
        """Upper bound of what the call can cost, micro-USD; raises UnknownPrice."""
        ...

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Make exactly one wire call; raises ModelError or CircuitOpen."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A `ChatModel` whose services can say beforehand how many tokens a request has."""

    async def counted_cost(self, request: ModelRequest) -> int:
        """A closer upper bound of what the call can cost, micro-USD; raises ModelError where nobody counts."""
        ...


@dataclass(frozen=True, slots=True)
class SandboxCall:
    """A command to run with nothing but the workspace (mounted at /workspace), no network and bounded resources."""

    command: tuple[str, ...]
    workspace: Path
    stdin: bytes = b""
    timeout_s: float = 30.0
    output_bytes: int = 1_048_576
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    read_only: tuple[Path, ...] = ()
    """Further host folders to bind read-only at the same path."""
    protect: tuple[str, ...] = ()
    """Names in the workspace's top folder that cannot be changed, moved or replaced, such as `.git`."""
    processes: int = 64
    """Processes and threads at once."""
    memory_bytes: int = 2_147_483_648
    """Resident memory of all processes together; each alone has 1 GiB of address space at most."""
    disk_bytes: int = 536_870_912
    """Room that the workspace may take; what was written is removed when it takes more."""
    disk_entries: int = 50_000
    """Files and folders that the workspace may hold."""
    cpu_s: int = 0
    """Seconds of processor time of each process; a little more than `timeout_s`, at most 30, when 0."""


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """How the command ended; output is what both streams gave, each cut at the cap."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False
    duration_s: float = 0.0
    excess: Literal["", "processes", "memory", "disk"] = ""
    """What it took too much of, and was ended for."""
    removed: int = 0
    """Entries of the workspace that were removed again, because it took more room than it may."""


class Sandbox(Protocol):
    """Runs commands that are not trusted."""

    @property
    def name(self) -> str:
        """`bubblewrap`, `landlock`, or `none` when the self-test failed."""
        ...

    async def self_test(self) -> str:
        """Prove the walls with canaries; returns an empty string when they hold, else what leaked."""
        ...

    async def run(self, call: SandboxCall) -> SandboxResult:
        """Run it to the end or its limit; cancelling the task kills everything. Raises SandboxUnavailable."""
        ...
