"""The Ed25519 key of the audit: made on the first start, kept in a file beside the database and not in it."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from agent.errors import ConfigurationError

PRIVATE, PUBLIC = "audit.key", "audit.pub"


def load_or_make(folder: Path) -> Ed25519PrivateKey:
    """The private key `audit.key`, made with its public half `audit.pub` when it is not there.

    Raises ConfigurationError when it cannot be read or made, or others than its owner may read it.
    """
    path = folder / PRIVATE
    try:
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _write_once(path, text, 0o600)
        key = _private(path)
        text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if not (folder / PUBLIC).exists():
            _write_once(folder / PUBLIC, text, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"The key of the audit in {folder} cannot be used: {error.strerror}.", fix="Check the folder's rights."
        ) from error
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """A public key from its PEM file; raises ConfigurationError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"The public key {path} cannot be read: {error}.", fix="Name it with --public-key."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} holds no Ed25519 key.", fix="Name the right one with --public-key.")
    return key


def is_signed_by(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the key's owner signed exactly this."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def fingerprint(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the key's SHA-256: enough to compare by eye with a copy kept elsewhere."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def _private(path: Path) -> Ed25519PrivateKey:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigurationError(f"Others than its owner may use {path}.", fix=f"Type: chmod 600 {path}")
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{path} is no key: {error}.", fix="Bring it back from a backup, or remove it to begin with a new one."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} holds no Ed25519 key.", fix="Bring the right one back from a backup.")
    return key


def _write_once(path: Path, content: bytes, mode: int) -> None:
    """Put a whole file there, or leave the one that another process put there first."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # threads race for it as well
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
