"""Alarm budgets on planted stays whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.budget import Course, Rule, Scored, at_budgets, courses, curve, difference
from models.training.stays import Stay
from models.vitals.history import CHANNELS

NAN = float("nan")


def course(hours: int, onsets: tuple[int, ...] = (), patient: str = "p", busy: tuple[int, ...] = ()) -> Course:
    onset, lasts = np.zeros(hours, np.bool_), np.zeros(hours, np.bool_)
    onset[list(onsets)] = True
    lasts[list(onsets + busy)] = True
    return Course(patient, np.ones(hours, np.bool_), lasts, onset)


def spikes(hours: int, at: dict[int, float], rest: float = NAN) -> NDArray[np.float64]:
    scores = np.full(hours, rest)
    for hour, value in at.items():
        scores[hour] = value
    return scores


def stay(heart_rates: list[float]) -> Stay:
    vitals = np.full((len(heart_rates), len(CHANNELS)), np.nan, np.float32)
    vitals[:, 0] = heart_rates
    return Stay("planted", "s", "p", "test", 60.0, 1.0, vitals, {}, {})


def test_an_alarm_up_to_four_hours_ahead_catches_and_its_lead_is_told() -> None:
    planted = Scored([course(24, (12,))], [spikes(24, {9: 1.0})])
    (outcome,) = at_budgets("d", planted, planted, seed=1, budgets=(1.0,), resamples=20)
    figures = {name: interval.value for name, interval in outcome.figures.items()}
    assert figures == {"alarms_per_day": 1.0, "recall": 1.0, "ppv": 1.0, "false_alarms_per_day": 0.0, "lead_h": 3.0}
    assert outcome.threshold == 1.0


@pytest.mark.parametrize(("hour", "recall"), [(7, 0.0), (8, 1.0), (11, 1.0), (12, 0.0), (13, 0.0)])
def test_too_early_too_late_and_at_the_event_itself_catch_nothing(hour: int, recall: float) -> None:
    planted = Scored([course(24, (12,), busy=(13,))], [spikes(24, {hour: 1.0})])
    (outcome,) = at_budgets("d", planted, planted, seed=1, budgets=(1.0,), resamples=20)
    assert outcome.figures["recall"].value == recall


def test_alarms_while_an_event_lasts_are_neither_credit_nor_burden() -> None:
    planted = Scored([course(24, (12,), busy=(13, 14, 15))], [spikes(24, {12: 2.0, 13: 2.0, 14: 2.0, 11: 1.0})])
    (outcome,) = at_budgets("d", planted, planted, seed=1, budgets=(1.0,), resamples=20)
    assert outcome.figures["alarms_per_day"].value == 1.0
    assert outcome.figures["ppv"].value == 1.0


def test_after_an_alarm_there_is_silence() -> None:
    planted = Scored([course(24)], [spikes(24, {3: 1.0, 4: 1.0, 5: 1.0})])
    by_silence = [curve(planted, (3.0,), 1, Rule(silence_h=silence))["alarms_per_day"][0] >= 3.0 for silence in (1, 24)]
    assert by_silence == [True, False]


def test_a_score_without_information_reaches_every_budget_by_lot() -> None:
    flat = Scored([course(240, patient=f"p{i}") for i in range(40)], [np.full(240, 3.0)] * 40)
    rates = curve(flat, (0.5, 1.2, 5.0), seed=1)["alarms_per_day"]
    assert rates == pytest.approx([0.5, 1.2, 5.0], rel=0.02)


def test_where_a_detector_says_nothing_it_raises_nothing() -> None:
    silent = Scored([course(24, (12,))], [np.full(24, NAN)])
    (outcome,) = at_budgets("d", silent, silent, seed=1, budgets=(5.0,), resamples=20)
    assert outcome.figures["alarms_per_day"].value == 0.0
    assert outcome.figures["recall"].value == 0.0


def test_any_rising_change_of_scale_leaves_the_outcome_as_it_is() -> None:
    rng = np.random.default_rng(5)
    many = [course(48, (20,), f"p{i}") for i in range(30)]
    raw = [rng.normal(size=48) for _ in many]
    plain, bent = Scored(many, raw), Scored(many, [np.exp(s) for s in raw])
    one = at_budgets("d", plain, plain, seed=3, resamples=20)
    two = at_budgets("d", bent, bent, seed=3, resamples=20)
    assert [o.figures for o in one] == [o.figures for o in two]


def test_the_better_detector_is_better_at_every_budget_and_the_pairs_say_so() -> None:
    rng = np.random.default_rng(5)
    many = [course(48, (30,), f"p{i}") for i in range(200)]
    good = [rng.normal(size=48) + spikes(48, {27: 2.0, 28: 2.0, 29: 2.0}, rest=0.0) for _ in many]
    poor = [rng.normal(size=48) for _ in many]
    ours = at_budgets("good", Scored(many, good), Scored(many, good), seed=3)
    theirs = at_budgets("poor", Scored(many, poor), Scored(many, poor), seed=3)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.figures["recall"].low > other.figures["recall"].high
        gain = difference(mine, other)
        assert gain is not None
        assert gain.low > 0.0


def test_the_threshold_comes_from_the_validation_stays_alone() -> None:
    quiet = Scored([course(24)], [spikes(24, {5: 1.0})])
    loud = Scored([course(24)], [spikes(24, {3: 1.5, 9: 1.5, 15: 1.5})])
    (outcome,) = at_budgets("d", quiet, loud, seed=1, budgets=(1.0,), resamples=20)
    assert outcome.figures["alarms_per_day"].value == 3.0


def test_scores_of_another_length_than_the_stay_are_refused() -> None:
    with pytest.raises(ValueError, match="23 scores for a stay of 24 hours"):
        curve(Scored([course(24)], [np.zeros(23)]), (1.0,), 1)


def test_an_event_begins_after_four_quiet_hours_and_a_short_pause_does_not_end_it() -> None:
    rates = [80.0] * 6 + [140.0, 80.0, 80.0, 140.0] + [80.0] * 5 + [140.0]
    (made,) = courses([stay(rates)])
    assert np.flatnonzero(made.onset).tolist() == [6, 15]
    assert np.flatnonzero(made.busy).tolist() == [6, 7, 8, 9, 10, 11, 12, 15]


def test_what_is_so_on_arrival_is_no_event_and_a_gap_carries_the_last_value() -> None:
    (made,) = courses([stay([140.0, NAN, NAN, 80.0] + [80.0] * 6)])
    assert not made.onset.any()
    assert np.flatnonzero(made.busy).tolist() == [0, 1, 2, 3, 4, 5]
    assert not made.watched[1]
