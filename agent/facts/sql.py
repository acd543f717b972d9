"""What one SQL text would do, by sqlglot and an allowlist; whatever is not understood is undecidable."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import itertools
import re
import threading
import time
from dataclasses import dataclass
from typing import Literal

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.simplify import simplify

from agent.domain import Effect, Intent
from agent.facts.bounds import too_large
from agent.facts.model import Facts
from agent.facts.seeds import seed_patterns

Kind = Literal["read", "insert", "update", "delete", "other"]
Dialect = Literal["sqlite", "postgres", "mysql"]
LIMIT_S = 2.0
"""How long the reading of one text may take, seconds; after that it is undecidable."""
_SHORT = 1_000

_EXPLAIN = re.compile(r"explain\s+(?:query\s+plan\s+)?(?=\w)", re.IGNORECASE)
_COMMENT = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
#: What a text may begin with. Others are not parsed at all: sqlglot would log them as unsupported.
_KNOWN = re.compile(r"(?:select|with|values|insert|update|delete|create|drop|truncate)\b|\(", re.IGNORECASE)
#: Schemas that are the database's own.
_HOME: dict[Dialect, tuple[str, ...]] = {"sqlite": ("", "main"), "postgres": ("", "public"), "mysql": ("",)}
_TRIGGER = re.compile(
    r"create\s+(?:temp\w*\s+)?(?:constraint\s+)?(?:trigger|function|procedure|event)\b", re.IGNORECASE
)
_READS = (exp.Select, exp.SetOperation, exp.Values, exp.Subquery)
_DDL = (exp.Create, exp.Drop, exp.Alter, exp.TruncateTable, exp.Into)
_FUNCTIONS = frozenset(
    """abs avg bool_and case cast ceil ceiling changes char chr coalesce concat concat_ws count cume_dist
    current_date current_time current_timestamp date date_add date_diff date_sub datetime degrees dense_rank exists exp
    first_value floor format glob group_concat hex if ifnull iif instr json json_array json_array_length json_each
    json_extract json_group_array json_group_object json_insert json_object json_patch json_remove json_replace
    json_set json_tree json_type json_valid julianday lag last_insert_rowid last_value lead length like likelihood
    likely ln log log10 log2 lower ltrim max min mod nth_value ntile nullif octet_length percent_rank pi pow power
    pragma_foreign_key_list pragma_index_info pragma_index_list pragma_table_info pragma_table_list
    pragma_table_xinfo printf quote radians rand random rank replace round row_number rtrim sign soundex
    sqlite_version sqrt str_position strftime substr substring sum time time_to_str timediff total total_changes
    trim trunc ts_or_ds_to_date ts_or_ds_to_timestamp typeof unhex unicode unixepoch unlikely upper zeroblob""".split()  # noqa: SIM905 - a list of words reads as words
)
#: Of PostgreSQL's own, those that compute and touch nothing; whatever reaches files, sequences, settings or other
#: servers, waits, or runs SQL from a text is left out, as is what makes a short text long.
_POSTGRES_FUNCTIONS = frozenset(
    """age array array_agg array_length array_position array_size array_to_string ascii bit_length bool_or
    btrim cardinality cbrt char_length clock_timestamp date_bin date_trunc decode div encode every extract
    greatest initcap isfinite j_s_o_n_array_agg json_agg json_array_elements json_array_elements_text
    json_build_array json_build_object json_each_text json_object_keys json_typeof jsonb_agg
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object
    jsonb_each jsonb_each_text jsonb_exists jsonb_extract jsonb_extract_path jsonb_extract_path_text
    jsonb_extract_scalar jsonb_object_keys jsonb_typeof justify_days justify_hours least left logical_and
    logical_or make_date md5 mode now num_nonnulls num_nulls percentile_cont percentile_disc pg_database_size
    pg_relation_size pg_size_pretty pg_table_size pg_total_relation_size regexp_count
    regexp_like regexp_match regexp_matches regexp_replace reverse right row_to_json split_part starts_with
    statement_timestamp stddev stddev_pop stddev_samp str_to_date str_to_time string_agg string_to_array
    strpos time_to_str timestamp_trunc to_char to_date to_json to_jsonb to_number to_timestamp translate
    var_pop variance variance_pop""".split()  # noqa: SIM905 - as above
)
_FUNCTION_CLASSES = (
    exp.Connector, exp.Case, exp.If, exp.Cast, exp.TryCast, exp.JSONExtract, exp.JSONExtractScalar, exp.Coalesce,
    exp.Count, exp.Exists, exp.GroupConcat, exp.Predicate, exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime,
    exp.StrPosition, exp.Trim, exp.Substring, exp.Pow, exp.Mod,
)  # fmt: skip
#: Comparisons and what joins them in one WHERE: 200 take a quarter of a second.
_MOST_PARTS = 120
_NONDETERMINISTIC_CLASSES = (
    exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Localtime, exp.Localtimestamp, exp.Rand,
)  # fmt: skip
_NONDETERMINISTIC = frozenset(
    """rand random randomblob date time datetime julianday strftime unixepoch time_to_str ts_or_ds_to_timestamp
    ts_or_ds_to_date last_insert_rowid changes total_changes clock_timestamp statement_timestamp age now""".split()  # noqa: SIM905 - as above
)


@dataclass(frozen=True, slots=True)
class Statement:
    """The one statement of a text: what kind it is, its tree, and its table for those that write."""

    kind: Kind
    tree: exp.Expr
    table: str = ""


@dataclass(slots=True)
class _Read:
    """What was gathered over all statements of a text."""

    effects: dict[Intent, None]
    verbs: dict[str, None]
    flags: dict[str, None]
    why: dict[str, None]
    dialect: Dialect


def read_sql(sql: str, database: str, dialect: Dialect = "sqlite") -> tuple[Facts, Statement | None]:
    """The facts of a text against a named database, and its statement if it is exactly one; never raises.

    A long text is read in a thread of its own and waited for until `LIMIT_S` after its first reading began: call
    `prepare_sql` before, where nothing may be held up.
    """
    large = too_large(sql)
    if large:
        return _undecidable(sql, database, "too_large", large), None
    try:
        if len(sql) <= _SHORT:
            return _read(sql, database, dialect)
        begun, reading = _reading(sql, database, dialect)
        return reading.result(max(0.0, begun + LIMIT_S - time.perf_counter()))
    except TimeoutError:
        return _undecidable(sql, database, "too_slow", "It takes too long to be read."), None
    except Exception:  # noqa: BLE001 - whatever an analyser raises means that it could not tell
        return _undecidable(sql, database, "unparseable", "It is not SQL that can be read."), None


async def prepare_sql(sql: str, database: str, dialect: Dialect = "sqlite") -> None:
    """Have a long text read beside the event loop, so that `read_sql` answers at once afterwards; never raises."""
    if len(sql) <= _SHORT or too_large(sql):
        return
    begun, reading = _reading(sql, database, dialect)
    left = max(0.0, begun + LIMIT_S - time.perf_counter())
    await asyncio.wait({asyncio.wrap_future(reading)}, timeout=left)


def embedded_sql(sql: str) -> Facts:
    """The facts of SQL that stands in a script, against whatever database; only a short one is read. Never raises."""
    if len(sql) > _SHORT:
        return _undecidable(sql, "?", "too_large", "It holds SQL that is too long to be read where it stands.")
    return read_sql(sql, "?")[0]


def sql_facts(sql: str, database: str, dialect: Dialect = "sqlite") -> Facts:
    """The facts alone; never raises."""
    return read_sql(sql, database, dialect)[0]


@functools.lru_cache(maxsize=128)  # as `_read`; what was too slow once is not begun again
def _reading(
    sql: str, database: str, dialect: Dialect
) -> tuple[float, concurrent.futures.Future[tuple[Facts, Statement | None]]]:
    """When the reading of a long text began, and what will come of it."""
    future: concurrent.futures.Future[tuple[Facts, Statement | None]] = concurrent.futures.Future()

    def work() -> None:
        try:
            future.set_result(_read(sql, database, dialect))
        except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
            future.set_exception(error)

    threading.Thread(target=work, name="facts", daemon=True).start()
    return time.perf_counter(), future


def is_deterministic(node: exp.Expr) -> bool:
    """Whether an expression gives the same for the same rows, at any time."""
    if node.find(*_NONDETERMINISTIC_CLASSES):
        return False
    return not any(_names(function) & _NONDETERMINISTIC for function in node.find_all(exp.Func))


def _undecidable(sql: str, database: str, flag: str, why: str) -> Facts:
    seeds = ("seed_pattern",) if seed_patterns(sql) else ()
    effects = tuple(Intent(effect=effect, target=f"db:{database}") for effect in (Effect.MODIFY, Effect.DELETE))
    return Facts(
        effects=effects,
        where="database",
        reversibility="irreversible",
        flags=(flag, *seeds),
        undecidable=(why,),
    )


@functools.lru_cache(maxsize=128)  # a call is read several times on its way; nobody changes the tree of a statement
def _read(sql: str, database: str, dialect: Dialect = "sqlite") -> tuple[Facts, Statement | None]:
    sql.encode()
    text = sql[match.end() :] if (match := _COMMENT.match(sql)) else sql
    text = text[explained.end() :] if (explained := _EXPLAIN.match(text)) else text
    if not _KNOWN.match(text) or _TRIGGER.match(text):
        flag = "ddl" if text[:5].lower() in {"alter", "creat"} else "unparseable"
        return _undecidable(sql, database, flag, "It is not a statement on the list of known ones."), None
    trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
    if not trees:
        return _undecidable(sql, database, "unparseable", "There is no statement in it."), None
    read = _Read({}, {}, {}, {}, dialect)
    statements = [_statement(tree, database, read) for tree in trees]
    if len(trees) > 1:
        read.flags["multi_statement"] = None
    if "unparseable" in read.flags and seed_patterns(sql):
        read.flags["seed_pattern"] = None
    deletes = any(intent.effect is Effect.DELETE for intent in read.effects)
    writes = any(intent.effect is not Effect.READ for intent in read.effects)
    if deletes:
        read.flags["destructive"] = None
    facts = Facts(
        effects=tuple(read.effects),
        where="database",
        reversibility="irreversible" if deletes else "compensable" if writes else "reversible",
        verbs=tuple(read.verbs),
        flags=tuple(read.flags),
        undecidable=tuple(read.why),
    )
    only = statements[0] if len(statements) == 1 else None
    if explained and only and only.kind != "read":
        only = Statement("other", only.tree, only.table)
    return facts, only


def _statement(tree: exp.Expr, database: str, read: _Read) -> Statement:
    """Gather the facts of one statement."""
    if read.dialect == "postgres":
        _read_postgres(tree, read)
    known = _FUNCTIONS | _POSTGRES_FUNCTIONS if read.dialect == "postgres" else _FUNCTIONS
    for function in tree.find_all(exp.Func):
        unknown = not isinstance(function, _FUNCTION_CLASSES) and not (_names(function) & known)
        if unknown:
            read.why[f"The function {min(_names(function))} is not on the list of known ones."] = None
    common = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    written: set[int] = set()
    for node in tree.find_all(exp.Insert, exp.Update, exp.Delete, *_DDL):
        target = node.find(exp.Table)
        if target is not None:
            written.add(id(target))
        _write(node, f"db:{database}/{_table(target, read)}" if target is not None else f"db:{database}", read)
    tables = [table for table in tree.find_all(exp.Table) if id(table) not in written]
    names = [_table(table, read, reads=True) for table in tables if isinstance(table.this, exp.Identifier)]
    for name in names:
        if name not in common:
            read.effects[Intent(effect=Effect.READ, target=f"db:{database}/{name}")] = None
    kind = _kind(tree)
    if kind == "read":
        read.verbs.setdefault("select", None)
        if not read.effects:
            read.effects[Intent(effect=Effect.READ, target=f"db:{database}")] = None
        if any(intent.effect is not Effect.READ for intent in read.effects):
            kind = "other"
    elif kind == "other" and not isinstance(tree, _DDL):
        read.flags["unparseable"] = None
        read.why["It is not a statement on the list of known ones."] = None
        read.effects[Intent(effect=Effect.MODIFY, target=f"db:{database}")] = None
    target = tree.this.find(exp.Table) if kind in {"insert", "update", "delete"} else None
    return Statement(kind, tree, target.name if target is not None else "")


def _read_postgres(tree: exp.Expr, read: _Read) -> None:
    """What only PostgreSQL has, and what would make a name mean another thing than it says."""
    for dot in tree.find_all(exp.Dot):
        if isinstance(dot.expression, exp.Func):
            read.why["It calls a function of a schema or a column, which may be anything."] = None
    if tree.find(exp.Operator):
        read.why["It uses an operator of a schema, which may be anything."] = None
    if any(select.args.get("locks") for select in tree.find_all(exp.Select)):
        read.why["It locks the rows that it reads."] = None
    for table in tree.find_all(exp.Table):
        if table.name.lower().startswith("pg_") and isinstance(table.this, exp.Identifier):
            read.why[f"It reaches for {table.name.lower()[:60]}, a table of the server itself."] = None


def _kind(tree: exp.Expr) -> Kind:
    if isinstance(tree, exp.Insert):
        return "insert"
    if isinstance(tree, exp.Update):
        return "update"
    if isinstance(tree, exp.Delete):
        return "delete"
    return "read" if isinstance(tree, _READS) else "other"


def _write(node: exp.Expr, target: str, read: _Read) -> None:
    verb = node.key.lower() if not isinstance(node, exp.Into) else "create"
    read.verbs[verb] = None
    if isinstance(node, exp.Insert):
        read.effects[Intent(effect=Effect.CREATE, target=target)] = None
        if node.args.get("alternative") or node.args.get("conflict"):
            # REPLACE and an upsert change or delete what is there.
            read.effects[Intent(effect=Effect.MODIFY, target=target)] = None
        return
    if isinstance(node, (exp.Update, exp.Delete)):
        effect = Effect.MODIFY if isinstance(node, exp.Update) else Effect.DELETE
        read.effects[Intent(effect=effect, target=target)] = None
        if _is_too_long(node):
            read.flags["too_large"] = None
            read.why["Its WHERE has too many parts to be judged."] = None
        elif _is_unbounded(node, read.dialect):
            read.flags["unbounded"] = None
            read.flags["destructive"] = None
        return
    read.flags["ddl"] = None
    creates = isinstance(node, (exp.Create, exp.Into))
    effect = Effect.CREATE if creates else Effect.MODIFY if isinstance(node, exp.Alter) else Effect.DELETE
    read.effects[Intent(effect=effect, target=target)] = None
    if not creates:
        read.flags["destructive"] = None


def _is_too_long(node: exp.Expr) -> bool:
    """Whether the WHERE is one that sqlglot would need seconds to simplify: that grows with the square of its parts."""
    where = node.args.get("where")
    if where is None:
        return False
    parts = sum(1 for _ in itertools.islice(where.find_all(exp.Connector, exp.Binary), _MOST_PARTS + 1))
    return parts > _MOST_PARTS


def _is_unbounded(node: exp.Expr, dialect: Dialect) -> bool:
    """Whether there is no WHERE, or one that is true of every row."""
    where = node.args.get("where")
    if where is None or where.find(exp.Column) is None:
        return True
    simple = simplify(where.this.copy(), dialect=dialect)
    if simple.find(exp.Column) is None:
        return True
    return isinstance(simple, (exp.EQ, exp.Is, exp.GTE, exp.LTE)) and simple.this == simple.expression


def _table(table: exp.Table, read: _Read, *, reads: bool = False) -> str:
    schema = table.db.lower()
    described = reads and read.dialect != "sqlite" and schema == "information_schema"
    if described and not table.catalog:
        return f"{schema}.{table.name}".lower()
    if schema not in _HOME[read.dialect] or table.catalog:
        read.why[f"It reaches for another schema, {schema}."] = None
        return f"{schema}.{table.name}".lower()
    return table.name.lower()


def _names(function: exp.Func) -> set[str]:
    if isinstance(function, exp.Anonymous):
        return {function.name.lower()}
    return {name.lower() for name in type(function).sql_names()}
