"""search: words or a pattern in the project's files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from agent.domain import Effect, Intent
from agent.errors import BadArguments, ToolFailed, ToolTimedOut
from agent.facts.model import Facts
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.beneath import Beneath
from agent.tools.listing import glob_pattern
from agent.tools.threads import Stop, to_the_end
from agent.workspace import View, Workspace

MOST_HITS = 100
_MOST_FILE = 1_048_576
_MOST_TOTAL = 32 * 1_048_576
_LINE = 300
_MOST_NAMED = 10
_PATTERN_TIMEOUT_S = 10.0
#: Runs in a process of its own, because a pattern can take for ever and Python's `re` cannot be interrupted.
_MATCHER = """
import json, re, sys
told = json.load(sys.stdin)
try:
    pattern = re.compile(told["pattern"], re.IGNORECASE if told["ignore_case"] else 0)
except (re.error, OverflowError, RecursionError) as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
hits, count = [], 0
for path, text in told["files"]:
    for number, line in enumerate(text.split("\\n"), 1):
        if pattern.search(line):
            count += 1
            if len(hits) < told["most"]:
                hits.append([path, number, line[:told["line"]]])
print(json.dumps({"hits": hits, "count": count}))
"""


class SearchArguments(Arguments):
    """What to look for, and where."""

    query: str = Field(min_length=1, max_length=500, description="Words as they stand, or a pattern.")
    regex: Annotated[bool, Field(description="Read the query as a regular expression.")] = False
    ignore_case: bool = True
    glob: Annotated[str, Field(max_length=300, description="Only these files, such as docs/**/*.md.")] = "**"


@dataclass(frozen=True, slots=True)
class _Hits:
    hits: list[tuple[str, int, str]]
    count: int
    searched: int
    left_out: list[str]


class Search(Tool[SearchArguments]):
    """Search the project's text files line by line."""

    name = "search"
    description = "Search the project's text files for words or a regular expression; gives path:line: text."
    arguments = SearchArguments
    read_only = True
    idempotent = True
    exclusive = False

    async def facts(self, arguments: SearchArguments, context: ToolContext) -> Facts:
        """It reads; what is searched for is text and never executed."""
        del arguments, context
        return Facts(effects=(Intent(effect=Effect.READ, target="file:"),), where="workspace", verbs=("search",))

    def headline(self, arguments: SearchArguments, preview: Preview) -> str:
        """Such as "Search the project for retry"."""
        del preview
        return f"Search the project for {' '.join(arguments.query.split())[:110]}"

    async def run(self, arguments: SearchArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """At most 100 hits; raises BadArguments for a broken pattern, ToolTimedOut for one that takes too long."""
        del preview
        view = await Workspace(context.workspace, context.project).view()
        if arguments.regex:
            found = await _by_pattern(arguments, view)
        else:
            found = await to_the_end(lambda stop: _by_words(arguments, view, stop))
        lines = [f"{path}:{number}: {line}" for path, number, line in found.hits]
        more = f"\n({found.count - len(lines):,} more)" if found.count > len(lines) else ""
        left = f"\n(not searched: {_named(found.left_out)})" if found.left_out else ""
        return ToolResult(
            text=("\n".join(lines) or "Nothing found.") + more + left,
            data={
                "hits": [{"path": path, "line": number, "text": line} for path, number, line in found.hits],
                "count": found.count,
                "files": len({path for path, _, _ in found.hits}),
                "not_searched": found.left_out[:_MOST_NAMED],
            },
            summary=f"{found.count:,} hits in {found.searched:,} files for {arguments.query[:60]}",
        )


def _named(left_out: list[str]) -> str:
    more = f"; and {len(left_out) - _MOST_NAMED:,} more" if len(left_out) > _MOST_NAMED else ""
    return "; ".join(left_out[:_MOST_NAMED]) + more


def _texts(arguments: SearchArguments, view: View, stop: Stop) -> tuple[list[tuple[str, str]], list[str]]:
    """The files' texts, and which were left out and why. Blocks."""
    pattern = glob_pattern(arguments.glob)
    texts: list[tuple[str, str]] = []
    left_out, room = list[str](), _MOST_TOTAL
    with Beneath(view.folder) as folder:
        for path in view.paths:
            if stop.stopped:
                break
            if not pattern.fullmatch(path):
                continue
            try:
                data = folder.read(path, min(_MOST_FILE, room))
                text = data.decode()
            except ToolFailed as error:
                left_out.append(str(error).removesuffix("."))
                continue
            except UnicodeDecodeError:
                left_out.append(f"{path} is not text")
                continue
            if "\0" in text:
                left_out.append(f"{path} is not text")
                continue
            room -= len(data)
            texts.append((path, text))
    return texts, left_out


def _by_words(arguments: SearchArguments, view: View, stop: Stop) -> _Hits:
    texts, left_out = _texts(arguments, view, stop)
    wanted = arguments.query.casefold() if arguments.ignore_case else arguments.query
    hits: list[tuple[str, int, str]] = []
    count = 0
    for path, text in texts:
        folded = text.casefold() if arguments.ignore_case else text
        if stop.stopped or wanted not in folded:
            continue
        originals = text.split("\n")
        for number, line in enumerate(folded.split("\n"), 1):
            if wanted in line:
                count += 1
                if len(hits) < MOST_HITS:
                    hits.append((path, number, originals[number - 1][:_LINE]))
    return _Hits(hits, count, len(texts), left_out)


async def _by_pattern(arguments: SearchArguments, view: View) -> _Hits:
    texts, left_out = await to_the_end(lambda stop: _texts(arguments, view, stop))
    told = {
        "pattern": arguments.query,
        "ignore_case": arguments.ignore_case,
        "files": texts,
        "most": MOST_HITS,
        "line": _LINE,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        "-c",
        _MATCHER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(_PATTERN_TIMEOUT_S):
            out, _ = await process.communicate(json.dumps(told).encode())
    except TimeoutError as error:
        raise ToolTimedOut("The pattern takes too long; try a simpler one, or words.") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    try:
        answer = json.loads(out)
    except ValueError as error:
        raise ToolFailed("The search broke off.") from error
    if "error" in answer:
        raise BadArguments(f"This is not a regular expression: {answer['error']}.")
    hits = [(str(path), int(number), str(line)) for path, number, line in answer["hits"]]
    return _Hits(hits, int(answer["count"]), len(texts), left_out)
