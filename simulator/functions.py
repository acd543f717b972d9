"""Workflow steps: runs of the app's functions and what they came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from simulator.errors import SlackError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.clock import Ids
    from simulator.hub import Hub
    from simulator.people import Function, Json
    from simulator.workspace import Workspace

State = Literal["running", "completed", "failed"]


@dataclass(slots=True)
class Execution:
    """One run of a function as a workflow's step."""

    id: str
    workflow: str
    callback_id: str
    inputs: Json
    #: the token with which the app may act for this run
    token: str
    state: State = "running"
    outputs: Json | None = None
    error: str | None = None

    def seen(self) -> Json:
        """Return the run as the page and the driver see it."""
        return {key: value for key, value in asdict(self).items() if key != "token"}


class Functions:
    """Every run of a function."""

    def __init__(self, *, workspace: Workspace, hub: Hub, ids: Ids) -> None:
        self._workspace = workspace
        self._hub = hub
        self._ids = ids
        self.held: dict[str, Execution] = {}

    @property
    def tokens(self) -> set[str]:
        """Return the tokens of all runs."""
        return {execution.token for execution in self.held.values()}

    def declared(self, callback_id: str) -> Function:
        """Return a function of the manifest. Raises SlackError `function_not_found`."""
        found = next((f for f in self._workspace.functions if f.callback_id == callback_id), None)
        if found is None:
            raise SlackError("function_not_found")
        return found

    def start(self, function: Function, inputs: Json) -> Execution:
        """Begin a run. Raises SlackError `parameter_validation_failed`."""
        _check(inputs, [(p.name, p.is_required) for p in function.inputs])
        token = f"xwfp-simulator-{self._ids.secret()}"
        execution = Execution(self._ids.new("Fx"), self._ids.new("Wx"), function.callback_id, inputs, token)
        self.held[execution.id] = execution
        self._tell(execution)
        return execution

    def event(self, function: Function, execution: Execution, event_ts: str) -> Json:
        """Return the event that tells the app to run."""
        return {
            "type": "function_executed",
            "function": {
                "id": f"Fn0{function.callback_id.upper().replace('_', '')}",
                "callback_id": function.callback_id,
                "title": function.title,
                "description": function.description,
                "type": "app",
                "input_parameters": [p.as_slack() for p in function.inputs],
                "output_parameters": [p.as_slack() for p in function.outputs],
                "app_id": self._workspace.app.id,
                "date_created": 0,
                "date_updated": 0,
                "date_deleted": 0,
            },
            "inputs": execution.inputs,
            "function_execution_id": execution.id,
            "workflow_execution_id": execution.workflow,
            "event_ts": event_ts,
            "bot_access_token": execution.token,
        }

    def complete(self, execution_id: str, outputs: Json) -> None:
        """End a run with its outputs. Raises SlackError with Slack's code."""
        execution = self._running(execution_id)
        function = self.declared(execution.callback_id)
        _check(outputs, [(p.name, p.is_required) for p in function.outputs])
        execution.state, execution.outputs = "completed", outputs
        self._tell(execution)

    def fail(self, execution_id: str, error: str) -> None:
        """End a run with a reason. Raises SlackError with Slack's code."""
        execution = self._running(execution_id)
        execution.state, execution.error = "failed", error
        self._tell(execution)

    def _running(self, execution_id: str) -> Execution:
        execution = self.held.get(execution_id)
        if execution is None:
            raise SlackError("function_execution_not_found")
        if execution.state != "running":
            raise SlackError("execution_not_in_running_state")
        return execution

    def _tell(self, execution: Execution) -> None:
        self._hub.tell_all({"type": "function", "execution": execution.seen()})


def _check(given: dict[str, Any], declared: Iterable[tuple[str, bool]]) -> None:
    known = dict(declared)
    missing = [name for name, required in known.items() if required and given.get(name) in {None, ""}]
    unknown = [name for name in given if name not in known]
    if missing or unknown:
        wrong = [f"missing: {name}" for name in missing] + [f"unknown: {name}" for name in unknown]
        raise SlackError("parameter_validation_failed", response_metadata={"messages": wrong})
