"""Schemas and row expressions, derived from the contracts: complete, without Spark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from batch.rows import FROM_TOPICS, Rows
from batch.schemas import json_ddl, required, table_ddl, whole_ddl
from batch.typed import arrow_type, dataset, schema
from batch.version import code_version
from contracts import lake
from contracts import records as r


def test_every_table_of_a_topic_has_its_rows_in_the_order_of_the_contract() -> None:
    assert [one.table for one in FROM_TOPICS] == list(lake.FROM_TOPICS)


@pytest.mark.parametrize("one", FROM_TOPICS, ids=lambda one: one.table.name)
def test_every_column_is_selected_once_in_order(one: Rows) -> None:
    names = [found[1] for sql in one.select() if (found := re.search(r" as `(\w+)`$", sql))]
    assert names == [column.name for column in (*one.table.columns, *one.table.partitions)]


def test_the_json_of_a_record_is_read_with_the_types_of_its_columns() -> None:
    assert json_ddl(r.BedReadings) == (
        "`bed` string, `patient` string, `readings` array<struct<`vital`:string, `value`:string, `at_ms`:bigint,"
        " `unit`:string, `source`:string, `quality`:string>>, _corrupt string"
    )
    assert required(r.VitalsFrame) == ("version", "ward", "gateway", "seq", "at_ms")
    assert "past" not in json_ddl(r.VitalsFrame), "what no table holds is not even parsed"


def test_a_tables_ddl_has_its_columns_and_then_its_partitions() -> None:
    assert table_ddl(lake.RECORDS).startswith("`kafka_partition` int, `kafka_offset` bigint")
    assert whole_ddl(lake.RECORDS) == table_ddl(lake.RECORDS) + ", `topic` string, `date` date"


def test_a_file_from_before_a_column_reads_null_there(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def older(column: lake.Column) -> bool:
        return column.name not in ("probabilities", "caveats", "value")

    old = pa.schema([(c.name, arrow_type(c.type)) for c in lake.PREDICTIONS.columns if older(c)])
    whole = schema(lake.PREDICTIONS, partitions=False)
    folder = tmp_path / lake.PREDICTIONS.path.strip("/")
    for day, kind, rows in (
        (1, old, [{"job_id": "j"}]),
        (2, whole, [{"job_id": "k", "probabilities": {"glioma": 1.0}}]),
    ):
        (folder / f"date=2026-01-0{day}").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=kind), folder / f"date=2026-01-0{day}" / "one.parquet")
    paths = [f"{lake.PREDICTIONS.path}/date=2026-01-0{day}/one.parquet" for day in (1, 2)]
    found = dataset(None, lake.PREDICTIONS, paths, str(tmp_path)).to_table().to_pylist()
    assert [(one["job_id"], one["probabilities"]) for one in found] == [("j", None), ("k", [("glioma", 1.0)])]
    assert found[0]["caveats"] is found[0]["value"] is None


def test_the_version_of_the_code_names_release_and_sources() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{12}", code_version())
