"""The deterioration model from a folder of planted stays to a bundle and its evaluation, as ``ward model`` does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.bundle import Bundle
from models.training import deterioration, deterioration_death
from models.training.deterioration_evaluation import evaluate
from models.training.evaluation import Evaluation
from models.vitals.deterioration import RISKS, load

HOURS = 30
COLUMNS = ("hr", "resp", "o2sat", "sbp", "map", "temp")


def quiet(*_: object) -> None:
    """Says nothing."""


def walks(stays: int, hours: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Vitals that stray slowly, so that what is near a bound now tends to be beyond it soon."""
    steps = rng.normal(0, 1, (stays, hours, 6)) * (6.0, 2.0, 1.2, 7.0, 5.0, 0.1)
    return np.array([105, 23, 92.5, 108, 74, 37]) + np.clip(np.cumsum(steps, axis=1), -40, 40) * (1, 1, 0.6, 1, 1, 1)


def hourly(folder: Path, source: str, stays: int, rng: np.random.Generator) -> None:
    values = walks(stays, HOURS, rng)
    ids = np.repeat(np.arange(stays), HOURS)
    split = np.where(np.arange(stays) % 4 == 0, "test", "train")
    grid = {"stay_id": ids, "hour": np.tile(np.arange(HOURS), stays), "split": split[ids]}
    grid |= {name: values[:, :, i].ravel() for i, name in enumerate(COLUMNS)}
    pa.parquet.write_table(pa.table(grid), folder / f"{source}_hourly.parquet")
    table = {
        "stay_id": np.arange(stays),
        "age": rng.uniform(30, 90, stays),
        "sex": np.where(np.arange(stays) % 2, "Male", "Female"),
        "split": split,
        "hospital_discharge": np.where(rng.random(stays) < 0.3, "Expired", "Alive"),
    }
    pa.csv.write_csv(pa.table(table), folder / f"{source}_stays.csv")


def records(folder: Path, count: int, rng: np.random.Generator) -> None:
    values = walks(count, 48, rng)
    ids = np.repeat(np.arange(count), 48)
    seen: dict[str, NDArray[Any]] = {"record_id": ids, "minute": np.tile(np.arange(48) * 60, count)}
    names = ("hr", "resprate", "sao2", "sysabp", "map", "temp")
    seen |= {name: values[:, :, i].ravel() for i, name in enumerate(names)}
    others = ("nisysabp", "nimap", *deterioration_death.OTHERS)
    seen |= {name: rng.normal(50, 9, count * 48) for name in others}
    pa.parquet.write_table(pa.table(seen), folder / "challenge2012_observations.parquet")
    table = {
        "record_id": np.arange(count),
        "age": rng.uniform(30, 90, count),
        "gender": np.where(np.arange(count) % 2, "male", "female"),
        "split": np.where(np.arange(count) % 4 == 0, "test", "train"),
        "in_hospital_death": (values[:, -1, 4] < 74).astype(int),
        "saps1": rng.integers(0, 20, count),
        "sofa": rng.integers(0, 15, count),
    }
    pa.csv.write_csv(pa.table(table), folder / "challenge2012_records.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stays")
    rng = np.random.default_rng(7)
    hourly(made, "eicu", 120, rng)
    hourly(made, "mimic", 8, rng)
    records(made, 160, rng)
    return made


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    files, fields = deterioration.train(folder, 5, quiet, quiet)
    return Bundle.of("deterioration", files, **fields)


@pytest.fixture(scope="module")
def found(folder: Path, bundle: Bundle) -> Evaluation:
    return evaluate(folder, bundle, "test", quiet, quiet)


def test_what_is_trained_can_be_served(bundle: Bundle) -> None:
    load(bundle)
    assert [len(part.sha256) for part in bundle.manifest.data] == [64, 64, 64]


def test_every_risk_is_judged_beside_its_rivals(found: Evaluation) -> None:
    for name in RISKS[:4]:
        assert {f"auroc_{name}", f"auroc_{name}_news2", f"auroc_{name}_boosting", f"slope_{name}"} <= set(found.metrics)
        assert found.metrics[f"auroc_{name}"].value > 0.6
    assert {"auroc_death", "auroc_death_saps1", "auroc_death_48h", "auroc_death_eicu_24h"} <= set(found.metrics)


def test_alarms_are_judged_at_every_budget(found: Evaluation) -> None:
    for budget in ("0.5", "1.2", "5"):
        for detector in ("", "_news2", "_limits", "_limits_held"):
            assert {f"recall_at_{budget}{detector}", f"alarms_at_{budget}{detector}"} <= set(found.metrics)


def test_the_plots_are_pictures_and_the_figures_are_json(found: Evaluation) -> None:
    assert {"reliability.png", "alarms.png", "finding_hypotension.png"} <= set(found.plots)
    assert all(picture.startswith(b"\x89PNG") for picture in found.plots.values())
    assert json.loads(json.dumps(found.document(), allow_nan=False))["split"] == "test"


def test_a_split_that_is_not_there_is_named(folder: Path, bundle: Bundle) -> None:
    with pytest.raises(Misconfigured, match="no stay of split winter"):
        evaluate(folder, bundle, "winter", quiet, quiet)
