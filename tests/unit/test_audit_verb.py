"""`make audit`: it says what it could check and what not, and only a whole and clean check is called well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FLAW = {"id": "PYSEC-1", "fix_versions": ["2.1"], "description": "It leaks."}
FAKE = """
import json, sys
said = json.loads({said!r})
database = next(word.partition("=")[2] for word in sys.argv if word.startswith("--vulnerability-service="))
out, err, code = said[database]
print(out if isinstance(out, str) else json.dumps(out))
print(err, file=sys.stderr)
sys.exit(code)
"""


def dependency(name: str, *flaws: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": "2.0", "vulns": list(flaws)}


def unknown(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": f"Dependency not found and could not be audited: {name} (2.0)"}


def answer(*found: dict[str, Any], code: int = 0) -> tuple[dict[str, Any], str, int]:
    return {"dependencies": list(found), "fixes": []}, "", code


OFFLINE = ("", "Traceback\nConnectionError: Failed to resolve 'db.example'", 1)


def audit(folder: Path, lock: str = "Alpha_one==2.0 \\\n    --hash=sha256:0\nbeta==2.0 ; x\n", **said: Any) -> Any:
    (folder / "lock").write_text(lock)
    (folder / "fake.py").write_text(FAKE.format(said=json.dumps(said)))
    command = (sys.executable, str(ROOT / ".ci" / "audit.py"), str(folder / "lock"), "--tool", sys.executable)
    return subprocess.run(  # noqa: S603  # our own command
        (*command, str(folder / "fake.py")), capture_output=True, text=True, check=False, timeout=60
    )


def test_all_checked_and_clean_is_the_one_case_that_is_well(tmp_path: Path) -> None:
    done = audit(tmp_path, pypi=answer(dependency("alpha-one"), dependency("beta")))
    assert (done.returncode, done.stdout) == (0, "2 of 2 locked dependencies checked, 0 with known flaws.\n")


def test_a_known_flaw_is_1_and_says_where_it_is_mended(tmp_path: Path) -> None:
    done = audit(tmp_path, pypi=answer(dependency("alpha-one", FLAW), dependency("beta"), code=1))
    assert done.returncode == 1
    assert "alpha-one 2.0: PYSEC-1 (mended in: 2.1) It leaks." in done.stdout


def test_a_mirror_that_knows_no_flaws_is_2_and_not_well(tmp_path: Path) -> None:
    done = audit(tmp_path, pypi=answer(unknown("alpha-one"), unknown("beta")), osv=OFFLINE)
    assert done.returncode == 2
    assert "0 of 2 locked dependencies checked" in done.stdout
    assert "NOT checked, so nothing is said of them: alpha-one, beta." in done.stdout
    assert "pypi: 2 not known there, such as: Dependency not found" in done.stdout
    assert "osv: ConnectionError: Failed to resolve" in done.stdout


def test_what_one_database_does_not_know_the_other_is_asked(tmp_path: Path) -> None:
    done = audit(tmp_path, pypi=answer(dependency("beta"), unknown("alpha-one")), osv=answer(dependency("alpha-one")))
    assert (done.returncode, "2 of 2" in done.stdout) == (0, True)


def test_a_flaw_counts_also_where_others_could_not_be_checked(tmp_path: Path) -> None:
    done = audit(tmp_path, pypi=answer(dependency("beta", FLAW), unknown("alpha-one"), code=1), osv=OFFLINE)
    assert done.returncode == 1
    assert "NOT checked" in done.stdout


@pytest.mark.parametrize("said", ["", "[]", '{"dependencies": 7}', "no json", '{"dependencies": [{"name": "beta"}]}'])
def test_whatever_else_it_answers_is_2(tmp_path: Path, said: str) -> None:
    done = audit(tmp_path, pypi=(said, "", 0), osv=(said, "", 0))
    assert done.returncode == 2, done.stderr
    assert "0 of 2" in done.stdout


def test_a_lock_without_pins_is_2(tmp_path: Path) -> None:
    assert audit(tmp_path, lock="# nothing\n", pypi=answer(), osv=answer()).returncode == 2
