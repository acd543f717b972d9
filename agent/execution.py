"""Execution: everything is checked again, the start is committed, the tool runs, and what came of it is committed."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from agent import events as ev
from agent.domain import ApprovalState, Outcome, Tier, digest_of
from agent.equipment import Box, Equipment
from agent.errors import (
    ApprovalNotValid,
    CircuitOpen,
    GrantNotValid,
    McpUnavailable,
    PreviewMismatch,
    ReceiptNotValid,
    SandboxUnavailable,
    ToolError,
    ToolNotAllowed,
    ToolTimedOut,
    ToolUnavailable,
)
from agent.gate import may_start
from agent.granting import Granter, Yes
from agent.ports import Fact, Intention
from agent.proposing import SUMMARY_CHARACTERS, Proposer, refusal, worker_of
from agent.rating import Rater, Rating, put_blob
from agent.recording import Ended
from agent.resilience import Breaker, jittered, tool_delay
from agent.secrets import without_secrets
from agent.state import ActionState, Approval, RunState
from agent.supervisor import StartAction
from agent.tools.base import Preview, Tool, ToolResult
from agent.visible import OUTPUT_BYTES
from agent.workspace import Workspace

ASK_AGAIN_LIMIT = 2
FAILURES_OF_A_SERVICE = (ToolUnavailable, ToolTimedOut, OSError)
"""A time-out is an OSError, and so is a refused connection that a tool of one's own lets through."""
PASSING = frozenset({ToolUnavailable.code, McpUnavailable.code})
"""Faults that may be gone in a moment. A time-out is none: it has used the time that there was."""
IN_THE_WORKSPACE = frozenset({"read_file", "list_files"})
"""Tools whose output is in the workspace already."""


