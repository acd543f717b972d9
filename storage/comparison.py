"""The chain over the heads against the file of signed heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agent.errors import ConfigurationError
from storage.keys import fingerprint, load_public
from storage.signed import Line, NotALine, NotSigned, read_lines
from storage.verdict import SignedHeads
from storage.verification import Walk


def against(heads_file: Path, public_key: Path) -> Callable[[Walk, Mapping[int, bytes]], SignedHeads]:
    """How to compare with the lines that are there now; call it before the database is read.

    A server beside it may sign meanwhile, and what it signs then is not in the snapshot that is verified.
    Raises ConfigurationError when the file or the key cannot be read.
    """
    key = load_public(public_key)
    try:
        size = heads_file.stat().st_size
    except OSError as error:
        raise _unreadable(heads_file, error) from error

    def compare(walk: Walk, known: Mapping[int, bytes]) -> SignedHeads:
        lines = newest = unreadable = 0
        at = 0.0
        missing: list[int] = []
        try:
            for line in read_lines(heads_file, key, size):
                lines += 1
                if isinstance(line, NotALine):
                    unreadable += 1
                    continue
                if isinstance(line, NotSigned):
                    walk.found("", 0, "not signed", f"line {lines} of {heads_file.name} is not signed by this key")
                    continue
                newest, at = max(newest, line.n), max(at, line.at)
                _compare_runs(walk, line)
                if line.n and known.get(line.n) != line.hash:
                    missing.append(line.n)
        except OSError as error:
            raise _unreadable(heads_file, error) from error
        for n in missing:
            if n in known:
                walk.found("", 0, "edited", f"row {n} of the chain over the heads is not the one that was signed")
            else:
                walk.found("", 0, "tail missing", f"row {n} of the chain over the heads was signed and is not there")
        return SignedHeads(lines, newest, at, fingerprint(key), unreadable)

    return compare


def _compare_runs(walk: Walk, line: Line) -> None:
    for run, (seq, head) in line.runs.items():
        digest = walk.hash_of(run, seq)
        if digest is None:
            walk.missing(run, seq)
        elif not digest.hex().startswith(head):
            walk.found(run, seq, "edited", f"row {seq} is not the one that was signed, or one before it is not")


def _unreadable(heads_file: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{heads_file} cannot be read: {error.strerror}.", fix="Name the file of signed heads with --heads."
    )
