"""Changes put into the project: all or none, with what was there kept, so that they can be taken back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.errors import PreviewMismatch, ToolFailed
from agent.tools.bases import MAX_BYTES, Base, Change, read_file, read_now
from agent.tools.beneath import Beneath
from agent.tools.threads import Stop

Bases = dict[str, Base]


def put_all(
    changes: Sequence[Change], bases: Bases, folders: tuple[Beneath, Beneath, Beneath], stop: Stop
) -> Bases:  # fmt: skip
    """Apply every change or none; returns the new bases. `folders`: where from, where to, where what was there is kept.

    Raises PreviewMismatch, ToolFailed; then everything is as it was. Blocks.
    """
    undo: list[Callable[[], None]] = []
    bases = dict(bases)
    try:
        for change in changes:
            undo.append(_put(change, *folders, stop))
            _note(bases, change.path, change.after)
    except (ToolFailed, PreviewMismatch):
        for step in reversed(undo):
            step()
        raise
    return bases


def _put(change: Change, files: Beneath, project: Beneath, kept: Beneath, stop: Stop) -> Callable[[], None]:
    """Apply one change, keeping what was there; returns the step that takes it back."""
    if stop.stopped:
        raise ToolFailed("It was stopped; everything was put back.")
    old, now = read_now(project, change.path)
    if now != change.before:
        raise PreviewMismatch(f"{change.path} changed in the project meanwhile, so nothing was changed.")
    if now is not None:
        kept.write(change.path, old, _mode(now))
    if change.after is None:
        project.remove(change.path)
    else:
        data, after = read_file(files, change.path, MAX_BYTES)
        if after != change.after:
            raise PreviewMismatch
        project.write(change.path, data, _mode(after))
    return _restoring(project, change.path, old, now)


def _restoring(project: Beneath, path: str, old: bytes, was: Base | None) -> Callable[[], None]:
    def restore() -> None:
        if was is None:
            project.remove(path)
        else:
            project.write(path, old, _mode(was))

    return restore


def _mode(base: Base) -> int:
    return 0o755 if base.executable else 0o644


def _note(bases: Bases, path: str, base: Base | None) -> None:
    if base is None:
        bases.pop(path, None)
    else:
        bases[path] = base


# -- taking back -----------------------------------------------------------------------------------------------------


def write_note(backup: Path, changes: Sequence[Change]) -> None:
    """Say beside the kept files what is about to be done, before it is; so that half of it can be taken back too."""
    rows = [
        [change.path, list(change.before) if change.before else None, list(change.after) if change.after else None]
        for change in changes
    ]
    with _note_of(backup).open("w", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        os.fsync(file.fileno())


def drop_note(backup: Path) -> None:
    """Nothing was done after all."""
    _note_of(backup).unlink(missing_ok=True)


def latest(backups: Path) -> Path | None:
    """The newest changes that were not taken back; None when there are none. Blocks."""
    try:
        notes = [(note.stat().st_mtime_ns, note.name, note) for note in backups.glob("*.json")]
    except OSError:
        return None
    return max(notes)[2].with_suffix("") if notes else None


def taken_back(backups: Path, order: str) -> tuple[str, ...] | None:
    """The files that were taken back by this order already; None when it was not carried out. Blocks."""
    done = [note for note in backups.glob("*.undone") if note.name.endswith(f".{order}.undone")]
    return tuple(sorted(change.path for change in _read_note(done[0]))) if done else None


def take_back(backup: Path, bases: Bases, project: Beneath, order: str) -> tuple[tuple[str, ...], Bases]:
    """Put back what was there before; returns the files and the bases. Blocks.

    `order` marks it as done, so that the same order is never carried out twice. Raises PreviewMismatch when a file has
    changed since, ToolFailed; then everything is as it was.
    """
    changes = _read_note(_note_of(backup))
    moved = [change.path for change in changes if read_now(project, change.path)[1] not in _ends(change)]
    if moved:
        raise PreviewMismatch(f"{', '.join(moved[:5])} changed in the project since, so nothing was taken back.")
    undo: list[Callable[[], None]] = []
    bases = dict(bases)
    done: list[str] = []
    try:
        with Beneath(backup) as kept:
            for change in reversed(changes):
                current, now = read_now(project, change.path)
                if now == change.before:
                    continue  # it was never put there
                undo.append(_restoring(project, change.path, current, now))
                old = b"" if change.before is None else _kept(kept, change)
                _restoring(project, change.path, old, change.before)()
                _note(bases, change.path, change.before)
                done.append(change.path)
    except (ToolFailed, PreviewMismatch):
        for step in reversed(undo):
            step()
        raise
    _note_of(backup).rename(backup.with_name(f"{backup.name}.{order}.undone"))
    return tuple(sorted(done)), bases


def _ends(change: Change) -> tuple[Base | None, Base | None]:
    return change.before, change.after


def _kept(kept: Beneath, change: Change) -> bytes:
    data, base = read_file(kept, change.path, MAX_BYTES)
    if base != change.before:
        raise ToolFailed(f"What was kept of {change.path} is not what was there, so nothing was taken back.")
    return data


def _note_of(backup: Path) -> Path:
    return backup.with_name(f"{backup.name}.json")


def _read_note(note: Path) -> tuple[Change, ...]:
    try:
        rows = json.loads(note.read_text(encoding="utf-8"))
        return tuple(_change(*row) for row in rows)
    except (OSError, ValueError, TypeError) as error:
        raise ToolFailed("What was changed cannot be read any more, so nothing was taken back.") from error


def _change(path: str, before: list[object] | None, after: list[object] | None) -> Change:
    was, now = _base(before), _base(after)
    return Change(path, "added" if was is None else "removed" if now is None else "changed", was, now)


def _base(given: list[object] | None) -> Base | None:
    return None if given is None else Base(str(given[0]), bool(given[1]))
