"""One model service on the wire, through pydantic-ai: our messages there, its reply and its errors back.

Importing this costs seconds, so only `agent.model` does it, late and in a thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, cast

from pydantic_ai import exceptions as wire_errors
from pydantic_ai import messages as wire
from pydantic_ai.direct import model_request
from pydantic_ai.models import Model, ModelRequestParameters, create_async_httpx2_client
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from agent.errors import ModelError, ModelMisconfigured, ModelRateLimited, ModelReplyInvalid, ModelUnavailable
from agent.ports import Message, ModelRequest, Thought, ToolCall, ToolSpec

Kind = Literal["anthropic", "openai", "openai-chat"]
_TOKEN_SHAPE = re.compile(r"\b(?:sk|pk|key|bearer)[-_ ][^\s\"',;]{4,}", re.IGNORECASE)
_DETAIL_LENGTH = 200
COUNT_TIMEOUT_S = 5.0
#: The HTTP requests of the call that this task is making.
_SENT: ContextVar[list[object]] = ContextVar("sent")
#: Statuses below 500 that pass by themselves: both SDKs would have retried them.
_PASSING = frozenset({408, 409})
#: A gateway gave up on a service that may still have worked.
_MAY_HAVE_WORKED = frozenset({408, 504, 524})
#: What Anthropic keeps of a conversation that goes on: tools, system prompt, and all up to the last message.
_CACHED = ("anthropic_cache_tool_definitions", "anthropic_cache_instructions", "anthropic_cache_messages")
#: What an error means to us; the first line that fits counts.
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], type[ModelError], str], ...] = (
    (
        (wire_errors.ModelQuotaExceededError,),
        ModelMisconfigured,
        "The account behind {model} has used up its quota ({status}).",
    ),
    ((wire_errors.ModelAuthenticationError,), ModelMisconfigured, "{model} does not accept the key ({status})."),
    (
        (wire_errors.ModelNotFoundError,),
        ModelMisconfigured,
        "{model} is not known at this address ({status}): check its name and the base URL.",
    ),
    (
        (wire_errors.ModelContextWindowExceededError,),
        ModelError,
        "The conversation is too long for {model} ({status}).",
    ),
    (
        (wire_errors.ModelRequestTimeout, wire_errors.ModelTimeoutError),
        ModelUnavailable,
        "{model} did not answer in time.",
    ),
    ((wire_errors.ModelConnectionError,), ModelUnavailable, "{model} could not be reached, or broke off."),
    (
        (wire_errors.ModelUnavailableError, wire_errors.ModelServerError),
        ModelUnavailable,
        "{model} reports a failure of its own ({status}).",
    ),
    (
        (wire_errors.UserError, ImportError, UnicodeError),
        ModelMisconfigured,
        "{model} cannot be called as it is configured ({status}).",
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one wire call brought back, before it is priced."""

    text: str
    calls: tuple[ToolCall, ...]
    usage: RequestUsage
    measured: bool
    """Whether the service said how many tokens it used."""
    context: Mapping[str, Any]
    model: str
    response_id: str
    finish_reason: str
    thoughts: tuple[Thought, ...] = ()


