"""Forecasts and risks are held against what came, by a slow plain count, whatever is told twice, late, or cut by a
restart."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import msgspec
import pytest

from contracts import records as r
from models.vitals.hindsight import Hindsight, Outcome, Worth
from models.vitals.seen import EVERY_MS, GONE_MIN

MINUTE = 60_000
START = 29_455_200 * MINUTE  # a full hour
SOURCE = r.SourceOffset(topic="t", partition=0, offset=1)
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
NEAR = (300, 600, 900, 1800)
Record = r.ScoreFrame | r.VitalsForecast


def frame(second: float, values: dict[str, float | None], vital: r.Vital = r.Vital.HEART_RATE, **more: Any) -> Record:
    """Patients at a second of the log; each lies in a bed of the same name, each with a new reading."""
    now = START + int(second * 1000)
    beds = tuple(
        r.BedScore(bed=p, patient=p, heard_ms=now, values=(r.ScoredVital(vital=vital, value=v, at_ms=now - 300),))
        for p, v in values.items()
    )
    return r.ScoreFrame(version=1, ward="W", at_ms=now, now_ms=now, source=SOURCE, policy="p", beds=beds, **more)


def forecast(
    second: float, middles: dict[str, float], horizons: tuple[int, ...] = NEAR, engine: r.Engine = r.Engine.LSTM
) -> Record:
    now = START + int(second * 1000)
    beds = tuple(
        r.BedForecast(
            bed=p,
            patient=p,
            at_ms=now,
            vitals=(
                r.VitalForecast(
                    vital=r.Vital.HEART_RATE,
                    engine=engine,
                    horizons_s=horizons,
                    quantiles=tuple(tuple(round(m + off, 2) for off in (-4, -1, 0, 1, 4)) for _ in horizons),
                ),
            ),
        )
        for p, m in middles.items()
    )
    return r.VitalsForecast(version=1, ward="W", at_ms=now, now_ms=now, source=SOURCE, levels=LEVELS, beds=beds)


def risks(second: float, chances: dict[str, float], name: str = "tachycardia") -> tuple[r.BedOutlook, ...]:
    return tuple(
        r.BedOutlook(
            bed=p,
            patient=p,
            at_ms=START + int(second * 1000),
            risks=(
                r.Risk(name=name, probability=c, horizon_s=14_400),
                r.Risk(name="death", probability=c, horizon_s=0),
            ),
        )
        for p, c in chances.items()
    )


def told(log: Iterable[Record], one: Hindsight | None = None) -> list[Worth | Outcome]:
    one = Hindsight() if one is None else one
    found: list[Worth | Outcome] = []
    for record in log:
        if isinstance(record, r.VitalsForecast):
            one.forecast(record)
        else:
            found += one.scores(record)
    return found


def worths(found: Iterable[Worth | Outcome]) -> list[Worth]:
    return [one for one in found if isinstance(one, Worth)]


def story(seed: int, minutes: int = 70) -> list[Record]:
    """A ward of four: values wander, one leaves in the middle, one is not measured for ten minutes."""
    chance = random.Random(seed)
    at = {p: chance.uniform(60, 100) for p in "abcd"}
    log: list[Record] = []
    for second in range(0, minutes * 60, 5):
        at = {p: round(2 * v + chance.gauss(0, 2)) / 2 for p, v in at.items()}  # no mean lies between two tenths
        here: dict[str, float | None] = {p: v for p, v in at.items() if not (p == "d" and second > minutes * 30)}
        if 20 * 60 <= second < 30 * 60:
            here["c"] = None
        log.append(frame(second, here))
        if second % 60 == 10:
            log.append(forecast(second + 0.5, at))
    return log


def by_hand(log: Sequence[Record]) -> dict[tuple[int, int], tuple[float, ...]]:
    """(horizon, due minute) -> forecasts, inside the outer and inner band, below the median, errors, persistence's."""
    seen: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for one in log:
        if isinstance(one, r.ScoreFrame):
            for bed in one.beds:
                if isinstance(value := bed.values[0].value, float):
                    seen[bed.patient, one.now_ms // MINUTE].append(value)
    means = {key: round(fmean(values), 1) for key, values in seen.items()}
    last = max(minute for _, minute in means)
    found: dict[tuple[int, int], tuple[float, ...]] = {}
    looked = -1
    for one in log:
        if not isinstance(one, r.VitalsForecast) or one.now_ms // MINUTE // 10 == looked:
            continue
        looked, made = one.now_ms // MINUTE // 10, one.now_ms // MINUTE
        for horizon in NEAR:
            due, row = made + horizon // 60, [0.0] * 6
            for ahead in one.beds:
                truth = means.get((ahead.patient, due))
                known = [means[ahead.patient, m] for m in range(made, made - 60, -1) if (ahead.patient, m) in means]
                if truth is None or not known or due >= last:
                    continue
                low, inner, middle, outer, high = ahead.vitals[0].quantiles[0]
                below = (truth < middle) + (truth == middle) / 2
                new = (1, low <= truth <= high, inner <= truth <= outer, below)
                errors = abs(truth - middle), abs(truth - known[0])
                row = [have + more for have, more in zip(row, (*new, *errors), strict=True)]
            if row[0]:
                found[horizon, due] = tuple(row)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_what_is_told_is_what_a_slow_count_by_hand_finds(seed: int) -> None:
    log = story(seed)
    found = worths(told(log))
    ours = {(w.horizon_s, w.at_ms // MINUTE): (w.n, *w.inside, w.under[2], w.error, w.naive) for w in found}
    slow = by_hand(log)
    assert ours.keys() == slow.keys()
    for key, row in ours.items():
        assert row == pytest.approx(slow[key]), key
    assert len(found) > 15
    assert {one.bands for one in found} == {(0.9, 0.5)}
    assert {(one.ward, one.vital, one.engine) for one in found} == {("W", "heart_rate", "lstm")}
    assert all(one.width[0] == pytest.approx(8 * one.n) for one in found)


def test_told_twice_is_counted_once_and_a_restart_forgets_nothing() -> None:
    log = story(1)
    whole = told(log)
    assert told([record for record in log for _ in range(2)]) == whole
    one, found = Hindsight(), list[Worth | Outcome]()
    for start in range(0, len(log), 97):
        found += told(log[start : start + 97], one)
        one = Hindsight.unpacked(one.packed())
        assert not told(log[max(0, start + 40) : start + 97], one), "what is read again is known"
    assert found == whole


def test_forecasts_read_long_before_the_scores_wait_for_them() -> None:
    log = story(2)
    scores = [record for record in log if isinstance(record, r.ScoreFrame)]
    rest = [record for record in log if isinstance(record, r.VitalsForecast)]
    assert told([scores[0], *rest, *scores[1:]]) == told(log)
    assert told([*rest, *scores]) == told(log), "not even one score was read"


def test_whoever_lies_there_next_is_not_taken_for_who_was_forecast() -> None:
    log = [frame(s, {"a": 80.0}) for s in range(0, 120, 5)] + [forecast(119, {"a": 80.0})]
    log += [frame(s, {"b": 80.0}) for s in range(120, 60 * (GONE_MIN + 40), 20)]
    assert told(log) == []


def test_values_that_are_not_believed_or_not_new_are_no_truth() -> None:
    def shown(second: int, value: float, tag: r.Tag, at: int) -> Record:
        whole = frame(second, {"a": value})
        assert isinstance(whole, r.ScoreFrame)
        scored = msgspec.structs.replace(whole.beds[0].values[0], tag=tag, at_ms=at)
        return msgspec.structs.replace(whole, beds=(msgspec.structs.replace(whole.beds[0], values=(scored,)),))

    before = [frame(s, {"a": 80.0}) for s in range(0, 60, 5)] + [forecast(59, {"a": 80.0}, (300,))]
    stale = [shown(s, 80.0, r.Tag.OK, START + 55_000 - 300) for s in range(60, 480, 5)]
    assert told([*before, *stale]) == [], "a value carried on is not measured again"
    frozen = [shown(s, 80.0, r.Tag.FROZEN, START + s * 1000) for s in range(60, 480, 5)]
    assert told([*before, *frozen]) == []
    good = [shown(s, 80.0, r.Tag.CLOCK_SUSPECT, START + s * 1000) for s in range(60, 480, 5)]
    assert [(w.n, w.under[2]) for w in worths(told([*before, *good]))] == [(1, 0.5)]


def test_an_hour_ahead_is_held_against_the_mean_of_that_hour() -> None:
    values = {minute: 70.0 if minute < 60 else 90.0 if minute < 90 else 96.0 for minute in range(200)}
    log: list[Record] = []
    for minute in range(130):
        log += [frame(minute * 60 + s, {"a": values[minute]}) for s in (0, 20, 40)]
        if minute == 59:
            log.append(forecast(minute * 60 + 50, {"a": 95.0}, (3600,), r.Engine.PERSISTENCE))
    (one,) = worths(told(log))
    assert (one.horizon_s, one.engine, one.n) == (3600, "persistence", 1)
    assert one.at_ms == START + 119 * MINUTE
    assert (one.error, one.naive) == (2.0, 23.0), "the mean of the hour is 93, of the hour before 70"
    late = [record for record in log if record.now_ms >= START + 10 * MINUTE]
    assert told(late) == [], "who was not watched for the whole hour before cannot be compared with it"


def test_a_risk_is_judged_when_its_hours_are_over_and_death_never() -> None:
    chances = {"a": 0.03, "b": 0.04, "c": 0.6, "d": 0.01}
    log: list[Record] = []
    for minute in range(60 * 5 + 3):
        here: dict[str, float | None] = {"a": 80.0, "b": 90.0, "c": 140.0 if 130 <= minute < 260 else 90.0}
        if minute < 70:
            here["d"] = 80.0
        second = minute * 60
        log.append(frame(second, here, outlooks=risks(second, chances) if minute == 61 else ()))
    found = [one for one in told(log) if isinstance(one, Outcome)]
    assert {(one.risk, one.chance, one.n, one.came) for one in found} == {
        ("tachycardia", "01-02 %", 1, 0),  # left after minutes, but was measured in the first of the hours
        ("tachycardia", "02-05 %", 2, 0),
        ("tachycardia", "50-100 %", 1, 1),
    }
    assert {one.at_ms for one in found} == {START + (61 + 240) * MINUTE}
    assert sum(one.told for one in found) == pytest.approx(0.68)
    assert sum(one.brier for one in found) == pytest.approx(0.01**2 + 0.03**2 + 0.04**2 + 0.4**2)
    cut = len(log) // 2
    one = Hindsight()
    first = told(log[:cut], one)
    assert first + told(log[cut:], Hindsight.unpacked(one.packed())) == told(log)


def test_memory_is_bounded_by_who_lies_there_and_no_pseudonym_is_kept() -> None:
    one = Hindsight()
    sizes = []
    for minute in range(0, 800):
        here: dict[str, float | None] = {f"guest-{minute // 100}-{n}": 80.0 for n in range(20)}
        told([frame(minute * 60 + s, here) for s in (0, 30)], one)
        told([forecast(minute * 60 + 45, dict.fromkeys(here, 80.0), (*NEAR, 3600, 21_600))], one)
        if minute % 100 == 99:
            sizes.append(len(one.packed()))
    assert b"guest" not in one.packed()
    assert max(sizes) < 40 * 3_500
    assert sizes[-1] < sizes[4] * 1.1, "who left is forgotten"
    assert EVERY_MS < MINUTE


def test_odd_forecasts_are_left_out_and_foreign_bytes_refused() -> None:
    log = [frame(s, {"a": 80.0}) for s in range(0, 480, 5)]
    whole = forecast(59, {"a": 80.0}, (300,))
    assert isinstance(whole, r.VitalsForecast)
    vital = whole.beds[0].vitals[0]
    for quantiles in (((80.0,),), (), ((1e30,) * 5,)):
        odd = msgspec.structs.replace(vital, quantiles=quantiles)
        bed = msgspec.structs.replace(whole.beds[0], vitals=(odd,))
        assert told([*log[:12], msgspec.structs.replace(whole, beds=(bed,)), *log[12:]]) == []
    for raw in (b"", b"\x00", b"{}", Hindsight().packed() + b"x"):
        with pytest.raises((ValueError, msgspec.MsgspecError)):
            Hindsight.unpacked(raw)
