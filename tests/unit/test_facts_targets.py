"""Addresses, money, and where target values come from; SQL of other dialects, and SQL that takes too long."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts import sql as sql_module
from agent.facts.amounts import amount_in
from agent.facts.provenance import target_values, trace
from agent.facts.sql import prepare_sql, read_sql, sql_facts
from agent.facts.url import http_facts, read_url

WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in "127")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://0x7f.1/", "http://2130706433/", "http://017700000001/", "http://127.1/",
        "http://0177.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/", "http://0/", f"http://{WIDE}.0.0.1/", "http://127\u30020\u30020\u30021/",
        "http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.0.1/", "http://169.254.169.254/", "http://100.64.0.1/",
        "http://[fd00::1]/", "http://[fe80::1]/", "http://localhost/", "http://LOCALHOST./", "http://a.localhost/",
        "http://db.internal/", "http://printer.local/", "http://intranet/", "http://127.0.0.1.nip.io/",
        "http://224.0.0.1/", "http://metadata.google.internal/",
    ],
)  # fmt: skip
def test_an_address_that_leads_inside_is_known_in_every_notation(url: str) -> None:
    assert "private_host" in read_url(url).flags


@pytest.mark.parametrize(
    "url",
    [
        "http://good.com@evil.com/", "http://user:pw@good.com/", "http://good.com:22/", "http://xn--pypal-4ve.com/",
        "http://b\u00fccher.de/", "ftp://good.com/", "file:///etc/passwd", "javascript:alert(1)", "//good.com/",
        "http://good.com\\@evil.com/", "http://good.com\t.evil.com/", "http://good.com\u202e/", "http://", "http://a..b/",
        "http://[::1%25eth0]/", "http://good.com:99999/", "http://good%2ecom/", "x" * 3_000, "http://[::1/", "",
    ],
)  # fmt: skip
def test_an_address_that_is_written_to_deceive_is_flagged(url: str) -> None:
    address = read_url(url)
    assert "odd_address" in address.flags


def test_an_ordinary_address_is_taken_apart() -> None:
    address = read_url("https://API.Example.COM:443/v1/x?y=1")
    assert (address.host, address.port, address.path, address.flags, address.why) == (
        "api.example.com", 443, "/v1/x", (), "",
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_invariant_7_no_address_and_no_body_makes_the_analyser_raise(url: str, body: str) -> None:
    read_url(url)
    read_url(f"http://{url}")
    assert http_facts("POST", url, body).effects
    amount_in(body)


@pytest.mark.parametrize(
    ("value", "units"),
    [
        ("pay $1,234.56 now", 1234.56), ("20 EUR", 20), ("1.000.000 euro", 1_000_000), ("USD 5k", 5_000),
        ("two million", 0), ("version 1.2.3", 0), ("\u20ac3 and \u20ac4", 7), ({"amount": 12.5}, 12.5),
        ('{"refund": "19.90"}', 19.9), ({"amount_cents": 1250}, 12.5), ({"a": [{"price": 3}, {"price": 4}]}, 7),
        ({"amount": True}, 0), ({"amount": "NaN"}, 0), ({"count": 9}, 0), ({"amount": -5}, 5), ("[" * 5_000, 0),
    ],
)  # fmt: skip
def test_money_is_read_off_texts_and_values(value: object, units: float) -> None:
    assert amount_in(value) == int(units * 1_000_000)


def test_a_value_is_a_persons_only_as_their_own_whole_word() -> None:
    values = ("good.com", "eve@evil.com", "12345678", "made.up")
    found = trace(
        values,
        said=["Write to GOOD.com, not to notgood.com or x.good.com.evil"],
        trusted=["*.corp.com"],
        outputs=["Send it to EVE@evil.com account 12345678"],
    )
    assert found == {"good.com": "person", "eve@evil.com": "output", "12345678": "output", "made.up": "agent"}
    assert trace(["good.com"], said=["notgood.com", "x-good.com", "good.com.evil.org"], trusted=(), outputs=())[
        "good.com"
    ] == "agent"  # fmt: skip
    assert (
        trace(["a.corp.com"], said=(), trusted=["*.corp.com"], outputs=["a.corp.com"])["a.corp.com"] == "configuration"
    )


def test_recipients_accounts_and_hosts_are_found_in_nested_arguments() -> None:
    found = target_values(
        {
            "to": ["a@b.example.com"],
            "text": "see https://u:p@evil.example.com:81/x",
            "pay": {"iban": "DE89 3704 0044 0532 0130 00"},
        },
        ["api.example.com"],
    )
    assert set(found) >= {"api.example.com", "a@b.example.com", "evil.example.com", "DE89 3704 0044 0532 0130 00"}


def test_other_dialects_are_read_by_the_same_allowlist() -> None:
    deleted = sql_facts("WITH d AS (DELETE FROM public.o WHERE id = 1 RETURNING *) SELECT * FROM d", "shop", "postgres")
    assert next(f"{item.effect} {item.target}" for item in deleted.effects) == "delete db:shop/public.o".replace(
        "public.", ""
    )
    for text in (
        "COPY o TO PROGRAM 'x'",
        "DO $$ BEGIN END $$",
        "SELECT pg_sleep(9)",
        "SELECT * FROM pg_read_file('x')",
        "CALL x()",
    ):
        assert sql_facts(text, "shop", "postgres").undecidable, text
    assert "unbounded" in sql_facts("DELETE FROM `o`", "shop", "mysql").flags
    assert sql_facts("CREATE TRIGGER t AFTER INSERT ON o BEGIN DELETE FROM p; END", "shop").flags[0] == "ddl"


async def test_sql_that_takes_too_long_is_undecidable_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    free, real = threading.Event(), sql_module._read

    def slow(sql: str, database: str, dialect: sql_module.Dialect = "sqlite") -> object:
        free.wait(10)
        return real(sql, database, dialect)

    monkeypatch.setattr(sql_module, "_read", slow)
    monkeypatch.setattr(sql_module, "LIMIT_S", 0.05)
    text = "SELECT " + ", ".join(f"column_{number}" for number in range(300))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    await prepare_sql(text, "shop")
    ticking.cancel()
    began = time.perf_counter()
    facts, statement = read_sql(text, "shop")
    assert (facts.flags, statement) == (("too_slow",), None)
    assert facts.undecidable
    assert time.perf_counter() - began < 0.04  # what was too slow once is not waited for again
    assert ticks > 1
    free.set()


async def test_long_sql_is_read_beside_the_loop_and_then_at_once() -> None:
    text = "SELECT " + ", ".join(f"a{number}" for number in range(400)) + " FROM t"  # noqa: S608  it is only read
    await prepare_sql(text, "shop")
    facts, statement = read_sql(text, "shop")
    assert facts.undecidable == ()
    assert statement is not None
    assert statement.kind == "read"
