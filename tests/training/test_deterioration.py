"""Training of the deterioration model on small planted data: rows, trees, graph, calibration, scores for alarms."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from models.ports import Flags, Floats
from models.training import deterioration_death as death_48h
from models.training.deterioration import calibrated
from models.training.deterioration_alarms import any_instability, detectors
from models.training.deterioration_rows import death_rows, inputs, rows, windows
from models.training.deterioration_trees import Forest, Recipe, draw, graph, grow
from models.training.stays import Stay
from models.vitals.deterioration_features import NAMES, features
from models.vitals.history import CHANNELS, HOURS
from models.vitals.instability import CONDITIONS

NORMAL = (80.0, 16.0, 97.0, 120.0, 85.0, 37.0)
SMALL = Recipe(rounds=20, least=20)


def stay(hours: int, patient: str = "p", facts: dict[str, Any] | None = None) -> Stay:
    vitals = np.tile(np.array(NORMAL, np.float32), (hours, 1))
    others = {name: np.full(hours, np.nan, np.float32) for name in death_48h.OTHERS}
    return Stay("challenge2012", patient, patient, "train", 60.0, 1.0, vitals, others, facts or {})


def planted(count: int, seed: int) -> tuple[Floats, Flags]:
    """Rows of which the first two columns tell the truth, with gaps."""
    rng = np.random.default_rng(seed)
    seen = rng.normal(0, 10, (count, 6)).astype(np.float32)
    seen[rng.random(seen.shape) < 0.2] = np.nan
    odds = np.nan_to_num(seen[:, 0]) / 5 - (np.nan_to_num(seen[:, 1]) > 5) * 2 - 1
    return seen, rng.random(count) < 1 / (1 + np.exp(-odds))


def run(raw: bytes, seen: Floats) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"rows": seen})[0], np.float32)


def forests(seen: Floats, truth: Flags) -> list[Forest]:
    every, some = np.arange(6), np.array([1, 4, 5])
    return [grow(seen, truth, SMALL, (1, 2), every), grow(seen, ~truth, SMALL, (3,), some)]


def test_the_graph_tells_what_scikit_learn_tells() -> None:
    seen, truth = planted(1500, 1)
    grown = forests(seen, truth)
    lines = [draw(seen, truth, 0.5), draw(seen, ~truth, 0.0)]
    new, _ = planted(1000, 2)
    told = run(graph(grown, 6, lines), new)
    for place, (forest, line) in enumerate(zip(grown, lines, strict=True)):
        assert np.abs(told[:, place] - forest.log_odds(new) - line.log_odds(new)).max() < 1e-5


def test_the_graph_takes_the_same_turn_at_every_threshold() -> None:
    seen, truth = planted(1500, 1)
    grown = forests(seen, truth)[:1]
    told = np.concatenate([tree.nodes["num_threshold"] for (tree,) in vars(grown[0].ensembles[0])["_predictors"]])
    single = np.unique(told[np.isfinite(told)].astype(np.float32))
    edges = np.concatenate(
        [single, np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))]
    )
    at = np.tile(edges[:, None], (1, 6))
    assert np.abs(run(graph(grown, 6), at)[:, 0] - grown[0].log_odds(at)).max() < 1e-5


def test_the_graph_knows_what_is_missing() -> None:
    seen, truth = planted(1500, 1)
    grown = forests(seen, truth)
    nothing = np.full((1, 6), np.nan, np.float32)
    assert run(graph(grown, 6), nothing)[0, 0] == pytest.approx(grown[0].log_odds(nothing)[0], abs=1e-5)


def test_a_column_never_known_is_left_out() -> None:
    seen, truth = planted(500, 1)
    seen[:, 3] = np.nan
    assert 3 not in grow(seen, truth, SMALL, (1,), np.arange(6)).columns


def test_the_same_rows_and_seeds_grow_the_same_graph() -> None:
    seen, truth = planted(1000, 1)
    assert graph(forests(seen, truth), 6) == graph(forests(seen, truth), 6)


def test_a_line_goes_on_where_trees_end_but_not_for_ever() -> None:
    seen, truth = planted(1500, 1)
    line = draw(seen, truth, 1.0)
    far = np.zeros((3, 6), np.float32)
    far[:, 0] = [20.0, 60.0, 6000.0]
    first, second, third = line.log_odds(far)
    assert first < second <= third < second + 5


def test_calibration_rises_and_tells_the_share_that_came_true() -> None:
    rng = np.random.default_rng(3)
    odds = rng.normal(0, 2, 20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * odds - 1)))
    made = calibrated(odds, truth)
    assert made.slope == pytest.approx(0.5, abs=0.05)
    assert made.intercept == pytest.approx(-1.0, abs=0.05)


def test_a_score_that_falls_with_the_risk_is_no_calibration() -> None:
    odds = np.linspace(-3, 3, 1000)
    with pytest.raises(ValueError, match="slope"):
        calibrated(odds, odds < 0)


def test_a_row_is_labelled_by_the_four_hours_after_it() -> None:
    told = stay(20)
    told.vitals[10, 4] = 50.0
    seen = rows([told])
    place = list(CONDITIONS).index("hypotension")
    assert np.flatnonzero(seen.labels[:, place]).tolist() == [6, 7, 8, 9]
    assert not seen.counts[10, place]
    assert not seen.counts[19, place]


def test_hours_after_which_nothing_was_measured_do_not_count() -> None:
    told = stay(20)
    told.vitals[11:, 2] = np.nan
    place = list(CONDITIONS).index("desaturation")
    counted = np.flatnonzero(rows([told]).counts[:, place]).tolist()
    assert counted == list(range(10))


def test_training_reads_a_day_as_the_ward_does() -> None:
    told = stay(40)
    told.vitals[:, 0] += np.arange(40, dtype=np.float32)
    one = np.ones(1, np.float32)
    row = features(told.vitals[None, 40 - HOURS :], one * 60, one, one * 39)
    assert inputs([stay(3), told])[-1:].tobytes() == row.tobytes()


def test_before_a_stay_began_nothing_is_known() -> None:
    first = windows(stay(5).vitals)[0]
    assert np.isnan(first[:-1]).all()
    assert first[-1].tolist() == pytest.approx(NORMAL)


def test_rows_of_death_are_those_of_stays_whose_end_is_told() -> None:
    stays = [
        stay(48, "a", {"in_hospital_death": 1}),
        stay(30, "b", {"hospital_discharge": "Alive"}),
        stay(48, "c", {"hospital_discharge": None}),
    ]
    seen, died, place = death_rows(stays, (11, 47))
    assert died.tolist() == [True, True, False]
    assert place.tolist() == [0, 0, 1]
    assert seen[:, NAMES.index("stay_h")].tolist() == [11.0, 47.0, 11.0]


def test_what_is_known_only_afterwards_is_no_input() -> None:
    facts = {"in_hospital_death": 0, "survival_days": -1, "length_of_stay_days": 9, "saps1": 3, "sofa": 1}
    other = {"in_hospital_death": 1, "survival_days": 3, "length_of_stay_days": 3, "saps1": 30, "sofa": 19}
    one, two = death_48h.features([stay(48, facts=facts)]), death_48h.features([stay(48, facts=other)])
    assert one.tobytes() == two.tobytes()
    assert one.shape[1] == len(death_48h.NAMES) == len(set(death_48h.NAMES))


def test_the_score_for_alarms_is_silent_where_nothing_can_be_said() -> None:
    unknown = stay(2)
    unknown.vitals[:] = np.nan
    seen = inputs([unknown, stay(2)])
    score = any_instability(seen, lambda r: np.full((len(r), len(CONDITIONS) + 1), 0.1))
    assert np.isnan(score[:2]).all()
    assert score[2:] == pytest.approx(1 - 0.9**4)


def test_each_detector_scores_every_hour_of_every_stay() -> None:
    stays = [stay(7, "a"), stay(30, "b")]
    for scored in detectors(stays, lambda r: np.full((len(r), len(CONDITIONS) + 1), 0.1)).values():
        assert [len(s) for s in scored.scores] == [7, 30]
        assert len(CHANNELS) == 6
