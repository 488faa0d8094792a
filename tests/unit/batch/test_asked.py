"""What a question reads, told from plans as Spark prints them and trees as DuckDB gives them."""

from __future__ import annotations

import pytest

from batch.asked import NoTable, by_duckdb, by_spark, database, known, refusal
from contracts.errors import Poison

PLAN = """== Parsed Logical Plan ==
CTE [a]
:  +- 'SubqueryAlias a
:     +- 'Project [*]
:        +- 'UnresolvedRelation [ward, vitals], [], false
+- 'Project ['a.x, 'text
+- DropTable']
   +- 'Filter 'y IN (list#29 [])
      :  +- 'Project ['z]
      :     +- 'UnresolvedRelation [alerts], [], false
      +- 'UnresolvedRelation [a], [], false

== Analyzed Logical Plan ==
x: int
"""


def test_tables_are_found_in_every_corner_and_names_of_the_query_itself_are_none() -> None:
    asked = by_spark(PLAN.replace("\n+- DropTable']", "]"), "engineer")
    assert asked.tables == ("ward.alerts", "ward.vitals")
    assert asked.zone == "restricted"
    assert asked.wrong is None


def test_a_literal_that_looks_like_a_node_is_rather_refused_than_trusted() -> None:
    with pytest.raises(Poison, match="DropTable is no read"):
        by_spark(PLAN, "engineer")


@pytest.mark.parametrize(
    "node", ["DropTable false, false", "'InsertIntoStatement x", "SetCommand (a,Some(b))", "'ScriptTransformation cat"]
)
def test_what_changes_or_runs_something_is_no_read_wherever_it_stands(node: str) -> None:
    for plan in (f"{node}\n", f"'Project [*]\n+- {node}\n", f"CTE [a]\n:  +- OneRowRelation\n+- {node}\n"):
        with pytest.raises(Poison, match="is no read"):
            by_spark(f"== Parsed Logical Plan ==\n{plan}\n== Analyzed Logical Plan ==\n", "steward")


def test_looking_at_the_tables_reads_none() -> None:
    for plan in (
        "'ShowTables [a#1]\n+- 'CurrentNamespace$",
        "'DescribeRelation false\n+- 'UnresolvedTable [vitals], x",
    ):
        asked = by_spark(f"== Parsed Logical Plan ==\n{plan}\n\n== Analyzed Logical Plan ==\n", "researcher")
        assert asked.tables == ()


def test_what_is_wrong_is_told_with_its_place_in_the_text_as_given() -> None:
    failed = (
        "org.apache.spark.sql.AnalysisException: [UNRESOLVED_COLUMN.WITH_SUGGESTION] A column named `bad` cannot be "
        "resolved. SQLSTATE: 42703; line 2 pos 7;\n'Project ['bad]\n"
    )
    plan = "== Parsed Logical Plan ==\n'Project ['bad]\n+- 'UnresolvedRelation [vitals], [], false\n\n"
    wrong = by_spark(f"{plan}== Analyzed Logical Plan ==\n{failed}", "researcher").wrong
    assert wrong is not None
    assert wrong.field == "line 1, column 8"
    assert wrong.detail == "A column named `bad` cannot be resolved."
    message = (
        "Error running query: [PARSE_SYNTAX_ERROR] org.apache.spark.sql.catalyst.parser.ParseException: \n"
        "[PARSE_SYNTAX_ERROR] Syntax error at or near 'from'. SQLSTATE: 42601 (line 3, pos 4)\n\n== SQL ==\nexplain"
    )
    told = refusal(message)
    assert (told.field, told.detail) == ("line 2, column 5", "Syntax error at or near 'from'.")


def test_a_missing_table_names_those_that_are_near_and_a_hidden_one_says_so() -> None:
    assert (database("researcher"), database("clinician")) == ("research", "ward")
    assert known(("vitals",), "researcher") == "research.vitals"
    assert known(("spark_catalog", "ward", "actions"), "engineer") == "ward.actions"
    with pytest.raises(NoTable, match="did you mean vitals"):
        known(("vital",), "researcher")
    with pytest.raises(NoTable, match="not de-identified"):
        known(("actions",), "researcher")
    for name in (("parquet", "/lake/tables/vitals"), ("default", "x"), ("a", "b", "c")):
        with pytest.raises(NoTable):
            known(name, "steward")


def test_duckdbs_tree_is_read_the_same() -> None:
    import json

    import duckdb

    connection = duckdb.connect()
    query = (
        "with a as (select * from ward.vitals) select 1 from a join research.alerts b on true "
        "where exists (select 1 from features) and 1 in (select seq from (select * from scores))"
    )
    tree = json.loads(connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0][0])
    connection.close()
    asked = by_duckdb(tree, "engineer")
    assert asked.tables == ("research.alerts", "ward.features", "ward.scores", "ward.vitals")
