"""Clinical facts of a file: units, ranges and bounds are kept, what is bad is told by its line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from batch.facts import Reading, facts
from contracts.errors import Misconfigured, Poison

TABLE = Path("knee_osteoporosis/clinical.csv")


def read(text: str, **how: Any) -> tuple[list[dict[str, Any]], list[str]]:
    rows, bad = facts(text.encode(), False, Reading(**how))
    return rows, [f"{one.line}: {one.why}" for one in bad]


def test_each_column_of_a_wide_file_is_a_fact_with_its_unit() -> None:
    rows, bad = read("patient_id,weight_kg,sex,heart_rate,lactate\nA,70.5,female,81,NA\n", units={"lactate": "mmol/L"})
    assert bad == []
    assert rows == [
        {"patient": "A", "at_ms": None, "name": "heart_rate", "unit": "/min", "value": 81.0},
        {"patient": "A", "at_ms": None, "name": "sex", "unit": None, "text": "female"},
        {"patient": "A", "at_ms": None, "name": "weight_kg", "unit": "kg", "value": 70.5},
    ]


def test_a_long_file_brings_units_and_reference_ranges() -> None:
    rows, bad = read(
        "patient,at,name,value,unit,low,high\n"
        "A,2026-01-02T07:00:00+01:00,lactate,2.1,mmol/L,0.5,2.2\n"
        "A,1767340800000,lactate,2.4,mmol/L,,2.2\n"
    )
    assert bad == []
    assert rows[0] == {
        "patient": "A",
        "at_ms": 1767333600000,
        "name": "lactate",
        "unit": "mmol/L",
        "value": 2.1,
        "usual_low": 0.5,
        "usual_high": 2.2,
    }
    assert rows[1]["at_ms"] == 1767340800000


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<0.5", {"high": 0.5}),
        (">= 90", {"low": 90.0}),
        ("90+", {"low": 90.0}),
        ("3-5", {"low": 3.0, "high": 5.0}),
        ("3.5 – 4", {"low": 3.5, "high": 4.0}),
        ("-1.5", {"value": -1.5}),
        ("1e3", {"value": 1000.0}),
        ("002-1039", {"text": "002-1039"}),
    ],
)
def test_ranges_and_bounds_are_kept(text: str, kept: dict[str, object]) -> None:
    rows, bad = read(f"patient,crp\nA,{text}\n")
    assert bad == []
    assert {name: value for name, value in rows[0].items() if name in ("value", "text", "low", "high")} == kept


def test_what_is_bad_is_told_by_its_line_and_the_rest_is_kept() -> None:
    numbers = "".join(f"P{n},{n}.5,\n" for n in range(30))
    rows, bad = read(f'patient,t_score,at\n{numbers},1.0,\nX,1.0\nY,"1,5",\nZ,2.0,yesterday\nP0,7.5,\nP1,1.5,\n')
    assert len(rows) == 30
    assert bad == [
        "32: patient: no patient",
        "33: 2 fields; the header has 3",
        "34: t_score: '1,5' is no number",
        "35: at: 'yesterday' is no moment: RFC 3339, or epoch ms",
        "36: t_score: '7.5', but line 2 says otherwise",
    ]


def test_lines_are_those_of_the_file_though_a_field_may_hold_several() -> None:
    _, bad = read('patient,note,x\nA,"two\nlines",1\n,fine,2\n')
    assert bad == ["4: patient: no patient"]


@pytest.mark.parametrize(
    ("content", "how", "reason"),
    [
        (b"", {}, "no_rows"),
        (b"patient,x\n", {}, "no_rows"),
        (b"who,x\nA,1\n", {}, "no_patient"),
        (b"patient,x,x\nA,1,2\n", {}, "bad_header"),
        (b"patient,x\nA,\xff\n", {}, "not_utf8"),
        (b'patient,x\nA,"1\n', {}, "bad_csv"),
    ],
)
def test_a_file_that_is_none_says_why(content: bytes, how: dict[str, Any], reason: str) -> None:
    with pytest.raises(Poison) as wrong:
        facts(content, False, Reading(**how))
    assert wrong.value.reason == reason
    with pytest.raises(Poison, match="bad_parquet"):
        facts(b"not parquet", True, Reading())
    with pytest.raises(Misconfigured, match="--skip nothing: the file has patient, x"):
        read("patient,x\nA,1\n", skip=("nothing",))


def test_parquet_gives_the_same_facts() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    table = pa.table({"patient_id": ["A", "B"], "weight_kg": [70.5, None], "sex": ["female", "male"]})
    pq.write_table(table, sink)
    rows, bad = facts(sink.getvalue(), True, Reading())
    assert bad == []
    assert [(row["patient"], row["name"]) for row in rows] == [("A", "sex"), ("A", "weight_kg"), ("B", "sex")]


def test_hospital_numbers_become_pseudonyms() -> None:
    rows, _ = read("patient,x\nMRN 1,1\n", pseudonym=lambda number: f"p-{len(number)}")
    assert rows[0]["patient"] == "p-5"
