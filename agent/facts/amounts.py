"""Money that is named in a call, so that rules can set a limit: an upper reading, never a booking."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, cast

_MICRO = 1_000_000
_CURRENCY = r"(?:\$|€|£|¥|₹|US\$|usd|eur|gbp|chf|jpy|cad|aud|inr|sek|nok|dkk|pln|dollars?|euros?|pounds?)"
_NUMBER = r"(\d{1,3}(?:[,. '\u202f]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d+)?)\s*(k|m|bn|thousand|million|billion)?"
_BEFORE = re.compile(rf"{_CURRENCY}\s?{_NUMBER}\b", re.IGNORECASE)
_AFTER = re.compile(rf"\b{_NUMBER}\s?{_CURRENCY}(?![a-z])", re.IGNORECASE)
_KEY = re.compile(
    r"amount|price|total|cost|budget|payment|refund|charge|salary|fee|balance|quantity_usd|transfer", re.IGNORECASE
)
_MINOR = re.compile(r"cents|minor|pence", re.IGNORECASE)
_TIMES = {"": 1, "k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000, "bn": 10**9, "billion": 10**9}
_MOST = 65_536


def amount_in(value: object) -> int:
    """The sum of money that a text or JSON value names, in micro-units of whatever currency; 0 when it names none."""
    if isinstance(value, str):
        try:
            inner: object = json.loads(value) if value[:1] in {"{", "["} else None
        except (ValueError, RecursionError):
            inner = None
        return max(_in_text(value[:_MOST]), _in_value(inner))
    return _in_value(value)


def _in_text(text: str) -> int:
    return sum(_micro(number, times) for pattern in (_BEFORE, _AFTER) for number, times in pattern.findall(text))


def _in_value(value: object) -> int:
    """Numbers under a key that speaks of money."""
    total, waiting = 0, [("", value)]
    while waiting:
        key, one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend((str(name), item) for name, item in cast("dict[Any, Any]", one).items())
        elif isinstance(one, list):
            waiting.extend((key, item) for item in cast("Iterable[Any]", one))
        elif _KEY.search(key) and isinstance(one, int | float | str) and not isinstance(one, bool):
            found = _micro(str(one).strip().lstrip("$€£"), "")
            total += found // 100 if _MINOR.search(key) else found
        elif isinstance(one, str):
            total += _in_text(one[:_MOST])
    return total


def _micro(number: str, times: str) -> int:
    digits = re.sub(r"[ '\u202f]", "", number)
    last = max(digits.rfind("."), digits.rfind(","))
    if last >= 0:
        whole, part = re.sub(r"[.,]", "", digits[:last]), digits[last + 1 :]
        thousands = len(part) == 3 and digits.count(digits[last]) >= 1 and len(whole) <= 3  # noqa: PLR2004  a group of three
        digits = whole + part if thousands or digits.count(digits[last]) > 1 else f"{whole or '0'}.{part}"
    try:
        return abs(int(Decimal(digits) * _TIMES[times.lower()] * _MICRO))
    except (InvalidOperation, ValueError, OverflowError):
        return 0
