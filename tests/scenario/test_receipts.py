"""A forged yes in a running house: the executor refuses it, and the journal says so."""

from __future__ import annotations

from agent.domain import ApprovalState, Outcome
from agent.errors import ReceiptNotValid
from agent.events import ActionFinished, ApprovalDecided
from storage.audit import verify_file
from storage.database import Tx
from storage.journal import append
from tests.scenario.conftest import Opened
from tests.scenario.touch import Touch
from tests.scenario.world import OMAR, TEAM


async def test_a_forged_yes_is_refused_and_journalled(open_house: Opened) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,))
    ts = await house.ask("use touch_medium on x")
    await house.card("Touch x")
    row = house.approvals()[0]

    def forge(tx: Tx) -> None:
        tx.keyring = None  # whoever writes into the database has no key
        yes = ApprovalDecided(
            approval=row.id, state=ApprovalState.APPROVED, at=tx.now, by=f"slack:{TEAM}:{OMAR}",
            start_before=tx.now + 600,
        )  # fmt: skip
        append(tx, row.run, (yes,))

    await house.app.db.write(forge)
    await house.answer(ts)
    assert touch.done["x"] == 0
    (ended,) = [event for event in house.events(row.run) if isinstance(event, ActionFinished)]
    assert (ended.outcome, ended.code) == (Outcome.REFUSED, ReceiptNotValid.code)
    told = verify_file(house.app.db.path, public_key=house.folder / "data" / "audit.pub")
    assert "not signed" in {item.why for item in told.findings}
