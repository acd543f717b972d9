"""One wire call of a run: reserved before, settled after, whatever comes of it (DESIGN.md §4, §5.8)."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace

from agent import events as ev
from agent.domain import Json
from agent.equipment import Box, Equipment
from agent.errors import (
    BudgetExceeded,
    CircuitOpen,
    ModelError,
    ModelReplyInvalid,
    ModelUnavailable,
)
from agent.model import most_tokens
from agent.ports import ChatModel, CountsTokens, Fact, Intention, ModelReply, ModelRequest
from agent.proposing import SUMMARY_CHARACTERS
from agent.rating import put_blob
from agent.recording import Ended
from agent.resilience import jittered, retry_delay
from agent.sealing import sealed
from agent.secrets import without_secrets
from agent.shortfall import money_may_come_back
from agent.state import RunState
from agent.supervisor import Limits

Reader = Callable[[RunState, ev.ModelCallStarted, ModelReply, dict[str, str]], Awaitable[Sequence[ev.Event]]]
"""What a reply leads to; raises ModelReplyInvalid."""


class Caller:
    """Makes wire calls within the budget of their run."""

    def __init__(self, equipment: Equipment, model: ChatModel, limits: Limits) -> None:
        self._kit, self._model, self._limits = equipment, model, limits
        self._not_before: dict[tuple[str, str], float] = {}
        """When a model is tried again, by run and model; another one need not wait for it."""

    def forget(self, run: str) -> None:
        """Drop what was kept for a run that has ended."""
        for key in [key for key in self._not_before if key[0] == run]:
            del self._not_before[key]

    async def complete(
        self, box: Box, call: ev.ModelCallStarted, request: ModelRequest, read: Reader
    ) -> Ended | None:  # fmt: skip
        """Reserve and call once; the settlement and what the reply leads to are for the caller to `record`.

        None when there is no reply: then what failed is written already.
        """
        if request.timeout_s > self._limits.call_s:
            request = replace(request, timeout_s=self._limits.call_s)
        wait_s = max(0.0, self._not_before.get((box.state.run, request.model), 0.0) - self._kit.clock.monotonic())
        if wait_s > 0:
            await self._kit.sleep(wait_s)
        prompt: dict[str, str] = {}
        told = next((put_blob(prompt, one.text) for one in request.messages[:1] if one.role == "system"), "")
        request = sealed(request, box.state)
        tokens = most_tokens(request)
        made = {"call": self._kit.ids.new("call"), "max_tokens": request.max_tokens, "prompt_blob": told}
        held = {"reserved_tokens": tokens if self._limits.tokens else 0, "waited_ms": int(wait_s * 1000)}
        call = call.model_copy(update={**made, **held})
        if not await self._reserve(box, call, request, tokens, prompt):
            return None
        began = self._kit.clock.monotonic()
        cost = box.state.calls[call.call].reserved
        try:
            with self._kit.telemetry.model_call(box.state, call.call):
                reply = await self._model.complete(request)
            cost = reply.cost_micro_usd
            blobs: dict[str, str] = {}
            settled = self._settled(call, reply, began, blobs)
            events = await read(box.state, call, reply, blobs)
        except asyncio.CancelledError:
            # A run that was stopped asks nobody again; one whose process ended goes on in the next with the same model.
            await box.commit([_failed(call, "CANCELLED", "", cost, self._since(began), retryable=True)], Fact())
            raise
        except (ModelError, CircuitOpen) as error:
            if not isinstance(error, ModelReplyInvalid):
                cost = cost if isinstance(error, ModelUnavailable) and error.may_be_charged else 0
            await box.commit([self._failure(box.state, call, error, cost, self._since(began))], Fact())
            return None
        except Exception:  # whatever it is: a call that stays open would leave its run waiting for ever
            await box.commit([_failed(call, "INTERNAL", "", cost, self._since(began))], Fact())
            raise
        return Ended((settled,), then=tuple(events), blobs=blobs)

    async def _reserve(
        self, box: Box, call: ev.ModelCallStarted, request: ModelRequest, tokens: int, bodies: Mapping[str, str]
    ) -> bool:
        """Hold what the call may cost at most; else write down why it is not made."""
        async with box.money:
            again = money_may_come_back(box.state)
            try:
                highest = self._model.highest_cost(request)
                self._within_tokens(box.state, tokens)
                try:
                    await self._hold(box, call, highest, bodies)
                except BudgetExceeded:
                    # Bytes are a generous bound: whoever counts tokens may still find room for the call.
                    counted = await self._counted(request)
                    if counted is None or counted >= highest:
                        raise
                    await self._hold(box, call, counted, bodies)
            except (ModelError, BudgetExceeded) as error:
                again = again and isinstance(error, BudgetExceeded)
                failed = _failed(call, error.code, str(error), 0, 0, retryable=again)
                await box.commit([call, failed], Intention(epoch=box.state.epoch), bodies)
                return False
            return True

    async def _hold(self, box: Box, call: ev.ModelCallStarted, micro_usd: int, bodies: Mapping[str, str]) -> None:
        """Reserve so much; the journal looks once more, at this run and at the day. Raises BudgetExceeded."""
        state, most = box.state, self._limits.micro_usd
        taken = state.spent + state.reserved
        if taken + micro_usd > most:
            raise BudgetExceeded(
                f"{inspect.cleandoc(BudgetExceeded.__doc__ or '')} {_usd(taken)} of {_usd(most)} are spent or reserved,"
                f" and it could cost {_usd(micro_usd)}."
            )
        reserved = call.model_copy(update={"reserved_micro_usd": micro_usd})
        await box.commit([reserved], Intention(epoch=state.epoch, budget_micro_usd=most), bodies)

    def _within_tokens(self, state: RunState, tokens: int) -> None:
        most = self._limits.tokens
        if most and state.tokens + tokens > most:
            raise BudgetExceeded(
                f"The run may use {most:,} tokens; {state.tokens:,} are used or reserved, and the next call could use "
                f"{tokens:,}.",
                scope="tokens",
            )

    async def _counted(self, request: ModelRequest) -> int | None:
        """What it may cost by the service's own count; None where nobody counts."""
        if not isinstance(self._model, CountsTokens):
            return None
        try:
            return await self._model.counted_cost(request)
        except (ModelError, CircuitOpen):
            return None

    def _settled(
        self, call: ev.ModelCallStarted, reply: ModelReply, began: float, blobs: dict[str, str]
    ) -> ev.ModelCallFinished:
        calls = [
            {
                "id": item.id,
                "tool": item.tool,
                "arguments": item.arguments if isinstance(item.arguments, str) else dict(item.arguments),
            }
            for item in reply.calls
        ]
        said: Json = {"text": reply.text, "calls": calls}
        thoughts = [asdict(item) for item in reply.thoughts]
        if (
            thoughts and without_secrets(thoughts, self._kit.redact) == thoughts
        ):  # a service takes them back unchanged only
            said["thoughts"] = thoughts
        body = json.dumps(without_secrets(said, self._kit.redact))
        return ev.ModelCallFinished(
            call=call.call,
            reply_blob=put_blob(blobs, body),
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost_micro_usd=reply.cost_micro_usd,
            response_model=reply.model,
            response_id=reply.response_id,
            finish_reason=reply.finish_reason,
            duration_ms=self._since(began),
            cache_read_tokens=reply.cache_read_tokens,
            cache_write_tokens=reply.cache_write_tokens,
        )

    def _failure(
        self, state: RunState, call: ev.ModelCallStarted, error: ModelError | CircuitOpen, cost: int, duration_ms: int
    ) -> ev.ModelCallFailed:
        delay = retry_delay(_failures(state, call), error)
        again = delay is not None or isinstance(error, ModelReplyInvalid)
        if delay is not None:
            wait_s = jittered(delay, self._kit.roll())
            self._not_before[state.run, call.model] = self._kit.clock.monotonic() + wait_s
        detail = self._kit.redact(str(error))[:SUMMARY_CHARACTERS]
        return _failed(call, error.code, detail, cost, duration_ms, retryable=again)

    def _since(self, began: float) -> int:
        return int((self._kit.clock.monotonic() - began) * 1000)


def _failures(state: RunState, call: ev.ModelCallStarted) -> int:
    """How often this model failed in a row at this very turn, before this call."""
    found = 0
    for item in reversed(tuple(state.calls.values())):
        if (item.purpose, item.step, item.turn, item.model) != (call.purpose, call.step, call.turn, call.model):
            continue
        if item.phase == "finished":
            break
        found += item.phase == "failed"
    return found


def _usd(micro_usd: int) -> str:
    return f"${micro_usd / 1_000_000:.6f}".rstrip("0").rstrip(".")


def _failed(
    call: ev.ModelCallStarted, code: str, detail: str, cost: int, duration_ms: int, *, retryable: bool = False
) -> ev.ModelCallFailed:
    return ev.ModelCallFailed(
        call=call.call, code=code, detail=detail, retryable=retryable, cost_micro_usd=cost, duration_ms=duration_ms
    )
