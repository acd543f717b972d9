"""Databases as the configuration names them: where a password may not stand, and what an address may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.broker import Broker
from agent.errors import ConfigurationError, SecretNotAllowed
from agent.tools.databases import Database, Server, named_databases
from bot.config import load_settings

VALUE = "correct-horse-battery"
URL = "postgresql://agent@db.example.com/crm"


def broker(*databases: str, hosts: tuple[str, ...] = ()) -> Broker:
    return Broker({"CRM": {"from": "env:PW", "databases": databases, "hosts": hosts}}, {"PW": VALUE})


def server(url: str, **more: Any) -> Server:
    one = named_databases({"crm": {"url": url, **more}}, broker("crm"), has_driver=True)["crm"]
    assert isinstance(one, Server)
    return one


def test_a_path_is_a_file_and_a_table_may_be_either(tmp_path: Path) -> None:
    found = named_databases(
        {"a": tmp_path / "a.db", "b": {"path": tmp_path / "b.db", "writable": False}, "crm": {"url": URL}},
        Broker(),
        has_driver=True,
    )
    assert found["a"] == Database("a", tmp_path / "a.db")
    assert found["b"] == Database("b", tmp_path / "b.db", writable=False)
    assert [one.dialect for one in found.values()] == ["sqlite", "sqlite", "postgres"]


def test_a_path_in_a_table_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "secondkey.toml"
    file.write_text(
        '[databases]\na = "a.db"\n[databases.b]\npath = "b.db"\n[databases.crm]\nurl = "postgresql://u@h/d"\n'
    )
    settings = load_settings(file, {})
    found = named_databases(settings.databases, Broker(), has_driver=True)
    assert [one.path for one in found.values() if isinstance(one, Database)] == [tmp_path / "a.db", tmp_path / "b.db"]


def test_another_machine_is_spoken_to_in_secret_and_must_prove_who_it_is() -> None:
    assert server(URL).place == {
        "host": "db.example.com", "port": "5432", "user": "agent", "dbname": "crm", "sslmode": "verify-full",
        "sslrootcert": "system",
    }  # fmt: skip
    assert server(f"{URL}?sslmode=require").place["sslmode"] == "require"
    assert server(f"{URL}?sslmode=verify-full&sslrootcert=/etc/ca.pem").place["sslrootcert"] == "/etc/ca.pem"
    for here in ("postgresql://u@127.0.0.1:5433/d", "postgres://u@[::1]/d", "postgresql://u@/d?host=/run/postgresql"):
        assert server(here).place["sslmode"] == "prefer"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://agent:{VALUE}@db/crm",
        "postgresql://agent:@db/crm",
        f"{URL}?password={VALUE}",
        f"{URL}?options=-c%20role=postgres",
        f"{URL}?passfile=/etc/x",
        f"{URL}?service=x",
        f"{URL}?hostaddr=1.2.3.4",
        "postgresql://agent@a,b/crm",
        "mysql://agent@db/crm",
        "postgresql://db/crm",
        "postgresql://agent@db",
        "postgresql://agent@/crm",
        "postgresql://agent@db:port/crm",
        "postgresql://agent@db/crm%00",
        "postgresql://agent@[db/crm",
        "postgresql://agent@db/crm?x",
    ],
)
def test_an_address_that_says_too_much_or_too_little_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"databases\.crm") as caught:
        server(url)
    assert caught.value.fix
    assert VALUE not in f"{caught.value!r} {caught.value} {caught.value.fix}"


def test_a_password_in_the_configuration_is_refused_and_not_repeated() -> None:
    for table in ({"url": URL, "password": VALUE}, {"url": URL, "password": 5}, {"url": URL, "pasword": VALUE}):
        with pytest.raises(ConfigurationError) as caught:
            named_databases({"crm": table}, broker("crm"), has_driver=True)
        assert VALUE not in f"{caught.value!r} {caught.value} {caught.value.fix}"


def test_a_secret_that_is_not_meant_for_the_database_is_refused_with_the_line_to_write() -> None:
    for given in (Broker(), broker("other"), broker(hosts=("https://crm",))):
        with pytest.raises(ConfigurationError, match="not meant") as caught:
            named_databases({"crm": {"url": URL, "password": "secret:CRM"}}, given, has_driver=True)
        assert 'databases = ["crm"]' in caught.value.fix


def test_the_password_of_a_database_goes_nowhere_else() -> None:
    one = broker("crm")
    assert one.fill("secret:CRM", "database:crm") == VALUE
    for place in ("https://crm", "database:other", "crm", ""):
        with pytest.raises(SecretNotAllowed):
            one.fill("secret:CRM", place)


def test_without_the_driver_the_fix_is_named() -> None:
    with pytest.raises(ConfigurationError, match="driver") as caught:
        named_databases({"crm": {"url": URL}}, Broker(), has_driver=False)
    assert "secondkey[postgres]" in caught.value.fix
    assert named_databases({"a": Path("a.db")}, Broker(), has_driver=False)
