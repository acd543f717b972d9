"""The models: which could be called, whether their keys are taken, and whether their prices are known.

No model is called: a list of models is asked for, which costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import aiohttp

from agent.errors import ConfigurationError, UnknownPrice
from agent.model import PROVIDERS, chain_from
from agent.ports import Clock
from bot.config import Settings
from bot.doctor.finding import Finding, broken, mend, unknown, well

_ASK_S = 5.0
_REFUSED = (401, 403)
_ANTHROPIC = "2023-06-01"
_NO_MODEL = "Set ANTHROPIC_API_KEY or OPENAI_API_KEY, and `models` if it shall be another one."


async def look_at_models(settings: Settings, environment: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    """One finding a model, or one that says that there is none."""
    chosen = {"SECONDKEY_MODELS": settings.models} if settings.models else {}
    known = {**environment, **chosen}
    try:
        chain = chain_from(known)
    except ConfigurationError as error:
        return iter((broken("models", str(error), error.fix),))
    if not chain:
        wanted = known.get("SECONDKEY_MODELS", "")
        if wanted:
            return iter((mend("models", f"No key is there for {wanted}: only runbooks work.", _NO_MODEL),))
        return iter((mend("models", "No model is configured: only runbooks work.", _NO_MODEL),))
    kinds = tuple(dict.fromkeys(name.partition(":")[0] for name in chain))
    answers = dict(zip(kinds, await asyncio.gather(*(_ask(kind, known) for kind in kinds)), strict=True))
    unpriced = await asyncio.to_thread(_unpriced, chain, settings, clock)
    return iter([_finding(name, answers[name.partition(":")[0]], priced=name not in unpriced) for name in chain])


def _finding(name: str, answer: int | frozenset[str] | str, *, priced: bool) -> Finding:
    kind, _, model = name.partition(":")
    key = PROVIDERS[kind].key
    if not priced:
        fix = f'Set its price in USD a million tokens: [prices] "{name}" = [IN, OUT].'
        return mend("models", f"Nobody knows what {name} costs, so it is not called.", fix)
    if isinstance(answer, str):
        return unknown("models", f"{name} could not be asked about ({answer}).", "Check the network and the address.")
    if isinstance(answer, int):
        if answer in _REFUSED:
            return broken("models", f"{name}: the key is refused (HTTP {answer}).", f"Set {key} anew.")
        return unknown(
            "models", f"{name}: the service does not list its models (HTTP {answer}).", "Try a task with it."
        )
    if answer and model not in answer:
        return mend("models", f"{name} is not among the models of this key.", "Name another one in `models`.")
    return well("models", f"{name}: the key is taken and its price is known.")


def _unpriced(chain: Iterable[str], settings: Settings, clock: Clock) -> frozenset[str]:
    """In a thread: the price table takes a second to load."""
    from agent.prices import Prices  # noqa: PLC0415  # as above

    prices = Prices(settings.prices, clock)
    found: set[str] = set()
    for name in chain:
        kind, _, model = name.partition(":")
        try:
            prices.highest(PROVIDERS[kind].priced_as, model, 1, 1)
        except UnknownPrice:
            found.add(name)
    return frozenset(found)


async def _ask(kind: str, environment: Mapping[str, str]) -> int | frozenset[str] | str:
    """The names of a provider's models, or the HTTP status it answered with, or why it could not be asked."""
    provider = PROVIDERS[kind]
    base = (environment.get(provider.url, "").strip() or provider.default_url).rstrip("/")
    key = environment.get(provider.key, "").strip()
    if provider.priced_as == "anthropic":
        url, headers = f"{base}/v1/models?limit=1000", {"x-api-key": key, "anthropic-version": _ANTHROPIC}
    else:
        url, headers = f"{base}/models", {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_S)) as session,
            session.get(url, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:  # noqa: PLR2004  # all is well
                return answer.status
            return _names(await answer.json(content_type=None))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return type(error).__name__


def _names(body: object) -> frozenset[str]:
    listed = cast("dict[str, Any]", body).get("data") if isinstance(body, dict) else None
    items = cast("list[Any]", listed) if isinstance(listed, list) else []
    return frozenset(str(cast("dict[str, Any]", item).get("id")) for item in items if isinstance(item, dict))