class Service:
    """One model of one provider, with a connection pool of its own."""

    def __init__(self, kind: Kind, name: str, *, key: str, base_url: str) -> None:
        self._kind: Kind = kind
        self._label = f"{kind}:{name}"
        self._key = key
        self._http = create_async_httpx2_client()
        self._http.event_hooks["request"].append(_only_once)
        self._model = self._build(name, base_url)

    def _build(self, name: str, base_url: str) -> Model:
        # The two SDKs take seconds to import, and a run may need only one of them.
        if self._kind == "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel  # noqa: PLC0415  # as above
            from pydantic_ai.providers.anthropic import AnthropicProvider  # noqa: PLC0415  # as above

            provider = AnthropicProvider(api_key=self._key, base_url=base_url, http_client=self._http)
            return AnthropicModel(name, provider=provider)
        from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel  # noqa: PLC0415  # as above
        from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415  # as above

        openai = OpenAIProvider(api_key=self._key, base_url=base_url, http_client=self._http)
        made = OpenAIChatModel if self._kind == "openai-chat" else OpenAIResponsesModel
        return made(name, provider=openai)

    async def ask(self, request: ModelRequest) -> Answer:
        """Make exactly one wire call; raises ModelError with nothing secret in its message or its chain."""
        _SENT.set([])
        try:
            response = await model_request(
                self._model,
                _to_wire(request.messages, self._model.system),
                model_settings=self._settings(request),
                model_request_parameters=_parameters(request),
                instrument=False,
            )
            return _from_wire(response)
        except Exception as error:  # noqa: BLE001  # whatever a service sends must end as a ModelError
            failure = self._translate(error)
        # Raised outside the handler: the original holds the request with its key, and would hang on as the context.
        raise failure

    async def count(self, request: ModelRequest) -> int:
        """How many tokens the service says that the request has; raises ModelError, also where it does not count."""
        _SENT.set([])
        try:
            usage = await self._model.count_tokens(
                _to_wire(request.messages, self._model.system),
                self._settings(replace(request, timeout_s=COUNT_TIMEOUT_S)),
                _parameters(request),
            )
        except NotImplementedError:
            failure: ModelError = ModelMisconfigured(f"{self._label} does not count tokens.")
        except Exception as error:  # noqa: BLE001  # as in `ask`
            failure = self._translate(error)
        else:
            return usage.input_tokens
        raise failure

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _settings(self, request: ModelRequest) -> ModelSettings:
        settings: dict[str, Any] = {
            "max_retries": 0,  # the SDKs would otherwise retry twice by themselves
            "max_tokens": request.max_tokens,
            "timeout": request.timeout_s,  # of each phase on the socket
            "request_timeout": request.timeout_s,  # of all of them together
        }
        if self._kind == "anthropic" and request.must_call_tool:
            settings["thinking"] = False  # thinking and a forced call exclude each other there
        if (
            self._kind == "anthropic" and request.goes_on
        ):  # a write to the cache costs more, and pays with the next turn
            settings |= dict.fromkeys(_CACHED, True)
        if self._kind == "openai":
            settings["openai_store"] = False  # the conversation stays out of the provider's own storage
        return cast("ModelSettings", settings)

    def _translate(self, error: Exception) -> ModelError:
        if isinstance(error, wire_errors.ModelRateLimitError):
            sentence = f"{self._label} asks us to slow down ({_status(error)})."
            return ModelRateLimited(sentence, retry_after_s=error.retry_after)
        for kinds, made, sentence in _MEANINGS:
            if isinstance(error, kinds):
                said = sentence.format(model=self._label, status=_status(error))
                if made is ModelUnavailable:
                    return ModelUnavailable(said, may_be_charged=_may_be_charged(error))
                return made(said)
        if isinstance(error, wire_errors.ModelHTTPError):
            return self._by_status(error)
        return ModelReplyInvalid(f"{self._label} sent something that is not a reply ({type(error).__name__}).")

    def _by_status(self, error: wire_errors.ModelHTTPError) -> ModelError:
        if error.status_code in _PASSING:
            return ModelUnavailable(f"{self._label} could not answer just now ({_status(error)}).")
        sentence = f"{self._label} refuses the request ({_status(error)}). {self._detail(error)}"
        return ModelMisconfigured(sentence.strip())

    def _detail(self, error: wire_errors.ModelHTTPError) -> str:
        """The service's own sentence, in one line, without anything that looks like a key."""
        body: Any = error.body
        inner: Any = cast("Any", body).get("error", body) if isinstance(body, Mapping) else None
        message: Any = cast("Any", inner).get("message") if isinstance(inner, Mapping) else None
        if not isinstance(message, str):
            return ""
        message = message.replace(self._key, "…") if self._key else message
        return " ".join(_TOKEN_SHAPE.sub("…", message).split())[:_DETAIL_LENGTH]


async def _only_once(request: object) -> None:
    """Hold pydantic-ai to one HTTP request a call: it mends some refusals by asking again, outside of our budget."""
    sent = _SENT.get()
    if sent:
        raise RuntimeError("one HTTP request was made for this call already")
    sent.append(request)


def _may_be_charged(error: Exception) -> bool:
    """Whether the service may have worked for us: not when it refused at once, or was never reached."""
    if isinstance(error, wire_errors.ModelConnectionError):
        return error.phase not in {"pool", "connect"}
    return not isinstance(error, wire_errors.ModelHTTPError) or error.status_code in _MAY_HAVE_WORKED


def _status(error: Exception) -> str:
    return f"HTTP {error.status_code}" if isinstance(error, wire_errors.ModelHTTPError) else type(error).__name__


