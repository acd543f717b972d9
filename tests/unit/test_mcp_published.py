"""MCP servers as they are published, each a program in a sandbox without a network."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.broker import Broker
from agent.clock import SystemClock
from agent.domain import Principal, Tier
from agent.errors import BadArguments
from agent.mcp.settings import read_servers
from agent.policy import load_policy
from agent.ports import Sandbox
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.interpreter import interpreter
from agent.tools.base import Preview, ToolContext, ToolResult
from agent.tools.mcp import McpTool
from bot.mcp_servers import McpServers
from storage.mcp_tools import TrustedTool

ENVIRONMENT = Path(sys.prefix).resolve()

pytestmark = pytest.mark.needs("bwrap", "git")


def _installed(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        sentence = f"needs {module.replace('_', '-')}: pip install --group dev"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)


class Home:
    """Published servers, as packages of this environment; its Python may be one that only its owner can read."""

    def __init__(self, root: Path, sandbox: Sandbox) -> None:
        self.root, self.sandbox = root, sandbox
        self.context = ToolContext("r1", root / "w", root / "p", sandbox)
        self.opened: list[McpServers] = []

    async def tools(self, module: str, *arguments: str, read_only: tuple[Path, ...] = ()) -> dict[str, McpTool]:
        """Everything that it offers, trusted."""
        _installed(module)
        folders = (ENVIRONMENT, *interpreter(self.sandbox.name).read_only, *read_only)
        declared = {
            "command": str(ENVIRONMENT / "bin" / "python"),
            "args": ["-m", module, *arguments],
            "read_only": [str(folder) for folder in folders],
            "env": {"PYTHONDONTWRITEBYTECODE": "1", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                    "GIT_CONFIG_VALUE_0": "*"},
        }  # fmt: skip
        servers = McpServers(
            read_servers({"it": declared}), data=self.root / "data", broker=Broker(), clock=SystemClock()
        )
        servers.sandbox = self.sandbox
        self.opened.append(servers)
        offer = await servers.server("it").offer()
        assert not offer.refused
        made = servers.tools([TrustedTool("it", one, "local:0", 0.0) for one in offer.tools.values()])
        return {tool.name.removeprefix("mcp__it__"): tool for tool in made}

    async def run(self, tool: McpTool, **arguments: Any) -> ToolResult:
        return await tool.run(tool.parse(arguments), self.context, Preview())


@pytest.fixture
def root() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="secondkey-mcp-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def home(root: Path) -> AsyncIterator[Home]:
    home = Home(root, Bubblewrap())
    yield home
    await asyncio.gather(*(one.close() for one in home.opened))


@pytest.fixture
def repository() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="secondkey-mcp-repo-"))
    root.chmod(0o755)
    (root / "README.md").write_text("# Harbour Coffee\n")
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "."),
        ("-c", "user.name=Maya", "-c", "user.email=maya@example.com", "commit", "-qm", "Roast by the sea"),
    ):
        subprocess.run(("git", *words), cwd=root, check=True, capture_output=True)  # noqa: S603, S607  # constants, and the git of this machine
    yield root
    shutil.rmtree(root)


async def test_the_published_git_server_reads_a_repository_and_cannot_change_it(home: Home, repository: Path) -> None:
    tools = await home.tools("mcp_server_git", read_only=(repository,))
    log = await home.run(tools["git_log"], repo_path=str(repository), max_count=3)
    assert (log.ok, "Roast by the sea" in log.text) == (True, True)
    branch = await home.run(tools["git_create_branch"], repo_path=str(repository), branch_name="mine")
    assert not branch.ok
    listed = subprocess.run(("git", "branch"), cwd=repository, check=True, capture_output=True)  # noqa: ASYNC221, S607  # as above
    assert listed.stdout.split() == [b"*", b"main"]


async def test_each_tool_of_the_published_git_server_asks_whatever_it_claims(home: Home, repository: Path) -> None:
    tools = await home.tools("mcp_server_git", read_only=(repository,))
    assert len(tools) >= 10
    given = {"repo_path": str(repository)}
    arguments = tools["git_status"].parse(given)
    facts = await tools["git_status"].facts(arguments, home.context)
    who = Principal(team="T1", user="U1")
    assert load_policy().rate(tools["git_status"].name, given, facts, who, read_only=False).tier is Tier.MEDIUM
    with pytest.raises(BadArguments):
        tools["git_status"].parse({"repo_path": 7})


async def test_the_published_time_server_answers(home: Home) -> None:
    tools = await home.tools("mcp_server_time", "--local-timezone=Europe/London")
    answer = await home.run(
        tools["convert_time"], source_timezone="Europe/London", time="12:00", target_timezone="Asia/Tokyo"
    )
    assert answer.ok
    assert "Asia/Tokyo" in answer.text
    assert isinstance(answer.data, dict)
    wrong = await home.run(
        tools["convert_time"], source_timezone="Nowhere/City", time="12:00", target_timezone="Asia/Tokyo"
    )
    assert not wrong.ok
