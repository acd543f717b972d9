"""Addresses that carry another one in them, or belong to nobody, are not taken for the public internet."""

from __future__ import annotations

import pytest

from agent.tools.addresses import kind_of


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("::ffff:0:127.0.0.1", "forbidden"),  # SIIT, which translates to IPv4
        ("::ffff:0:169.254.169.254", "forbidden"),
        ("::ffff:0:8.8.8.8", "forbidden"),
        ("64:ff9b:1:a9fe:a9:fe08:808:808", "forbidden"),  # 169.254.169.254 behind a network's own NAT64, then 8.8.8.8
        ("64:ff9b:1::808:808", "forbidden"),
        ("64:ff9b::7f00:1", "private"),
        ("64:ff9b::808:808", "public"),
        ("2001:470::5efe:7f00:1", "private"),  # ISATAP
        ("2001:470::200:5efe:a9fe:a9fe", "forbidden"),
        ("2001:470::5efe:808:808", "public"),
        ("200::1", "forbidden"),  # a mesh that runs over the internet
        ("4000::1", "forbidden"),
        ("1::1", "forbidden"),
        ("100:0:0:1::1", "forbidden"),
        ("2606:4700::1111", "public"),
        ("2002:808:808::", "public"),
        ("2002:7f00:1::", "private"),
        ("::ffff:127.0.0.1", "private"),
        ("::ffff:8.8.8.8", "public"),
        ("::1", "private"),
        ("fe80::1%eth0", "forbidden"),
        ("::1%lo", "forbidden"),
    ],
)
def test_an_address_is_what_it_leads_to(address: str, kind: str) -> None:
    assert kind_of(address) == kind
