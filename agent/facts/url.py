"""What an address says by itself: host, port, user, and whether it leads into a private network, in any notation."""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from agent.domain import Effect, Intent
from agent.facts.amounts import amount_in
from agent.facts.bounds import too_large
from agent.facts.model import Facts
from agent.facts.seeds import seed_patterns

_LONGEST = 2_048
_MOST_FIELDS = 200
_NUMERIC = re.compile(r"^(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}$")
_INSIDE = re.compile(r"(?:^|\.)(?:localhost|local|localdomain|internal|intranet|lan|home|corp|private|test|invalid"
                     r"|example|arpa|onion)$")  # fmt: skip
_USUAL_PORTS = {"http": 80, "https": 443}
#: Names that lead an address of their own choosing back inside.
_REBINDING = re.compile(r"(?:^|\.)(?:nip\.io|sslip\.io|xip\.io|localtest\.me|lvh\.me|vcap\.me|lacolhost\.com)$")
_READS = frozenset({"GET", "HEAD"})
#: What a last part of a path, or a query's `action=`, says that a GET does besides reading; many services have such.
_DOES = re.compile(
    r"^(?:delete|destroy|remove|purge|drop|truncate|wipe|erase|archive|unsubscribe|revoke|disable|deactivate|suspend|cancel"
    r"|refund|transfer|pay|charge|approve|reject|accept|execute|trigger|restart|shutdown|reboot|reset|stop|kill|send"
    r"|publish|unpublish|deploy|rollback|put|post|patch)(?:\.(?:do|php|aspx?|jsp|cgi))?$",
    re.IGNORECASE,
)
_ASKS = frozenset(
    {"_method", "method", "action", "_action", "do", "op", "cmd", "command", "x-http-method-override", "verb"}
)
_EFFECTS = {"DELETE": Effect.DELETE}


@dataclass(frozen=True, slots=True)
class Address:
    """An address taken apart; `why` says why it cannot be judged, one sentence, empty when it can."""

    scheme: str = ""
    host: str = ""
    """Lower case and punycode; an IP address in its one spelling."""
    port: int = 0
    path: str = ""
    flags: tuple[str, ...] = ()
    """private_host: leads to this machine or a network that is not public. odd_address: written to deceive."""
    why: str = ""


def read_url(url: str) -> Address:
    """Take an http(s) address apart; never raises."""
    try:
        return _read(url)
    except (ValueError, UnicodeError) as error:
        return Address(flags=("odd_address",), why=f"It is no address that can be read ({type(error).__name__}).")


def http_facts(method: str, url: str, body: str = "") -> Facts:
    """The facts of one HTTP request; never raises."""
    address, verb = read_url(url), method.strip().upper()
    where = f"net:{address.host or '?'}{address.path}"
    why = [address.why] if address.why else []
    flags = dict.fromkeys(("network", *address.flags))
    if large := too_large(body):
        flags["too_large"] = None
        why.append(large)
    if seed_patterns(f"{url}\n{body}"):
        flags["seed_pattern"] = None
    amount = 0 if verb in _READS else amount_in(body)
    if amount:
        flags["money"] = None
    does = verb in _READS and _does_more(url)
    effect = Effect.SEND if does else Effect.READ if verb in _READS else _EFFECTS.get(verb, Effect.SEND)
    effects = [Intent(effect=effect, target=where)]
    if amount:
        effects.append(Intent(effect=Effect.SPEND, target=where))
    return Facts(
        effects=tuple(effects),
        where="network",
        reversibility="reversible" if effect is Effect.READ else "irreversible",
        verbs=(verb.lower(),),
        flags=tuple(flags),
        counts={"bytes": len(body.encode("utf-8", "surrogatepass"))},
        undecidable=tuple(why),
        hosts=(address.host,) if address.host else (),
        amount=amount,
    )


def _does_more(url: str) -> bool:
    """Whether an address names an act, in the last part of its path that is a word or in its query."""
    try:
        parts = urlsplit(url)
        asked = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return True
    words = [unquote(part) for part in parts.path.split("/") if part]
    while words and not re.search(r"[A-Za-z]{2}", words[-1]):  # a number behind it says of what
        words.pop()
    return bool(words and _DOES.match(words[-1])) or any(
        name.lower() in _ASKS and _DOES.match(value.strip()) for name, value in asked
    )


def host_flags(host: str) -> tuple[str, ...]:
    """The flags of a canonical host name or IP address."""
    try:
        inside = _is_inside(ipaddress.ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        inside = bool(_INSIDE.search(host) or _REBINDING.search(host)) or "." not in host
    return ("private_host",) if inside else ()


def _read(url: str) -> Address:
    if len(url) > _LONGEST:
        return Address(flags=("odd_address",), why="The address is too long to be judged.")
    if re.search(r"[\x00-\x20\x7f\\\u2028\u2029\ufeff\u200b-\u200f\u202a-\u202e]", url):
        return Address(flags=("odd_address",), why="The address holds signs that programs read differently.")
    parts = urlsplit(url)
    flags: dict[str, None] = {}
    scheme = parts.scheme.lower()
    if scheme not in _USUAL_PORTS:
        return Address(scheme, flags=("odd_address",), why="Only http and https addresses can be judged.")
    if "@" in parts.netloc:
        flags["odd_address"] = None
    port = parts.port or _USUAL_PORTS[scheme]
    if port not in _USUAL_PORTS.values():
        flags["odd_address"] = None
    raw = parts.hostname or ""
    if not raw or "%" in raw:
        return Address(scheme, flags=("odd_address",), why="The address names no host that can be judged.")
    host, odd = _canonical(raw, bracketed="[" in parts.netloc)
    if odd:
        flags["odd_address"] = None
    flags.update(dict.fromkeys(host_flags(host)))
    path = parts.path if parts.path != "/" else ""
    return Address(scheme, host, port, path, tuple(flags))


def _canonical(raw: str, *, bracketed: bool) -> tuple[str, bool]:
    """The one spelling of a host, and whether it was written in another one; raises ValueError."""
    if bracketed:
        address = ipaddress.IPv6Address(raw)
        return _inner(address), address.ipv4_mapped is not None
    plain = unicodedata.normalize("NFKC", raw).replace("\u3002", ".").lower().rstrip(".")
    odd = plain != raw.lower()
    if _NUMERIC.match(plain):
        address = ipaddress.IPv4Address(socket.inet_aton(plain))
        return str(address), odd or str(address) != plain
    if not plain.isascii() or "xn--" in plain:
        odd = True
    name = plain.encode("idna").decode("ascii") if not plain.isascii() else plain
    if not re.fullmatch(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?", name) or ".." in name:
        raise ValueError(name)
    return name, odd


def _inner(address: ipaddress.IPv6Address) -> str:
    """An IPv4 address in the clothes of an IPv6 one is that address."""
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return str(inner or address)


def _is_inside(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not address.is_global or address.is_multicast
