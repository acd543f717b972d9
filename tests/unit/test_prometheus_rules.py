"""The alerts: each fires where it should, is quiet on a good day, and is missed by its test when it is broken."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = yaml.safe_load((DEPLOY / "rules.yml").read_text())
ALERTS = [rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]

pytestmark = pytest.mark.needs("promtool")


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(("promtool", *words), capture_output=True, text=True, check=False, timeout=60)  # noqa: S603, S607  # Debian's


def test_the_rules_and_the_configuration_are_valid() -> None:
    for kind, name in (("rules", "rules.yml"), ("config", "prometheus.yml")):
        checked = promtool("check", kind, str(DEPLOY / name))
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_where_it_should_and_none_on_a_good_day() -> None:
    done = promtool("test", "rules", str(DEPLOY / "rules_test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tests_of_the_rules_notice_each_alert_that_is_silent(tmp_path: Path) -> None:
    silent = copy.deepcopy(RULES)
    for group in silent["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = "vector(0) > 1"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(silent))
    (tmp_path / "rules_test.yml").write_text((DEPLOY / "rules_test.yml").read_text())
    done = promtool("test", "rules", str(tmp_path / "rules_test.yml"))
    assert [alert for alert in ALERTS if alert not in done.stdout + done.stderr] == []


def test_the_tests_of_the_rules_notice_an_alert_that_is_always_there(tmp_path: Path) -> None:
    loud = copy.deepcopy(RULES)
    loud["groups"][1]["rules"][0]["expr"] = "vector(1)"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(loud))
    (tmp_path / "rules_test.yml").write_text((DEPLOY / "rules_test.yml").read_text())
    assert promtool("test", "rules", str(tmp_path / "rules_test.yml")).returncode != 0


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["labels"]["severity"] in {"page", "ticket"}
                assert set(rule["annotations"]) == {"summary", "action"}
