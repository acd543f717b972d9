"""The configuration: policy, project, databases, the way out, secrets, tools and runbooks."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

from agent.broker import Broker
from agent.clock import SystemClock
from agent.errors import ConfigurationError, SecondKeyError, ToolError
from agent.policy import Policy, load_policy
from agent.policy_check import check_policy
from agent.prompting import REPLACEABLE, Prompts
from agent.runbooks import Runbooks
from agent.tools.databases import Server, named_databases
from agent.tools.egress import Egress
from agent.tools.own import load_tools
from agent.tools.packages import load_packages
from agent.tools.registry import Registry, default_tools
from agent.tools.sql_engine import session
from agent.tools.threads import Stop
from bot.cli_mcp import trusted_tools
from bot.config import Settings
from bot.doctor.finding import Finding, broken, mend, well
from bot.mcp_servers import McpServers
from bot.words import count
from storage.approvers import Approver, standing
from storage.database import read_only

_SERVER_S = 10.0


def look_at_configuration(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Read all that `serve` reads at its start."""
    yield from _guarded("policy", lambda: _policy(settings))
    yield from _guarded("project", lambda: _project(settings))
    yield from _guarded("runbooks", lambda: _runbooks(settings))
    if settings.prompts is not None:
        yield from _guarded("prompts", lambda: _prompts(settings))
    yield from _guarded("tools", lambda: _tools(settings))
    yield from _guarded("packages", lambda: _packages(settings))
    yield from _guarded("egress", lambda: _egress(settings))
    yield from _guarded("secrets", lambda: _secrets(settings, environment))
    yield from _guarded("databases", lambda: _databases(settings, environment))
    yield from _guarded("mcp", lambda: _mcp(settings, environment))


def policy_of(settings: Settings) -> Policy:
    """The configured policy with the configured people, but for user groups and the registry."""
    policy = load_policy(settings.policy)
    people = policy.people
    update = {
        "approvers": tuple(dict.fromkeys((*people.approvers, *settings.approvers))),
        "admins": tuple(dict.fromkeys((*people.admins, *settings.admins))),
    }
    return Policy(
        policy.version, policy.mode, people.model_copy(update=update), policy.limits, policy.shipped, policy.own
    )


def registered(settings: Settings) -> tuple[Approver, ...]:
    """The registry of approvers; empty when it cannot be read, which the look at the database tells. Blocks."""
    if not settings.database.is_file():
        return ()
    try:
        with closing(read_only(settings.database)) as conn:
            return standing(conn.execute)
    except sqlite3.Error:
        return ()


