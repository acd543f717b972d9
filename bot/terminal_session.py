"""One run watched from a terminal: what happens is shown, what needs a person is asked, a stop is passed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.domain import ApprovalState, TakeoverState
from agent.errors import AlreadyDecided, DecisionError, LeaseLost, OwnRequest
from bot.local import LocalDoor
from bot.terminal_prompt import Prompter
from bot.terminal_screen import Screen
from bot.words import count
from storage.rows import ApprovalRow, TakeoverRow

LOOK_S = 1.0
"""Without news it is looked at this often whether anything still goes on."""
STUCK = 5
"""Such looks in a row, with nothing going on and nobody asked, until the run is taken up again."""
NOBODY = "Nobody is at a terminal to ask."
AUTO = "Denied by --auto-deny."


@dataclass(frozen=True, slots=True)
class Driving:
    """What a session needs of the process that drives the run."""

    wake: Callable[[str], None]
    active: Callable[[], frozenset[str]]
    lost: asyncio.Event
    """The lease went to another process."""


class Session:
    """Shows and asks until the run is over."""

    def __init__(
        self,
        door: LocalDoor,
        driving: Driving,
        screen: Screen,
        prompter: Prompter | None,
        *,
        no_prompt: str = NOBODY,
    ) -> None:
        self._door, self._driving, self._screen = door, driving, screen
        self._prompter, self._no_prompt = prompter, no_prompt
        self._news = asyncio.Event()
        self._seq = 0

    async def play(self, run: str, stop: asyncio.Event) -> None:
        """Until the run is over; `stop` ends it cleanly. Raises LeaseLost or StorageUnavailable."""
        end = self._door.db.subscribe("head", lambda key: self._news.set() if key == run else None)
        told, still = False, 0
        try:
            while True:
                self._news.clear()
                self._show(run)
                if self._door.is_over(run):
                    return
                if self._driving.lost.is_set():
                    raise LeaseLost
                if stop.is_set() and not told:
                    told = True
                    await self._door.stop(run, "Stopped at the terminal.")
                    continue
                subject = None if told else self._waiting(run)
                if subject is not None:
                    await self._with(run, subject, stop)
                    continue
                is_idle = not await self._wait(stop, told=told) and run not in self._driving.active()
                still = still + 1 if is_idle else 0
                if still >= STUCK:  # a driver that failed has left it; nothing is lost by looking again
                    still = 0
                    self._driving.wake(run)
        finally:
            end()
            self._screen.quiet()

    def _show(self, run: str) -> None:
        for stored in self._door.news(run, self._seq):
            self._seq = stored.seq
            self._screen.happened(stored)

    async def _wait(self, stop: asyncio.Event, *, told: bool) -> bool:
        """Until there is news; False when there was none for a while."""
        waits = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(self._driving.lost.wait())]
        if not told:
            waits.append(asyncio.ensure_future(stop.wait()))
        try:
            done, _ = await asyncio.wait(waits, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        return bool(done)

    def _waiting(self, run: str) -> ApprovalRow | TakeoverRow | None:
        view = self._door.queries.run_view(run)
        if view is None:
            return None
        takeovers = (row for row in view.takeovers if not TakeoverState(row.state).is_final)
        approvals = (row for row in view.approvals if row.state == ApprovalState.PENDING)
        return next(takeovers, None) or next(approvals, None)

    def _still_waits(self, run: str, subject: ApprovalRow | TakeoverRow) -> bool:
        now = self._waiting(run)
        return now is not None and now.id == subject.id

    async def _with(self, run: str, subject: ApprovalRow | TakeoverRow, stop: asyncio.Event) -> None:
        """Ask; when it is decided otherwise meanwhile, or everything is to stop, the question is taken back."""
        asking = asyncio.ensure_future(
            self._approval(subject, stop) if isinstance(subject, ApprovalRow) else self._takeover(run, subject, stop)
        )
        try:
            while not asking.done():
                self._news.clear()
                self._show(run)
                if not self._still_waits(run, subject) or stop.is_set() or self._driving.lost.is_set():
                    break
                waits = [asyncio.ensure_future(event.wait()) for event in (self._news, stop, self._driving.lost)]
                await asyncio.wait([asking, *waits], return_when=asyncio.FIRST_COMPLETED)
                for one in waits:
                    one.cancel()
        finally:
            if not asking.done():
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        if asking.cancelled():
            return
        error = asking.exception()
        if isinstance(error, DecisionError):
            self._screen.say(str(error))
            if self._prompter is None and not isinstance(error, AlreadyDecided):
                await self._door.stop(run, str(error))  # nobody here could decide otherwise
        elif error is not None:
            raise error

    # -- a yes ---------------------------------------------------------------------------------------------------

    async def _approval(self, row: ApprovalRow, stop: asyncio.Event) -> None:
        view = self._door.queries.approval_view(row.id)
        if view is None:
            return
        if self._prompter is None:
            await self._deny(row, self._no_prompt)
            return
        self._screen.approval(view)
        self._prompter.forget()
        while True:
            said = await self._prompter.line("Approve? [y]es, [n]o, [d]etails, [s]top the run: ")
            match said.lower() if said is not None else None:
                case None:
                    self._prompter = None
                    await self._deny(row, NOBODY)
                    return
                case "y" | "yes":
                    await self._approve(row)
                    return
                case "n" | "no":
                    why = await self._prompter.line("Why not? (Enter: no reason) ")
                    if "deny" in row.reason_for and not why:
                        self._screen.say("The policy wants a reason for a no.")
                        continue
                    await self._deny(row, why or "")
                    return
                case "d" | "details":
                    self._screen.approval(view, everything=True)
                case "s" | "stop":
                    stop.set()
                    return
                case _:
                    self._screen.say(f"{'Nothing was' if not said else 'That was not'} understood; y, n, d or s.")

    async def _approve(self, row: ApprovalRow) -> None:
        reason = ""
        if "approve" in row.reason_for and self._prompter is not None:
            reason = await self._prompter.line("The policy wants a reason for a yes: ") or ""
        decisions, who = self._door.decisions, self._door.who
        try:
            decided = await decisions.vote(
                row.id, who, "approve", via="terminal", reason=self._door.redact(reason)
            )  # fmt: skip
        except OwnRequest:
            self._screen.say("The policy lets nobody say yes to their own request here, so it is not run.")
            await decisions.withdraw(row.id, who)
            return
        except AlreadyDecided:
            raise
        except DecisionError as error:
            self._screen.say(str(error))  # it is asked again
            return
        if decided.state == ApprovalState.PENDING:
            needs = count(row.quorum, "yes", "yeses")
            self._screen.say(f"It needs {needs}, and only one person is here, so it is not run.")
            await decisions.withdraw(row.id, who)

    async def _deny(self, row: ApprovalRow, reason: str) -> None:
        decisions, who = self._door.decisions, self._door.who
        try:
            await decisions.vote(row.id, who, "deny", via="terminal", reason=self._door.redact(reason))
            if not reason:
                await decisions.explain_denial(row.id, who, "")
        except OwnRequest:
            await decisions.withdraw(row.id, who)  # one's own request can always be taken back

    # -- a hand --------------------------------------------------------------------------------------------------

    async def _takeover(self, run: str, row: TakeoverRow, stop: asyncio.Event) -> None:
        view = self._door.queries.takeover_view(row.id)
        if view is None:
            return
        if self._prompter is None:
            await self._give_up(run, row, self._no_prompt)
            return
        self._screen.takeover(view)
        self._prompter.forget()
        options = "[y]es it did, [n]o: propose it again" if row.cause == "unknown" else "[d]one by me, [h]and it back"
        is_over = False
        while not is_over:
            is_over = await self._answered(run, row, f"{options}, [a]bort the run: ", stop)

    async def _answered(self, run: str, row: TakeoverRow, question: str, stop: asyncio.Event) -> bool:
        """Ask and do what was answered; False when that decided nothing."""
        said = await self._prompter.line(question) if self._prompter is not None else None
        if said is None or self._prompter is None:
            self._prompter = None
            await self._give_up(run, row, NOBODY)
            return True
        unknown = row.cause == "unknown"
        match said.lower():
            case "y" | "yes" if unknown:
                await self._door.decisions.answer_unknown(row.id, self._door.who, "happened")
            case "n" | "no" if unknown:
                await self._door.decisions.answer_unknown(row.id, self._door.who, "run_again")
            case "d" | "done" if not unknown:
                return await self._done(row, self._prompter)
            case "h" | "hand back" if not unknown:
                told = await self._prompter.line("What shall the agent do instead? (Enter: no word) ")
                await self._close(row, "handed_back", told or "")
            case "a" | "abort":
                why = await self._prompter.line("Why? (Enter: no reason) ")
                await self._give_up(run, row, why or "")
            case "s" | "stop":
                stop.set()
            case _:
                self._screen.say("That was not understood.")
                return False
        return True

    async def _done(self, row: TakeoverRow, prompter: Prompter) -> bool:
        what = await prompter.line("What did you do? ")
        if not what:
            self._screen.say("The agent has to know what was done, so that it does not do it again.")
            return False
        reference = await prompter.line("Reference, such as a ticket (Enter: none) ")
        evidence = await prompter.line("How can it be seen? (Enter: no word) ")
        await self._close(row, "done", what, reference or "", evidence or "")
        return True

    async def _close(self, row: TakeoverRow, state: str, what: str, reference: str = "", evidence: str = "") -> None:
        decisions, who, redact = self._door.decisions, self._door.who, self._door.redact
        ending = "done" if state == "done" else "handed_back" if state == "handed_back" else "aborted"
        claimed = await decisions.claim(row.id, who)
        await decisions.close_takeover(
            row.id,
            who,
            ending,
            token=claimed.claim_token,
            what=redact(what),
            reference=redact(reference),
            evidence=redact(evidence),
        )

    async def _give_up(self, run: str, row: TakeoverRow, why: str) -> None:
        try:
            if row.cause == "unknown":
                await self._door.decisions.answer_unknown(row.id, self._door.who, "stop")
            else:
                await self._close(row, "aborted", why)
        except AlreadyDecided:
            raise
        except DecisionError:  # the policy names nobody at a terminal: then the run itself is ended
            await self._door.stop(run, why or "Nobody may take it over here.")
