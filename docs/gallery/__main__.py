"""`make docs ARGS=gallery`: draws every example into `light/` and `dark/`, and writes the page that lists them.

`make docs ARGS="gallery card takeover"` draws only those whose names hold one of the words.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from docs.gallery.book import drawn, page
from docs.gallery.catalogue import catalogue
from docs.gallery.drawing import THEMES, draw_all

HERE = Path(__file__).parent


def main() -> None:
    """Draw, write, and say what was written."""
    examples, names, words = catalogue(), drawn(), [word.lower() for word in sys.argv[1:]]
    wanted = {name: examples[name] for name in names if not words or any(word in name for word in words)}
    written = asyncio.run(draw_all(wanted, HERE))
    if not words:
        for old in {path for theme in THEMES for path in (HERE / theme).glob("*.png")} - set(written):
            old.unlink()
    (HERE / "README.md").write_text(page(), encoding="utf-8")
    size = sum(path.stat().st_size for path in written)
    print(f"{len(written)} pictures, {size / 1e6:.1f} MB: see docs/gallery/README.md")


if __name__ == "__main__":
    main()
