"""The documentation is true: its settings, policies and Python work, its names exist, its references are current."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from agent.policy import load_policy
from agent.policy_check import check_policy
from agent.tools.registry import default_tools
from bot.__main__ import command_line
from bot.cli_policy import read_table, try_row
from bot.config import Settings, load_settings
from docs.reference import commands, settings
from docs.reference.__main__ import pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = sorted(path for path in DOCS.glob("*.md"))
FENCE = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*) -->\n)?```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    kind: str
    text: str
    note: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*kinds: str) -> Iterator[Block]:
    for path in WRITTEN:
        text = path.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            if found["kind"] in kinds:
                line = text.count("\n", 0, found.start()) + 1
                yield Block(path.name, line, found["kind"], found["text"], found["note"] or "")


def in_pairs() -> list[tuple[Block, Block]]:
    found = [block for block in blocks("toml") if block.page == "cookbook.md"]
    return list(zip(found[::2], found[1::2], strict=True))


def is_policy(text: str) -> bool:
    return "[[rule]]" in text or text.startswith("mode = ")


# -- blocks ----------------------------------------------------------------------------------------------------------


def test_every_fenced_block_is_of_a_kind_that_is_tried() -> None:
    kinds = {match["kind"] for path in WRITTEN for match in FENCE.finditer(path.read_text(encoding="utf-8"))}
    assert kinds <= {"sh", "toml", "python", "sql", "promql"}, "write one of these, so that it is tried"


@pytest.mark.parametrize("recipe", in_pairs(), ids=lambda recipe: recipe[0].where)
def test_a_recipe_comes_out_as_its_rows_say(recipe: tuple[Block, Block]) -> None:
    policy = load_policy("version = 1\n" + recipe[0].text)
    table = read_table(recipe[1].text, recipe[1].where)
    assert [(row.name, wrong) for row in table.test if (wrong := try_row(policy, row))] == []
    bad = [item for item in check_policy(policy, (tool.name for tool in (*default_tools(),))) if item.level == "dead"]
    assert bad == [] or "http_request" in recipe[0].text  # a tool that is there only with [egress]


@pytest.mark.parametrize("recipe", in_pairs(), ids=lambda recipe: recipe[0].where)
def test_a_recipes_rows_fail_without_its_rule(recipe: tuple[Block, Block]) -> None:
    shipped = load_policy("version = 1\n")
    assert any(try_row(shipped, row) for row in read_table(recipe[1].text, "").test)


def test_there_are_twelve_recipes_each_under_its_heading() -> None:
    headings = re.findall(r"^## (\d+)\. ", (DOCS / "cookbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [str(number) for number in range(1, 13)]
    assert len(in_pairs()) == 12


@pytest.mark.parametrize(
    "block", [one for one in blocks("toml") if one.page != "cookbook.md"], ids=lambda block: block.where
)
def test_settings_and_policies_in_the_pages_can_be_used(block: Block, tmp_path: Path) -> None:
    if is_policy(block.text):
        text = block.text if "version = 1" in block.text else f"version = 1\n{block.text}"
        assert load_policy(text).own
        return
    assert set(tomllib.loads(block.text)) <= set(Settings.model_fields)
    path = tmp_path / "secondkey.toml"
    path.write_text(block.text)
    load_settings(path, {})


@pytest.mark.parametrize("block", list(blocks("python")), ids=lambda block: block.where)
def test_python_in_the_pages_runs(block: Block) -> None:
    exec(compile(block.text, block.where, "exec"), {"__name__": "page"})  # noqa: S102  the page's own code is the point


# -- names -----------------------------------------------------------------------------------------------------------


def test_every_test_that_a_page_names_is_there() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", written))
    for path in WRITTEN:
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"`(test_\w+)`", text))
        assert named <= defined, (path.name, sorted(named - defined))
        for file in re.findall(r"tests/\w+/\w+\.py", text):
            assert (ROOT / file).is_file(), (path.name, file)


def test_the_runbook_has_every_alert_and_no_other() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    runbook = (DOCS / "operating.md").read_text(encoding="utf-8").partition("\n## Alarms\n")[2]
    named = re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", runbook)
    assert sorted(named) == sorted(alerts)


def named_commands() -> Iterator[tuple[str, str]]:
    """Page and words of every command line in code, the README's among them."""
    for path in (*WRITTEN, ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        text = path.read_text(encoding="utf-8")
        spans = re.findall(r"`(?:\.venv/bin/)?secondkey ([^`]+)`", FENCE.sub("", text))
        lines = re.findall(r"^(?:\w+=\S+ )*secondkey (.*?)(?: \|\|.*| >.*)?$", text, re.MULTILINE)
        yield from ((path.name, words) for words in (*spans, *lines) if path.name != "cli.md")


def options(words: list[str]) -> set[str]:
    """The options of the command that these words begin with."""
    parser = command_line()
    for word in words:
        inner = {name: sub for name, sub, _ in commands.subcommands(parser)}
        parser = inner.get(word, parser)
    return {option for action in parser._actions for option in action.option_strings}


def test_every_command_line_that_a_page_names_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(named_commands())
    assert len(found) > 40
    wrong: list[str] = []
    for page, words in found:
        typed = shlex.split(words)
        unknown = {word.partition("=")[0] for word in typed if word.startswith("--")} - options(typed)
        wrong += [f"{page}: secondkey {words}: there is no {word}" for word in unknown]
        try:
            command_line().parse_args(typed)
        except SystemExit as end:
            said = capsys.readouterr().err
            # What is only named may leave out what it is about.
            if end.code and "required" not in said:
                wrong.append(f"{page}: secondkey {words}: {said.splitlines()[-1]}")
    assert wrong == []


def test_every_setting_that_stands_in_code_is_one() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in WRITTEN)
    named = {name.lower() for name in re.findall(r"`?SECONDKEY_([A-Z_]+[A-Z])", text)}
    assert named <= {*Settings.model_fields, "models"}


# -- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", list(pages()), ids=lambda path: path.name)
def test_a_reference_is_as_the_code_is(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], "type: python -m docs.reference"


def test_every_setting_says_what_it_means_and_secrets_stand_apart() -> None:
    said = settings.meanings()
    assert set(said) == set(Settings.model_fields)
    page = settings.page()
    for name, field in Settings.model_fields.items():
        if settings.is_secret(field):
            assert f"| `{name.upper()}` |" in page
        else:
            assert said[name], f"{name} has no docstring"
            assert f"| `{name}` | " in page


def test_every_command_stands_in_its_reference() -> None:
    page = commands.page()
    assert len(commands.commands()) >= 20
    for name in commands.commands():
        assert f"`secondkey {name}`\n" in page
