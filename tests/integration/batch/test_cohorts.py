"""Cohorts on a real HDFS: frozen once, selected again to the same rows, and handed out without a pseudonym of it."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from batch.cohorts import Cohort, NotThere, find, freeze, previewed, rerun, rows_of
from batch.compact import compact
from batch.manifests import VERSION, Manifest, Span, path_of
from batch.publish import publish
from batch.selection import parsed, selected
from batch.storage import Storage
from batch.typed import schema
from contracts.errors import Misconfigured, Poison
from contracts.lake import ALERTS_TABLE, CLINICAL, EXPORTS_ROOT, IDENTIFIED_ROOT, VITALS_TABLE, Table
from contracts.settings import Settings

pytestmark = [pytest.mark.hdfs, pytest.mark.kafka]

DAY_MS = 24 * 3600 * 1000
START_MS = 20_000 * DAY_MS
WARDS = ("W1", "W2", "W3")
QUERY = "select patient, ward, event_ms, vital, value from vitals where vital = 'spo2'"


def reading(patient: int, offset: int) -> dict[str, Any]:
    """One reading: patient n lies in ward n modulo 3 and partition n modulo 2."""
    return {
        "kafka_partition": patient % 2,
        "kafka_offset": offset,
        "row": patient,
        "event_ms": START_MS + offset * 7_000_000 + patient,
        "ingest_ms": START_MS + offset * 7_000_000 + 500,
        "schema_version": 1,
        "bed": f"B{patient}",
        "patient": f"pt-{patient:04d}-orig",
        "vital": random.Random(offset * 1000 + patient).choice(["spo2", "heart_rate"]),
        "value": 90.0 + (offset * 31 + patient * 7) % 10 / 3,
        "source": "pleth",
        "quality": "measured",
        "ward": WARDS[patient % 3],
    }


def land(storage: Storage, table: Table, name: str, rows: Sequence[dict[str, Any]], spans: Sequence[Span] = ()) -> None:
    """Publish rows the way the stream and every derived table do, one file a partition."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def fill(folder: str) -> Sequence[Span]:
        keys = [column.name for column in table.partitions]
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            told = row if "event_ms" not in row else row | {"date": date_of(row["event_ms"])}
            groups.setdefault(tuple(str(told[key]) for key in keys), []).append(row)
        for number, (values, mine) in enumerate(groups.items()):
            sink = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(mine, schema=schema(table, partitions=False)), sink)
            parts = "".join(f"/{key}={value}" for key, value in zip(keys, values, strict=True))
            storage.write(f"{folder}/{table.name}{parts}/{number}.parquet", sink.getvalue())
        return spans

    publish(storage, name, fill, kind="batch" if spans else "derived")


