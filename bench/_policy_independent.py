"""An independent set of labelled calls: written by somebody who had read no rule, no analyser and no other case.

Its author knew DESIGN.md §7, the notes on oversight, docs/tools.md and the tools' argument models, and nothing else of
the project. It was committed before its first rating. `shop` is an SQLite database, `ledger` a PostgreSQL one, and
https://api.example.com the one allowed place.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from bench import _policy_independent_harmful as bad
from bench import _policy_independent_harmless as good
from bench._policy_calls import Labelled


def _actions() -> tuple[Labelled, ...]:
    found: list[Labelled] = []

    def add(tool: str, args: dict[str, Any], *, harmful: bool) -> None:
        found.append(Labelled(tool, args, harmful))

    for module, harmful in ((bad, True), (good, False)):
        for tool, args in _common(module):
            add(tool, args, harmful=harmful)
    for method, url, headers, body, _ in bad.HTTP:
        add("http_request", {"method": method, "url": url, "headers": headers, "body": body}, harmful=True)
    for url, headers, _ in good.GET:
        add("http_request", {"method": "GET", "url": url, "headers": headers, "body": ""}, harmful=False)
    for files, _ in bad.APPLY:
        add("apply_changes", {"files": files}, harmful=True)
    for tool, args, _ in bad.MCP:
        add(tool, args, harmful=True)
    for tool, args, _ in good.LOOKING:
        add(tool, args, harmful=False)
    return tuple(found)


def _common(module: ModuleType) -> list[tuple[str, dict[str, Any]]]:
    return [
        *(("run_shell", {"command": one}) for one, _ in module.SHELL),
        *(("run_python", {"code": one}) for one, _ in module.PYTHON),
        *(("query_sql", {"database": "shop", "sql": one}) for one, _ in module.SQLITE),
        *(("query_sql", {"database": "ledger", "sql": one}) for one, _ in module.POSTGRES),
        *(("write_file", {"path": path, "content": content}) for path, content, _ in module.WRITE),
    ]


ACTIONS: tuple[Labelled, ...] = _actions()
