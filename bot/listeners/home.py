"""The app's home: what waits and one's own runs, kept fresh; suggested prompts on the messages tab."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import structlog
from aiolimiter import AsyncLimiter
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.errors import SlackApiError, SlackClientError

from agent.domain import Principal, RunStatus
from agent.errors import SecondKeyError
from bot.blocks.home import MOST, PAUSE, REFRESH, RESUME, HomeView, home, refused_home
from bot.blocks.kit import Block
from bot.identity import DECIDING_FRESH_S, Person
from bot.listeners import replies
from bot.listeners.inquiries import look_of, spent_today
from bot.listeners.links import card_link, link
from bot.listeners.orders import everything_paused, must_be_admin, pause_everything, resume_everything
from bot.listeners.payload import Click, click_of, mapping, text_of, user_of, who_of
from bot.listeners.services import COMMIT_S, NOW_OR_NEVER_S, Bolt, Services
from bot.listeners.visibility import could_decide, is_admin, visible
from bot.words import INCOMPLETE, STILL_SAVING, sentence
from storage.rows import TakeoverRow

PROMPTS = 4
"""Suggested prompts that Slack shows."""
LOOKED_AT = 50
"""Requests and runs looked through for one Home."""
A_MINUTE = 60
"""Homes published in a minute without anybody asking: Slack's tier 4, with some air for clicks."""
AT_ONCE = 4
_FAILURES = (SlackClientError, aiohttp.ClientError, TimeoutError, OSError)
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Listen to the opening of the home, to what people look at, and to the Home's own buttons."""

    async def opened(body: dict[str, Any]) -> None:
        event = mapping(body.get("event"))
        user, channel = user_of(event.get("user")), text_of(event.get("channel"))
        if text_of(event.get("tab")) == "home" and user:
            services.homes.opened(user, text_of(body.get("team_id")), services.clock.monotonic())
            services.tasks.start(publish(services, user, text_of(body.get("team_id")), is_asked_for=True))
        elif text_of(event.get("tab")) == "messages" and channel and services.prompts:
            services.tasks.start(suggest(services, channel))

    async def looks_elsewhere(body: dict[str, Any]) -> None:
        event = mapping(body.get("event"))
        user, channel = user_of(event.get("user")), text_of(event.get("channel"))
        about = user or channel
        if services.prompts and about and services.homes.may_prompt(about, services.clock.monotonic()):
            services.tasks.start(suggest_to(services, user, channel))

    async def looked(body: dict[str, Any], next_: Callable[[], Awaitable[None]]) -> None:
        who = who_of(body)
        if who is not None and who.in_home:  # a click in a Home shows that it is open, also after a restart
            services.homes.opened(who.user, who.team, services.clock.monotonic())
            services.homes.stir(who.user)
        await next_()

    app.middleware(looked)
    app.event("app_home_opened")(opened)
    app.event("app_context_changed")(looks_elsewhere)
    for action_id in (PAUSE, RESUME, REFRESH):
        app.action(action_id)(_pressed(services))


