"""Any Hive client: fresh rows, buckets, functions and views, and a server that no query ends."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch import functions
from batch.storage import Storage
from batch.tables import Keeper
from contracts.lake import ALL
from contracts.settings import Settings
from infra.stack import wait_until
from tests.integration.batch.sql.rows import put
from tests.integration.batch.sql.small import BEDS, ROWS, Query, connected, vitals

pytestmark = [pytest.mark.spark, pytest.mark.hdfs, pytest.mark.kafka]


# -- any client ------------------------------------------------------------------------------------------------------


def test_a_partitioned_external_dicom_table_is_counted_by_modality_for_a_year(query: Query) -> None:
    asked = "select modality, count(*) from ward.image_metadata where year = 2025 group by modality order by modality"
    assert query(asked) == [("CR", 12), ("CT", 12), ("MR", 12)]
    assert len(query("show partitions ward.image_metadata")) == 6
    described = {str(row[0]).strip(): str(row[1]).strip() for row in query("describe extended ward.image_metadata")}
    assert described["Type"] == "EXTERNAL"
    assert described["Num Buckets"] == "8"
    assert described["Location"].endswith(ALL["image_metadata"].path)


def test_beeline_reads_the_same(thrift: Settings, filled: Storage) -> None:
    import pyspark

    assert filled
    jars = Path(pyspark.__file__).parent / "jars"
    java = str(Path(thrift.java_home) / "bin" / "java") if thrift.java_home else "java"
    beeline = [java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", "org.apache.hive.beeline.BeeLine"]
    asked = "select ward, count(*) n from vitals group by ward order by ward"
    at = ["-u", f"jdbc:hive2://{thrift.hive}/ward", "-n", "kim", "--silent=true", "--outputformat=csv2", "-e", asked]
    done = subprocess.run([*beeline, *at], capture_output=True, text=True, timeout=120, check=False)
    lines = [line for line in done.stdout.splitlines() if line and "jdbc:hive2" not in line]
    assert [line for line in lines if "," in line][-2:] == [f"W1,{2 * ROWS}", f"W3/a,{2 * ROWS}"], done.stderr[-500:]


def test_a_bad_query_ends_nothing_but_itself(query: Query, thrift: Settings) -> None:
    from pyhive import exc

    bad = (
        "selec 1",
        "select nothing from ward.vitals",
        "select * from nowhere",
        "select raise_error('no')",
        "select 1/0",
        "select reflect('java.lang.System', 'exit', 1)",
        "select java_method('java.lang.System', 'exit', 1)",
        "select time_above('x', 'y', 'z') from ward.vitals",
        "select vital_stats(value), count(*) from ward.vitals",
    )
    for text in bad:
        with pytest.raises(exc.Error):
            query(text)
    assert query("select 1") == [(1,)]
    with connected(thrift) as another:
        assert another("select 2") == [(2,)]


def test_one_clients_settings_and_database_are_not_anothers(query: Query, thrift: Settings) -> None:
    query("use research")
    query("set spark.sql.shuffle.partitions=7")
    with connected(thrift) as another:
        assert another("select current_database()") == [("default",)]
        assert another("set spark.sql.shuffle.partitions")[0][1] == "2"
    assert query("select current_database()") == [("research",)]


def test_no_client_can_change_a_file(query: Query, filled: Storage) -> None:
    from pyhive import exc

    before = list(filled.entries(ALL["vitals"].path))
    for text in (
        "insert into ward.vitals select * from ward.vitals",
        "insert overwrite table ward.actions select * from ward.actions",
        f"insert overwrite directory '{filled.uri(ALL['vitals'].path)}' using parquet select 1 a",
    ):
        with pytest.raises(exc.Error, match="Permission denied"):
            query(text)
    assert list(filled.entries(ALL["vitals"].path)) == before


# -- fresh rows ------------------------------------------------------------------------------------------------------


def test_new_rows_are_seen_without_refresh_and_a_compaction_is_not(query: Query, filled: Storage) -> None:
    count = "select count(*), count(distinct ward) from ward.vitals where date = '2026-02-01'"
    assert query(count) == [(0, 0)]
    one = put(filled, "vitals", "date=2026-02-01/ward=%C3%9Cnit 4/b000000000002-0.parquet", vitals(1))
    begun = time.monotonic()
    assert wait_until(lambda: query(count) == [(ROWS, 1)], 30)
    assert time.monotonic() - begun < 20, "a new partition takes one look at the folders"
    two = put(filled, "vitals", "date=2026-02-01/ward=%C3%9Cnit 4/b000000000003-0.parquet", vitals(2))
    assert query(count) == [(2 * ROWS, 1)], "a file in a partition that is known is there at once"
    compact(filled, one, two)
    assert query(count) == [(2 * ROWS, 1)]
    assert query("select ward from ward.vitals where date = '2026-02-01' limit 1") == [("Ünit 4",)]
    filled.remove(f"{ALL['vitals'].path}/date=2026-02-01")
    assert query(count) == [(0, 0)], "retention took it, before the partition is forgotten"
    partitions = "show partitions ward.vitals"
    assert wait_until(lambda: not [row for row in query(partitions) if "2026-02-01" in row[0]], 30)


def compact(storage: Storage, one: str, two: str) -> None:
    """Join two files as compaction does: a tail with all rows, then one step."""
    first, second = storage.read(one), storage.read(two)
    rows = pa.concat_tables([pq.read_table(pa.BufferReader(raw)) for raw in (first, second)])
    sink = pa.BufferOutputStream()
    writer = pq.ParquetWriter(sink, rows.schema)
    sink.write(bytes(len(first) + len(second) - 4))
    writer.write_table(rows)
    writer.close()
    tail = f"{os.path.dirname(one)}/_tail"
    storage.write(tail, sink.getvalue().to_pybytes()[len(first) + len(second) :])
    storage.concat(one, [two, tail])


def test_a_column_that_a_file_is_too_old_for_is_null_in_its_rows(query: Query, filled: Storage) -> None:
    place = "dataset=old"
    put(filled, "quarantine", f"{place}/q-0.parquet", {"image_id": ["a"], "reason": ["damaged"]}, only=3)
    put(filled, "quarantine", f"{place}/q-1.parquet", {"image_id": ["b"], "code": ["0.1.0"]})
    rows = "select image_id, reason, code from ward.quarantine order by image_id"
    assert wait_until(lambda: query(rows) == [("a", "damaged", None), ("b", None, "0.1.0")], 30)


def test_a_table_of_an_older_release_gets_its_new_columns(query: Query, filled: Storage) -> None:
    old = ALL["dead_letters"]
    query("drop table ward.dead_letters")
    query(
        "create external table ward.dead_letters (kafka_partition int, kafka_offset bigint) "
        f"partitioned by (date date) stored as parquet location '{filled.uri(old.path)}'"
    )
    keeper = Keeper(query, filled)
    keeper.make()
    names = [row[0] for row in query("describe ward.dead_letters")]
    assert names[: len(old.columns) + 1] == [*(column.name for column in old.columns), "date"]
    keeper.make()
    put(filled, "dead_letters", "date=2026-01-02/b-0.parquet", {"kafka_offset": [5], "reason": ["not_json"]})
    keeper.look()
    assert query("select kafka_offset, reason from ward.dead_letters") == [(5, "not_json")]


# -- buckets ---------------------------------------------------------------------------------------------------------


def test_a_join_on_the_bucketed_column_moves_no_row_and_a_patient_is_looked_for_in_one_bucket(
    query: Query, filled: Storage
) -> None:
    query("set spark.sql.autoBroadcastJoinThreshold=-1")
    joined = "select count(*) from ward.image_metadata a join ward.image_metadata b using (patient)"
    plan = query(f"explain {joined}")[0][0]
    assert "SelectedBucketsCount: 8 out of 8" in plan
    assert "hashpartitioning(patient" not in plan, "no exchange before the join"
    assert query(joined) == [(12 * 36,)]
    ((right,),) = query("select pmod(hash('stray'), 8)")
    wrong = (right + 1) % 8
    put(
        filled,
        "image_metadata",
        f"year=2026/month=3/modality=CT/stray-0_{wrong:05d}.c000.parquet",
        {"patient": ["stray"]},
    )
    assert query("select count(*) from ward.image_metadata where concat(patient, '') = 'stray'") == [(1,)]
    assert query("select count(*) from ward.image_metadata where patient = 'stray'") == [(0,)], (
        "other buckets are skipped"
    )
    filled.remove(f"{ALL['image_metadata'].path}/year=2026/month=3/modality=CT/stray-0_{wrong:05d}.c000.parquet")


# -- functions -------------------------------------------------------------------------------------------------------


def test_our_functions_answer_a_jdbc_client_as_numpy_does(query: Query) -> None:
    import json

    asked = (
        "select bed, vital_stats(value, event_ms), time_above(value, event_ms, 93.0, 60),"
        " time_below(value, event_ms, 93.0), slope_per_day(value, event_ms) from ward.vitals"
        " where ward = 'W1' and date = '2026-01-02' and vital = 'spo2'"
        " group by bed order by bed"
    )
    rows = query(asked)
    held = vitals(0)
    assert len(rows) == BEDS
    for bed, stats, above, below, slope in rows:
        mine = [n for n in range(ROWS) if held["bed"][n] == bed and held["vital"][n] == "spo2"]
        value = np.array([held["value"][n] if held["value"][n] is not None else np.nan for n in mine])
        at = np.array([held["event_ms"][n] for n in mine], float)
        assert json.loads(stats) == pytest.approx(functions.vital_stats(value, at))
        assert above == pytest.approx(functions.time_above(value, at, 93.0, 60.0))
        assert below == pytest.approx(functions.time_below(value, at, 93.0))
        assert slope == pytest.approx(functions.slope_per_day(value, at))
    pixels = np.linspace(0, 1, 64, dtype="<f4")
    ((told,),) = query(f"select pixel_stats(unhex('{pixels.tobytes().hex()}'))")
    assert json.loads(told) == pytest.approx(functions.pixel_stats(pixels.tobytes()))
    assert query("select image_stats(cast('no image' as binary)), pixel_stats(null)") == [(None, None)]


def test_views_hide_names_of_staff_and_free_text(query: Query) -> None:
    shown = {row[0] for row in query("describe research.alerts")}
    assert {"alert_id", "patient", "drivers", "ward", "date"} <= shown
    assert not shown & {"actor", "note"}
    tables = {row[1] for row in query("show tables in research")}
    assert "vitals" in tables
    assert not tables & {"actions", "records", "dead_letters", "access", "quarantine"}
