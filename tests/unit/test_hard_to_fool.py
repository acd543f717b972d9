"""Characters that show nothing, the mark of a conversation, and calls that go in circles."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import events as ev
from agent.domain import Action, Effect, Intent, Outcome, Plan, PlannedStep, Principal, Revision, Task, Tier, Worker
from agent.loops import goes_in_circles, key_of
from agent.ports import Message, ModelRequest, Stored, ToolCall
from agent.sealing import COVERED, covered, holds_mark, mark_of, sealed
from agent.state import RunState, fold
from agent.visible import bounded, hidden_in, visible

STATE = RunState(run="r1", trace_id="5" * 32, created_at=1.5)
TAGS = "".join(chr(0xE0000 + ord(sign)) for sign in "obey")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 価格 🍵 مرحبا\tand\nlines", "plain, 価格 🍵 مرحبا\tand\nlines"),
        (f"a{TAGS}b", "ab"),
        ("a\u200bb\u200dc\u2060d\ufeffe", "abcde"),
        ("a\u202egpj.exe\u2066b", "agpj.exeb"),
        ("a\u00adb\u034fc\u180ed\u3164e", "abcde"),
        ("a\U000e0100b\ufe01c", "abc"),
        ("a\x00b\x1b[31mc\x08d", "ab[31mcd"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("☕\ufe0f", "☕\ufe0f"),
    ],
)
def test_only_what_people_see_is_left(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown
    assert hidden_in(shown) == 0


@settings(max_examples=200)
@given(st.text(max_size=200), st.integers(200, 400))
def test_a_bound_holds_for_any_text(text: str, limit: int) -> None:
    assert len(bounded(text * 9, limit).encode("utf-8", "replace")) <= limit


def request(*messages: Message) -> ModelRequest:
    return ModelRequest("a:one", messages)


def test_a_request_goes_out_with_a_mark_and_nothing_hidden() -> None:
    call = ToolCall("c", "read_file", {"path": f"a{TAGS}.md", "deep": [f"x{TAGS}"]})
    sent = sealed(
        request(
            Message("system", f"Help{TAGS}."),
            Message("user", f"Hi\u200b{TAGS}"),
            Message("assistant", "", (call, ToolCall("d", f"t{TAGS}", f"no json{TAGS}"))),
            Message("tool", f"got{TAGS}", call_id="c", tool="read_file"),
        ),
        STATE,
    )
    assert mark_of(STATE) in sent.messages[0].text
    assert "".join(message.text for message in sent.messages[1:]) == "Higot"
    assert sent.messages[2].calls[0].arguments == {"path": "a.md", "deep": ["x"]}
    assert sent.messages[2].calls[1].arguments == "no json"


def test_a_mark_is_of_one_run_and_the_same_at_every_replay() -> None:
    other = RunState(run="r2", trace_id="5" * 32, created_at=1.5)
    assert mark_of(STATE) == mark_of(RunState(run="r1", trace_id="5" * 32, created_at=1.5))
    assert mark_of(STATE) != mark_of(other)
    assert not holds_mark(mark_of(other), STATE)


MARK = mark_of(STATE)


@pytest.mark.parametrize(
    "text",
    [
        MARK,
        MARK.upper(),
        " ".join(MARK),
        "-".join(MARK),
        MARK[::-1],
        MARK.encode().hex(),
        MARK[4:14],
        MARK[-10:].upper(),
        MARK[4:14].encode().hex(),
        f'{{"url": "https://evil.example/{MARK[:12]}\\n{MARK[12:]}"}}'.replace("\\n", "/"),
        *(base64.b64encode(b"x" * at + MARK.encode() + b" and more").decode() for at in range(3)),
    ],
)
def test_the_mark_is_found_however_it_is_written(text: str) -> None:
    assert holds_mark(f"so {text} it is", STATE)


@settings(max_examples=200)
@given(st.text(max_size=300))
def test_no_other_text_is_taken_for_the_mark(text: str) -> None:
    assert not holds_mark(text, STATE)


def test_people_are_shown_no_mark() -> None:
    assert covered(f"it is {MARK}.", STATE) == f"it is {COVERED}."


# -- circles


def step_with(*calls: tuple[str, dict[str, object], bool]) -> RunState:
    """A run whose one step made these calls; each says whether it changed something."""
    plan = Plan(planner="model", steps=(PlannedStep(worker=Worker.CODE, instruction="do"),), evaluated=True)
    task = Task(id="t", text="x", principal=Principal(team="T1", user="U1"))
    events: list[ev.Event] = [ev.RunCreated(task=task), ev.PlanMade(plan=plan), ev.StepStarted(step=0, planned=0)]
    for number, (tool, arguments, changes) in enumerate(calls):
        key = f"a{number}"
        action = Action(
            id=key, step=0, turn=number, tool=tool, arguments=arguments, digest=key, schema_hash="", call_id=key
        )
        intents = (Intent(effect=Effect.MODIFY, target="x"),) if changes else ()
        events += [
            ev.ActionProposed(action=action),
            ev.ActionRated(action=key, tier=Tier.LOW, intents=intents),
            ev.ActionStarted(action=key, digest=key, lease_token="l"),
            ev.ActionFinished(action=key, outcome=Outcome.SUCCEEDED),
        ]
    return fold("r1", [Stored(seq, 1.0, event) for seq, event in enumerate(events, 1)])


READ, TEST = ("read", {"path": "a"}, False), ("test", {}, False)


def circle(state: RunState, tool: str, arguments: dict[str, object]) -> bool:
    return bool(goes_in_circles(state, state.steps[0], tool, arguments))


@pytest.mark.parametrize(
    ("calls", "wanted", "circles"),
    [
        ((READ,), ("read", {"path": "a"}), False),
        ((READ, READ), ("read", {"path": "a"}), True),
        ((READ, READ), ("read", {"path": " a "}), True),
        ((READ, READ), ("read", {"path": "b"}), False),
        ((READ, READ), ("look", {"path": "a"}), False),
        ((READ, TEST, READ), ("test", {}), True),
        ((READ, TEST, READ), ("other", {}), False),
        ((READ, TEST, TEST), ("read", {"path": "a"}), False),
        ((TEST, ("write", {"n": 1}, True), TEST, ("write", {"n": 2}, True)), ("test", {}), False),
        ((TEST, ("write", {"n": 1}, True), TEST, ("write", {"n": 1}, True)), ("test", {}), True),
        ((), ("read", {"path": "a"}), False),
    ],
)
def test_a_circle_is_the_same_call_three_times_or_two_in_turn(
    calls: tuple[tuple[str, dict[str, object], bool], ...], wanted: tuple[str, dict[str, object]], *, circles: bool
) -> None:
    assert circle(step_with(*calls), *wanted) is circles


def test_what_a_person_had_proposed_again_is_not_the_workers_circle() -> None:
    state = step_with(READ)
    revision = Revision(of="a0", cause="ask_again", by="slack:T1:U2")
    again = state.actions["a0"].action.model_copy(update={"id": "b", "revision": revision})
    after = fold("r1", [Stored(state.seq + 1, 1.0, ev.ActionProposed(action=again))], state)
    assert len(after.steps[0].actions) == 2
    assert not circle(after, "read", {"path": "a"})


def test_blanks_within_a_line_are_levelled_and_the_shape_of_a_program_is_not() -> None:
    assert key_of("sql", {"q": "select  1 "}) == key_of("sql", {"q": "select 1"})
    assert key_of("py", {"code": "if x:\n  a\nb"}) != key_of("py", {"code": "if x:\n  a\n  b"})
    assert key_of("py", {"code": "a\nb  \n"}) == key_of("py", {"code": "a\nb"})
    assert key_of("sql", {"q": "A"}) != key_of("sql", {"q": "a"})
