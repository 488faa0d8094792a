"""Clinical facts into the lake once, out of it as a guarded cohort: on a real HDFS, with a real table of patients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from batch.clinical import load
from batch.cohorts import Cohort, freeze, rows_of
from batch.export import prepared, write
from batch.facts import Reading
from batch.selection import parsed, selected
from batch.storage import Storage
from contracts.errors import Misconfigured
from contracts.lake import CLINICAL
from contracts.settings import Settings
from tests.conftest import SHARED_DATA

pytestmark = [pytest.mark.hdfs]

KNEE = SHARED_DATA / "knee_osteoporosis" / "clinical.csv"
SMALL = b"patient,lactate,sex\nA,2.1,female\nB,<0.5,male\n"
PIVOT = """
select patient, max(case when name = 'age' then value end) as age, max(case when name = 'sex' then text end) as sex,
  max(case when name = 'bmi' then value end) as bmi, max(case when name = 'diagnosis' then text end) as label
from clinical where dataset = 'knee' group by patient
"""


def put(lake: Storage, content: bytes, dataset: str = "labs", add: bool = False) -> dict[str, object]:
    return load(lake, content, False, dataset, Reading(), skip_bad=False, add=add)


def test_a_file_is_put_in_once_however_often_it_is_told(lake: Storage) -> None:
    assert (put(lake, SMALL)["new"], put(lake, SMALL)["new"]) == (True, False)
    assert put(lake, SMALL + b"\n")["new"] is False, "the same facts"
    rows = rows_of(lake, frozen(lake)).select(["patient", "value", "text", "high"]).to_pylist()
    assert sorted((tuple(row.values()) for row in rows), key=str) == [
        ("A", 2.1, None, None),
        ("A", None, "female", None),
        ("B", None, "male", None),
        ("B", None, None, 0.5),
    ]
    with pytest.raises(Misconfigured, match="holds another file already"):
        put(lake, b"patient,lactate\nC,3\n")
    assert put(lake, b"patient,lactate\nC,3\n", add=True)["new"]
    assert len([entry for entry in lake.entries(CLINICAL.path) if "dataset=labs" in entry.path]) == 2


def frozen(lake: Storage) -> Cohort:
    query = parsed("select patient, name, value, text, high from clinical")
    return freeze(lake, "facts", query, by="r", role="researcher", engine="duckdb", by_sql=selected)[0]


def test_bad_rows_are_told_by_line_and_nothing_is_put_in(
    lake: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from batch.cli import app

    monkeypatch.setenv("WARD_HDFS_URL", settings.hdfs_url or "")
    monkeypatch.setenv("WARD_HDFS_RPC", settings.hdfs_rpc or "")
    file = tmp_path / "labs.csv"
    file.write_bytes(SMALL + b",1.0,male\n")
    done = CliRunner().invoke(app, ["clinical", str(file), "--dataset", "labs"])
    assert done.exit_code == 5
    assert f"{file}:4: patient: no patient" in done.stderr
    assert list(lake.entries(CLINICAL.path)) == []
    again = CliRunner().invoke(app, ["clinical", str(file), "--dataset", "labs", "--skip-bad", "--json"])
    assert again.exit_code == 6
    told = json.loads(again.stdout)
    assert (told["facts"], told["bad"]) == (4, [{"line": 4, "why": "patient: no patient"}])


@pytest.mark.skipif(not KNEE.is_file(), reason="the recordings are not beside the checkout")
def test_a_real_table_of_patients_goes_in_and_comes_out_guarded(lake: Storage, tmp_path: Path) -> None:
    told = load(lake, KNEE.read_bytes(), False, "knee", Reading(skip=("medical_history",)), skip_bad=True, add=False)
    assert told["patients"] == 204
    assert told["bad"] == []
    query = parsed(PIVOT)
    made, _ = freeze(lake, "knees", query, by="r", role="researcher", engine="duckdb", by_sql=selected)
    assert made.patients == made.rows == 204
    ready = prepared(rows_of(lake, made), bytes(32), 10)
    write(tmp_path / "knees", made, ready, "csv", 10, False)
    assert ready.quasi == ["age", "sex", "bmi"]
    groups: dict[tuple[str, str, str], int] = {}
    for row in ready.rows.to_pylist():
        look = (row["age"], row["sex"], row["bmi"])
        groups[look] = groups.get(look, 0) + 1
    assert min(groups.values()) >= 10
    assert sum(groups.values()) > 190, "and few patients were lost for it"
    assert set(ready.rows["label"].to_pylist()) >= {"normal", "osteopenia", "osteoporosis"}
    raw = (tmp_path / "knees" / "data.csv").read_bytes()
    assert b"OP" not in raw
