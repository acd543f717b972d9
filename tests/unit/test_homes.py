"""The small memory of open Homes: who is due when, and who is forgotten."""

from __future__ import annotations

from bot.listeners.homes import GAP_S, LATELY_S, MOST, NOTE_S, PROMPT_EVERY_S, SLOW_GAP_S, Homes


def test_a_change_is_due_at_once_and_the_next_after_a_second() -> None:
    homes = Homes()
    homes.opened("U1", "T1", 100.0)
    homes.stir("U1")
    assert homes.due(100.0) == ["U1"]
    home = homes.get("U1")
    assert home is not None
    home.published, home.wanted = 100.0, float("inf")
    homes.stir("U1")
    assert homes.due(100.5) == []
    assert homes.due(100.0 + GAP_S) == ["U1"]


def test_what_only_moves_along_waits_longer_but_holds_nothing_urgent_back() -> None:
    homes = Homes()
    home = homes.opened("U1", "T1", 100.0)
    home.published = 100.0
    homes.stir(slowly=True)
    assert homes.wait_s(100.0) == SLOW_GAP_S
    homes.stir()
    homes.stir(slowly=True)
    assert homes.wait_s(100.0) == GAP_S


def test_only_the_person_meant_is_stirred_and_nobody_who_never_looked() -> None:
    homes = Homes()
    homes.opened("U1", "T1", 0.0)
    homes.opened("U2", "T1", 0.0)
    homes.stir("U2")
    homes.stir("U3")
    assert homes.due(1.0) == ["U2"]
    assert homes.get("U3") is None


def test_who_has_not_looked_for_an_hour_is_forgotten() -> None:
    homes = Homes()
    homes.opened("U1", "T1", 0.0)
    homes.stir()
    assert homes.due(LATELY_S + 1) == []
    assert homes.get("U1") is None


def test_the_memory_is_bounded_and_the_longest_away_go_first() -> None:
    homes = Homes()
    for number in range(MOST + 5):
        homes.opened(f"U{number}", "T1", float(number))
    assert homes.get("U0") is None
    assert homes.get(f"U{MOST + 4}") is not None
    homes.opened("U5", "T1", 1000.0)
    homes.opened("UX", "T1", 1001.0)
    assert homes.get("U5") is not None


def test_a_word_is_kept_only_where_a_home_is_open_and_somebody_publishes() -> None:
    homes = Homes()
    homes.opened("U1", "T1", 0.0)
    assert homes.note("U1", "No.", 0.0) is False
    homes.is_kept = True
    assert homes.note("U2", "No.", 0.0) is False
    assert homes.note("U1", "No.", 0.0) is True
    home = homes.get("U1")
    assert home is not None
    assert (home.note, home.note_until, home.note_is_shown) == ("No.", NOTE_S, False)
    assert homes.due(0.0) == ["U1"]


def test_prompts_are_worth_offering_every_ten_minutes() -> None:
    homes = Homes()
    assert homes.may_prompt("U1", 0.0)
    assert not homes.may_prompt("U1", PROMPT_EVERY_S - 1)
    assert homes.may_prompt("U2", 1.0)
    assert homes.may_prompt("U1", PROMPT_EVERY_S)
