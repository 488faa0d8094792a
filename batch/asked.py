"""A question in SQL before it is run: is it a read, of which tables, and may this role see them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from batch.tables import RESEARCH, WARD, views
from contracts.errors import Poison
from contracts.lake import ALL, Zone

READS: Final = frozenset(
    (
        *("Project", "Filter", "Aggregate", "Sort", "GlobalLimit", "LocalLimit", "LimitAll", "Offset", "Join"),
        *("LateralJoin", "AsOfJoin", "Union", "Intersect", "Except", "Distinct", "SubqueryAlias", "CTE"),
        *("UnresolvedRelation", "UnresolvedInlineTable", "LocalRelation", "OneRowRelation", "Generate", "Window"),
        *("WithWindowDefinition", "UnresolvedHaving", "Pivot", "Unpivot", "Sample", "PipeOperator", "UnresolvedHint"),
        *("UnresolvedSubqueryColumnAliases", "UnresolvedTVFAliases", "UnresolvedTableValuedFunction"),
        *("RepartitionByExpression", "Repartition", "ExplainCommand"),
        *("UnresolvedTable", "UnresolvedTableOrView", "UnresolvedView", "UnresolvedNamespace", "CurrentNamespace"),
        *("UnresolvedFunctionName",),
    )
)
"""Nodes of Spark's parsed plan that only read. SHOW and DESCRIBE are known by how their nodes begin."""
_LOOKS: Final = ("Show", "Describe")
_NODE: Final = re.compile(r"^[ :]*[+:]- '?(\w*)\$? ?(.*)$")
_TOP: Final = re.compile(r"^'?(\w*) ?(.*)$")
_NAME: Final = re.compile(r"^\[([^\]]*)\]")
_RELATIONS: Final = ("UnresolvedRelation", "UnresolvedTable", "UnresolvedTableOrView", "UnresolvedView")
_PARSED, _ANALYSED = "== Parsed Logical Plan ==", "== Analyzed Logical Plan =="
_FAILED: Final = re.compile(
    r"^\s*[\w.]+Exception: (?:\[(?P<kind>[\w.]+)\] )?(?P<why>.*?)(?: SQLSTATE: \w+)?"
    r"(?:;? \(?line (?P<line>\d+),? pos (?P<column>\d+)\)?)?(?:;?$|;\n)",
    re.DOTALL,
)
_WORDS_BEFORE: Final = re.compile(r"^(?:[\w.]+SQLException: ?)?(?:Error running query: ?)?")


class NoTable(LookupError):
    """A table that is not there; the message names those that are near."""


@dataclass(frozen=True)
class Asked:
    """What a statement reads: full names of tables and views. ``wrong`` is why it cannot be run, known by now."""

    tables: tuple[str, ...]
    wrong: Poison | None = None

    @property
    def zone(self) -> Zone:
        """What a role must be allowed to read: everything outside the researchers' views may hold restricted words."""
        return "deidentified" if all(name.startswith(f"{RESEARCH}.") for name in self.tables) else "restricted"


def database(role: str) -> str:
    """Where names without a database are looked for."""
    return RESEARCH if role == "researcher" else WARD


def by_spark(plan: str, role: str) -> Asked:
    """From what Spark's EXPLAIN EXTENDED says of the statement, so by Spark's own parser.

    Raises Poison (``not_a_read``) for what is no read, NoTable for a table that is not there.
    """
    parsed, _, analysed = plan.partition(_ANALYSED)
    names: list[tuple[str, ...]] = []
    local: set[str] = set()
    for node, rest in _nodes(parsed.replace(_PARSED, "").strip("\n")):
        if node not in READS and not node.startswith(_LOOKS):
            raise Poison("not_a_read", f"{node} is no read: SELECT, WITH, SHOW, DESCRIBE and EXPLAIN are", "query")
        found = _NAME.match(rest)
        if found and node in _RELATIONS:
            names.append(tuple(part.strip().lower() for part in found[1].split(",")))
        elif found and node == "CTE":
            local |= {part.strip().lower() for part in found[1].split(",")}
        elif node == "SubqueryAlias":
            local.add(rest.strip().lower())
    tables = tuple(sorted({known(name, role) for name in names if not _is_local(name, local)}))
    failed = _FAILED.match(analysed)
    looks = _top(parsed).startswith(_LOOKS)  # at names and types, which are no secret
    return Asked(() if looks else tables, bad_sql(failed) if failed and "Exception" in analysed[:120] else None)


