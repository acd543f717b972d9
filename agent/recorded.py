"""A recorded run as a scenario: plain data from which a test can have the same run again without anything outside.

People get other names, and secrets are covered by whoever writes it down. What a run waited for is kept by what it was
waiting for, not by the clock: a decision belongs to its call, words to how many replies had come.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent import events as ev
from agent.errors import ConfigurationError
from agent.ports import Stored
from agent.secrets import redacted
from agent.state import RunState, fold

VERSION = 1
LEFT_OUT = frozenset(
    {
        "approval_delivered",
        "approval_reminded",
        "changes_undone",
        "co_requester_added",
        "denial_explained",
        "grant_given",
        "grant_revoked",
        "takeover_answered",
        "takeover_asked",
        "takeover_claimed",
        "takeover_released",
        "takeover_reminded",
        "vote_cast",
    }
)
"""Events that concern people and the messages to them, not the course of the run."""
_SHORTEST_NAME = 4
_ANOTHER = "Choose another run, or write the scenario by hand."


def scenario_of(
    run: str, stored: Sequence[Stored], body: Callable[[str], str], limits: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The scenario; `limits` are those that an operator set. What was asked beside the run is left out.

    Raises ConfigurationError for a run that no test could have again, and for one whose bodies were dropped.
    """
    stored = _without_questions(stored)
    state = fold(run, stored)
    events = [item.event for item in stored]
    if not state.status.is_final or state.task is None:
        raise ConfigurationError(f"Run {run} is not over.", fix="Wait for its end.")
    if why := next((why for event in events if (why := _beyond(event))), ""):
        raise ConfigurationError(f"Run {run} is no scenario: {why}", fix=_ANOTHER)
    try:
        return _scenario(state, events, body, limits or {})
    except KeyError as error:
        why = "a part of what it was about was dropped after its time."
        raise ConfigurationError(f"Run {run} is no scenario: {why}", fix=_ANOTHER) from error


def _scenario(
    state: RunState, events: Sequence[ev.Event], body: Callable[[str], str], limits: Mapping[str, Any]
) -> dict[str, Any]:
    assert state.task is not None  # noqa: S101  # looked at before
    planned = next((one for one in events if isinstance(one, ev.PlanMade)), None)
    made: dict[str, Any] = {
        "version": VERSION,
        "task": state.task.text,
        "limits": dict(limits),
        "files": [event.model_dump(mode="json")["files"] for event in events if isinstance(event, ev.FilesAttached)],
        "context": body(state.context_blob) if state.context_blob else "",
        "plan": planned.plan.model_dump(mode="json") if planned and planned.plan.planner != "model" else None,
        "calls": [_call(events, one, body) for one in events if isinstance(one, ev.ModelCallStarted)],
        "actions": [_action(events, one, state, body) for one in events if isinstance(one, ev.ActionProposed)],
        "words": _words(events, body),
        "stop": _stop(events),
        "ends": ends_of_processes(events),
        "out_of_time": state.out_of_time,
        "expected": expected_of(state, events, body),
    }  # fmt: skip
    return _without_names(made, state)


def _beyond(event: ev.Event) -> str:
    """Why a run with this event cannot be had again; empty when it can."""
    match event:
        case ev.ActionProposed() if event.action.revision is not None and event.action.revision.by:
            return "a person changed a call of it by hand, or asked for one anew, which no test can do for them."
        case ev.ModelCallFailed(code="INTERNAL") | ev.RunFinished(code="INTERNAL"):
            return "an error inside Second Key ended a part of it, and a test cannot make the same error."
        case _:
            return ""


def _without_questions(stored: Sequence[Stored]) -> tuple[Stored, ...]:
    """The journal without the calls that answered questions in a takeover's thread: the run never heard of them."""
    calls = {
        item.event.call
        for item in stored
        if isinstance(item.event, ev.ModelCallStarted) and item.event.purpose == "question"
    }
    kept = [item for item in stored if getattr(item.event, "call", "") not in calls]
    return tuple(replace(item, seq=seq) for seq, item in enumerate(kept, 1))


