"""The runbook of the tests that need one and do not care which: it adds two numbers."""

from __future__ import annotations

SUM = """
[[runbook]]
name = "sum"
title = "Sums"
example = "add 2 and 3"
pattern = 'add (?P<a>\\d+) and (?P<b>\\d+)'
answer = "It is {{ out.sum.data.result }}."
[[runbook.step]]
worker = "research"
instruction = "Add."
[[runbook.step.call]]
id = "sum"
tool = "calculate"
arguments = { expression = "{{ match.a }} + {{ match.b }}" }
"""
