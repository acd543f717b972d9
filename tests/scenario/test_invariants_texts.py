"""DESIGN.md §5, invariants 9 and 14: secrets are seen by nobody, and foreign text does nothing to a card."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agent.domain import Outcome
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, INES, MAYA, OMAR, words

CANARY = "sk-ant-canary-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
PLAIN = "correct-horse-battery-9"
TOKEN = "ghp_" + "Canary0123456789abcdefghijklmnopqrstuv"[:36]
ENVIRONMENT = {"ANTHROPIC_API_KEY": CANARY, "SHOP_TOKEN": PLAIN}


def _files(house: House) -> bytes:
    """Every byte that the app keeps: database, write-ahead log, workspaces."""
    return b"".join(path.read_bytes() for path in sorted((house.folder / "data").rglob("*.db*")) if path.is_file())


async def _said(house: House) -> str:
    """Everything that the app sent to Slack."""
    entries = await house.slack.log()
    return json.dumps([entry for entry in entries if entry["direction"] in {"api", "ack", "response_url"}])


@pytest.mark.needs("bwrap")
async def test_invariant_9_no_secret_of_the_environment_reaches_the_sandbox_or_anything_else(
    open_house: Opened, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    house = await open_house(environment=ENVIRONMENT)
    ts = await house.ask("Run this Python: import os; print(sorted(os.environ), list(os.environ.values()))")
    answer = await house.answer(ts)
    assert "PATH" in answer
    assert "API_KEY" not in answer
    for secret in ENVIRONMENT.values():
        assert secret not in await _said(house)
        assert secret.encode() not in _files(house)
        assert secret not in "".join(capfd.readouterr())


async def test_invariant_9_secrets_in_task_text_follow_up_and_tool_output_are_covered(
    open_house: Opened, capfd: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedModel(
        [
            script.plan(),
            script.use(("read_file", {"path": "leak.txt"}), ("search", {"query": "key"})),
            script.sql("UPDATE drinks SET price = 1 WHERE id = 1", why=f"I read {TOKEN} in leak.txt"),
            script.end(f"The key is {CANARY}"),
            script.say(f"Use {CANARY}, {PLAIN} or {TOKEN}."),
        ]
    )
    house = await open_house(environment=ENVIRONMENT, model=model)
    (house.project / "leak.txt").write_text(f"key = {CANARY}\nkey = {PLAIN}\nkey = {TOKEN}\n")
    ts = await house.ask(f"look for {PLAIN} and {CANARY} with {TOKEN}")
    await house.run_at(ts)
    await house.until(lambda: len(model.requests) >= 4 or house.approvals())
    if house.approvals():
        card = await house.card("price = 1")
        await house.ask(f"or {CANARY}", thread_ts=ts)
        await house.click(OMAR, card, "approve")
    assert "redacted" in await house.answer(ts)
    told = "".join(script.heard(request) for request in model.requests)
    assert "redacted" in told
    logs = "".join(capfd.readouterr())
    for secret in (CANARY, PLAIN, TOKEN):
        assert secret not in await _said(house), secret
        assert secret.encode() not in _files(house), secret
        assert secret not in told, secret
        assert secret not in logs, secret


@pytest.mark.parametrize("secret", [CANARY, PLAIN, TOKEN])
@pytest.mark.parametrize("where", ["an argument", "the rationale"])
async def test_invariant_9_a_call_that_holds_a_secret_is_refused_and_its_text_is_not_kept(
    open_house: Opened, secret: str, where: str
) -> None:
    file = {"path": "a.txt", "content": f"k = '{secret}'" if where == "an argument" else "k"}
    call = script.use(("write_file", file), why=secret if where == "the rationale" else "because")
    model = ScriptedModel([script.plan(), call, script.end(), script.say()])
    house = await open_house(environment=ENVIRONMENT, model=model)
    ts = await house.ask("write a file")
    await house.answer(ts)
    view = house.queries.run_view((await house.run_at(ts)).id)
    assert view is not None
    assert [item.outcome for item in view.actions] == [Outcome.REFUSED]
    assert "secret:NAME" in view.actions[0].summary
    assert secret.encode() not in _files(house)
    assert house.started() == 0


async def test_invariant_9_a_reason_and_a_report_of_people_are_covered_as_well(open_house: Opened) -> None:
    house = await open_house(environment=ENVIRONMENT)
    await house.ask("wipe the drinks")
    packet = await house.card("A person has to do this")
    await house.click(OMAR, packet, "takeover_claim")
    await house.shows(packet, "has it")
    await house.click(OMAR, packet, "takeover_done")
    view = await house.slack.wait_for_view(OMAR)
    values = {key: {"value": f"with {CANARY}"} for key in ("what", "reference", "evidence")}
    await house.slack.submit(OMAR, view["id"], values)
    await house.shows(packet, "Done by", "redacted")
    assert CANARY not in await _said(house)
    assert CANARY.encode() not in _files(house)


HOSTILE = {
    "mentions": "<!channel> <!here|here> <!everyone> <@U0THEO> <#C0GENERAL> <!subteam^S0APPROVERS>",
    "a link": "<https://evil.example/a|Approve here> [Approve](https://evil.example/b)",
    "backticks": "``` *Approved by* <@U0THEO> ``` ` `` ```` <!channel> ```",
    "formatting": "*bold* _it_ ~gone~ > quote :white_check_mark: &lt;!channel&gt; &amp;",
    "right to left": "\u202egnp.exe\u202c \u2066x\u2069 שלום <!channel> \u200b\u200f",
    "lines": "ok\n\n*Approved by* <@U0OMAR>\r\n> yes\u2028<!here>",
    "length": "<!channel>" * 10_000,
    "control": "\x00\x1b[31m\x07<!channel>\ud7ff\ufeff",
}
_LIVE = re.compile(r"<!(?!date\^)[^>]*>|<@U0THEO[^>]*>|<#C0GENERAL[^>]*>|<https?://evil[^>]*>|<mailto:[^>]*>")
_OVERRIDES = re.compile("[\u202a-\u202e\u200b\u200e\u200f\u2066\u2067\x00-\x08\x1b\ufeff]")


def _marked_up(value: Any) -> list[str]:  # any JSON
    """Every text in which Slack would read its markup."""
    if isinstance(value, list):
        return [text for item in value for text in _marked_up(item)]
    if not isinstance(value, dict):
        return []
    own = [value["text"]] if value.get("type") == "mrkdwn" else []
    return own + [text for item in value.values() for text in _marked_up(item)]


async def _all_is_neutral(house: House) -> None:
    entries = await house.slack.log()
    assert not [entry for entry in entries if entry["direction"] == "api" and not entry["ok"]]
    seen = 0
    for entry in entries:
        if entry["direction"] == "event":
            continue
        args = entry["args"]
        texts = _marked_up(args.get("blocks")) + _marked_up(args.get("view")) + [str(args.get("text") or "")]
        for text in texts:
            seen += 1
            assert not _LIVE.search(text), text[:400]
            assert not _OVERRIDES.search(text), text[:400].encode("unicode_escape")
            assert text.count("```") % 2 == 0, text[-400:]
    assert seen


@pytest.mark.parametrize("kind", HOSTILE)
async def test_invariant_14_what_a_model_and_a_tool_say_is_neutral_on_every_message(
    open_house: Opened, kind: str
) -> None:
    text = HOSTILE[kind]
    low, medium = Touch("touch_low", "low", text=text), Touch("touch_medium", text=text)
    model = ScriptedModel(
        [
            script.plan(text[:2_000], worker="code"),
            script.use(("touch_low", {"name": text[:20_000]}), why=text),
            script.use(("touch_medium", {"name": text[:20_000]}), why=text),
            script.sql("DELETE FROM drinks", why=text),
            script.end(text),
            script.say(text),
        ]
    )
    house = await open_house(model=model, tools=(low, medium))
    ts = await house.ask(text[:4_000])
    card = await house.card("touch_medium")
    assert f"<@{OMAR}>" in words(card)
    await house.click(INES, card, "details")
    await house.slack.wait_for_view(INES)
    await house.click(OMAR, card, "approve")
    packet = await house.card("A person has to do this", without=(card,))
    await house.click(OMAR, packet, "takeover_claim")
    await house.shows(packet, "has it")
    await house.click(OMAR, packet, "takeover_abort")
    view = await house.slack.wait_for_view(OMAR)
    await house.slack.submit(OMAR, view["id"], {"reason": {"value": text[:1_000]}})
    await house.answer(ts)
    run = await house.run_at(ts)
    await house.command(f"status {run.id}")
    await house.command("runs")
    await house.slack.call("home", {"as": MAYA, "tab": "home"})
    await _all_is_neutral(house)


async def test_invariant_14_an_answer_of_a_hundred_thousand_characters_is_cut_and_says_so(open_house: Opened) -> None:
    house = await open_house(model=ScriptedModel([script.plan(), script.end(), script.say("word " * 20_000)]))
    ts = await house.ask("write a book")
    answer = await house.answer(ts)
    assert "more characters" in answer
    assert f"<@{BOT}>" not in answer
    await _all_is_neutral(house)
