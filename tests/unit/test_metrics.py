"""The metrics page: closed label sets, series that stand from the start, and counts that are those of the spans."""

from __future__ import annotations

import re
from typing import Any

from agent import telemetry as t
from agent.span import Span
from bot.metrics import DELIVERIES, LIMITERS, VIOLATIONS, Metrics, codes

HOSTILE = 'x"} 1\nagent_forged_total{a="' + "y" * 100_000


def page(metrics: Metrics) -> str:
    return metrics.page().decode()


def value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    assert found is not None, sample
    return float(found[1])


def span(error: str = "", took: float = 0.5, **attributes: Any) -> Span:
    given = {name.replace("__", "."): value for name, value in attributes.items()}
    return Span("r1", 1, 2, "a span", 100.0, 100.0 + took, given, error=error)


def chat(error: str = "", model: str = "claude", **more: Any) -> Span:
    given = {t.OPERATION: "chat", t.PROVIDER: "anthropic", t.REQUEST_MODEL: model, t.COST: 0.25, **more}
    return span(error, **{name.replace(".", "__"): one for name, one in given.items()})


def tool(name: str, outcome: str) -> Span:
    given = {t.OPERATION: "execute_tool", t.TOOL_NAME: name, t.ACTION_OUTCOME: outcome}
    return span(**{key.replace(".", "__"): one for key, one in given.items()})


def test_counters_of_trouble_stand_at_0_before_anything_happens() -> None:
    text = page(Metrics(tools=("query_sql",), models=("anthropic:claude",)))
    decisions = re.findall(r"^agent_approval_decisions_total\{.*\} (\S+)$", text, re.MULTILINE)
    assert decisions
    assert set(decisions) == {"0.0"}
    for name, label, values in (
        ("agent_sandbox_violations_total", "kind", VIOLATIONS),
        ("agent_rate_limit_hits_total", "limiter", LIMITERS),
        ("agent_slack_deliveries_total", "result", DELIVERIES),
        ("agent_llm_cost_usd_total", "model", ("claude", "other")),
    ):
        assert [value(text, f'{name}{{{label}="{one}"}}') for one in values] == [0.0] * len(values)


def test_what_spans_tell_is_what_is_counted() -> None:
    metrics = Metrics(tools=("query_sql",), models=("anthropic:claude",))
    metrics.told(chat(**{t.INPUT_TOKENS: 100, t.OUTPUT_TOKENS: 7}))
    metrics.told(chat("MODEL_RATE_LIMITED"))
    metrics.told(tool("query_sql", "succeeded"))
    text = page(metrics)
    who = 'gen_ai_operation_name="chat",gen_ai_provider_name="anthropic",gen_ai_request_model="claude"'
    assert value(text, f'gen_ai_client_operation_duration_seconds_count{{error_type="",{who}}}') == 1
    assert value(text, f'gen_ai_client_operation_duration_seconds_count{{error_type="MODEL_RATE_LIMITED",{who}}}') == 1
    assert value(text, f'gen_ai_client_token_usage_sum{{{who},gen_ai_token_type="input"}}') == 100
    assert value(text, 'agent_llm_cost_usd_total{model="claude"}') == 0.5
    assert value(text, 'agent_tool_duration_seconds_sum{outcome="succeeded",tool="query_sql"}') == 0.5


def test_no_text_from_outside_becomes_a_label() -> None:
    metrics = Metrics(tools=("query_sql",), models=("anthropic:claude",))
    before = page(metrics).count("\n")
    for number in range(50):
        metrics.told(tool(f"{HOSTILE}{number}", f"{HOSTILE}{number}"))
        metrics.told(chat(f"{HOSTILE}{number}", f"{HOSTILE}{number}"))
        metrics.violated(f"{HOSTILE}{number}")
        metrics.limited(f"{HOSTILE}{number}")
        metrics.asked_slack("chat.update", f"{HOSTILE}{number}")
        metrics.count(f"secondkey_delivery_{HOSTILE}{number}", HOSTILE)
        metrics.called_mcp("tools/call", 0.1, f"{HOSTILE}{number}")
    text = page(metrics)
    assert "forged" not in text
    assert "yyy" not in text
    assert value(text, 'agent_tool_duration_seconds_count{outcome="other",tool="other"}') == 50
    assert value(text, 'agent_sandbox_violations_total{kind="other"}') == 50
    assert text.count("\n") - before < 100


def test_the_errors_of_model_calls_are_the_codes_that_there_are() -> None:
    assert {"MODEL_RATE_LIMITED", "BUDGET_EXCEEDED", "INTERRUPTED", "TOOL_NOT_ALLOWED"} <= codes()
    assert all(re.fullmatch(r"[A-Z_]+", code) for code in codes())


def test_two_processes_worth_of_metrics_do_not_share_a_registry() -> None:
    one, other = Metrics(tools=("a",)), Metrics(tools=("a",))
    one.violated("memory")
    sample = 'agent_sandbox_violations_total{kind="memory"}'
    assert (value(page(one), sample), value(page(other), sample)) == (1, 0)