def ends_of_processes(events: Sequence[ev.Event]) -> list[dict[str, Any]]:
    """Where a process ended in the middle of the run: after how many events, and whether it could still write."""
    found: list[dict[str, Any]] = []
    before, withdrawn, is_new, stopped = 0, 0, True, False
    for event in events:
        stopped = stopped or isinstance(event, ev.StopRequested)
        how = _end_of_process(event, stopped=stopped)
        if how and is_new:
            found.append({"after_events": before - withdrawn, "graceful": how == "graceful"})
        if how:
            is_new = False
        elif isinstance(event, ev.ModelCallStarted | ev.ActionStarted | ev.ActionRated | ev.RunFinished):
            is_new = True
        before += event.type not in LEFT_OUT
        # Whoever takes up a run after a crash withdraws first what is asked, and then says that the process died.
        by_nobody = isinstance(event, ev.ApprovalDecided) and event.state == "withdrawn" and not event.by
        withdrawn = withdrawn + 1 if by_nobody else 0
    return found


def _end_of_process(event: ev.Event, *, stopped: bool) -> str:
    match event:
        case ev.ModelCallFailed(code="INTERRUPTED") | ev.ActionFinished(code="PROCESS_DIED"):
            return "crash"
        case ev.ActionResumed(code=""):
            return "crash"
        case ev.ModelCallFailed(code="CANCELLED") | ev.ActionFinished(code="CANCELLED") if not stopped:
            return "graceful"
        case _:
            return ""


def expected_of(state: RunState, events: Sequence[ev.Event], body: Callable[[str], str]) -> dict[str, Any]:
    """What a run came to, in a form that does not depend on ids, times and the order of what went on at once."""
    actions = sorted(
        (item.action.step, item.action.turn, item.action.call_id, item.action.tool,
         item.tier.value if item.tier else "", item.outcome.value if item.outcome else item.phase)
        for item in state.actions.values()
    )  # fmt: skip
    kinds = Counter(event.type for event in events)
    return {
        "status": state.status.value,
        "answer": body(state.answer_blob) if state.answer_blob else "",
        "cost_micro_usd": state.spent,
        "steps": [[step.planned, step.status, step.summary] for step in state.steps],
        "actions": [list(one) for one in actions],
        "events": {kind: number for kind, number in sorted(kinds.items()) if kind not in LEFT_OUT},
    }


def _call(events: Sequence[ev.Event], started: ev.ModelCallStarted, body: Callable[[str], str]) -> dict[str, Any]:
    kept = {"purpose", "step", "turn", "attempt", "model", "reserved_micro_usd", "waited_ms"}
    made = started.model_dump(include=kept)
    for event in events:
        if isinstance(event, ev.ModelCallFinished) and event.call == started.call:
            usage = event.model_dump(include={"input_tokens", "output_tokens", "cost_micro_usd", "duration_ms"})
            return made | {"reply": json.loads(body(event.reply_blob)), **usage}
        if isinstance(event, ev.ModelCallFailed) and event.call == started.call:
            how = event.model_dump(include={"code", "detail", "retryable", "cost_micro_usd", "duration_ms"})
            return made | {"failed": how}
    return made | {"failed": {"code": "CANCELLED"}}


