"""`python -m docs.reference`: writes docs/configuration.md and docs/cli.md anew."""

from __future__ import annotations

from pathlib import Path

from docs.reference import commands, settings

HERE = Path(__file__).parents[1]


def pages() -> dict[Path, str]:
    """Each page that is written from the code, and its text."""
    return {HERE / "configuration.md": settings.page(), HERE / "cli.md": commands.page()}


def main() -> None:
    """Write them."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
