"""A setting that is not usable is told in plain words, with how it is written and where."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from agent.errors import ConfigurationError
from bot.config import Settings, load_settings

JARGON = ("Input", "input", "String", "tuple", "dictionary", "parse", "pattern", "integer", "pathlib", "valid ")


def refused(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> ConfigurationError:
    file = tmp_path / "secondkey.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, environment or {})
    return caught.value


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ('budget_usd = "lots"', "it must be a number, not 'lots'.", "secondkey.toml"),
        ("budget_usd = -1", "it must be at least 0.000001, not -1.", "secondkey.toml"),
        ("port = 70000", "it must be at most 65535, not 70000.", "secondkey.toml"),
        ("runs_at_once = 1.5", "it must be a whole number, not 1.5.", "secondkey.toml"),
        ('trace_content = "maybe"', "it must be true or false, not 'maybe'.", "secondkey.toml"),
        ('approvers = "U1"', "it must be a list in square brackets, not 'U1'.", 'approvers = ["U0123ABCD"]'),
        ("approvers = [1]", "'approvers' (value 1) is not usable: it must be a text in quotes, not 1.", "approvers ="),
        ('command = "agent"', "it must be a slash and up to 31", 'command = "/agent"'),
        ('on_call = "@bob"', "the Slack id of a person", "on_call ="),
        ("prices = { a = [1] }", "has too few values", "USD a million tokens"),
        ('databases = ["a"]', "it must be a table", "databases ="),
        ("project = 7", "it must be a path in quotes, not 7", "secondkey.toml"),
    ],
)
def test_each_kind_of_fault_is_a_sentence_with_its_fix(tmp_path: Path, text: str, said: str, fix: str) -> None:
    error = refused(tmp_path, text)
    assert said in str(error)
    assert fix in error.fix


def test_no_setting_is_refused_in_the_words_of_a_library(tmp_path: Path) -> None:
    told: list[str] = []
    for name in Settings.model_fields:
        for wrong in ("-7", '"\\u0000#"', "[[]]", "{ a = { b = 1 } }", "1979-05-27"):
            (tmp_path / "secondkey.toml").write_text(f"{name} = {wrong}")
            with contextlib.suppress(ConfigurationError):
                load_settings(tmp_path / "secondkey.toml", {})
                continue
            told.append(str(refused(tmp_path, f"{name} = {wrong}")))
    assert len(told) > len(Settings.model_fields)
    assert [text for text in told if any(word in text for word in JARGON)] == []


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    said = str(refused(tmp_path, "port = -1\nbudget_usd = 1000\nruns_an_hour = 0"))
    assert [name for name in ("'port'", "'budget_usd'", "'runs_an_hour'") if name in said] == [
        "'port'",
        "'budget_usd'",
        "'runs_an_hour'",
    ]


def test_a_fault_of_the_environment_is_mended_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDKEY_PORT", "x")
    assert "SECONDKEY_PORT in the environment" in refused(tmp_path, "port = 1", {"SECONDKEY_PORT": "x"}).fix
    monkeypatch.delenv("SECONDKEY_PORT")
    assert "PORT in the environment" in refused(tmp_path, "", {"PORT": "x"}).fix


def test_a_token_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    token = f"xoxb-{1234567890}-abcdefghijkl"
    assert token not in str(refused(tmp_path, f'approvers = "{token}"'))
