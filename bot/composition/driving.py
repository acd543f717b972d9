"""What drives runs: the agent's equipment, the models, the sandbox, the queue and the deadlines."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from agent.equipment import Equipment
from agent.errors import ModelError
from agent.model import WireModel
from agent.ports import ChatModel, Sandbox
from agent.resilience import Breakers
from agent.revising import Reviser
from agent.runtime import Runtime
from agent.sandbox.select import choose
from agent.state import RunState
from agent.supervisor import Limits
from agent.tools.base import ToolContext
from bot.composition.ground import Ground
from bot.deadlines import Deadlines
from bot.running import Running
from bot.turns import Turns
from bot.watching import watch_breakers
from storage.breakers import KeptBreakers
from storage.decisions import Decisions
from storage.grants import Grants
from storage.journal import SqliteJournal
from storage.outbox import Outbox

_log = structlog.get_logger(__name__)


async def drive(running: Running, ground: Ground) -> None:
    """Take up what was left, and drive from now on; the lease is ours already."""
    materials = ground.materials
    sandbox = await _sandbox(running, ground)
    kept = KeptBreakers(running.db)
    breakers = Breakers(materials.clock, kept=kept.load(), changed=kept.keep)
    running.closing.append(kept.aclose)
    watch_breakers(materials.metrics, breakers.states, lambda: (*materials.chain, *materials.registry.services))
    equipment = _equipment(running, ground, sandbox, breakers)
    running.reviser = Reviser(equipment)
    settings = materials.settings
    limits = Limits(
        chain=materials.chain,
        micro_usd=materials.budget_micro_usd,
        tokens=settings.tokens_a_run,
        call_s=settings.model_timeout,
        judge=settings.judge,
        history_tokens=settings.history_tokens,
    )
    running.runtime = Runtime(equipment, _model(running, ground, breakers), limits, rush=running.rush)
    wake = running.runtime.wake
    running.db.subscribe("run", lambda run: wake(run) if ground.is_ours(run) else None)
    if not ground.is_local:
        draw = Outbox(running.db).want
        running.turns = Turns(running.db, settings.room, wake=wake, draw=lambda run: draw(f"progress:{run}"))
        running.db.subscribe("queue", running.turns.look)
        running.looks.append(asyncio.create_task(running.turns.run(), name="queue"))
    running.db.subscribe("control", running.keeper.look)
    running.keeper.start()
    await ground.control.take()
    await running.runtime.recover(ground.to_drive())


def sweep(running: Running, ground: Ground, decisions: Decisions) -> None:
    """Start the deadlines."""
    clock = ground.materials.clock

    async def due(limit: int) -> int:
        return await decisions.sweep(clock.now(), limit)

    running.deadlines = Deadlines(due, decisions.next_deadline, clock)
    running.db.subscribe("deadline", running.deadlines.arm)
    running.deadlines.start()


async def _sandbox(running: Running, ground: Ground) -> Sandbox:
    """The sandbox that holds on this machine; MCP servers run in it, too."""
    sandbox = await choose()
    running.sandbox = await sandbox.self_test() if sandbox.name == "none" else ""
    if running.sandbox:
        _log.warning("sandbox_unavailable", reason=running.sandbox)
    materials, db = ground.materials, running.db
    mcp = running.mcp = materials.mcp
    mcp.sandbox, mcp.telemetry = sandbox, materials.telemetry(running.traces)
    mcp.refresh(materials.registry, db)
    running.tasks.append(asyncio.create_task(mcp.keep(materials.registry, db), name="mcp"))
    return sandbox


def _equipment(running: Running, ground: Ground, sandbox: Sandbox, breakers: Breakers) -> Equipment:
    materials, db = ground.materials, running.db
    settings, clock = materials.settings, materials.clock
    return Equipment(
        journal=SqliteJournal(
            db,
            ground.lease,
            kill_file=settings.kill_file,
            budgets=None if ground.is_local else settings.budgets,
            room=None if ground.is_local else settings.room,  # a terminal drives its own run alone
        ),
        clock=clock,
        ids=materials.ids,
        registry=materials.registry,
        policy=ground.policies,
        runbooks=ground.runbooks,
        context=_contexts(ground, sandbox),
        find_secret=materials.kind_of_secret,
        redact=materials.redact,
        telemetry=materials.telemetry(running.traces),
        roll=random.random,
        breakers=breakers,
        grants=lambda tool, requester: Grants(db).standing(tool, requester, clock.now()),
        may_still=ground.deciding.may_still,
        still_entitled=ground.deciding.still_entitled,
        prompts=materials.prompts,
    )


def _contexts(ground: Ground, sandbox: Sandbox) -> Callable[[RunState], ToolContext]:
    """What a tool is given, run by run."""
    materials, policies = ground.materials, ground.policies
    settings = materials.settings
    workspaces, project = (settings.data / "workspaces").resolve(), settings.project.resolve()

    def context(state: RunState) -> ToolContext:
        return ToolContext(
            run=state.run,
            workspace=workspaces / state.run,
            project=project,
            sandbox=sandbox,
            databases=materials.databases,
            max_files=policies().limits.max_files,
            egress=materials.egress,
            broker=materials.broker,
        )

    return context


def _model(running: Running, ground: Ground, breakers: Breakers) -> ChatModel:
    """The model that was given, or the wire, which is made ready beside the start."""
    materials = ground.materials
    if materials.model is not None:
        return materials.model
    model = WireModel(
        materials.chain,
        environment=materials.environment,
        prices=materials.settings.prices,
        clock=materials.clock,
        breakers=breakers,
    )
    if materials.chain:
        running.closing.append(model.aclose)
        running.tasks.append(asyncio.create_task(_warm_up(model), name="models"))
    return model


async def _warm_up(model: WireModel) -> None:
    """Import providers and prices beside the start, so that the first call does not pay for it."""
    try:
        await model.prepare()
    except ModelError as error:
        _log.warning("model_not_usable", error=str(error))
