"""The file of signed heads: JSON Lines outside the database, by which a rewritten chain is told from the true one."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.domain import canonical
from storage.keys import fingerprint, is_signed_by, sync_folder

_VERSION = 1
_SHORT = 16
"""Hex digits of a head that a line keeps: they only name the run; what binds is the chain's whole hash."""
_TAIL = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One signed head. Transport seconds."""

    at: float
    n: int
    hash: bytes
    runs: Mapping[str, tuple[int, str]]
    """The heads chained since the line before: run → its seq, and the first hex digits of its head."""


class NotSigned(ValueError):
    """The line is whole, and not signed by this key."""


class NotALine(ValueError):
    """The line is not readable; a crash in the middle of writing leaves such a one."""


def sign_line(line: Line, key: Ed25519PrivateKey) -> bytes:
    """The line as it stands in the file, with its end."""
    body = {
        "v": _VERSION,
        "at": line.at,
        "n": line.n,
        "hash": line.hash.hex(),
        "runs": {run: f"{seq}:{head[:_SHORT]}" for run, (seq, head) in line.runs.items()},
        "key": fingerprint(key.public_key()),
    }
    signature = base64.b64encode(key.sign(canonical(body))).decode()
    return json.dumps({**body, "signature": signature}, separators=(",", ":")).encode() + b"\n"


def read_line(text: bytes, key: Ed25519PublicKey) -> Line:
    """Read one back; raises NotALine or NotSigned."""
    try:
        body: dict[str, Any] = json.loads(text)
        signature = base64.b64decode(body.pop("signature"), validate=True)
        signed = canonical(body)
        runs = {run: _head(said) for run, said in body["runs"].items()}
        line = Line(float(body["at"]), int(body["n"]), bytes.fromhex(body["hash"]), runs)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise NotALine(str(error)) from error
    if not is_signed_by(key, signature, signed):
        raise NotSigned
    return line


def read_lines(path: Path, key: Ed25519PublicKey, size: int) -> Iterator[Line | NotALine | NotSigned]:
    """Every line that ends within `size` bytes, or what is wrong with it; raises OSError."""
    with path.open("rb") as file:
        for text in file:
            size -= len(text)
            if size < 0:
                return
            if not text.strip():
                continue
            try:
                yield read_line(text, key)
            except (NotALine, NotSigned) as error:
                yield error


def last_line(path: Path, key: Ed25519PublicKey) -> Line | None:
    """The newest line that is signed by the key, looked for in the last mebibyte; raises OSError but for no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            texts = file.read().splitlines()
    except FileNotFoundError:
        return None
    for text in reversed(texts):
        try:
            return read_line(text, key)
        except (NotALine, NotSigned):
            continue
    return None


def append_line(path: Path, text: bytes) -> None:
    """Put a whole line at the end of the file and on the disk; raises OSError."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            text = b"\n" + text  # the one before was torn by a crash
        written = os.write(descriptor, text)
        if written != len(text):
            os.ftruncate(descriptor, size)
            raise OSError(28, "the line did not fit on the disk")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_folder(path.parent)


def _head(said: str) -> tuple[int, str]:
    seq, _, head = said.partition(":")
    return int(seq), head
