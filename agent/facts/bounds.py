"""Length and nesting, counted before any parser sees a text: parsers blow up, counters do not."""

from __future__ import annotations

MAX_BYTES = 16_384
MAX_NESTING = 200
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")


def too_large(text: str) -> str:
    """One sentence when a text is too long or too deeply nested for an analyser; empty when it is not.

    Brackets in quotes count too: the count errs on the safe side and needs no grammar.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return f"It is longer than {MAX_BYTES // 1024} KiB."
    depth = deepest = 0
    for sign in text:
        if sign in _OPEN:
            depth += 1
            deepest = max(deepest, depth)
        elif sign in _CLOSE:
            depth = max(0, depth - 1)
    if deepest > MAX_NESTING:
        return f"It is nested deeper than {MAX_NESTING} levels."
    return ""
