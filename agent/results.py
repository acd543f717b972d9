"""What workers give back: an output schema each, read into one value, with their claims beside their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agent.domain import Worker
from agent.errors import ModelReplyInvalid
from agent.ports import ModelReply, ToolCall, ToolSpec
from agent.visible import bounded

SUBMIT_RESULT = "submit_result"
SUMMARY_BYTES = 8 * 1024
SOURCE_BYTES = 512
SOURCES_AT_MOST = 50
CLAIMS_AT_MOST = 30
MENDED_AT_MOST = 5
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a worker submitted."""

    status: Literal["done", "blocked"]
    summary: str
    sources: tuple[str, ...] = ()
    send_back: int = 0
    """A review's: number of the step whose work must be done again; 0 for none."""


class Submitted(BaseModel):
    """Base of what a model hands in: a surplus field is ignored, since having it mended costs a call."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Result(Submitted):
    status: Literal["done", "blocked"] = Field(description="blocked: it could not be finished; the summary says why.")
    summary: Text = Field(description="What was found or done, with names and numbers.")
    sources: tuple[str, ...] = Field(default=(), description="Files, queries or addresses that show it.")


class _Finding(Submitted):
    claim: Text = Field(description="One thing that is so.")
    source: str = Field(default="", description="The file and line, query or address that shows it.")


class _Research(_Result):
    findings: tuple[_Finding, ...] = Field(default=(), description="Each thing found, with what shows it.")


class _Code(_Result):
    changed: tuple[str, ...] = Field(default=(), description="Files that you changed.")
    checked: str = Field(default="", description="How you tried it, and what came out.")


class _Checked(Submitted):
    claim: Text = Field(description="What was claimed.")
    holds: Literal["yes", "no", "unclear"] = Field(description="Whether what you read shows it.")
    evidence: str = Field(default="", description="The file and line, query or record that shows it.")


class _Review(_Result):
    checked: tuple[_Checked, ...] = Field(default=(), description="Each claim that you checked.")
    send_back: int = Field(default=0, ge=0, description="Number of the step whose work must be done again; 0: none.")


_SCHEMAS: Mapping[Worker, type[_Result]] = MappingProxyType(
    {Worker.RESEARCH: _Research, Worker.CODE: _Code, Worker.REVIEW: _Review}
)
_Read = TypeVar("_Read", bound=Submitted)


@cache
def result_tool(worker: Worker | None = None) -> ToolSpec:
    """The tool with which a worker gives its step back; made once."""
    sentence = "Give the step back: finished (done), or impossible (blocked)."
    return ToolSpec(SUBMIT_RESULT, sentence, schema_of(_SCHEMAS[worker] if worker else _Result))


def submitted(reply: ModelReply) -> ToolCall | None:
    """The call of `submit_result` in a reply, if it has one."""
    return next((call for call in reply.calls if call.tool == SUBMIT_RESULT), None)


def read_result(call: ToolCall, worker: Worker | None = None) -> StepResult:
    """What a worker submitted; raises ModelReplyInvalid with a sentence that tells the model what to mend."""
    if call.tool != SUBMIT_RESULT:
        raise ModelReplyInvalid(f"Call {SUBMIT_RESULT} to give the step back.")
    result = read(_SCHEMAS[worker] if worker else _Result, call)
    sources = [*result.sources, *(item.source for item in _findings(result) if item.source)]
    shown = tuple(bounded(source, SOURCE_BYTES) for source in sources[:SOURCES_AT_MOST])
    back = result.send_back if isinstance(result, _Review) else 0
    return StepResult(result.status, bounded(_summary(result), SUMMARY_BYTES), shown, back)


def read(model: type[_Read], call: ToolCall) -> _Read:
    """The arguments of a call as this model; raises ModelReplyInvalid with what is to be mended."""
    if isinstance(call.arguments, str):
        raise ModelReplyInvalid(f"The arguments of {call.tool} must be one complete JSON object.")
    try:
        return model.model_validate(dict(call.arguments))
    except ValidationError as error:
        # Only where and what: the input may be long, and the model knows it.
        found = [f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}" for item in error.errors()]
        raise ModelReplyInvalid("; ".join(found[:MENDED_AT_MOST]) + ".") from None


@cache
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Made once, so nobody may change it."""
    return model.model_json_schema()


def _findings(result: _Result) -> tuple[_Finding, ...]:
    return result.findings[:CLAIMS_AT_MOST] if isinstance(result, _Research) else ()


def _summary(result: _Result) -> str:
    """The summary, and what the worker's own schema adds to it, one line each."""
    lines = [result.summary, *(f"- {item.claim} [{item.source}]" for item in _findings(result))]
    match result:
        case _Code():
            lines += [f"Changed: {', '.join(result.changed[:SOURCES_AT_MOST])}"] if result.changed else []
            lines += [f"Checked: {result.checked}"] if result.checked else []
        case _Review():
            found = result.checked[:CLAIMS_AT_MOST]
            lines += [f"- {item.holds}: {item.claim} [{item.evidence}]" for item in found]
        case _:
            pass
    return "\n".join(lines)
