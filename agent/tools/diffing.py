"""One file's unified diff, as people know it from git."""

from __future__ import annotations

import difflib


def _lines(data: bytes) -> list[str]:
    # Only "\n" ends a line, as in git; the other separators of str.splitlines are text.
    text = data.decode(errors="replace")
    return [f"{line}\n" for line in text.split("\n")[:-1]] + ([text.rsplit("\n", 1)[-1]] if text[-1:] != "\n" else [])


def unified(
    path: str, before: bytes, after: bytes, *, modes: tuple[bool | None, bool | None], binary: bool = False
) -> str:
    """The diff of one file. `modes` say whether it was and is executable; None where there is no file."""
    was, now = modes
    old, new = ("/dev/null" if was is None else f"a/{path}"), ("/dev/null" if now is None else f"b/{path}")
    head: list[str] = []
    if now is not None and (was or False) != now:
        head.append(f"{path}: {'now' if now else 'no longer'} executable\n")
    if binary:
        return "".join((*head, f"Binary file {path}: {len(before):,} bytes before, {len(after):,} after\n"))
    compared = difflib.unified_diff(_lines(before) if before else [], _lines(after) if after else [], old, new)
    body = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in compared]
    if not body and (was is None or now is None):
        body = [f"--- {old}\n", f"+++ {new}\n"]
    return "".join((*head, *body))
