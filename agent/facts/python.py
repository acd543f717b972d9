"""What Python code would do, read off its syntax tree: a fact for the rating, not a boundary (the sandbox is that)."""

from __future__ import annotations

import ast
import hashlib
import posixpath
import re
import warnings
from collections.abc import Sequence

from agent.domain import Effect, Intent
from agent.facts.bounds import too_large
from agent.facts.gathered import UNKNOWN, Gathered
from agent.facts.model import Facts
from agent.facts.python_calls import copies_nothing, is_empty, is_said, opened_with
from agent.facts.python_names import (
    CONNECTS,
    DESTRUCTIVE,
    DESTRUCTIVE_METHODS,
    NETWORK,
    NO_NETWORK,
    OPAQUE,
    OPAQUE_ATTRIBUTES,
    OPAQUE_MODULES,
    RUNNERS,
    SERVICES,
    STARTS,
    WRITING,
    WRITING_METHODS,
)
from agent.facts.seeds import seed_patterns
from agent.facts.sql import embedded_sql

_GETTERS = frozenset({"getattr", "setattr", "delattr", "builtins.getattr", "builtins.setattr", "builtins.delattr"})
_OPENS = frozenset({"io.FileIO", "open", "io.open", "codecs.open", "builtins.open"})
#: A text that names a place: a word alone, such as `secret`, does not.
_PATH = re.compile(r"(?!\w+://)(?=.*[/.])[^\s\0]{2,400}")
_WRITES = re.compile(r"\s*(?:insert|update|delete|drop|truncate|alter|replace|create)\s", re.IGNORECASE)


#: Texts that look like SQL and are read as such; each takes about a millisecond.
_MOST_STATEMENTS = 20


