"""The documentation site is built strictly: every link and picture leads somewhere, and nothing is fetched."""

from __future__ import annotations

import html.parser
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from docs.reference.hooks import on_page_markdown

ROOT = Path(__file__).parents[2]


@dataclass
class Reader(html.parser.HTMLParser):
    """What a page of the site refers to, and the anchors that it has."""

    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if "href" in given:
            (self.fetched if tag == "link" and given.get("rel") != "canonical" else self.links).append(given["href"])
        self.fetched += [given[name] for name in ("src", "srcset") if name in given]


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  a constant command
        (sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)),
        capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Reader]:
    """Every page of the site, read."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    pages: dict[Path, Reader] = {}
    for path in folder.rglob("*.html"):
        reader = Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        pages[path] = reader
    return pages


def test_every_link_picture_and_anchor_of_the_site_is_there(site: dict[Path, Reader]) -> None:
    missing: list[str] = []
    for path, reader in site.items():
        if path.name == "404.html":
            continue  # its links count from wherever it is shown
        for link in (*reader.links, *reader.fetched):
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = site.get(target)
            if not target.is_file() or (parts.fragment and known and unquote(parts.fragment) not in known.anchors):
                missing.append(f"{path.name}: {link}")
    assert missing == []
    assert len(site) >= 18


def test_every_page_stands_in_the_navigation_of_the_others(site: dict[Path, Reader]) -> None:
    (home,) = [path for path in site if path.name == "index.html" and path.parent.joinpath("start.html") in site]
    linked = {urlsplit(link).path for link in site[home].links}
    pages = {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md") if path.stem != "index"}
    assert pages <= linked


def test_no_page_fetches_anything_from_another_machine(site: dict[Path, Reader]) -> None:
    fetched = {link for reader in site.values() for link in reader.fetched}
    assert [link for link in fetched if urlsplit(link).scheme not in {"", "data"} or link.startswith("//")] == []


def test_the_build_fails_at_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[gone](gone.md)\n")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(re.sub(r"^(hooks:.*|nav:\n(?:  .*\n)+)", "", text, flags=re.MULTILINE))
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "gone.md" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "given", "expected"),
    [
        ("policy.md", "([agent/policy.toml](../agent/policy.toml))", "(`agent/policy.toml`)"),
        (
            "deploying.md",
            "[the unit](../deploy/systemd/secondkey.service)",
            "the unit (`deploy/systemd/secondkey.service`)",
        ),
        ("index.md", "[start](start.md#x) ![p](screenshot.png)", "[start](start.md#x) ![p](screenshot.png)"),
        ("index.md", "[gone](../nowhere.py)", "[gone](../nowhere.py)"),
        ("index.md", "[out](https://example.com/a)", "[out](https://example.com/a)"),
    ],
)
def test_links_to_files_that_are_no_pages_become_names(page: str, given: str, expected: str) -> None:
    assert on_page_markdown(given, page=SimpleNamespace(file=SimpleNamespace(src_uri=page))) == expected
