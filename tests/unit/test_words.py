"""Every error and every number as people read it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import agent
import bot
import storage
from agent import errors
from agent.domain import ApprovalState, Outcome, RunStatus, TakeoverState
from bot.words import (
    APPROVAL,
    OUTCOME,
    RUN,
    TAKEOVER,
    WENT_WRONG,
    count,
    duration,
    money,
    nearest,
    people,
    person,
    sentence,
)


def below(kind: type[errors.SecondKeyError]) -> Iterator[type[errors.SecondKeyError]]:
    """A class of errors and every one under it, also those of the other packages."""
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


for package in (agent, storage, bot):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
TREE = sorted(set(below(errors.SecondKeyError)), key=lambda kind: kind.__name__)
#: How a sentence tells somebody what to do, or what happens by itself.
STEP = re.compile(
    r"[Pp]lease|`/agent|`secondkey|[Aa]n operator|[Aa]n admin|press Claim|set a price|write secret:|Mention me|Give me|"
    r"card (shows|names)|thread (shows|says|has)|is asked about anew|tries otherwise|may fit"
)


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_every_error_of_the_project_has_a_sentence(error: type[errors.SecondKeyError]) -> None:
    said = sentence(error())
    assert said.endswith((".", "!"))
    assert said != WENT_WRONG
    assert "Error" not in said
    assert STEP.search(said), f"{said!r} names no next step"
    assert len(said) <= 300
    assert said.count("  ") == 0


def test_a_message_of_its_own_gets_no_second_next_step() -> None:
    assert sentence(errors.NotEntitled("Guests cannot.")) == "Guests cannot."
    assert sentence(errors.ConfigurationError("No.", fix="Mend it.")) == "No. Mend it."


def test_the_tree_at_the_top_of_the_errors_is_the_tree_of_the_classes() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"SecondKeyError"}
    assert drawn == {name for name, item in vars(errors).items() if inspect.isclass(item) and item in TREE}


def test_a_bug_shows_no_detail() -> None:
    assert sentence(KeyError("secret")) == WENT_WRONG


def test_the_loser_is_told_who_won_and_when() -> None:
    said = sentence(errors.AlreadyDecided(state="approved", by="slack:T1:U1", at=60.0))
    assert said.startswith("This was already approved by <@U1> at <!date^60^")
    assert "approved" not in sentence(errors.AlreadyDecided(state="expired"))
    assert "a person has it" in sentence(errors.AlreadyDecided(state="claimed", by="slack:T1:U1"))


def test_a_quota_says_when_to_come_back() -> None:
    assert "try again at <!date^90^" in sentence(errors.QuotaExceeded("Too many.", retry_at=90.0))


def test_an_error_names_the_configured_command() -> None:
    assert "/key runs" in sentence(errors.UnknownRun(), command="/key")


def test_an_errors_text_cannot_mention_anybody() -> None:
    assert "<!channel>" not in sentence(errors.ToolFailed("<!channel> failed"))


def test_every_state_has_words() -> None:
    assert set(RUN) == set(RunStatus)
    assert set(APPROVAL) == set(ApprovalState)
    assert set(TAKEOVER) == set(TakeoverState)
    assert set(OUTCOME) == set(Outcome)


def test_expired_is_worded_otherwise_than_denied() -> None:
    assert "denied" not in OUTCOME[Outcome.EXPIRED]
    assert "nobody answered" in OUTCOME[Outcome.EXPIRED]


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "$0.00"),
        (4, "under $0.0001"),
        (50, "$0.0001"),
        (420, "$0.0004"),
        (12_000, "$0.01"),
        (500_000, "$0.50"),
        (1_234_567, "$1.23"),
    ],
)
def test_money(micro: int, text: str) -> None:
    assert money(micro) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (12.4, "12 s"), (180, "3 min"), (3599, "1 h"), (7500, "2 h 5 min"), (7 * 86_400, "7 days")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_people_are_mentioned_and_many_are_counted() -> None:
    assert people(["slack:T1:U1", "slack:T1:U2", "slack:T1:U3"], most=2) == "<@U1>, <@U2> and 1 more"
    assert person("local:1000") == "the operator (local user 1000)"
    assert person("<!channel>") == "&lt;!channel&gt;"


def test_the_nearest_word_is_found_or_none() -> None:
    assert nearest("statsu", ("status", "runs")) == "status"
    assert nearest("qqq", ("status", "runs")) == ""


def test_counts_have_their_plural() -> None:
    assert [count(1, "step"), count(2, "step"), count(2, "yes", "yeses")] == ["1 step", "2 steps", "2 yeses"]
