"""Ratings: facts and policy give a risk, the gate says which door, and the events follow from that."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from agent import events as ev
from agent.chain import Chain, chain_of
from agent.domain import (
    TAKEOVER_LIMIT_S,
    Action,
    ApprovalState,
    Outcome,
    Principal,
    Reason,
    Risk,
    Terms,
    Tier,
    content_hash,
)
from agent.equipment import Box, Equipment
from agent.errors import SandboxUnavailable
from agent.facts.model import Facts
from agent.gate import Verdict, decide
from agent.granting import Granter, reason_of
from agent.origins import Origins
from agent.policy import Policy
from agent.ports import Intention
from agent.proposing import SUMMARY_CHARACTERS, refusal, worker_of
from agent.secrets import without_secrets
from agent.state import ActionState, RunState
from agent.supervisor import RateAction
from agent.terms import Scope
from agent.tools.base import Preview

RATINGS_KEPT = 256
_NOT_KNOWN = Facts(undecidable=("The tool is not known.",))
_NO_PREVIEW = Preview()


@dataclass(frozen=True, slots=True)
class Rating:
    """A verdict with what it stands on."""

    verdict: Verdict
    facts: Facts
    preview: Preview
    headline: str


@dataclass(frozen=True, slots=True)
class _Rated:
    """What the policy said, and of what: the same policy says the same of it again."""

    policy: Policy
    action: Action
    facts: Facts
    read_only: bool
    chain: Chain
    risk: Risk

    def is_of(self, policy: Policy, action: Action, facts: Facts, chain: Chain, *, read_only: bool) -> bool:
        """Whether exactly this is to be rated."""
        same = self.policy is policy and self.action is action and self.read_only == read_only
        return same and self.facts == facts and self.chain == chain


class Rater:
    """Rates actions and opens what they need: nothing, an approval, or a takeover."""

    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment
        self._rated: dict[str, _Rated] = {}
        """The newest ratings by action: most actions start at once, and everything is as it was then."""
        self._granter = Granter(equipment)
        self._origins = Origins(equipment)

    async def rate(self, box: Box, move: RateAction) -> None:
        """Read facts, rate, and let the gate say what comes next."""
        item = box.state.actions[move.action]
        rating = await self.rating(box.state, item)
        async with box.door:
            state = box.state
            if state.open_takeover is not None:
                return  # a person was asked meanwhile: nothing else is asked or let through, and it is rated anew later
            events, blobs = self.outcome_of_rating(state, item, rating)
            await box.commit(events, Intention(epoch=state.epoch), blobs)

    async def rating(self, state: RunState, item: ActionState) -> Rating:
        """Facts, preview and verdict of an action as things are now; whatever goes wrong raises the risk."""
        action = item.action
        context = self._kit.context(state)
        facts, preview, headline = _NOT_KNOWN, _NO_PREVIEW, f"Call {action.tool}"
        read_only = False
        try:
            tool = self._kit.registry.get(action.tool, worker_of(state, action.step))
            read_only = tool.read_only
            if tool.needs_sandbox and context.sandbox.name == "none":
                refusal = Verdict("refuse", Risk(tier=Tier.HIGH), SandboxUnavailable.code, str(SandboxUnavailable()))
                return Rating(refusal, facts, preview, headline)
            arguments = tool.parse(action.arguments)
            facts = await tool.facts(arguments, context)
            facts = await self._origins.traced(state, item.action, facts)
            headline = tool.headline(arguments, preview)
            preview = await tool.preview(arguments, context)
            headline = tool.headline(arguments, preview)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  # invariant 7: anything at all; a panic in Rust is no Exception
            said = f"It could not be analysed ({type(error).__name__})."
            facts = facts.model_copy(update={"undecidable": (*facts.undecidable, said)})
            risk = self._risk(state, item, facts, read_only=False)
            if risk.tier is not Tier.HIGH:
                reasons = (*risk.reasons, Reason(rule="analyser_failed", text=said))
                risk = risk.model_copy(update={"tier": Tier.HIGH, "reasons": reasons})
        else:
            risk = self._risk(state, item, facts, read_only=read_only)
        edited = action.revision is not None and action.revision.cause == "edit"
        verdict = decide(state, risk, facts.effects, undecidable=bool(facts.undecidable), edited=edited)
        return Rating(verdict, facts, preview, headline)

    def _risk(self, state: RunState, item: ActionState, facts: Facts, *, read_only: bool) -> Risk:
        policy, action = self._kit.policy(), item.action
        chain = chain_of(state, action.id, facts)
        rated = self._rated.pop(action.id, None)
        if rated is not None and rated.is_of(policy, action, facts, chain, read_only=read_only):
            return rated.risk
        risk = policy.rate(
            action.tool,
            action.arguments,
            facts,
            self._requester(state),
            read_only=read_only,
            channel=self._channel(state),
            at=self._kit.clock.now(),
            chain=chain,
        )
        if not policy.reads_the_time:
            self._rated[action.id] = _Rated(policy, action, facts, read_only, chain, risk)
            if len(self._rated) > RATINGS_KEPT:
                del self._rated[next(iter(self._rated))]
        return risk

    def _channel(self, state: RunState) -> str:
        return state.task.place.channel if state.task is not None else ""

    def _requester(self, state: RunState) -> Principal:
        assert state.task is not None  # noqa: S101  # a run without a task is no state
        return state.task.principal

    def outcome_of_rating(
        self, state: RunState, item: ActionState, rating: Rating, because: str = "", *, by_grant: bool = True
    ) -> tuple[list[ev.Event], dict[str, str]]:
        """The events that a rating leads to, with the bodies they name; without `by_grant` people are asked."""
        policy, verdict = self._kit.policy(), rating.verdict
        blobs: dict[str, str] = {}
        rated = ev.ActionRated(
            action=item.action.id,
            tier=verdict.risk.tier,
            reasons=verdict.risk.reasons,
            intents=rating.facts.effects,
            undecidable=bool(rating.facts.undecidable),
            headline=self._kit.redact(rating.headline)[:SUMMARY_CHARACTERS],
            facts_blob=put_blob(blobs, rating.facts.model_dump_json()),
            preview_blob=put_blob(blobs, self._shown(rating.preview)) if rating.preview.kind != "none" else "",
            policy_version=policy.version,
            rows=rating.facts.counts.get("rows", 0),
            files=rating.facts.counts.get("files", 0),
            amount=rating.facts.amount,
            irreversible=rating.facts.reversibility == "irreversible",
            rules=verdict.risk.terms.rules,
        )
        match verdict.door:
            case "go":
                return [rated], blobs
            case "refuse":
                return [rated, refusal(item.action.id, verdict.code, verdict.why)], blobs
            case "ask":
                asked = self.approval(state, item, verdict.risk, because, irreversible=rated.irreversible)
                grant = self._granter.find(state, item, verdict, rating.facts, asked) if by_grant else None
                if grant is not None:
                    reasons = (*rated.reasons, reason_of(grant))
                    return [rated.model_copy(update={"grant": grant.id, "reasons": reasons})], blobs
                return [rated, asked], blobs
            case "person":
                opened = self._takeover(state, item, "high", verdict.risk.terms)
                return [*self.withdrawals(state, "A person was asked to take over."), rated, opened], blobs

    def _shown(self, preview: Preview) -> str:
        """A preview as people see it: rows and files may hold what nobody is to see. What is compared is its hash."""
        return json.dumps(without_secrets(preview.model_dump(mode="json"), self._kit.redact))

    def approval(
        self, state: RunState, item: ActionState, risk: Risk, because: str, *, irreversible: bool = False
    ) -> ev.ApprovalRequested:
        """The request for a yes that the policy wants for this action; an `irreversible` one must be read first."""
        policy, now, terms = self._kit.policy(), self._kit.clock.now(), risk.terms
        team, scope = self._team(state), self._scope(state, item, risk.tier)
        return ev.ApprovalRequested(
            approval=self._kit.ids.new("p"),
            action=item.action.id,
            digest=item.action.digest,
            epoch=state.epoch,
            created_at=now,
            expires_at=now + terms.timeout_s,
            timeout_s=terms.timeout_s,
            deciders=policy.deciders(team, terms, scope),
            quorum=terms.quorum,
            because=because,
            rules=terms.rules,
            escalate_to=policy.next_deciders(team, terms, scope),
            reason_for=terms.reason_for,
            floor_s=policy.limits.approve_floor_s if irreversible else 0.0,
        )

    def _scope(self, state: RunState, item: ActionState, tier: Tier) -> Scope:
        return Scope(tool=item.action.tool, channel=self._channel(state), tier=tier.value)

    def _takeover(
        self, state: RunState, item: ActionState, cause: str, terms: Terms | None = None
    ) -> ev.TakeoverOpened:
        now = self._kit.clock.now()
        return ev.TakeoverOpened(
            takeover=self._kit.ids.new("takeover"),
            action=item.action.id,
            epoch=state.epoch,
            cause="high" if cause == "high" else "unknown",
            opened_at=now,
            give_up_at=now + TAKEOVER_LIMIT_S,
            deciders=self._kit.policy().deciders(self._team(state), terms, self._scope(state, item, Tier.HIGH)),
        )

    def _team(self, state: RunState) -> str:
        assert state.task is not None  # noqa: S101  # as above
        return state.task.principal.team

    def withdrawals(self, state: RunState, reason: str) -> list[ev.Event]:
        """Withdraw everything that still waits for people or has a yes that was not used."""
        now = self._kit.clock.now()
        return [
            ev.ApprovalDecided(approval=item.id, state=ApprovalState.WITHDRAWN, at=now, reason=reason)
            for item in state.approvals.values()
            if item.state is ApprovalState.PENDING or state.actions[item.action].phase == "approved"
        ]

    def closing(self, state: RunState, reason: str) -> list[ev.Event]:
        """What has to be closed before a run ends."""
        now = self._kit.clock.now()
        takeover = state.open_takeover
        closed: list[ev.Event] = (
            []
            if takeover is None
            else [ev.TakeoverClosed(takeover=takeover.id, state="aborted", at=now, what=reason, epoch=state.epoch)]
        )
        unstarted: list[ev.Event] = [
            ev.ActionFinished(action=item.action.id, outcome=Outcome.CANCELLED, summary=reason)
            for item in state.actions.values()
            if item.phase in {"proposed", "allowed"}
        ]
        return [*self.withdrawals(state, reason), *closed, *unstarted]

    def unknown(
        self, state: RunState, item: ActionState, finished: ev.ActionFinished | None = None
    ) -> list[ev.Event]:  # fmt: skip
        """Hand an action to a person of which nobody knows whether it happened.

        Without `finished`, what is known of its end, a dead process left no result.
        """
        finished = finished or ev.ActionFinished(
            action=item.action.id,
            outcome=Outcome.UNKNOWN,
            code="PROCESS_DIED",
            summary="The process died between start and result; nobody knows whether it happened.",
        )
        terms = self._kit.policy().terms_named(item.rules)  # who decides on the action decides what became of it
        opened = self._takeover(state, item, "unknown", terms)
        return [*self.withdrawals(state, "A person was asked to look at an unknown outcome."), finished, opened]


def put_blob(blobs: dict[str, str], text: str) -> str:
    """Add a body to those that a commit stores; returns its hash."""
    digest = content_hash(text)
    blobs[digest] = text
    return digest
