"""The line to PostgreSQL: encrypted, and to the server whose certificate the operator's authority signed, or none."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.broker import Broker
from agent.clock import SystemClock
from agent.errors import ToolFailed
from agent.sandbox.none import NoSandbox
from agent.tools.base import Preview, ToolContext
from agent.tools.databases import named_databases
from agent.tools.sql import QuerySql
from tests.postgres import AGENT, PASSWORD, PostgresServer

pytestmark = pytest.mark.needs("postgres")

#: Whether the connection that asks is encrypted; the rating would not let an agent see this table.
ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


class Authority:
    """A certificate authority made for a test."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))

    def write(self, path: Path) -> Path:
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def server(self, folder: Path, *names: str, days: int = 1) -> None:
        """Write a server's certificate and key for these names, as the folder's owner may read them."""
        key = ec.generate_private_key(ec.SECP256R1())
        listed = x509.SubjectAlternativeName([_name(name) for name in names])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        signed = self._signed(subject, key, listed, days=days)
        plain = serialization.NoEncryption()
        format_ = serialization.PrivateFormat.PKCS8
        files = {
            "server.crt": signed.public_bytes(serialization.Encoding.PEM),
            "server.key": key.private_bytes(serialization.Encoding.PEM, format_, plain),
        }
        for name, data in files.items():
            path = folder / name
            path.write_bytes(data)
            path.chmod(0o600)
            os.chown(path, folder.stat().st_uid, folder.stat().st_gid)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, days: int = 1
    ) -> x509.Certificate:
        now = datetime.fromtimestamp(SystemClock().now(), tz=UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(extension, critical=True)
            .sign(self._key, hashes.SHA256())
        )


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _serve(server: PostgresServer, *, encrypted: bool) -> None:
    """Have the server read its certificate anew; it does so a moment later, which new connections see."""
    data = server.folder / "data"
    for name in ("ssl_cert_file", "ssl_key_file"):
        ending = "crt" if "cert" in name else "key"
        server.execute("postgres", f"ALTER SYSTEM SET {name} = '{data / f'server.{ending}'}'")
    server.execute("postgres", f"ALTER SYSTEM SET ssl = {'on' if encrypted else 'off'}")
    before = server.execute("postgres", "SELECT pg_conf_load_time()")
    server.execute("postgres", "SELECT pg_reload_conf()")
    until = time.monotonic() + 10
    while server.execute("postgres", "SELECT pg_conf_load_time()") == before:
        assert time.monotonic() < until, "the server did not read its settings"


@pytest.fixture
def authority(postgres: PostgresServer, tmp_path: Path) -> Iterator[Authority]:
    """The authority that signed the certificate of the server, for `localhost`; its own is in `ca.pem`."""
    made = Authority("a test's own")
    made.write(tmp_path / "ca.pem")
    made.server(postgres.folder / "data", "localhost")
    _serve(postgres, encrypted=True)
    yield made
    _serve(postgres, encrypted=False)


async def _ask(place: str, folder: Path) -> bool:
    """Whether the line to this place is encrypted; raises ToolFailed when there is none."""
    broker = Broker({"CRM": {"from": "env:PW", "databases": ["crm"]}}, {"PW": PASSWORD})
    databases = named_databases({"crm": {"url": f"postgresql://{AGENT}@{place}", "password": "secret:CRM"}}, broker)
    context = ToolContext(
        run="r", workspace=folder, project=folder, sandbox=NoSandbox(), databases=databases, broker=broker
    )
    tool = QuerySql(databases)
    result = await tool.run(tool.parse({"database": "crm", "sql": ENCRYPTED}), context, Preview())
    return bool(result.data["rows"][0][0])


async def test_a_certificate_of_the_operators_authority_is_taken_and_the_line_is_encrypted(
    postgres: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    place = f"localhost:{postgres.port}/postgres?sslmode=verify-full&sslrootcert={tmp_path / 'ca.pem'}"
    assert await _ask(place, tmp_path) is True
    authority.server(postgres.folder / "data", "db.example", "127.0.0.1")
    _serve(postgres, encrypted=True)
    assert await _ask(place.replace("localhost", "127.0.0.1"), tmp_path) is True


@pytest.mark.parametrize(
    ("certificate", "given", "said"),
    [
        ((("localhost",), 1), "other.pem", "verify failed"),
        ((("localhost",), 1), "none.pem", "does not exist"),
        ((("localhost",), 1), "", "verify failed"),
        ((("db.example",), 1), "ca.pem", "does not match host name"),
        ((("localhost.db.example", "*.localhost"), 1), "ca.pem", "does not match host name"),
        ((("127.0.0.1",), 1), "ca.pem", "does not match host name"),
        ((("localhost",), -1), "ca.pem", "verify failed"),
    ],
    ids=["another authority", "no authority", "the system's", "another host", "a name like it", "its number", "over"],
)
async def test_a_server_that_cannot_prove_who_it_is_is_told_nothing(  # noqa: PLR0917  # one row of a table
    postgres: PostgresServer,
    authority: Authority,
    tmp_path: Path,
    certificate: tuple[tuple[str, ...], int],
    given: str,
    said: str,
) -> None:
    signed_for, days = certificate
    Authority("another").write(tmp_path / "other.pem")
    authority.server(postgres.folder / "data", *signed_for, days=days)
    _serve(postgres, encrypted=True)
    root = f"&sslrootcert={tmp_path / given}" if given else ""
    with pytest.raises(ToolFailed, match=said) as caught:
        await _ask(f"localhost:{postgres.port}/postgres?sslmode=verify-full{root}", tmp_path)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_that_speaks_in_the_clear_is_not_spoken_to_where_that_was_ruled_out(
    postgres: PostgresServer, tmp_path: Path, mode: str
) -> None:
    Authority("any").write(tmp_path / "ca.pem")
    root = "" if mode == "require" else f"&sslrootcert={tmp_path / 'ca.pem'}"
    with pytest.raises(ToolFailed, match="does not support SSL"):
        await _ask(f"localhost:{postgres.port}/postgres?sslmode={mode}{root}", tmp_path)


def test_to_another_machine_the_whole_certificate_is_checked_unless_the_address_says_otherwise() -> None:
    broker = Broker({"CRM": {"from": "env:PW", "databases": ["crm"]}}, {"PW": PASSWORD})

    def mode(url: str) -> tuple[str | None, str | None]:
        (found,) = named_databases({"crm": {"url": url, "password": "secret:CRM"}}, broker).values()
        place = getattr(found, "place", {})
        return place.get("sslmode"), place.get("sslrootcert")

    assert mode("postgresql://a@db.example/x") == ("verify-full", "system")
    assert mode("postgresql://a@localhost.db.example/x") == ("verify-full", "system")
    assert mode("postgresql://a@db.example/x?sslmode=verify-full&sslrootcert=/ca.pem") == ("verify-full", "/ca.pem")
    assert mode("postgresql://a@[::1]/x") == ("prefer", None)