def date_of(event_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(event_ms / 1000, UTC).date().isoformat()


def batch_of_vitals(storage: Storage, first: int, until: int, patients: int = 60) -> None:
    """Offsets ``first`` to ``until`` of both partitions, a frame an offset."""
    rows = [reading(patient, offset) for offset in range(first, until) for patient in range(patients)]
    assert VITALS_TABLE.topic is not None
    spans = [
        Span(topic=VITALS_TABLE.topic.name, partition=one, first=first, until=until, records=until - first)
        for one in (0, 1)
    ]
    land(storage, VITALS_TABLE, f"b{first:012d}", rows, spans)


@pytest.fixture
def ward(lake: Storage) -> Storage:
    """A lake of two batches of 60 patients in three wards."""
    batch_of_vitals(lake, 0, 6)
    batch_of_vitals(lake, 6, 12)
    return lake


def frozen(storage: Storage, sql: str = QUERY, name: str = "saturation") -> Any:
    return freeze(
        storage,
        name,
        parsed(sql),
        by="r. smith",
        role="researcher",
        purpose="study 12",
        engine="duckdb",
        by_sql=selected,
    )


def again(storage: Storage, made: Cohort) -> dict[str, Any]:
    return rerun(storage, made, parsed(made.query), selected)


def test_the_same_query_over_the_same_data_is_the_same_cohort(ward: Storage) -> None:
    one, new = frozen(ward)
    other, again = frozen(ward, QUERY.upper().replace("'SPO2'", "'spo2'") + "  -- the same\n", "by another name")
    assert (new, again) == (True, False)
    assert one == other
    assert one.patients == 60
    assert rows_of(ward, one).num_rows == one.rows > 200
    cohorts = [entry.path for entry in ward.entries("/lake/tables/cohorts")]
    assert len(cohorts) == 1, "the cohort has its row, once"
    assert find(ward, "saturation").cohort == find(ward, one.cohort[:6]).cohort == one.cohort
    batch_of_vitals(ward, 12, 14)
    assert frozen(ward)[0].cohort != one.cohort, "other data, another cohort"


def test_rows_that_came_later_and_merged_files_change_nothing(ward: Storage) -> None:
    rows, _ = frozen(ward)
    means, _ = frozen(
        ward, "select patient, avg(value) as mean, min(event_ms) as first_ms from vitals group by patient"
    )
    batch_of_vitals(ward, 12, 20, patients=80)
    assert compact(ward, tables=(VITALS_TABLE.name,), grace_s=0).files >= 6
    batch_of_vitals(ward, 20, 22)
    assert again(ward, rows)["exact"]
    found = again(ward, means)
    assert found["same"], found
    assert found["rows_now"] == 60


def test_a_derived_table_is_read_as_it_stood(ward: Storage) -> None:
    def facts(first: int, until: int) -> list[dict[str, Any]]:
        return [
            {"patient": f"pt-{n:04d}-orig", "name": "lactate", "value": n / 10, "unit": "mmol/L", "dataset": "labs"}
            for n in range(first, until)
        ]

    land(ward, CLINICAL, "clinical-one", facts(0, 20))
    land(ward, CLINICAL, "clinical-two", facts(20, 40))
    sql = "select patient, value as lactate from clinical where name = 'lactate'"
    made, _ = frozen(ward, sql, "lactate")
    land(ward, CLINICAL, "clinical-three", facts(40, 50))
    assert again(ward, made)["exact"]
    assert frozen(ward, sql)[0].patients == 50
    ward.remove(next(entry.path for entry in ward.entries(CLINICAL.path) if "clinical-one" in entry.path))
    found = again(ward, made)
    assert not found["same"]
    assert "is gone or another" in found["why"]


def test_rows_that_retention_took_are_missed_and_told(ward: Storage) -> None:
    made, _ = frozen(ward)
    gone = [entry.path for entry in ward.entries(VITALS_TABLE.path)][:2]
    for path in gone:
        ward.remove(path)
    manifest = Manifest(version=VERSION, kind="retention", name="r1", made_ms=START_MS, code="t", replaces=tuple(gone))
    ward.write(path_of("r1"), manifest.encoded())
    found = again(ward, made)
    assert not found["same"]
    assert "retention" in found["why"]


def test_a_file_that_was_changed_is_not_handed_out(ward: Storage) -> None:
    made, _ = frozen(ward)
    ward.remove(made.members)
    ward.write(made.members, b"something else")
    with pytest.raises(Poison, match="tampered_cohort"):
        rows_of(ward, made)


def test_who_is_not_there_is_told_with_what_is_near(ward: Storage) -> None:
    made, _ = frozen(ward)
    with pytest.raises(NotThere) as missed:
        find(ward, "saturatoin")
    assert missed.value.near == (made.name,)


def test_a_preview_tells_no_count_of_a_few(ward: Storage) -> None:
    found = previewed(ward, parsed(QUERY), 10, selected)
    assert found["patients"] == "60"
    assert found["by"]["ward"] == {"W1": 20, "W2": 20, "W3": 20}
    few = previewed(ward, parsed(f"{QUERY} and patient < 'pt-0005'"), 10, selected)
    assert few == {
        "tables": ["vitals"],
        "columns": ["patient", "ward", "event_ms", "vital", "value"],
        "patients": "fewer than 10",
        "rows": None,
        "small_cells_below": 10,
        "by": {},
    }
    lone = previewed(ward, parsed(f"{QUERY} and (ward != 'W3' or patient = 'pt-0002-orig')"), 10, selected)
    assert lone["by"]["ward"] == {"W1": None, "W2": 20, "W3": None}


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("select bed, value from vitals", "no_patient"),
        ("select patient as patient, 1 as patient from vitals", "bad_sql"),
        ("select max(kafka_offset) as patient from vitals", "no_patient"),
        ("select patient from vitals where nothing = 1", "bad_sql"),
        ("select cast(patient as int) as x, patient from vitals", "bad_sql"),
        ("select patient, actor from alerts", "bad_sql"),
        ("select patient, content from vitals, read_text('/etc/hostname')", "bad_sql"),
    ],
)
def test_a_query_that_cannot_be_frozen_says_why_and_leaves_nothing(ward: Storage, sql: str, reason: str) -> None:
    with pytest.raises(Poison) as wrong:
        frozen(ward, sql)
    assert wrong.value.reason == reason
    assert list(ward.entries("/lake/cohorts", hidden=True)) == []