def _pressed(services: Services) -> Any:  # noqa: ANN401  # a listener, whose arguments Bolt chooses by their names
    async def pressed(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        click, who = click_of(body), who_of(body)
        if click is None:
            services.tasks.start(replies.audit(services, "bad_payload", who, detail="home"))
            if who is not None:
                services.tasks.start(replies.tell(services, who, INCOMPLETE))
            return
        task = services.tasks.start(_act(services, click))
        done, _ = await asyncio.wait({task}, timeout=COMMIT_S)
        if not done:
            services.tasks.start(replies.tell(services, click.who, STILL_SAVING))

    return pressed


async def _act(services: Services, click: Click) -> None:
    """The kill switch, with the person looked up now; whatever goes wrong, they are told."""
    try:
        key = f"click:{click.trigger_id}:{click.action_id}" if click.trigger_id else ""
        person = await services.identity.person(click.who.user, click.who.team, fresh_s=DECIDING_FRESH_S)
        person.full_member()
        if click.action_id == REFRESH:
            await publish(services, click.who.user, click.who.team, is_asked_for=True)
            return
        await must_be_admin(services, click.who.user, person, click.action_id)
        if key and await services.inbox.seen(key):
            return
        change = pause_everything if click.action_id == PAUSE else resume_everything
        said = await change(services, person)
    except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
        if not isinstance(error, SecondKeyError):
            _log.warning("click_failed", action=click.action_id, exc_info=error)
        said = sentence(error, command=services.command)
    await replies.tell(services, click.who, said)


async def suggest_to(services: Services, user: str, channel: str) -> None:
    """Offer them in somebody's messages tab, whose channel the event may not name."""
    try:
        if user and not channel.startswith("D"):
            async with asyncio.timeout(NOW_OR_NEVER_S):
                opened = await services.client.conversations_open(users=user)
            channel = text_of(mapping(opened.get("channel")).get("id"))
    except _FAILURES as error:
        _log.info("no_prompts", error=str(error).partition("\n")[0])
        return
    if channel.startswith("D"):
        await suggest(services, channel)


async def suggest(services: Services, channel: str) -> None:
    """Offer a few first tasks; tried once."""
    prompts = [{"title": title, "message": message} for title, message in services.prompts[:PROMPTS]]
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            await services.client.assistant_threads_setSuggestedPrompts(channel_id=channel, prompts=prompts)
    except _FAILURES as error:
        _log.info("no_prompts", error=str(error).partition("\n")[0])


async def keep(services: Services) -> None:
    """Publish what changed for people who looked at their Home lately; runs until the homes are closed."""
    limiter = AsyncLimiter(A_MINUTE, 60)
    homes = services.homes
    homes.is_kept = True
    while not homes.is_over:
        homes.woken.clear()
        now = services.clock.monotonic()
        due = homes.due(now)
        for at in range(0, len(due), AT_ONCE):
            part = due[at : at + AT_ONCE]
            await limiter.acquire(len(part))
            await asyncio.gather(*(publish(services, user) for user in part))
        try:
            async with asyncio.timeout(max(0.05, homes.wait_s(services.clock.monotonic()))):
                await homes.woken.wait()
        except TimeoutError:
            continue


async def publish(services: Services, user: str, team: str = "", *, is_asked_for: bool = False) -> bool:
    """Show somebody's Home; tried once, and again when something changes or it is opened. False when it did not work.

    Unless it was asked for, the same is not published twice.
    """
    now = services.clock.monotonic()
    shown = services.homes.get(user)
    if shown is None or is_asked_for:
        shown = services.homes.opened(user, team, now)
    async with shown.lock:
        shown.published, shown.wanted = now, float("inf")
        try:
            person = await services.identity.person(user, team or shown.team)
            note = shown.note if now < shown.note_until else ""
            view = await home_of(services, person, note)
            digest = hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()
            if digest != shown.digest or is_asked_for:
                shown.hash = await _send(services, user, view, shown.hash)
                shown.digest = digest
        except (SecondKeyError, *_FAILURES) as error:
            _log.info("no_home", error=str(error).partition("\n")[0])
            shown.digest = shown.hash = ""
            if not shown.note_is_shown:  # a click is never silently ignored
                shown.note_is_shown = True
                await replies.tell_directly(services, user, shown.note)
            return False
        shown.note_is_shown = True
        if note:
            shown.wanted = min(shown.wanted, shown.note_until)
        return True


async def _send(services: Services, user: str, view: Block, known: str) -> str:
    """Publish over the version that we know of, and return Slack's name of the new one."""
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            answer = await services.client.views_publish(user_id=user, view=view, hash=known or None)
    except SlackApiError as error:
        response: Any = error.response  # pyright: ignore[reportUnknownMemberType]  # typed only in part
        if response.get("error") != "hash_conflict":
            raise
        async with asyncio.timeout(NOW_OR_NEVER_S):
            answer = await services.client.views_publish(user_id=user, view=view)
    return text_of(mapping(answer.get("view")).get("hash"))


async def home_of(services: Services, person: Person, note: str = "") -> Block:
    """One person's Home as it stands now."""
    if person.refusal:
        return refused_home(person.refusal)
    queries, key = services.queries, person.principal.key
    pending = [row for row in queries.pending_approvals(LOOKED_AT) if could_decide(services, person, row)]
    held = [row for row in queries.open_takeovers(LOOKED_AT) if _is_theirs(services, person, row)]
    approvals = [view for row in pending if (view := queries.approval_view(row.id)) is not None]
    takeovers = [view for row in held if (view := queries.takeover_view(row.id)) is not None]
    asked = {row.run for row in (*pending, *held)}
    waiting = [run for run in queries.runs(statuses=(RunStatus.WAITING,), limit=LOOKED_AT) if run.id not in asked]
    others = await visible(services, person, waiting, MOST)
    today, left = spent_today(services, person)
    links = {row.id: card_link(services, f"card:{row.id}") for row in pending[:MOST]}
    links |= {row.id: card_link(services, f"takeover:{row.id}") for row in held[:MOST]}
    view = HomeView(
        approvals=approvals,
        held=takeovers,
        waiting=[(run, link(services, run.channel, run.thread_ts)) for run in others],
        mine=[(run, link(services, run.channel, run.thread_ts)) for run in queries.runs(requester=key, limit=MOST)],
        today=today,
        left=left,
        quotas=services.quota,
        budget_micro_usd=services.budget_micro_usd,
        problems=services.problems(),
        is_paused=everything_paused(services),
        is_admin=is_admin(services, person),
        note=note,
        links=links,
    )
    return home(view, look_of(services), services.bot_user)


def _is_theirs(services: Services, person: Person, row: TakeoverRow) -> bool:
    if row.claimed_by:
        return row.claimed_by == person.principal.key
    return could_decide(services, person, row)


def stir_requester(services: Services, key: str) -> None:
    """Something began or ended for whoever has this principal key."""
    try:
        services.homes.stir(Principal.parse(key).user)
    except ValueError:
        services.homes.stir()
