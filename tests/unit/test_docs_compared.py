"""What is said of others has a source, and the versions are those that were measured."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compared.md").read_text(encoding="utf-8")


def test_every_source_is_cited_and_every_citation_has_its_source() -> None:
    text, _, sources = PAGE.partition("\n## Sources\n")
    assert {int(number) for number in re.findall(r"\[(\d+)\]", text)} == {
        int(number) for number in re.findall(r"^(\d+)\. .*", sources, re.MULTILINE)
    }
    entries = re.split(r"^\d+\. ", sources, flags=re.MULTILINE)[1:]
    assert all("https://" in entry for entry in entries)


def test_the_version_of_a_peer_is_the_one_that_was_measured() -> None:
    pin = re.search(r"^langgraph==(\d+\.\d+)", (ROOT / "bench/peers_env/langgraph.txt").read_text(), re.MULTILINE)
    assert pin
    assert f"LangGraph {pin[1]}," in PAGE
