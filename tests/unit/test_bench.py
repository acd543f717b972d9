"""The benchmarks' own arithmetic and report; that they measure is seen by running one quickly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as everything
from bench import _clicks_on_cards, _report
from bench.card import STAGES, TARGET_P95_MS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([5.0], 0.95, 5.0), ([1, 2, 3, 4], 0.5, 2), ([4, 3, 2, 1], 0.95, 4), (list(range(1, 101)), 0.95, 95)],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[float], share: float, expected: float) -> None:
    assert _report.percentile(values, share) == expected


def test_the_last_line_is_split_off_only_when_it_is_a_json_object() -> None:
    assert everything.split('a table\nmore\n{"n": 1}\n') == ("a table\nmore", '{"n": 1}')
    assert everything.split("a table\n[1]\n") == ("a table\n[1]", "")
    assert everything.split("it broke\n") == ("it broke", "")
    assert everything.split("") == ("", "")


def test_a_missed_target_is_said_and_a_met_one_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert _report.judge("p95", TARGET_P95_MS, TARGET_P95_MS, "ms")
    assert capsys.readouterr().err == ""
    assert not _report.judge("p95", TARGET_P95_MS + 1, TARGET_P95_MS, "ms")
    assert capsys.readouterr().err == "p95 is 151 ms; the target is at most 150 ms.\n"


def test_helpers_are_no_benchmarks() -> None:
    names = everything.names()
    assert "card" in names
    assert not any(name.startswith("_") for name in names)
    assert all((ROOT / "bench" / f"{name}.py").is_file() for name in names)


def test_the_report_describes_the_machine_and_names_no_host_and_no_folder() -> None:
    traceback = f'Traceback:\n  File "{ROOT}/bench/card.py"\nRuntimeError: no browser'
    runs = [
        everything.Run("one", "table   ", '{"n": 1}', "", 0),
        everything.Run("two", "", "", traceback, 1),
        everything.Run("three", "", '{"n": 2}', "", 3),
    ]
    text = everything.report(runs)
    for name in ("cores", "memory", "kernel", "Python", "SQLite"):
        assert re.search(rf"^\| {name} \| \S", text, re.MULTILINE)
    assert "table\n" in text
    assert "**Not as it should be:** RuntimeError: no browser" in text
    assert "**Not as it should be:** it ended with code 3" in text
    assert not re.search(r"(^|\s)/\w+/", text)
    assert str(ROOT) not in text


def test_the_kept_results_hold_every_figure_of_the_card() -> None:
    text = (ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8")
    section = text.partition("## bench.card\n")[2].partition("\n## ")[0]
    found = re.search(r"```json\n(.*)\n```", section)
    assert found is not None
    figures = json.loads(found[1])
    events = {"event_to_card_p50_ms", "event_to_card_p95_ms", "n"}
    assert set(figures) == events | {"click_to_card_p50_ms", "click_to_card_p95_ms", "burst_drain_s"}
    assert figures["n"] >= 100
    assert not re.search(r"(^|[\s\"'])/(home|root|tmp|work|usr)/", text)
    assert all(name in section for name, _ in STAGES)
    assert all(name in section for name in _clicks_on_cards.STAGES)


def test_a_misspelt_option_is_told_and_measures_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.card", "--quik"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--quik" in done.stderr
    assert done.stdout == ""


def test_what_is_measured_alone_leaves_the_figures_of_the_others(tmp_path: Path) -> None:
    kept = tmp_path / "RESULTS.md"
    kept.write_text(everything.report([everything.Run("card", "table", '{"n": 1}', "", 0)]), encoding="utf-8")
    again = everything.report([everything.Run("peers", "other", '{"n": 2}', "", 0)], everything._kept(kept))
    for part in ("## bench.card", '{"n": 1}', "## bench.peers", '{"n": 2}'):
        assert again.count(part) == 1
