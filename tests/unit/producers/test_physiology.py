"""Healthy bodies: repeatable, independent of one another, and healthy."""

from __future__ import annotations

import numpy as np

from producers.physiology import Noise, Physiology, Row, gaussian, uniform


def test_a_second_can_be_asked_for_in_any_order() -> None:
    forwards, backwards = Physiology(5, 20), Physiology(5, 20)
    ahead = {second: forwards.at(second, 0.0) for second in range(0, 600, 7)}
    for second in reversed(ahead):
        assert (backwards.at(second, 0.0) == ahead[second]).all()


def test_a_bed_does_not_depend_on_how_many_others_there_are() -> None:
    assert (Physiology(5, 3).at(77, 0.0) == Physiology(5, 3000).at(77, 0.0)[:, :3]).all()


def test_another_seed_is_another_hospital() -> None:
    assert (Physiology(5, 50).baseline != Physiology(6, 50).baseline).any(axis=0).all()


def test_neighbouring_beds_and_seconds_are_unrelated() -> None:
    noise = Noise(1, 2000)
    first = gaussian(noise.words(3, 10))
    later = gaussian(noise.words(3, 11))
    assert abs(float(np.corrcoef(first[:-1], first[1:])[0, 1])) < 0.08
    assert abs(float(np.corrcoef(first, later)[0, 1])) < 0.08
    assert abs(float(first.mean())) < 0.08
    assert abs(float(first.std()) - 1) < 0.08
    assert abs(float(uniform(noise.words(4, 1)).mean()) - 0.5) < 0.03


def test_pulse_and_pressure_move_together_and_each_on_its_own() -> None:
    body = Physiology(9, 200)
    table = np.stack([body.at(second, 0.0) for second in range(0, 3600, 20)])
    together = [
        float(np.corrcoef(table[:, Row.HEART_RATE, bed], table[:, Row.SYSTOLIC, bed])[0, 1]) for bed in range(200)
    ]
    assert 0.2 < float(np.mean(together)) < 0.8


def test_values_drift_slowly_rather_than_jump() -> None:
    body = Physiology(9, 200)
    step = np.abs(body.at(101, 0.0) - body.at(100, 0.0))
    assert float(np.median(step[Row.HEART_RATE])) < 3
    assert float(step[Row.TEMPERATURE].max()) < 0.2


def test_the_night_is_quieter_than_the_afternoon() -> None:
    body = Physiology(9, 500)
    night, afternoon = body.at(50, 5 * 3600).mean(axis=1), body.at(50, 17 * 3600).mean(axis=1)
    for row in (Row.HEART_RATE, Row.SYSTOLIC, Row.TEMPERATURE):
        assert night[row] < afternoon[row]
