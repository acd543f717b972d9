"""Models that answer from a script: plan one step, touch, hand the step back, answer."""

from __future__ import annotations

from typing import Any

from agent.ports import Message, ModelReply, ModelRequest, ToolCall

COST = 100
"""Micro-USD a call, so that money is reserved and settled as in life."""
_PLAN: dict[str, Any] = {"steps": [{"worker": "code", "instruction": "Touch it.", "expected": "It was touched."}]}
_RESULT: dict[str, Any] = {"status": "done", "summary": "It was touched.", "sources": []}


def script(messages: tuple[Message, ...], tools: tuple[str, ...]) -> tuple[str, tuple[str, dict[str, Any]] | None]:
    """What the model says, and what it calls."""
    if "submit_plan" in tools:
        return "", ("submit_plan", _PLAN)
    if "submit_result" not in tools:
        return "It was touched.", None
    if messages[-1].role == "tool":
        return "", ("submit_result", _RESULT)
    text = messages[1].text.partition("touch ")[2]
    return "", ("touch", {"number": int(text.split(maxsplit=1)[0])})


class ScriptedChat:
    """Implements our `ChatModel` port directly."""

    chain = ("scripted:one",)
    script = staticmethod(script)

    def highest_cost(self, request: ModelRequest) -> int:
        """The fixed price."""
        del request
        return COST

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Reply from the script."""
        text, call = self.script(request.messages, tuple(tool.name for tool in request.tools))
        calls = (ToolCall("c1", *call),) if call else ()
        return ModelReply(text=text, calls=calls, cost_micro_usd=COST, model="one")


class FunctionChat(ScriptedChat):
    """The same script behind pydantic-ai's FunctionModel, through the module that talks to real services."""

    def __init__(self) -> None:
        # Seconds of import that the other contenders must not pay for.
        from pydantic_ai import messages as wire  # noqa: PLC0415  # as above
        from pydantic_ai.models.function import AgentInfo, FunctionModel  # noqa: PLC0415  # as above

        from agent.wire import Service  # noqa: PLC0415  # as above

        def answer(messages: list[wire.ModelMessage], info: AgentInfo) -> wire.ModelResponse:
            tools = tuple(tool.name for tool in info.function_tools)
            text, call = self.script(tuple(_plain(messages)), tools)
            parts: list[Any] = [wire.TextPart(text)] if text else []
            if call:
                parts.append(wire.ToolCallPart(call[0], call[1], "c1"))
            return wire.ModelResponse(parts=parts, model_name="one")

        def _plain(messages: list[wire.ModelMessage]) -> list[Message]:
            found: list[Message] = []
            for message in messages:
                for part in message.parts:
                    role = "tool" if isinstance(part, wire.ToolReturnPart) else "user"
                    found.append(Message(role=role, text=str(getattr(part, "content", ""))))
            return found

        class Scripted(Service):
            def _build(self, name: str, base_url: str) -> Any:  # noqa: ANN401  # any of pydantic-ai's models
                del name, base_url
                return FunctionModel(answer)

        self._service = Scripted("openai", "one", key="none", base_url="http://127.0.0.1:1")

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Reply from the script, the long way round."""
        answer = await self._service.ask(request)
        return ModelReply(text=answer.text, calls=answer.calls, cost_micro_usd=COST, model="one")