# -- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(ward: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs ``ward cohort ...`` against the session's servers."""
    from batch.cohorts_cli import app

    monkeypatch.setenv("WARD_KAFKA", settings.kafka)
    monkeypatch.setenv("WARD_HDFS_URL", settings.hdfs_url or "")
    monkeypatch.setenv("WARD_HDFS_RPC", settings.hdfs_rpc or "")
    monkeypatch.setenv("WARD_ACTOR", "r. smith")

    def run(*arguments: str, role: str = "researcher") -> Result:
        monkeypatch.setenv("WARD_ROLE", role)
        return CliRunner().invoke(app, list(arguments))

    return run


def planted(folder: Path, pseudonyms: Sequence[str]) -> list[str]:
    """Which of these words stand in any byte of the folder: as they are, and in every Parquet page unpacked."""
    import pyarrow.parquet as pq

    raw = b"".join(path.name.encode() + path.read_bytes() for path in sorted(folder.iterdir()))
    for path in folder.glob("*.parquet"):
        raw += repr(pq.read_table(path).to_pydict()).encode() + repr(pq.read_schema(path)).encode()
    return [word for word in pseudonyms if word.encode() in raw]


def test_an_export_holds_no_pseudonym_of_the_lake_anywhere(command: Callable[..., Result], tmp_path: Path) -> None:
    sql = (
        "select patient, patient as copy, 'ward of ' || patient as said, ward, bed, event_ms, date, vital, value, "
        "kafka_offset from vitals where patient != 'pt-0003-orig' and vital in ('spo2', 'heart_rate')"
    )
    made = json.loads(command("freeze", "all of pt-0004-orig", sql, "--purpose", "about pt-0003-orig", "--json").stdout)
    pseudonyms = [f"pt-{n:04d}-orig" for n in range(60)]
    for form in ("parquet", "csv"):
        to = tmp_path / form
        done = command("export", made["cohort"], "--to", str(to), "--format", form, "--json")
        assert done.exit_code == 0, done.output
        assert planted(to, pseudonyms) == []
        assert {path.name for path in to.iterdir()} == {f"data.{form}", "README.txt", "cohort.json"}
    told = json.loads((tmp_path / "csv" / "cohort.json").read_text())
    assert told["patients"] == 59
    assert told["quasi_identifiers"] == ["copy", "said", "ward"]
    assert made["cohort"] in told["citation"]
    one, other = ((tmp_path / form / f"data.{form}").read_bytes() for form in ("parquet", "csv"))
    assert one != other
    assert b"***" in (tmp_path / "csv" / "README.txt").read_bytes()