def _guarded(part: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What `serve` would refuse to start with is a finding here, with the same words."""
    try:
        yield from look()
    except ConfigurationError as error:
        yield broken(part, str(error), error.fix or "Mend the configuration.")
    except SecondKeyError as error:
        yield broken(part, str(error), f"Mend `{part}` in the configuration.")


def _policy(settings: Settings) -> Iterator[Finding]:
    policy = policy_of(settings)
    found = check_policy(policy, [tool.name for tool in default_tools()])
    unsafe = [item for item in found if item.level == "unsafe"]
    for item in unsafe:
        yield mend("policy", f"{item.rule}: {item.text}", "`secondkey policy check` says more.")
    named = any(rule.text.deciders for rule in policy.own)
    if not policy.people.approvers and not named and not registered(settings):
        fix = "Name Slack user ids as `approvers` in secondkey.toml, or in the policy's [people]."
        yield broken("policy", "Nobody may approve anything, so `serve` refuses to start.", fix)
    elif not unsafe:
        rules = count(len(policy.own), "own rule")
        other = f"; {count(len(found), 'remark')} by `secondkey policy check`" if found else ""
        yield well("policy", f"{policy.version}: {rules} beside {len(policy.shipped)}, mode {policy.mode}{other}.")


def _project(settings: Settings) -> Iterator[Finding]:
    if not settings.project.is_dir():
        yield broken("project", f"The project {settings.project} is not a folder.", "Set `project`.")
    elif not (settings.project / ".git").exists():
        said = f"{settings.project.absolute()} is no git repository: every file in it is open to agents."
        yield mend("project", said, "Run `git init` there: what .gitignore names is then kept from agents.")
    else:
        yield well("project", f"{settings.project.absolute()} is a git repository.")


def _runbooks(settings: Settings) -> Iterator[Finding]:
    Runbooks.load(settings.runbooks)
    yield well("runbooks", f"{count(len(settings.runbooks), 'further file')} beside the shipped one can be read.")


def _prompts(settings: Settings) -> Iterator[Finding]:
    own = [name for name in REPLACEABLE if Prompts.load(settings.prompts).is_own(name)]
    yield well("prompts", f"Of one's own: {', '.join(own)}.")


def _tools(settings: Settings) -> Iterator[Finding]:
    own = load_tools(settings.tools)
    timeouts = {name: s for name, s in settings.tool_timeouts.items() if name != "http_request" or not settings.egress}
    packages = load_packages(settings.python_packages) if settings.python_packages is not None else None
    Registry((*default_tools(packages=packages), *own), timeouts=timeouts)
    names = f": {', '.join(tool.name for tool in own)}" if own else ""
    yield well("tools", f"{count(len(own), 'tool')} of one's own{names}.")


def _packages(settings: Settings) -> Iterator[Finding]:
    if settings.python_packages is None:
        yield well("packages", "run_python has Python's standard library and no packages.")
        return
    load_packages(settings.python_packages)
    yield well("packages", f"run_python may import what lies in {settings.python_packages}.")


def _egress(settings: Settings) -> Iterator[Finding]:
    egress = Egress(settings.egress)
    if not egress:
        yield well("egress", "No place is named, so there is no http_request.")
        return
    plain = [origin for origin in egress.origins if origin.startswith("http://")]
    if plain:
        said = f"What goes to {', '.join(plain)} can be read and changed on the way."
        yield mend("egress", said, "Use https there, if it is not this machine.")
    else:
        yield well("egress", f"http_request reaches {', '.join(egress.origins)}.")


def _secrets(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    broker = Broker(settings.secrets, environment)
    yield well("secrets", f"{', '.join(broker.names)} can be read." if broker.names else "None is configured.")


def _databases(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    broker = Broker(settings.secrets, environment)
    for name, one in named_databases(settings.databases, broker).items():
        if isinstance(one, Server):
            yield _server(one, broker)
            continue
        if not one.path.is_file():
            yield broken("databases", f"The database {name!r} is not at {one.path}.", "Mend [databases].")
            continue
        try:
            with closing(read_only(one.path)) as conn:
                conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            yield broken("databases", f"The database {name!r} cannot be read: {error}.", "Mend [databases].")
        else:
            yield well("databases", f"{name!r} can be read.")
    if not settings.databases:
        yield well("databases", "None is configured.")


def _server(server: Server, broker: Broker) -> Finding:
    try:
        with session(server, broker, write=False, stop=Stop(), deadline=time.perf_counter() + _SERVER_S) as connected:
            list(connected.read("SELECT 1", 1).rows)
    except ToolError as error:
        return broken("databases", str(error), f"Mend [databases.{server.name}], or start its server.")
    return well("databases", f"{server.name!r} can be read.")


def _mcp(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """How the servers are declared, and whether anything of theirs is trusted; none of them is spoken to."""
    broker = Broker(settings.secrets, environment)
    servers = McpServers.read(settings.mcp, data=settings.data, broker=broker, clock=SystemClock())
    if not servers.names:
        yield well("mcp", "No server is declared.")
        return
    try:
        known = {one.server for one in trusted_tools(settings)}
    except sqlite3.Error:
        known = set[str]()
    for name in servers.names:
        command = servers.settings(name).command
        if command and shutil.which(command, path="/usr/bin") is None:
            yield mend("mcp", f"The program of {name} ({command}) is not there.", f"Install it, or mend [mcp.{name}].")
        elif name not in known:
            yield mend("mcp", f"No tool of {name} is trusted, so none is used.", f"secondkey mcp trust {name}")
        else:
            yield well("mcp", f"{name} is declared, and tools of it are trusted; `secondkey mcp test {name}` asks it.")
