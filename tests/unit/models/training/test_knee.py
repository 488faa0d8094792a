"""Knee models in training: folds that keep patients whole, figures as others have them, a table served as trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.risk.knee import LABELS, softmax
from models.risk.knee_fields import BY_NAME, Value, checked
from models.training import knee_fused, knee_table
from models.training.knee_crossed import (
    FIGURES,
    Crossed,
    accuracy_balanced,
    commonest,
    crossed,
    figures,
    folds,
    gain,
    macro_f1,
)
from models.training.knee_data import Patients, asked, patients

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "knee_osteoporosis"


def made_up(n: int = 90, seed: int = 4) -> Patients:
    """Patients whose bone is thin with age; nothing else tells."""
    chance = np.random.default_rng(seed)
    ages = chance.uniform(20, 90, n)
    values: list[dict[str, Value]] = []
    for at, age in enumerate(ages):
        answers: dict[str, Any] = {"sex": ("female", "male")[at % 2], "age": float(age), "weight_kg": 70.0 + at % 7}
        if at % 3:
            answers |= {"smoker": bool(at % 2), "height_m": 1.6 + (at % 5) / 50}
        values.append(checked(answers))
    truth = np.digitize(ages + chance.normal(0, 8, n), (40, 70))
    return Patients(
        ids=tuple(map(str, range(n))),
        values=tuple(values),
        truth=truth.astype(np.intp),
        scores=-truth[:, None] + chance.normal(0, 0.1, (n, 2)),
        parts=np.asarray(["train"] * n),
        groups=np.asarray([f"p{at // 2}" for at in range(n)]),
        images=("",) * n,
    )


@pytest.fixture(scope="module")
def fitted() -> tuple[Patients, knee_table.Fitted]:
    mine = made_up()
    return mine, knee_table.fitted(mine, 1)


def test_a_group_is_on_one_side_of_every_fold_and_everyone_is_judged_once() -> None:
    mine = made_up()
    seen: list[int] = []
    for learned, judged in folds(mine.truth, mine.groups, 3):
        assert not set(mine.groups[learned]) & set(mine.groups[judged])
        seen += list(judged)
    assert sorted(seen) == list(range(len(mine)))


def test_the_table_is_served_as_scikit_learn_trained_it(fitted: tuple[Patients, knee_table.Fitted]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    mine, found = fitted
    _, x = knee_table.matrix(mine.values)
    averages = np.asarray([[column.of_women, column.of_men] for column in found.model.columns]).T
    x = np.where(np.isnan(x), averages[x[:, knee_table.SEX].astype(int)], x)
    scaled = StandardScaler().fit_transform(x)
    rival = LogisticRegression(C=found.strength, max_iter=1000).fit(scaled, mine.truth)
    told = softmax(knee_table.logits(found.model, mine))
    assert np.allclose(told, rival.predict_proba(scaled), atol=1e-6)


def test_scores_are_seen_only_where_they_are_asked_for(fitted: tuple[Patients, knee_table.Fitted]) -> None:
    mine, found = fitted
    assert not {"t_score", "z_score"} & {column.name for column in found.model.columns}
    known = knee_table.fitted(mine, 1, scores=True).model
    assert {"t_score", "z_score"} < {column.name for column in known.columns}


def test_the_threshold_raises_four_fifths_of_those_who_have_it() -> None:
    truth = np.asarray([2] * 10 + [0] * 10, np.intp)
    probability = np.r_[np.linspace(0.1, 1.0, 10), np.zeros(10)]
    cut = knee_table.threshold(truth, probability)
    assert (probability[:10] >= cut).sum() in (8, 9)
    assert cut > 0.1


def test_same_patients_and_seed_give_the_same_table(fitted: tuple[Patients, knee_table.Fitted]) -> None:
    mine, found = fitted
    assert knee_table.fitted(mine, 1).model == found.model


def of(truth: list[int], probabilities: NDArray[np.float64]) -> Crossed:
    places = np.asarray(truth, np.intp)
    cuts = np.full((1, len(places)), 0.5)
    return Crossed.of(places, places.astype(str), np.log(probabilities)[None], cuts)


def test_figures_are_as_scikit_learn_has_them() -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

    chance = np.random.default_rng(2)
    truth = chance.integers(0, 3, 60)
    told = chance.dirichlet((1, 1, 1), 60)
    found, rows = of(list(truth), told), np.arange(60)
    said = told.argmax(axis=1)
    assert macro_f1(found, rows) == pytest.approx(f1_score(truth, said, average="macro"))
    assert accuracy_balanced(found, rows) == pytest.approx(balanced_accuracy_score(truth, said))
    assert FIGURES["loss_log"](found, rows) == pytest.approx(log_loss(truth, told))
    assert FIGURES["auroc_osteoporosis"](found, rows) == pytest.approx(roc_auc_score(truth == 2, told[:, 2]))


def test_the_commonest_label_is_half_an_auroc_and_no_gain_over_itself() -> None:
    found = commonest(of([1] * 30 + [0] * 5 + [2] * 5, np.full((40, 3), 1 / 3)))
    assert figures(found)["auroc_osteoporosis"].value == pytest.approx(0.5)
    assert figures(found)["recall_raised"].value == 0
    nothing = gain(found, found, "macro_f1")
    assert nothing is not None
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


def test_a_finding_goes_first_where_an_image_model_tells_labels() -> None:
    truth = np.asarray([2], np.intp)
    logits = np.log([[[0.2, 0.5, 0.3]]])
    found = Crossed.of(truth, truth.astype(str), logits, np.asarray([[0.25]]), finding_first=True)
    assert LABELS[found.said[0, 0]] == "osteoporosis"
    assert LABELS[Crossed.of(truth, truth.astype(str), logits, np.asarray([[0.25]])).said[0, 0]] == "osteopenia"


def test_every_repeat_judges_each_by_others() -> None:
    mine = made_up(120)
    seen: list[set[int]] = []

    def fit(learned: NDArray[np.intp], judged: NDArray[np.intp], seed: int) -> tuple[NDArray[np.float64], float]:
        assert not set(learned) & set(judged)
        seen.append(set(judged))
        return np.zeros((len(judged), 3)), 0.2

    found = crossed(mine.truth, mine.groups, fit, 1)
    assert found.probabilities.shape == (10, 120, 3)
    assert sum(map(len, seen)) == 1200
    assert found.raised.all()


def test_the_fusion_leans_on_what_tells_the_truth() -> None:
    chance = np.random.default_rng(0)
    truth = np.asarray(chance.integers(0, 3, 120), np.intp)
    telling, noise = np.eye(3)[truth] * 2 + chance.normal(0, 0.5, (120, 3)), chance.normal(0, 1, (120, 3))
    assert knee_fused.fitted(telling, noise, truth).image_weight < 0.2
    leaning = knee_fused.fitted(noise, telling, truth)
    assert leaning.image_weight > 1
    assert sum(leaning.intercepts) == pytest.approx(0)


def test_what_is_not_meant_in_the_table_is_corrected() -> None:
    row = dict.fromkeys(BY_NAME, "") | {"fracture_history": "lab technician", "estrogen_use": "no"}
    man = asked(row | {"sex": "male", "age": "50", "pregnancies": "4", "menopause_age": ""})
    assert man["pregnancies"] == ""
    assert (man["occupation"], man["fracture_history"]) == ("lab technician", "")
    young = asked(row | {"sex": "female", "age": "30", "pregnancies": "", "menopause_age": ""})
    assert young["menopause_age"] == "none"
    early = asked(row | {"sex": "female", "age": "45", "pregnancies": "2", "menopause_age": "47"})
    assert early["menopause_age"] == ""


def test_a_folder_without_the_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="knee_osteoporosis"):
        patients(tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
def test_the_real_table_reads_whole_and_its_diagnosis_is_the_t_score() -> None:
    from models.risk.knee import by_t_score

    every = patients(DATA)
    assert len(every) == 204
    assert len(set(every.groups)) == 202
    assert [LABELS[at] for at in every.truth] == [by_t_score(score) for score in every.scores[:, 0]]
