"""The small-cell guard: whatever is asked, nobody comes out who is one of fewer than k."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from batch.guard import cells, guarded

WARDS = st.sampled_from(["W1", "W2", "W3", None])
SEXES = st.sampled_from(["F", "M", None])
AGES = st.one_of(st.none(), st.floats(0, 120), st.just(float("nan")))
ROWS = st.lists(
    st.tuples(st.integers(0, 25).map("p{}".format), WARDS, SEXES, AGES, st.sampled_from("abcdefg")), max_size=120
)


def smallest_group(patients: Sequence[str], columns: Mapping[str, Sequence[Hashable]]) -> int | None:
    """Patients in the smallest group of those that look the same, over all their rows together."""
    looks: dict[str, set[tuple[Hashable, ...]]] = defaultdict(set)
    for row, patient in enumerate(patients):
        looks[patient].add(tuple(values[row] for values in columns.values()))
    sizes = Counter(frozenset(look) for look in looks.values())
    return min(sizes.values(), default=None)


@settings(deadline=None, max_examples=200)
@given(rows=ROWS, k=st.integers(2, 8))
def test_no_group_below_k_ever_comes_out(rows: list[tuple[str, str, str, float, str]], k: int) -> None:
    patients = [row[0] for row in rows]
    quasi: dict[str, list[object]] = {
        "ward": [row[1] for row in rows],
        "sex": [row[2] for row in rows],
        "age_years": [row[3] for row in rows],
    }
    found = guarded(patients, quasi, {"label": [row[4] for row in rows]}, k)
    whose = [patients[row] for row in found.rows]
    smallest = smallest_group(whose, found.quasi)
    assert smallest is None or smallest >= k
    for columns in (found.quasi, found.words):
        for values in columns.values():
            having = defaultdict(set)
            for patient, value in zip(whose, values, strict=True):
                having[value].add(patient)
            few = {value: len(having[value]) for value in having if value is not None and len(having[value]) < k}
            assert not few
    assert found.patients == len(set(whose))


@settings(deadline=None)
@given(rows=ROWS, k=st.integers(2, 8))
def test_what_is_told_is_never_a_small_number(rows: list[tuple[str, str, str, float, str]], k: int) -> None:
    patients = [row[0] for row in rows]
    found = guarded(patients, {"ward": [row[1] for row in rows]}, {"label": [row[4] for row in rows]}, k)
    for line in found.told:
        assert line["patients"] == f"fewer than {k}" or int(line["patients"]) >= k or int(line["patients"]) == 0


def test_large_groups_keep_their_values_and_ages_are_told_in_bands_of_ten() -> None:
    patients = [f"p{n}" for n in range(20)]
    found = guarded(patients, {"age": [40.0 + n % 10 for n in range(20)], "sex": ["F"] * 20}, {}, 10)
    assert set(found.quasi["age"]) == {"40-50"}
    assert found.quasi["sex"] == ["F"] * 20
    assert found.told == ()


def test_the_very_old_are_one_band() -> None:
    found = guarded([f"p{n}" for n in range(4)], {"age_years": [90, 93, 101.5, 117]}, {}, 2)
    assert set(found.quasi["age_years"]) == {"90+"}


def test_a_lone_patient_gets_coarser_then_nothing_then_leaves() -> None:
    patients = [f"p{n}" for n in range(11)]
    found = guarded(patients, {"ward": ["W1"] * 10 + ["W9"]}, {}, 3)
    assert found.patients == 10
    assert set(found.quasi["ward"]) == {"W1"}
    assert found.told[-1] == {
        "column": "*",
        "what": "patients left out: no group of theirs is large enough",
        "patients": "fewer than 3",
    }


def test_a_patient_seen_in_two_wards_is_judged_by_both_together() -> None:
    """Each ward alone has enough patients; only one has been in both."""
    patients = ["p0", "p0", *(f"a{n}" for n in range(5)), *(f"b{n}" for n in range(5))]
    found = guarded(patients, {"ward": ["W1", "W2", *["W1"] * 5, *["W2"] * 5]}, {}, 3)
    assert "p0" not in {patients[row] for row in found.rows}


def test_a_withheld_count_cannot_be_reckoned_back_from_the_others() -> None:
    assert cells({"F": 40, "M": 25, "O": 3}, 10) == {"F": 40, "M": None, "O": None}
    assert cells({"F": 40, "M": 25}, 10) == {"F": 40, "M": 25}
    assert cells({"a": 1, "b": 2, "c": 50, "d": 60}, 10) == {"a": None, "b": None, "c": None, "d": 60}
    assert cells({"a": 9, "b": 8, "c": 50}, 10) == {"a": None, "b": None, "c": 50}
    assert cells({"a": 3}, 10) == {"a": None}
