"""Hold the repository itself to its rules: locks, verbs, README, and a reason beside every silenced check."""

from __future__ import annotations

import re
import socket
import stat
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PACKAGES = ("agent", "bot", "simulator", "storage")
FOLDERS = (*PACKAGES, "bench", "deploy", "docs", "tests")
TEXT = {".css", ".html", ".js", ".md", ".py", ".toml", ".txt", ".yml"}
#: Put together here, so that this file does not hold what it looks for.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
MACHINE_PATH = re.compile(
    r"/(?:wo" + r"rk/(?:main|shared|\.)|op" + r"t/(?:pypi|wheels)|tmp/" + r"brief)|\.py" + r"env/"
)
REGISTRY = re.compile("py" + r"pi\.org|python" + r"hosted\.org|registry\.npm" + r"js\.")
#: A silenced check must name its rule and go on with a reason.
SILENCED = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa|type:\s*ignore|pyright:\s*ignore)\b", re.IGNORECASE)
RULE = r"(?:(?:ruff:\s*)?noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|(?:type|pyright):\s*ignore\[[\w, -]+\])"
JUSTIFIED = re.compile(rf"#\s*{RULE}\s+.*[a-z]{{2,}}")


def sources(*folders: str) -> list[Path]:
    found = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in TEXT and "__pycache__" not in path.parts
    ]
    return sorted(found)


def lines(path: Path) -> list[tuple[str, str]]:
    text = path.read_text(encoding="utf-8").splitlines()
    return [(f"{path.relative_to(ROOT)}:{number}", line) for number, line in enumerate(text, 1)]


def distribution(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return {distribution(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_and_no_path(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "/" not in text
    assert "--index" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_in_a_lock_has_a_hash(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    packages = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert packages
    assert all("--hash=sha256:" in package for package in packages)


def test_both_locks_agree_and_hold_what_the_project_asks_for() -> None:
    runtime, development = pins("requirements.lock"), pins("requirements-dev.lock")
    assert runtime.items() <= development.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    asked = [*project["project"]["dependencies"], *groups["build"]]
    asked_for_work = [*asked, *(one for one in groups["dev"] if isinstance(one, str))]
    assert {distribution(re.split(r"[\[=<>~! ]", one)[0]) for one in asked} <= set(runtime)
    assert {distribution(re.split(r"[\[=<>~! ]", one)[0]) for one in asked_for_work} <= set(development)
    assert not {"pyright", "playwright", "pytest"} & set(runtime), "a demo needs no tools of development"


def test_the_makefile_has_at_most_eight_verbs_and_lists_each() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert len(phony) == 1
    verbs = [verb for verb in phony[0].split() if verb != "help"]  # it lists the verbs, and is none of them
    targets = re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE)
    assert len(verbs) <= 8
    assert sorted([*verbs, "help"]) == sorted(targets)
    assert {"demo", "test", "check", "bench", "docs", "audit", "lock"} <= set(verbs)
    assert all(re.search(rf"^{verb}:.* ## \S", makefile, re.MULTILINE) for verb in verbs)


def test_ci_runs_the_readmes_test_command_and_then_every_check() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line for line in script.splitlines() if line.startswith("make ")]
    assert commands == ["make test", "make check"]
    assert "make demo\n" in readme
    assert "make test\n" in readme
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR


def test_every_command_the_readme_names_is_a_verb_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set()
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named |= set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)\b", text, re.MULTILINE))
    assert named
    assert all(re.search(rf"^{verb}:", makefile, re.MULTILINE) for verb in named)


def test_a_real_workspace_is_connected_in_at_most_ten_lines() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Connect a real workspace\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    assert section
    assert len([line for line in section[1].splitlines() if line.strip()]) <= 10


def test_links_in_the_documents_lead_to_files_that_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.relative_to(ROOT)} → {target}"


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_procfile_serves() -> None:
    assert (ROOT / "Procfile").read_text(encoding="utf-8") == "web: secondkey serve\n"


def test_the_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_nothing_is_left_unfinished_in_the_code() -> None:
    found = [where for path in sources(*FOLDERS) for where, line in lines(path) if UNFINISHED.search(line)]
    assert found == []


def test_no_file_names_this_machine_or_a_package_registry() -> None:
    top = [ROOT / name for name in ("Makefile", "Procfile", "manifest.yml", "pyproject.toml", ".ci/run")]
    pages = [*top, *ROOT.glob("*.md"), *sources(*FOLDERS)]
    told = re.compile(f"{MACHINE_PATH.pattern}|{REGISTRY.pattern}")
    found = [where for path in pages for where, line in lines(path) if told.search(line)]
    assert found == []


@pytest.mark.parametrize(
    ("comment", "good"),
    [
        ("# noqa: S105  a token of the simulator", True),
        ("# noqa: S105, S106 — planted on purpose", True),
        ("# pyright: ignore[reportPrivateUsage] the SDK has no public name for it", True),
        ("# noqa", False),
        ("# noqa: S105", False),
        ("# noqa: S105 S106", False),
        ("# type: ignore", False),
        ("# type: ignore the library has no types", False),
    ],
)
def test_a_reason_is_told_from_a_bare_rule(comment: str, good: bool) -> None:
    assert SILENCED.search(comment)
    assert bool(JUSTIFIED.search(comment)) is good


def test_every_silenced_check_gives_its_reason() -> None:
    python = [path for path in sources(*PACKAGES, "bench", "tests") if path.suffix == ".py"]
    found = [
        where
        for path in python
        if path != Path(__file__)
        for where, line in lines(path)
        if SILENCED.search(line) and not JUSTIFIED.search(line)
    ]
    assert found == []


def test_every_lint_rule_that_is_off_gives_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.flake8-tidy-imports")]
    ignored = [line for line in lint.splitlines() if re.match(r'\s+"[A-Z]+\d*"', line)]
    assert ignored
    assert [line for line in ignored if not re.search(r"#\s+\S+ \w", line)] == []


@pytest.mark.parametrize("host", ["192.0.2.1", "example.com", "2001:db8::1", "10.0.0.1"])
def test_a_test_cannot_reach_another_machine(host: str) -> None:
    with pytest.raises(RuntimeError, match="tests use the loopback only"):
        socket.create_connection((host, 80), timeout=0.1)


def test_a_test_can_reach_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("localhost", port), timeout=5) as client:
            assert client.getpeername()[1] == port