def test_times_leave_as_offsets_and_rows_keep_belonging_together(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    command("freeze", "saturation", f"{QUERY.replace('vital,', 'vital, date,')}")
    command("export", "saturation", "--to", str(tmp_path / "out"))
    rows = pq.read_table(tmp_path / "out" / "data.parquet").to_pylist()
    by_patient: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_patient.setdefault(row["patient"], []).append(row)
    assert len(by_patient) == 60
    assert all(name.startswith("p-") for name in by_patient)
    for mine in by_patient.values():
        assert mine[0]["event_offset_ms"] == 0
        assert {row["event_offset_ms"] % 7_000_000 for row in mine} == {0}
        assert mine[0]["date_offset_days"] == 0
        assert len({row["ward"] for row in mine}) == 1
    assert {row["ward"] for row in rows} == set(WARDS)
    assert all("event_ms" not in row and "date" not in row for row in rows)


def test_a_small_cohort_is_refused_and_small_groups_lose_what_sets_them_apart(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    command("freeze", "few", f"{QUERY} and patient < 'pt-0005'")
    done = command("export", "few", "--to", str(tmp_path / "few"))
    assert isinstance(done.exception, Poison)
    assert done.exception.reason == "small_cohort"
    assert not (tmp_path / "few").exists()
    command("freeze", "uneven", f"{QUERY} and (ward != 'W3' or patient < 'pt-0015')")
    told = json.loads(command("export", "uneven", "--to", str(tmp_path / "uneven"), "--json").stdout)
    assert told["patients"] == 40, "the five of W3 look like nobody else"
    assert {"column": "ward", "what": "left out", "patients": "fewer than 10"} in told["suppressed"]
    assert list(tmp_path.glob(".*")) == []


def test_the_key_is_kept_for_stewards_only_and_in_the_identified_zone(
    command: Callable[..., Result], superuser: Storage, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    made = json.loads(command("freeze", "saturation", QUERY, "--json").stdout)
    refused = command("export", "saturation", "--to", str(tmp_path / "no"), "--keep-key")
    assert isinstance(refused.exception, Misconfigured)
    assert not (tmp_path / "no").exists()
    patients = []
    for name, more in (("a", ["--keep-key"]), ("b", ["--keep-key"]), ("c", [])):
        done = command("export", "saturation", "--to", str(tmp_path / name), *more, role="steward")
        assert done.exit_code == 0, done.output
        patients.append(set(pq.read_table(tmp_path / name / "data.parquet")["patient"].to_pylist()))
    assert patients[0] == patients[1], "a kept key is used again"
    assert not patients[0] & patients[2], "without it the pseudonyms are others"
    path = f"{IDENTIFIED_ROOT}/cohorts/{made['cohort']}.key"
    assert len(superuser.read(path)) == 32
    assert list(superuser.entries(EXPORTS_ROOT)) == []


def test_list_show_and_rerun_tell_where_a_cohort_came_from(command: Callable[..., Result]) -> None:
    made = json.loads(command("freeze", "saturation", QUERY, "--purpose", "study 12", "--json").stdout)
    assert [one["cohort"] for one in json.loads(command("list", "--json").stdout)["cohorts"]] == [made["cohort"]]
    shown = json.loads(command("show", made["cohort"][:5], "--json").stdout)
    assert shown["snapshot"]["tables"][0]["until"] == {"0": 12, "1": 12}
    assert (shown["made_by"], shown["purpose"], shown["query"]) == ("r. smith", "study 12", QUERY)
    assert command("show", "saturation").exit_code == 0
    assert command("rerun", "saturation").exit_code == 0
    missed = command("show", "0123456789abcdef")
    assert missed.exit_code == 3
    assert "no cohort" in missed.stderr


def test_reads_of_cohorts_are_told_before_they_happen(command: Callable[..., Result], settings: Settings) -> None:
    from kafka import KafkaConsumer, TopicPartition

    from contracts import codec
    from contracts.records import Access
    from contracts.topology import ACCESS_LOG

    command("preview", QUERY)
    command("freeze", "saturation", QUERY, "--purpose", "study 12")
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka, consumer_timeout_ms=5_000)
    at = TopicPartition(ACCESS_LOG.name, 0)
    consumer.assign([at])
    consumer.seek(at, max(0, consumer.end_offsets([at])[at] - 2))
    told = [codec.decode(next(consumer).value, Access) for _ in range(2)]
    consumer.close()
    assert [(one.action, one.actor, one.target, one.query) for one in told] == [
        ("cohort_preview", "r. smith", "vitals", QUERY),
        ("cohort_freeze", "r. smith", "vitals", QUERY),
    ]
    assert told[1].purpose == "study 12"


def test_without_alerts_a_query_of_them_gives_no_rows_and_no_error(ward: Storage) -> None:
    assert list(ward.entries(ALERTS_TABLE.path)) == []
    made, _ = frozen(ward, "select patient, condition from alerts", "nobody")
    assert (made.rows, made.patients) == (0, 0)
    assert again(ward, made)["exact"]