class _Reader(ast.NodeVisitor):
    """Walks the tree, resolving imported names through their aliases."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.verbs: dict[str, None] = {}
        self.flags: dict[str, None] = {}
        self.why: dict[str, None] = {}
        self.effects: dict[Intent, None] = {}
        self._statements = 0
        self._called: set[int] = set()

    def visit_Constant(self, node: ast.Constant) -> None:
        """SQL in a string may reach a database by another road than the one that was said no to."""
        if isinstance(node.value, str) and _WRITES.match(node.value):
            self._statements += 1
            if self._statements > _MOST_STATEMENTS:
                self.why["It holds more SQL than can be read."] = None
                return
            facts = embedded_sql(node.value)
            if "too_large" in facts.flags:
                self.why.update(dict.fromkeys(facts.undecidable))
            elif not facts.undecidable:
                self.effects.update((item, None) for item in facts.effects if item.effect is not Effect.READ)

    def visit_Import(self, node: ast.Import) -> None:
        for one in node.names:
            self.names[one.asname or one.name.partition(".")[0]] = (
                one.name if one.asname else one.name.partition(".")[0]
            )
            self._use(one.name)
            self._serves(one.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for one in node.names:
            full = f"{node.module or ''}.{one.name}"
            self.names[one.asname or one.name] = full
            self._use(full)
            self._serves(full)
            if one.name == "*" and (node.module or "").partition(".")[0] in {"os", "shutil", "subprocess", "posix"}:
                self.why["It imports every name of a module that changes files."] = None

    def visit_Assign(self, node: ast.Assign) -> None:
        name = self._dotted(node.value)
        if name:
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self.names[target.id] = name
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            name = self.names.get(node.id, node.id)
            self._use(name)
            if name in _GETTERS and id(node) not in self._called:
                self.why["It hands on what looks names up."] = None

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self._dotted(node)
        if name:
            self._use(name)
        if node.attr in OPAQUE_ATTRIBUTES:
            self.why[f"It reaches through {node.attr}."] = None
        if node.attr in DESTRUCTIVE_METHODS:
            self._destroys(node.attr)
        elif node.attr in WRITING_METHODS:
            self.verbs[node.attr] = None
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = self._dotted(node.func)
        self._aims(node, name)
        self._reaches(node, name)
        if name in {"open", "io.open", "os.fdopen", "codecs.open"} or name.endswith(".open"):
            self._opens(node, 0 if name.endswith("Path.open") else 1)
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "open":
            self._opens(node, 0)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in {"replace", "rename"}:
            # str.replace takes two arguments or more; Path.replace and Path.rename take one.
            if len(node.args) + len(node.keywords) == 1:
                self._destroys(node.func.attr)
        elif name in _GETTERS:
            self._called.add(id(node.func))
            self._gets(node)
        self.generic_visit(node)

    def _aims(self, node: ast.Call, name: str) -> None:
        """Which file a destructive call aims at, when that is a plain text."""
        if name in DESTRUCTIVE and not name.startswith("os.kill"):
            given: ast.AST | None = node.args[0] if node.args else None
        elif isinstance(node.func, ast.Attribute) and node.func.attr in DESTRUCTIVE_METHODS:
            inner = node.func.value
            given = inner.args[0] if isinstance(inner, ast.Call) and inner.args else None
        else:
            return
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            path = posixpath.normpath(given.value).removeprefix("/workspace/").removeprefix("./")
            self.effects[Intent(effect=Effect.DELETE, target=f"workspace:{path}")] = None
        else:
            self.effects[Intent(effect=Effect.DELETE, target="workspace:?")] = None

    def visit_Expr(self, node: ast.Expr) -> None:
        """What is opened for writing and given to nobody empties the file."""
        if isinstance(node.value, ast.Call) and self._is_opened(node.value):
            self._empties("open:write", node.value.args[:1])
        self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        still = all(isinstance(one, ast.Pass) or is_said(one) for one in node.body)
        for item in node.items:
            if still and isinstance(item.context_expr, ast.Call) and self._is_opened(item.context_expr):
                self._empties("open:write", item.context_expr.args[:1])
        self.generic_visit(node)

    def _empties(self, verb: str, given: Sequence[ast.AST]) -> None:
        """A file loses what it held; which one, when that is a plain text."""
        self._destroys(verb)
        path = given[0].value if given and isinstance(given[0], ast.Constant) else UNKNOWN
        lost = Gathered()
        lost.touches(Effect.DELETE, path if isinstance(path, str) else UNKNOWN)
        self.effects.update(lost.effects)

    def _is_opened(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        name = self._dotted(node.func)
        method = isinstance(node.func, ast.Attribute) and node.func.attr == "open" and name not in _OPENS
        return (name in _OPENS or method) and "w" in opened_with(node, 0 if method else 1)

    def _reaches(self, node: ast.Call, name: str) -> None:
        """Which paths a call names: credentials, and those outside of the workspace that it writes to."""
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        inner = node.func.value if isinstance(node.func, ast.Attribute) else None
        holder = inner.args if isinstance(inner, ast.Call) else []
        emptied = False
        if method in {"close", "write"} and inner is not None and self._is_opened(inner):
            emptied = method == "close" or is_empty(node)
        elif method in {"write_text", "write_bytes"}:
            emptied = is_empty(node)
        elif name in WRITING:
            emptied = copies_nothing(node)
        if emptied:
            self._empties(method or name, holder[:1] or (node.args[-1:] if name in WRITING else []))
        writes = (
            name in WRITING
            or name in DESTRUCTIVE
            or method in WRITING_METHODS
            or method in DESTRUCTIVE_METHODS
            or bool(set("wax+") & set(opened_with(node, 0 if method == "open" and name not in _OPENS else 1)))
        )
        seen = Gathered()
        for given in (*node.args, *holder, *(word.value for word in node.keywords)):
            if isinstance(given, ast.Constant) and isinstance(given.value, str) and _PATH.fullmatch(given.value):
                seen.looks_at(given.value)
                if writes:
                    seen.touches(Effect.MODIFY, given.value)
        for flag in ("touches_credentials", "outside", "touches_git"):
            if flag in seen.flags:
                self.flags[flag] = None

    def _dotted(self, node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            inner = self._dotted(node.value)
            return f"{inner}.{node.attr}" if inner else ""
        return ""

    def _use(self, name: str) -> None:
        module = name.partition(".")[0]
        if name in DESTRUCTIVE:
            self._destroys(name)
        if name.startswith(STARTS):
            self.verbs[name] = None
            self.flags["subprocess"] = None
            self.why["It starts another program or process."] = None
        if module in NETWORK and not name.startswith(NO_NETWORK) and name != "urllib":
            self.verbs[module] = None
            self.flags["network"] = None
        if name in CONNECTS:
            self.flags["network"] = None
        loads = module == "importlib" and not name.startswith(("importlib.metadata", "importlib.resources"))
        if name in OPAQUE or module in OPAQUE_MODULES or loads:
            self.verbs[name] = None
            self.why[f"It uses {name}, which hides what will be run."] = None

    def _serves(self, name: str) -> None:
        if name.partition(".")[0] in SERVICES:
            self.verbs[name.partition(".")[0]] = None
            self.flags["network"] = None
        if name.partition(".")[0] in RUNNERS:
            self.why["It starts another program or process."] = None

    def _destroys(self, name: str) -> None:
        self.verbs[name] = None
        self.flags["destructive"] = None

    def _opens(self, node: ast.Call, position: int) -> None:
        given = [word.value for word in node.keywords if word.arg == "mode"]
        if not given and len(node.args) > position:
            given = [node.args[position]]
        if not given:
            return
        mode = given[0]
        if not isinstance(mode, ast.Constant):
            self.why["It opens a file in a way that is computed."] = None
        elif isinstance(mode.value, str) and set("wax+") & set(mode.value):
            self.verbs["open:write"] = None

    def _gets(self, node: ast.Call) -> None:
        if len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            inner = self._dotted(node.args[0])
            self._use(f"{inner}.{node.args[1].value}")
            if node.args[1].value in DESTRUCTIVE_METHODS:
                self._destroys(str(node.args[1].value))
        else:
            self.why["It computes the name of what it calls."] = None


def python_facts(code: str) -> Facts:
    """The facts of code that runs in the sandbox over the workspace; never raises."""
    # The same code is the same intent, whatever the action is called; white space is not another road.
    effect = Intent(
        effect=Effect.EXECUTE, target=f"python:{hashlib.sha256(code.encode('utf-8', 'replace')).hexdigest()[:16]}"
    )
    large = too_large(code)
    seeds = ("seed_pattern",) if seed_patterns(code) else ()
    if large:
        return Facts(effects=(effect,), where="workspace", flags=("too_large", *seeds), undecidable=(large,))
    reader = _Reader()
    try:
        with warnings.catch_warnings():
            # An odd escape in somebody's code is no news of ours.
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
        target = hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]
        effect = Intent(effect=Effect.EXECUTE, target=f"python:{target}")
        reader.visit(tree)
    except Exception:  # noqa: BLE001 - whatever an analyser raises means that it could not tell
        return Facts(
            effects=(effect,),
            where="workspace",
            flags=("unparseable", *seeds),
            undecidable=("It is not Python that can be read.",),
        )
    return Facts(
        effects=(effect, *reader.effects),
        where="workspace",
        reversibility="compensable" if "destructive" in reader.flags else "reversible",
        verbs=tuple(sorted(reader.verbs)),
        flags=(*reader.flags, *seeds),
        counts={"bytes": len(code.encode("utf-8", "surrogatepass"))},
        undecidable=tuple(reader.why),
    )
