"""Which addresses are the public internet; a name that leads anywhere else is not connected to."""

from __future__ import annotations

import ipaddress
from typing import Literal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Kind = Literal["public", "private", "forbidden"]

#: Ours to be reached only where the operator says so: this machine and the networks behind it.
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10", "::1/128", "fc00::/7")
)
#: Never reached: link-local with the clouds' metadata services, multicast, what is reserved or stands for no host.
_FORBIDDEN = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",  # metadata of a cloud, inside the carriers' range
        "168.63.129.16/32",  # as above, in a public range
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "::/128",
        "64:ff9b:1::/48",  # NAT64 of a network's own: where in it the address stands is that network's secret
        "100::/64",
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
#: All that is given out for the public internet; the rest of IPv6 is unassigned, or leads into some mesh or tunnel.
_GIVEN_OUT = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: The middle of an ISATAP address, whose last 32 bits are an IPv4 address.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")
_COMPATIBLE = ipaddress.ip_network("::/96")


def kind_of(text: str) -> Kind:
    """Where an address leads. What cannot be read, or carries an address that is not public, is not public either."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "forbidden"
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return "forbidden"
    kinds = {_kind(one) for one in (address, *_inside(address))}
    return "forbidden" if "forbidden" in kinds else "private" if "private" in kinds else "public"


def _inside(address: Address) -> tuple[Address, ...]:
    """The IPv4 addresses that an IPv6 address carries in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64 or (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return (low,)
    if address in _SIX_TO_FOUR:
        return (ipaddress.IPv4Address((int(address) >> 80) & 0xFFFF_FFFF),)
    if address in _COMPATIBLE and int(address) > 1:
        return (low,)
    return ()


def _kind(address: Address) -> Kind:
    if any(address in network for network in _FORBIDDEN if network.version == address.version):
        return "forbidden"
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return "private"
    # What the registries set aside after this list was written.
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None or any(address in one for one in (_COMPATIBLE, _NAT64, _SIX_TO_FOUR)):
            return "public"  # judged by what it carries
        if address not in _GIVEN_OUT:
            return "forbidden"
    return "public" if address.is_global else "forbidden"