def _action(
    events: Sequence[ev.Event], proposed: ev.ActionProposed, state: RunState, body: Callable[[str], str]
) -> dict[str, Any]:
    action = proposed.action
    item = state.actions[action.id]
    ratings: list[dict[str, Any]] = []
    output, duration_ms = None, 0
    for event in events:
        if isinstance(event, ev.ActionRated) and event.action == action.id:
            ratings.append({
                "tier": event.tier.value,
                "grant": bool(event.grant),
                "reasons": [[reason.rule, reason.text] for reason in event.reasons],
                "headline": event.headline,
                "facts": json.loads(body(event.facts_blob)),
                "preview": json.loads(body(event.preview_blob)) if event.preview_blob else None,
            })  # fmt: skip
        if isinstance(event, ev.ActionFinished) and event.action == action.id:
            duration_ms = event.duration_ms
            output = json.loads(body(event.output_blob)) if event.output_blob else None
    return {
        **action.model_dump(include={"tool", "step", "turn", "call_id", "arguments", "exclusive", "idempotent"}),
        "revision": action.revision.cause if action.revision else "",
        "ratings": ratings,
        "faults": [
            {"code": event.code, "summary": event.summary}
            for event in events
            if isinstance(event, ev.ActionResumed) and event.action == action.id
        ],
        "outcome": item.outcome.value if item.outcome else "",
        "code": item.code,
        "summary": item.summary,
        "output": output,
        "duration_ms": duration_ms,
        "decision": _decision(events, action.id),
        "takeover": _takeover(events, action.id),
    }


def _decision(events: Sequence[ev.Event], action: str) -> list[dict[str, Any]]:
    """What people or time said to each of its requests, in order; nothing for one that the system took back."""
    asked = [one.approval for one in events if isinstance(one, ev.ApprovalRequested) and one.action == action]
    found: list[dict[str, Any]] = []
    for approval in asked:
        decided = next(
            (one for one in events if isinstance(one, ev.ApprovalDecided) and one.approval == approval), None
        )  # fmt: skip
        why = next(
            (one.reason for one in events if isinstance(one, ev.DenialExplained) and one.approval == approval), ""
        )
        by_system = decided is None or (decided.state.value == "withdrawn" and not decided.by)
        found.append(
            {} if decided is None or by_system
            else {"state": decided.state.value, "by": decided.by, "reason": decided.reason or why}
        )  # fmt: skip
    return found


def _takeover(events: Sequence[ev.Event], action: str) -> dict[str, Any]:
    opened = {one.takeover for one in events if isinstance(one, ev.TakeoverOpened) and one.action == action}
    closed = [one for one in events if isinstance(one, ev.TakeoverClosed) and one.takeover in opened and one.by]
    return closed[-1].model_dump(include={"state", "by", "what", "reference", "evidence", "again"}) if closed else {}


def _words(events: Sequence[ev.Event], body: Callable[[str], str]) -> list[dict[str, Any]]:
    """What people added, and after how many replies."""
    found: list[dict[str, Any]] = []
    replies = 0
    for event in events:
        replies += isinstance(event, ev.ModelCallFinished | ev.ModelCallFailed)
        if isinstance(event, ev.FollowUpReceived):
            found.append({"after_replies": replies, "text": body(event.text_blob)})
    return found


def _stop(events: Sequence[ev.Event]) -> dict[str, Any] | None:
    """A stop, and how many events of the run stood before it."""
    before = 0
    for event in events:
        if isinstance(event, ev.StopRequested):
            return {"after_events": before, "reason": event.reason}
        before += event.type not in LEFT_OUT
    return None


def _without_names(made: dict[str, Any], state: RunState) -> dict[str, Any]:
    """Other names for everybody who had a word in it."""
    assert state.task is not None  # noqa: S101  # as above
    keys = [state.task.principal.key, *sorted(state.co_requesters), *_deciders(made)]
    users = dict.fromkeys(key.rpartition(":")[2] for key in dict.fromkeys(keys) if key)
    names = {user: f"PERSON{number}" for number, user in enumerate(users, 1)}
    place = state.task.place
    names |= {part: word for part, word in ((place.team, "TEAM"), (place.channel, "CHANNEL")) if part}
    whole = {key: f"slack:TEAM:{names[key.rpartition(':')[2]]}" for key in dict.fromkeys(keys) if key}

    def renamed(text: str) -> str:
        if text in whole:
            return whole[text]
        for name, other in names.items():
            if len(name) >= _SHORTEST_NAME:
                text = text.replace(name, other)
        return text

    return redacted(made, renamed)


def _deciders(made: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for action in made["actions"]:
        found += [str(one["by"]) for one in (*action["decision"], action["takeover"]) if one.get("by")]
    return found
