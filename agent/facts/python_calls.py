"""What single nodes of a Python syntax tree say of files: how they are opened, and that nothing is written."""

from __future__ import annotations

import ast


def opened_with(node: ast.Call, position: int) -> str:
    """How a call of some `open` opens; empty when it does not say so plainly, or is another call."""
    func = node.func
    name = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
    if name not in {"open", "FileIO"}:
        return ""
    given = [word.value for word in node.keywords if word.arg == "mode"] or node.args[position : position + 1]
    value = given[0].value if given and isinstance(given[0], ast.Constant) else ""
    return value if isinstance(value, str) else ""


def is_empty(node: ast.Call) -> bool:
    """Whether a call is given an empty text first."""
    given = node.args[0] if node.args else None
    return isinstance(given, ast.Constant) and given.value in {"", b""}


def copies_nothing(node: ast.Call) -> bool:
    """Whether a call is given the file that is always empty."""
    return any(isinstance(given, ast.Constant) and given.value == "/dev/null" for given in node.args)


def is_said(node: ast.stmt) -> bool:
    """Whether a statement is a constant alone, such as `...`."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
