"""What the metastore is told: statements that follow from contracts/lake.py, and who sees what."""

from __future__ import annotations

import pytest

from batch.tables import NULL, quoted, spec, table_ddl, text, values_of, view_ddl, views
from contracts.lake import ALL, Table, partition_value

URI = "hdfs://127.0.0.1:8020/lake/tables/x"


@pytest.mark.parametrize("table", ALL.values(), ids=lambda table: table.name)
def test_every_table_has_all_its_columns_where_they_belong(table: Table) -> None:
    ddl = table_ddl(table, URI)
    for column in (*table.columns, *table.partitions):
        assert f"{quoted(column.name)} {column.type} COMMENT" in ddl
    assert f"LOCATION '{URI}'" in ddl
    assert ("PARTITIONED BY" in ddl) == bool(table.partitions)
    if table.buckets is None:
        assert ddl.startswith("CREATE EXTERNAL TABLE")
        assert "STORED AS PARQUET" in ddl
    else:
        assert f"CLUSTERED BY (`{table.buckets[0]}`) INTO {table.buckets[1]} BUCKETS" in ddl


def test_researchers_see_no_name_of_staff_no_free_text_and_nothing_restricted() -> None:
    assert set(views()) == {table.name for table in ALL.values() if table.zone == "deidentified"}
    shown = view_ddl(ALL["alerts"])
    assert shown is not None
    assert "`patient`" in shown
    assert "`actor`" not in shown
    assert "`note`" not in shown
    assert "`made_by`" not in str(view_ddl(ALL["cohorts"]))
    for table in ALL.values():
        assert (view_ddl(table) is None) == (table.zone != "deidentified")


def test_partitions_are_named_by_type_and_found_again_from_their_paths() -> None:
    vitals, metadata = ALL["vitals"], ALL["image_metadata"]
    assert spec(vitals, ("2026-01-02", "W3/a")) == "`date`=DATE '2026-01-02', `ward`='W3/a'"
    assert spec(vitals, ("2026-01-02", NULL)) == "`date`=DATE '2026-01-02', `ward`=NULL"
    assert spec(metadata, ("2025", "3", "CT")) == "`year`=2025, `month`=3, `modality`='CT'"
    for ward in ("W3/a", "it's", "Ünit 4", "~clock", "a=b%"):
        assert values_of(f"date=2026-01-02/ward={partition_value(ward)}") == ("2026-01-02", ward)


def test_a_literal_cannot_be_left() -> None:
    assert text("it's \\ done") == r"'it\'s \\ done'"
