"""`make gallery`: draws every example into `light/` and `dark/`, and writes the page that lists them.

`make gallery ARGS="card takeover"` draws only those whose names hold one of the words.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from docs.gallery.catalogue import catalogue
from docs.gallery.drawing import draw_all

HERE = Path(__file__).parent


def main() -> None:
    """Draw, write, and say what was written."""
    examples = catalogue()
    written = asyncio.run(draw_all(examples, HERE, sys.argv[1:]))
    size = sum(path.stat().st_size for path in written)
    print(f"{len(written)} pictures, {size / 1e6:.1f} MB, in {HERE.name}/light and {HERE.name}/dark")


if __name__ == "__main__":
    main()