class Executor:
    """Starts actions."""

    def __init__(self, equipment: Equipment, proposer: Proposer, rater: Rater) -> None:
        self._kit, self._proposer, self._rater = equipment, proposer, rater
        self._granter = Granter(equipment)
        self._not_before: dict[str, float] = {}
        """When an action is tried again, by its id."""

    async def start(self, box: Box, move: StartAction) -> Ended | None:  # noqa: PLR0911  # each check that fails ends it
        """Check everything again, commit the start, run the tool; what came of it is for the caller to `record`.

        None when it was not started.
        """
        await self._wait(move.action)
        item = box.state.actions[move.action]
        rating = await self._rater.rating(box.state, item)
        state = box.state
        item = state.actions[move.action]
        if item.phase not in {"allowed", "approved"}:
            return None
        approval = state.approvals.get(item.approval) if item.phase == "approved" else None
        granted = await self._yes(state, item, rating)
        has_yes = approval is not None or granted is not None
        lapsed = approval is not None and self._kit.clock.now() >= approval.start_before
        gone = approval is not None and not await self._may_still_decide(state, approval)
        moved = bool(item.grant) and granted is None and approval is None
        state = box.state
        if state.actions[move.action].phase != item.phase:
            return None  # decided otherwise while people were looked up
        if lapsed or gone or moved or not may_start(item.tier, rating.verdict, has_yes=has_yes):
            because = "The yes lapsed before it could start." if lapsed else "Its risk is higher than it was."
            because = "Who said yes may not decide any more." if gone else because
            because = str(GrantNotValid()) if moved and rating.verdict.door != "person" else because
            await self._ask_again(box, item, rating, because)
            return None
        tool = self._kit.registry.get(item.action.tool, worker_of(box.state, item.action.step))
        if (refused := self._refused(state, item, tool)) is not None:
            await box.commit([refused], Intention(epoch=state.epoch))
            return None
        if approval is not None and not set(rating.facts.effects) <= set(item.intents):
            await self._ask_again(box, item, rating, "It would do something else by now than what was asked.")
            return None
        limit_s = min(tool.timeout_s, item.action.timeout_s or tool.timeout_s)
        preview = await self._shown(item)
        consumes = granted.asked.approval if granted else item.approval if approval is not None else ""
        yes: list[ev.Event] = [granted.asked, granted.decided] if granted else []
        begun = ev.ActionStarted(
            action=item.action.id,
            digest=item.action.digest,
            lease_token=self._kit.journal.lease_token,
            approval=consumes,
            attempt=item.attempt,
            grant=granted.grant.id if granted else "",
            spends_micro_usd=granted.spends if granted else 0,
        )
        condition = Intention(
            epoch=state.epoch,
            starts=item.action.id,
            digest=item.action.digest,
            consumes=consumes,
            grant=begun.grant,
            effect_s=limit_s,
        )
        try:
            async with box.door:
                if box.state.open_takeover is not None:
                    return None  # opened while this was checked: nothing starts beside it
                await box.commit([*yes, begun], condition)
        except GrantNotValid as error:
            await self._ask_again(box, item, rating, str(error))
            return None
        except ReceiptNotValid as error:
            forged = refusal(item.action.id, error.code, str(error))
            await box.commit([forged], Intention(epoch=state.epoch))
            return None
        except asyncio.CancelledError:
            if box.state.actions[item.action.id].phase == "started":  # written, but the tool never ran
                never_ran = ev.ActionFinished(action=item.action.id, outcome=Outcome.CANCELLED, code="CANCELLED")
                await box.commit([never_ran], Fact())
            raise
        finished, blobs = await self._run(box.state, tool, item, preview, limit_s)
        return await self._ended(box.state, item, finished, blobs)

    async def _ended(
        self, state: RunState, item: ActionState, finished: ev.ActionFinished, blobs: dict[str, str]
    ) -> Ended:  # fmt: skip
        """What the end of a tool leads to."""
        if finished.outcome is Outcome.UNKNOWN and not state.stop_by:  # the process ends, and the run will go on
            return Ended(self._rater.unknown(state, state.actions[item.action.id], finished), blobs=blobs)
        if (again := self._again(item, finished)) is not None:
            return Ended((again,))
        more = await self._again_with_new_preview(state, item, finished)
        return Ended((finished, *more), blobs=blobs)

    async def _wait(self, action: str) -> None:
        """Until a call that failed a moment ago may be tried again."""
        if (wait_s := self._not_before.pop(action, 0.0) - self._kit.clock.monotonic()) > 0:
            await self._kit.sleep(wait_s)

    async def _yes(self, state: RunState, item: ActionState, rating: Rating) -> Yes | None:
        """The yes of the grant under which it was rated, if any."""
        if not item.grant or item.phase != "allowed":
            return None

        def asked() -> ev.ApprovalRequested:
            return self._rater.approval(state, item, rating.verdict.risk, f"grant:{item.grant}")

        return await self._granter.yes(state, item, rating.verdict, rating.facts, asked)

    async def _may_still_decide(self, state: RunState, approval: Approval) -> bool:
        """Whether enough of those who said yes may still decide (DESIGN.md §3.7); a terminal's own yes names nobody."""
        assert state.task is not None  # noqa: S101  # a run without a task is no state
        own = state.task.principal
        voters = tuple(dict.fromkeys((*approval.yes, approval.by)))
        if self._kit.still_entitled is not None:
            left = await self._kit.still_entitled(approval.id, voters)
        else:
            left = frozenset(self._kit.policy().deciders(own.team)) & set(voters)
        if own.kind == "local" and own.key in voters:
            left |= {own.key}
        return len(left & set(voters)) >= max(1, min(approval.quorum, len(voters)))

    async def _ask_again(self, box: Box, item: ActionState, rating: Rating, because: str) -> None:
        withdrawn: list[ev.Event] = []
        if item.phase == "approved":
            withdrawn = [
                ev.ApprovalDecided(
                    approval=item.approval, state=ApprovalState.WITHDRAWN, at=self._kit.clock.now(), reason=because
                )
            ]
        async with box.door:
            if box.state.open_takeover is not None:
                return
            events, blobs = self._rater.outcome_of_rating(box.state, item, rating, because, by_grant=False)
            # A takeover withdraws whatever has a yes, this one too; it is withdrawn once, with its own reason.
            decided = {event.approval for event in withdrawn if isinstance(event, ev.ApprovalDecided)}
            events = [e for e in events if not (isinstance(e, ev.ApprovalDecided) and e.approval in decided)]
            await box.commit([*withdrawn, *events], Intention(epoch=box.state.epoch), blobs)

    async def _shown(self, item: ActionState) -> Preview:
        if not item.preview_blob:
            return Preview()
        return Preview.model_validate_json(await self._kit.journal.blob(item.preview_blob))

    async def _run(
        self, state: RunState, tool: Tool[Any], item: ActionState, preview: Preview, limit_s: float
    ) -> tuple[ev.ActionFinished, dict[str, str]]:  # fmt: skip
        began = self._kit.clock.monotonic()
        blobs: dict[str, str] = {}
        outcome, code, summary, output = Outcome.SUCCEEDED, "", "", ""
        with self._kit.telemetry.tool_call(state, item):
            try:
                arguments = tool.parse(item.action.arguments)
                with self._guard(tool, item):
                    async with asyncio.timeout(limit_s):
                        result = await tool.run(arguments, self._kit.context(state), preview)
                outcome = Outcome.SUCCEEDED if result.ok else Outcome.FAILED
                summary, output = result.summary, self._body(await self._kept(state, item, result))
            except TimeoutError:
                outcome, code = Outcome.TIMED_OUT, ToolTimedOut.code
                summary = f"It took longer than {limit_s:g} s and was ended."
            except ToolTimedOut as error:
                outcome, code, summary = Outcome.TIMED_OUT, error.code, str(error)
            except (PreviewMismatch, ToolNotAllowed, SandboxUnavailable, CircuitOpen) as error:
                outcome, code, summary = Outcome.REFUSED, error.code, str(error)
            except ToolError as error:
                outcome, code, summary = Outcome.FAILED, error.code, str(error)
            except ConnectionError as error:
                outcome, code = Outcome.FAILED, ToolUnavailable.code
                summary = f"The service behind the tool did not answer properly ({type(error).__name__})."
            except asyncio.CancelledError:
                outcome = Outcome.CANCELLED if item.action.idempotent or tool.needs_sandbox else Outcome.UNKNOWN
                code, summary = "CANCELLED", "It was cut off while it ran."
            except Exception as error:  # noqa: BLE001  # a tool's own bug is a failed action, not a crashed run
                outcome, code, summary = Outcome.FAILED, "TOOL_FAILED", f"The tool failed ({type(error).__name__})."
        return (
            ev.ActionFinished(
                action=item.action.id,
                outcome=outcome,
                code=code,
                summary=self._kit.redact(summary)[:SUMMARY_CHARACTERS],
                output_blob=put_blob(blobs, output) if output else "",
                duration_ms=int((self._kit.clock.monotonic() - began) * 1000),
            ),
            blobs,
        )

    def _again(self, item: ActionState, finished: ev.ActionFinished) -> ev.ActionResumed | None:
        """Try a call once more that nobody had to allow, that may be done twice, and that a passing fault ended."""
        delay = tool_delay(item.attempt)
        if finished.code not in PASSING or not item.action.idempotent or delay is None:
            return None
        if item.tier is not Tier.LOW or item.phase != "allowed" or item.grant:
            return None  # each start of it takes a yes of its own
        self._not_before[item.action.id] = self._kit.clock.monotonic() + jittered(delay, self._kit.roll())
        return ev.ActionResumed(
            action=item.action.id, code=finished.code, summary=finished.summary, duration_ms=finished.duration_ms
        )

    def _refused(self, state: RunState, item: ActionState, tool: Tool[Any]) -> ev.ActionFinished | None:
        """Why a call that has its yes is not begun all the same."""
        if _digest_now(state, item, tool) != item.action.digest:
            why = "What would run is not what was asked: its arguments or its tool changed meanwhile."
            return refusal(item.action.id, ApprovalNotValid.code, why)
        left_alone = self._left_alone(tool, item)
        return refusal(item.action.id, left_alone.code, str(left_alone)) if left_alone is not None else None

    def _breaker(self, tool: Tool[Any], item: ActionState) -> Breaker | None:
        """The breaker of the service behind a call, if there is one."""
        name = tool.service(tool.parse(item.action.arguments)) if self._kit.breakers is not None else ""
        return self._kit.breakers.of(name) if self._kit.breakers is not None and name else None

    def _left_alone(self, tool: Tool[Any], item: ActionState) -> CircuitOpen | None:
        """Why a call is not begun, since its service failed too often lately; never one that a person said yes to."""
        if item.phase == "approved" or (breaker := self._breaker(tool, item)) is None:
            return None
        try:
            breaker.check()
        except CircuitOpen as error:
            return error
        return None

    def _guard(self, tool: Tool[Any], item: ActionState) -> AbstractContextManager[None]:
        breaker = self._breaker(tool, item)
        if breaker is None:
            return nullcontext()
        return breaker.guard(counts=FAILURES_OF_A_SERVICE, insists=item.phase == "approved")

    async def _kept(self, state: RunState, item: ActionState, result: ToolResult) -> ToolResult:
        """The result with the place where all of a long text is; a disk that is full costs the rest, not the result."""
        if len(result.text) <= OUTPUT_BYTES // 4 or item.action.tool in IN_THE_WORKSPACE:
            return result
        data = self._kit.redact(result.text).encode("utf-8", "replace")
        if len(data) <= OUTPUT_BYTES:
            return result
        context = self._kit.context(state)
        name = f"{item.action.id}-{item.action.tool}.txt"
        try:
            path = await Workspace(context.workspace, context.project).keep(name, data)
        except (ToolError, OSError):
            return result
        return result.model_copy(update={"kept": path})

    def _body(self, result: ToolResult) -> str:
        return json.dumps(without_secrets(result.model_dump(mode="json"), self._kit.redact))

    async def _again_with_new_preview(
        self, state: RunState, item: ActionState, finished: ev.ActionFinished
    ) -> list[ev.Event]:
        """Propose the same call anew when it would change something else by now, so that people see (DESIGN.md §7)."""
        if finished.code != PreviewMismatch.code:
            return []
        step = state.steps[item.action.step]
        tries = sum(1 for key in step.actions if state.actions[key].action.call_id == item.action.call_id)
        if tries >= ASK_AGAIN_LIMIT:
            return []
        return await self._proposer.anew(state, item.action)


def _digest_now(state: RunState, item: ActionState, tool: Tool[Any]) -> str:
    """The digest of exactly what would run now."""
    assert state.task is not None  # noqa: S101  # a run without a task is no state
    return digest_of(
        run=state.run,
        action=item.action.id,
        principal=state.task.principal,
        tool=tool.name,
        schema_hash=tool.schema_hash,
        arguments=item.action.arguments,
    )
