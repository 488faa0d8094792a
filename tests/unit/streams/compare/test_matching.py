"""Matching and measures by hand-made alarms whose answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from contracts.records import Category, Priority
from models.burden import quantile, top_tenth
from streams.compare.burden import burden, flood_minutes
from streams.compare.matching import match
from streams.compare.moment import length_s, moment_ms
from streams.compare.report import totals
from streams.compare.truth import Event, judged, mcnemar, read_truth
from tests.unit.streams.compare.logs import T0, alert


def test_alarms_match_by_patient_condition_and_overlap() -> None:
    champion = [alert("a", 10, 60), alert("b", 10, 20), alert("c", 10, 50), alert("d", 10, 50)]
    candidate = [alert("a", 4, 30), alert("b", 25, 40), alert("c", 10, 50), alert("e", 10, 50)]
    pairs = {(pair.either.episode.patient, pair.either.raised_ms): pair.fate for pair in match(champion, candidate)}
    assert pairs == {
        ("a", T0 + 10_000): "earlier",
        ("b", T0 + 10_000): "lost",
        ("b", T0 + 25_000): "new",
        ("c", T0 + 10_000): "same",
        ("d", T0 + 10_000): "lost",
        ("e", T0 + 10_000): "new",
    }


def test_of_one_long_alarm_against_three_short_ones_one_pair_is_made() -> None:
    pairs = match([alert("a", 0, 100)], [alert("a", 5, 10), alert("a", 20, 30), alert("a", 40, 50)])
    assert [pair.fate for pair in pairs] == ["later", "new", "new"]
    assert pairs[0].shift_s == 5


def test_an_alarm_without_end_overlaps_with_all_that_comes_later() -> None:
    pairs = match([alert("a", 0)], [alert("a", 500, 510)])
    assert [pair.shift_s for pair in pairs] == [500]


def test_a_changed_priority_is_told_although_the_time_is_the_same() -> None:
    pairs = match([alert("a", 0, 9)], [alert("a", 0, 9, priority=Priority.HIGH)])
    assert (pairs[0].fate, pairs[0].reprioritised) == ("changed", True)
    assert totals(pairs)["reprioritised"] == 1


def test_matching_is_symmetric() -> None:
    ours = [alert("a", 3 * n, 3 * n + 2) for n in range(20)]
    theirs = [alert("a", 5 * n, 5 * n + 1) for n in range(12)]
    there, back = match(ours, theirs), match(theirs, ours)
    assert sum(p.fate == "lost" for p in there) == sum(p.fate == "new" for p in back)
    assert sorted(-(p.shift_s or 0) for p in there) == sorted(p.shift_s or 0 for p in back)


def test_burden_counts_what_sounds_and_keeps_advisories_apart() -> None:
    alarms = [
        alert("a", 10, 20, acknowledged_s=15),
        alert("a", 30, 40, acknowledged_s=60),
        alert("b", 10, 20, priority=Priority.LOW, category=Category.TECHNICAL),
        alert("b", 10, 20, condition="anomaly", priority=Priority.LOW, category=Category.ADVISORY),
    ]
    found = burden(alarms, {("W1", "bed-a"): 43_200.0, ("W1", "bed-b"): 43_200.0})
    assert (found["bed_days"], found["alarms"], found["alarms_per_bed_day"]) == (1.0, 3, 3.0)
    assert (found["advisories"], found["technical_share"]) == (1, 0.3333)
    assert found["by_priority"] == {"low": 1, "medium": 2}
    assert found["acknowledge_s"] == {"n": 2, "p50": 5.0, "p95": 30.0}
    assert found["top_tenth_share"] == 0.6667


def test_ten_alarms_of_a_ward_in_ten_minutes_are_a_flood() -> None:
    nine = [alert(f"p{n}", 6 * n) for n in range(9)]
    assert flood_minutes(nine) == 0
    assert flood_minutes([*nine, alert("q", 54, ward="W2")]) == 0
    # the tenth comes in the first minute: in flood at the end of that one and of the nine after it
    assert flood_minutes([*nine, alert("q", 54)]) == 10


def test_the_top_tenth_is_of_all_beds_also_the_quiet_ones() -> None:
    assert top_tenth([8, 2], 20) == 1.0
    assert top_tenth([8, 2], 10) == 0.8
    assert top_tenth([], 10) is None


def test_a_quantile_is_a_value_that_was_there() -> None:
    assert (quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 0.95), quantile([], 0.5)) == (2, 4, None)


@pytest.mark.parametrize(("b", "c", "p"), [(0, 0, 1.0), (0, 5, 0.0625), (1, 9, 0.021484375), (4, 4, 1.0)])
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int, p: float) -> None:
    assert mcnemar(b, c) == mcnemar(c, b) == p


def event(patient: str, start_s: int, for_s: int = 60, family: str = "episode") -> Event:
    start = T0 + start_s * 1000
    return Event(
        kind="desaturation" if family == "episode" else "lead_off",
        family=family,
        ward="W1",
        patient=patient,
        start_ms=start,
        end_ms=start + for_s * 1000,
        faded_ms=start + for_s * 1000,
    )


def test_detections_delays_and_ppv_are_counted_against_the_truth() -> None:
    events = [event("a", 0), event("b", 0), event("c", 0), event("d", 0, family="sensor")]
    champion = [alert("a", 10, 20), alert("b", 30, 40), alert("z", 5, 6)]
    technical = alert("d", 9, 12, category=Category.TECHNICAL, condition="spo2_no_signal")
    found = judged(events, [*champion, technical], [alert("a", 20, 30), alert("c", 500, 510)])
    assert [found[k] for k in ("events", "faults", "both", "champion_only", "candidate_only", "neither")] == [
        3,
        1,
        1,
        1,
        0,
        1,
    ]
    assert found["champion"]["delay_s_p95"] == 30
    assert found["champion"]["precision"]["physiological"] == {"n": 3, "true": 2, "ppv": 0.6667}
    assert found["champion"]["precision"]["technical"] == {"n": 1, "true": 1, "ppv": 1.0}
    assert found["candidate"]["precision"]["physiological"]["ppv"] == 0.5


def test_a_truth_file_is_read_within_the_span_and_a_bad_line_is_named(tmp_path: Path) -> None:
    import msgspec

    from tests.unit.streams.compare.logs import hospital

    path = tmp_path / "truth.ndjson"
    real = hospital().truth(60)
    path.write_bytes(b"\n".join(map(msgspec.json.encode, real)))
    assert len(read_truth(path, T0, T0 + 60_000)) == len(real) == 4
    assert [one.kind for one in read_truth(path, T0, T0 + 21_000)] == ["desaturation"]
    path.write_bytes(path.read_bytes() + b"\n{}")
    with pytest.raises(Misconfigured, match="line 5"):
        read_truth(path, 0, T0)


@pytest.mark.parametrize("wrong", ["2026-01-02T07:00", "yesterday", "-5", "-0s", "2026-13-01T00:00Z", ""])
def test_a_moment_without_zone_or_sense_is_refused_by_the_options_name(wrong: str) -> None:
    with pytest.raises(Misconfigured, match="--from"):
        moment_ms(wrong, T0, "--from")


def test_moments_and_lengths_are_read_as_written() -> None:
    assert moment_ms("2026-01-02T09:00+01:00", 0, "--from") == T0
    assert moment_ms("-90s", T0, "--from") == T0 - 90_000
    assert length_s("2d", "--for") == 172_800
