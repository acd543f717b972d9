"""What mkdocs does with our pages: links to files of the repository that are no pages become plain names."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
_LINK = re.compile(r"(?<!!)\[([^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_config(config: Any, **_: Any) -> Any:  # noqa: ANN401  # as below
    """Put pages that stand nowhere in the navigation at its end: a page that is written can be found."""
    named = str(config["nav"])
    further = [path.name for path in sorted(DOCS.glob("*.md")) if f"'{path.name}'" not in named]
    if further:
        config["nav"] = [*config["nav"], {"Further": further}]
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:  # noqa: ANN401  # mkdocs hands over its own objects
    """Leave links to pages and pictures; name the file where a link leads to something else of the repository."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        place = posixpath.normpath(posixpath.join("docs", folder, target))
        if place.startswith("docs/") and (not target.endswith("/") and Path(target).suffix in {".md", ".png"}):
            return found[0]
        if not (DOCS.parent / place).exists():
            return found[0]  # mkdocs says that it leads nowhere
        plain = text.strip("`")
        return f"{text} (`{place}`)" if plain != place else f"`{place}`"

    return _LINK.sub(named, markdown)
