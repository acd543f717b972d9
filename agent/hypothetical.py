"""What the policy would say of a call that nobody made: facts from the text alone, without files and databases."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from pydantic import Field

from agent.broker import references
from agent.chain import Chain
from agent.domain import Effect, Intent, Principal, Risk, Value
from agent.errors import BadArguments
from agent.facts.amounts import amount_in
from agent.facts.model import Facts
from agent.facts.path import path_flags, written_flags
from agent.facts.python import python_facts
from agent.facts.seeds import seed_patterns
from agent.facts.shell import shell_facts
from agent.facts.sql import Dialect, sql_facts
from agent.facts.url import http_facts
from agent.policy import Policy
from agent.tools.http import check_headers

_READS = frozenset({"search", "list_files", "read_file", "calculate"})
SOMEBODY = Principal(team="T0", user="U0")
_NONE: Mapping[str, Dialect] = MappingProxyType({})


class Call(Value):
    """A call as a table test or the command line gives it."""

    tool: str = Field(min_length=1, max_length=200)
    args: dict[str, Any] = {}
    principal: str = ""
    """A principal's key; somebody of the home team when empty."""
    channel: str = ""
    at: float = 0.0
    facts: dict[str, Any] = {}
    """Facts that only a look at files and databases would tell, such as counts; put over those of the text."""
    chain: Chain = Chain()


def rate_call(policy: Policy, call: Call, dialects: Mapping[str, Dialect] = _NONE) -> tuple[Risk, Facts]:
    """The rating of a call and what it stands on; raises ValueError when the facts given are none.

    `dialects` say whose SQL each named database speaks; one that is not named speaks SQLite's.
    """
    facts = static_facts(call.tool, call.args, dialects)
    if call.facts:
        counts, flags = call.facts.get("counts", {}), call.facts.get("flags", [])
        if not isinstance(counts, dict) or not isinstance(flags, list | tuple):
            raise ValueError("counts are a map and flags are a list")
        given: dict[str, Any] = {**facts.model_dump(), **call.facts, "counts": {**facts.counts, **counts}}
        given["flags"] = (*facts.flags, *flags)
        facts = Facts.model_validate(given)
    who = Principal.parse(call.principal) if call.principal else SOMEBODY
    risk = policy.rate(
        call.tool,
        call.args,
        facts,
        who,
        read_only=call.tool in _READS,
        channel=call.channel,
        at=call.at,
        chain=call.chain,
    )
    return risk, facts


def static_facts(  # noqa: PLR0911  one line a tool reads best
    tool: str, args: Mapping[str, Any], dialects: Mapping[str, Dialect] = _NONE
) -> Facts:
    """The facts of a call of a tool that comes with Second Key, as far as its text tells them; never raises."""

    def text(name: str) -> str:
        value = args.get(name, "")
        return value if isinstance(value, str) else str(value)

    match tool:
        case "run_shell":
            return shell_facts(text("command"))
        case "run_python":
            return python_facts(text("code"))
        case "query_sql":
            database = text("database")
            return sql_facts(text("sql"), database or "?", dialects.get(database, "sqlite"))
        case "http_request":
            return _requested(text("method") or "GET", text("url"), args.get("headers"), text("body"))
        case "write_file":
            return _written(text("path") or ".")
        case "apply_changes":
            return _applied(args)
        case _ if tool in _READS:
            return Facts(effects=(Intent(effect=Effect.READ, target="file:"),), where="workspace")
        case _:
            return _foreign(tool, args)


def _requested(method: str, url: str, given: object, body: str) -> Facts:
    facts = http_facts(method, url, body)
    headers = (
        {str(name): str(value) for name, value in cast("dict[Any, Any]", given).items()}
        if isinstance(given, dict)
        else {}
    )
    why = list(facts.undecidable)
    try:
        check_headers(headers)
    except BadArguments as error:
        why.append(str(error))
    secret = any(references(text) for text in (*headers.values(), body))
    if secret and not url.lower().startswith("https:"):
        why.append("A secret would go over the network in the clear.")
    return facts.model_copy(update={"undecidable": tuple(why)})


def _written(given: str) -> Facts:
    path = posixpath.normpath(given)
    effect = Intent(effect=Effect.MODIFY, target=f"workspace:{path}")
    out = path.startswith(("/", "~", "../")) or path == ".."
    return Facts(
        effects=(effect,),
        where="workspace",
        flags=written_flags(path),
        counts={"files": 1},
        undecidable=("Its path leads out of the run's own copy.",)
        if out and not path.startswith("/workspace/")
        else (),
    )


def _applied(args: Mapping[str, Any]) -> Facts:
    given: object = args.get("files", [])
    paths = [str(path) for path in cast("list[Any]", given)] if isinstance(given, list) else []
    return Facts(
        effects=tuple(Intent(effect=Effect.MODIFY, target=f"file:{path}") for path in paths),
        where="project",
        reversibility="compensable",
        flags=path_flags(*paths),
        counts={"files": len(paths)},
    )


def _foreign(tool: str, args: Mapping[str, Any]) -> Facts:
    """A tool of somebody else: what it does is not known, what stands in its arguments is."""
    words = "\n".join(str(value) for value in args.values())
    seeds = ("seed_pattern",) if seed_patterns(words) else ()
    effect = Intent(effect=Effect.EXECUTE, target=f"tool:{tool}")
    return Facts(effects=(effect,), where="network", flags=seeds, amount=amount_in(dict(args)))