def _parameters(request: ModelRequest) -> ModelRequestParameters:
    return ModelRequestParameters(
        function_tools=[_definition(tool) for tool in request.tools],
        # Without text there is only a tool call left, which is how a call is forced where that is possible.
        allow_text_output=not (request.must_call_tool and request.tools),
    )


def _definition(tool: ToolSpec) -> ToolDefinition:
    return ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=dict(tool.schema))


def _to_wire(messages: Iterable[Message], provider: str) -> list[wire.ModelMessage]:
    """Neighbours from our side become one request, as both wire formats want turns to alternate.

    Thinking goes back to the provider that it came from, and to nobody else.
    """
    result: list[wire.ModelMessage] = []
    parts: list[wire.ModelRequestPart] = []
    for message in messages:
        if message.role == "assistant":
            replied = _reply_parts(message, provider)
            if not replied:
                continue  # a service refuses an empty turn
            if parts:
                result.append(wire.ModelRequest(parts=parts))
                parts = []
            result.append(wire.ModelResponse(parts=replied))
        else:
            parts.append(_request_part(message))
    if parts:
        result.append(wire.ModelRequest(parts=parts))
    return result


def _request_part(message: Message) -> wire.ModelRequestPart:
    match message.role:
        case "system":
            return wire.SystemPromptPart(content=message.text)
        case "tool":
            return wire.ToolReturnPart(
                tool_name=message.tool, content=message.text or "(no output)", tool_call_id=message.call_id
            )
        case _:
            return wire.UserPromptPart(content=message.text or "(empty)")


def _reply_parts(message: Message, provider: str) -> list[wire.ModelResponsePart]:
    parts: list[wire.ModelResponsePart] = [
        wire.ThinkingPart(
            content=thought.text, id=thought.id or None, signature=thought.signature or None, provider_name=provider
        )
        for thought in message.thoughts
        if thought.provider == provider and message.calls  # a service wants it before the calls that followed it
    ]
    parts += [wire.TextPart(content=message.text)] if message.text.strip() else []
    parts.extend(
        wire.ToolCallPart(
            tool_name=call.tool,
            # Both services want an object here, also where the model had sent none.
            args={"not_an_object": call.arguments} if isinstance(call.arguments, str) else dict(call.arguments),
            tool_call_id=call.id,
        )
        for call in message.calls
    )
    return parts


def _from_wire(response: wire.ModelResponse) -> Answer:
    cut_off = response.finish_reason == "length"
    found = [part for part in response.parts if isinstance(part, wire.ToolCallPart)]
    calls: list[ToolCall] = []
    for number, part in enumerate(found, 1):
        arguments: Mapping[str, Any] | str = _arguments(part.args)
        if cut_off and number == len(found):
            # Half of a call can still be valid JSON, such as half of a file: it must never be taken for the whole.
            arguments = f"{_as_text(part.args)} [cut off at the limit of output tokens]"
        call_id = part.tool_call_id
        if any(call.id == call_id for call in calls):
            call_id = f"{call_id}-{number}"
        calls.append(ToolCall(id=call_id, tool=part.tool_name, arguments=arguments))
    usage = response.usage
    return Answer(
        text=_clean("".join(part.content for part in response.parts if isinstance(part, wire.TextPart))),
        calls=tuple(calls),
        usage=usage,
        measured=not usage.unmeasured_requests and bool(usage.input_tokens or usage.output_tokens),
        context=response.provider_details or {},
        model=response.model_name or "",
        response_id=response.provider_response_id or "",
        finish_reason=response.finish_reason or "",
        thoughts=tuple(
            Thought(part.content, part.signature or "", part.provider_name or "", part.id or "")
            for part in response.parts
            if isinstance(part, wire.ThinkingPart) and (part.signature or part.id)
        ),
    )


def _arguments(args: object) -> Mapping[str, Any] | str:
    """A JSON object as a dict; anything else, or what has no clean UTF-8 form, as the raw text."""
    if args is None or args == "":
        return {}
    try:
        parsed: Any = json.loads(args, parse_constant=_no_constant) if isinstance(args, str) else args
        if not isinstance(parsed, dict):
            return _as_text(args)
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, TypeError, RecursionError):
        return _as_text(args)
    return cast("dict[str, Any]", parsed)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _as_text(args: object) -> str:
    return _clean(args if isinstance(args, str) else json.dumps(args, default=str))


def _clean(text: str) -> str:
    """A lone surrogate, which JSON can spell and UTF-8 cannot, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
