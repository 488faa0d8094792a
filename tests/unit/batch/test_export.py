"""What may leave: no pseudonym, no date, no lone patient, whatever the query made of its columns."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.columns import Kind, kind_of
from batch.export import masked, prepared
from contracts.errors import Misconfigured, Poison

KEY = bytes(range(32))
AT_MS = 1_767_340_800_000


def table(columns: dict[str, Any]) -> Any:
    import pyarrow as pa

    return pa.table(columns)


def many(n: int = 12, **more: Any) -> dict[str, Any]:
    return {"patient": [f"pt-{i:05d}" for i in range(n)], **more}


ROW = st.tuples(
    st.integers(0, 40),
    st.sampled_from(["W1", "W2", "W3"]),
    st.sampled_from(["F", "M", None]),
    st.one_of(st.none(), st.integers(0, 110)),
    st.sampled_from(["a", "b", "c", "rare"]),
    st.integers(0, 10**9),
)


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(ROW, min_size=1, max_size=150), k=st.integers(2, 10))
def test_no_group_below_k_and_no_pseudonym_ever_leaves(rows: list[Any], k: int) -> None:
    patients = [f"pt-{row[0]:05d}" for row in rows]
    columns = {
        "patient": patients,
        "ward": [row[1] for row in rows],
        "sex": [row[2] for row in rows],
        "age_years": [row[3] for row in rows],
        "label": [row[4] for row in rows],
        "event_ms": [AT_MS + row[5] for row in rows],
        "who": patients,
    }
    try:
        made = prepared(table(columns), KEY, k)
    except Poison as refused:
        assert refused.reason == "small_cohort"  # noqa: PT017 - both outcomes are right, and each is held to something
        return
    out = made.rows.to_pylist()
    looks: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for row in out:
        looks[row["patient"]].add((row["ward"], row["sex"], row["age_years"], row["who"]))
    groups: defaultdict[frozenset[Any], set[str]] = defaultdict(set)
    for patient, look in looks.items():
        groups[frozenset(look)].add(patient)
    assert min(map(len, groups.values())) >= k
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for row in out:
        labels[row["label"]].add(row["patient"])
    assert all(len(having) >= k for label, having in labels.items() if label is not None)
    assert not set(patients) & {value for row in out for value in row.values()}
    firsts = {patient: min(r["event_offset_ms"] for r in out if r["patient"] == patient) for patient in looks}
    assert set(firsts.values()) == {0}


def test_what_becomes_of_each_column_is_told() -> None:
    n = 12
    columns = many(
        event_ms=[AT_MS + i for i in range(n)],
        began=[datetime(2026, 1, 2, tzinfo=UTC)] * n,
        day=[date(2026, 1, 2)] * n,
        born_s=[AT_MS // 1000 - i for i in range(n)],
        kafka_offset=list(range(n)),
        uri=["hdfs://x/images/pt-00001"] * n,
        alert_id=[f"a{i}" for i in range(n)],
        mean=[float(i) for i in range(n)],
        told=["on 2026-01-02"] * n,
        drivers=[[{"what": "x"}]] * n,
        vector=[[1.0, 2.0]] * n,
    )
    made = prepared(table(columns), KEY, 10)
    kinds = {one["column"]: one["is"] for one in made.columns}
    assert kinds == {
        "patient": Kind.REKEYED,
        "event_ms": Kind.MOMENT_MS,
        "began": Kind.MOMENT,
        "day": Kind.DAY,
        "born_s": Kind.MOMENT_S,
        "kafka_offset": Kind.LEFT_OUT,
        "uri": Kind.LEFT_OUT,
        "alert_id": Kind.REKEYED,
        "mean": Kind.NUMBER,
        "told": Kind.LEFT_OUT,
        "drivers": Kind.LEFT_OUT,
        "vector": Kind.NUMBER,
    }
    assert made.rows.column_names == [
        *("patient", "event_offset_ms", "began_offset_ms", "day_offset_days", "born_offset_s", "alert_id", "mean"),
        "vector",
    ]
    assert all(one["why"] for one in made.columns if one["is"] == Kind.LEFT_OUT)


def test_facts_as_rows_lose_those_that_say_who_somebody_is() -> None:
    columns = {
        "patient": [f"pt-{i:05d}" for i in range(12) for _ in range(3)],
        "name": ["age", "dialysis", "lactate"] * 12,
        "value": [70.0, None, 2.0] * 12,
        "text": [None, "no", None] * 11 + [None, "yes", None],
    }
    made = prepared(table(columns), KEY, 5)
    rows = made.rows.to_pylist()
    assert {row["name"] for row in rows} == {"dialysis", "lactate"}
    assert {row["text"] for row in rows} == {"no", None}, "one patient's yes is left out"
    assert "age left out" in made.told[0]["what"]


def test_text_that_the_query_made_up_is_guarded_like_a_characteristic() -> None:
    columns = many(40, band=["rich"] * 36 + ["poor"] * 4)
    made = prepared(table(columns), KEY, 5)
    assert made.quasi == ["band"]
    assert set(made.rows["band"].to_pylist()) == {"rich"}
    assert made.patients == 36


def test_columns_named_by_quasi_are_guarded_and_unknown_ones_refused() -> None:
    columns = many(20, stays=[1] * 18 + [40, 41])
    made = prepared(table(columns), KEY, 5, ["stays"])
    assert made.quasi == ["stays"]
    assert made.patients == 18
    with pytest.raises(Misconfigured, match="--quasi nothing: the cohort has the columns patient, stays"):
        prepared(table(columns), KEY, 5, ["nothing"])


def test_a_column_called_after_a_patient_is_refused() -> None:
    with pytest.raises(Poison, match="named_patient"):
        prepared(table(many(12, **{"pt-00001": [1] * 12})), KEY, 10)


def test_two_keys_give_two_worlds_and_one_key_one() -> None:
    columns = many(12, study=["2.25.1"] * 12)
    one, same, other = (prepared(table(columns), key, 10).rows for key in (KEY, KEY, bytes(32)))
    assert one == same
    assert not set(one["patient"].to_pylist()) & set(other["patient"].to_pylist())
    assert one["study"][0].as_py().startswith("2.25.")
    assert one["study"][0].as_py() != other["study"][0].as_py()


def test_masks_take_out_long_pseudonyms_anywhere_and_short_ones_as_a_whole() -> None:
    assert masked("of pt-00001, and more", ["pt-00001"]) == "of ***, and more"
    assert masked("p1", ["p1"]) == "***"
    assert masked("up1", ["p1"]) == "up1"


def test_a_whole_number_of_ms_since_1970_is_a_moment_by_any_name() -> None:
    import pyarrow as pa

    assert kind_of("t0", pa.array([AT_MS, None]))[0] is Kind.MOMENT_MS
    assert kind_of("lead_s", pa.array([600, 1200]))[0] is Kind.NUMBER
    assert kind_of("at_ms", pa.array([None, None], pa.int64()))[0] is Kind.MOMENT_MS
