"""Part of the composition root: what keeps the ways in open beside the listeners, and what it is told of."""

from __future__ import annotations

from dataclasses import replace

from bot.anchoring import Anchoring, AnchoringKit
from bot.listeners import home, replies
from bot.listeners.services import Services
from bot.posting import Poster
from storage.anchors import Anchors
from storage.audit import refused


def keep_entries(services: Services, poster: Poster) -> Services:
    """The services with what takes tasks asked elsewhere; told of every change that it and the Homes must know of."""

    async def audit(kind: str, principal: str, subject: str, detail: str) -> None:
        await services.db.write(
            lambda tx: refused(tx, kind=kind, principal=principal, subject=subject, detail=detail[:200])
        )

    async def tell(user: str, text: str) -> None:
        await replies.tell_directly(services, user, text)

    async def members(channel: str) -> frozenset[str]:
        return await services.members.of(channel, services.client, services.clock)

    anchoring = Anchoring(
        AnchoringKit(
            anchors=Anchors(services.db),
            inbox=services.inbox,
            queries=services.queries,
            identity=services.identity,
            members=members,
            poster=poster,
            client=services.client,
            clock=services.clock,
            ids=services.ids,
            quota=services.quota,
            refused=audit,
            tell=tell,
            command=services.command,
        )
    )
    kept = replace(services, anchoring=anchoring)
    db, homes = services.db, services.homes
    db.subscribe("home", anchoring.wake)
    db.subscribe("home", lambda key: home.stir_requester(kept, key))
    db.subscribe("deadline", lambda _: homes.stir())
    db.subscribe("control", lambda _: homes.stir())
    db.subscribe("outbox", lambda _: homes.stir(slowly=True))
    return kept