def by_duckdb(tree: Any, role: str) -> Asked:
    """From DuckDB's own parse of a SELECT (``json_serialize_sql``). Raises NoTable."""
    names: set[tuple[str, ...]] = set()
    local: set[str] = set()
    _walk(tree, names, local)
    return Asked(tuple(sorted({known(name, role) for name in names if not _is_local(name, local)})))


def known(name: tuple[str, ...], role: str) -> str:
    """The full name of a table or view. Raises NoTable."""
    *where, table = name[1:] if name[:1] == ("spark_catalog",) else name
    home = where[0] if where else database(role)
    there = {WARD: tuple(ALL), RESEARCH: views()}.get(home, ())
    if len(where) > 1 or table not in there:
        raise NoTable(_near(".".join(name), table, home, role))
    return f"{home}.{table}"


def bad_sql(failed: re.Match[str], lines_before: int = 1) -> Poison:
    """What Spark said of a statement that it cannot run, with the place in the text as it was given."""
    why = " ".join(failed["why"].split())
    if failed["line"] is None:
        return Poison("bad_sql", why, "query")
    return Poison("bad_sql", why, f"line {int(failed['line']) - lines_before}, column {int(failed['column']) + 1}")


def refusal(message: str, lines_before: int = 1) -> Poison:
    """Poison from the message of Spark's server about a statement: its first sentence and the place."""
    text = _WORDS_BEFORE.sub("", message).split("\n== SQL")[0].split("\n\tat ")[0].split(" at org.")[0]
    text = re.sub(r"^(?:\[[\w.]+\] )?[\w.]+Exception:\s*", "", text).split("\n'")[0]
    found = re.search(r";? ?\(?line (\d+),? pos (\d+)\)?;?", text)
    why = re.sub(r" SQLSTATE: \w+", "", text[: found.start()] if found else text)
    place = f"line {int(found[1]) - lines_before}, column {int(found[2]) + 1}" if found else "query"
    return Poison("bad_sql", " ".join(re.sub(r"^\[[\w.]+\] ", "", why.strip()).split()), place)


def _nodes(tree: str) -> Iterable[tuple[str, str]]:
    """Every node with what follows it. Only lines that begin as a tree does hold nodes; others go on with a literal."""
    first, *rest = tree.split("\n")
    for found in (_TOP.match(first), *map(_NODE.match, rest)):
        if found:
            yield found[1], found[2]


def _top(parsed: str) -> str:
    return next(iter(_nodes(parsed.replace(_PARSED, "").strip("\n"))))[0]


def _is_local(name: tuple[str, ...], local: set[str]) -> bool:
    return len(name) == 1 and name[0] in local


def _walk(node: Any, names: set[tuple[str, ...]], local: set[str]) -> None:
    if isinstance(node, list):
        for each in node:
            _walk(each, names, local)
    elif isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            parts = (node.get("catalog_name"), node.get("schema_name"), node.get("table_name"))
            names.add(tuple(str(part).lower() for part in parts if part))
        for entry in (node.get("cte_map") or {}).get("map", ()):
            local.add(str(entry["key"]).lower())
        for each in node.values():
            _walk(each, names, local)


def _near(asked: str, table: str, home: str, role: str) -> str:
    visible = views() if role == "researcher" else tuple(ALL)
    near = difflib.get_close_matches(table, visible, n=3, cutoff=0.5)
    if home == RESEARCH and table in ALL:
        hint = f"it is not de-identified, researchers do not see it; they see {', '.join(views())}"
    elif near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = f"there are {', '.join(visible)}"
    return f"no table {asked}: {hint}"
