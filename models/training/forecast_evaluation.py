"""Judges a version of the forecaster: against persistence, drift, mean and gradient boosting; coverage; crossings;
minutes.

Hours: the stays of eICU that ``chosen`` names, and the MIMIC demo as another hospital, never trained on. Minutes: the
real monitor records and cuffs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from models.bundle import Bundle
from models.training import forecast_baselines as baselines
from models.training.deterioration_findings import Findings
from models.training.evaluation import Evaluation, defined
from models.training.forecast_grid import examples
from models.training.forecast_hours import crossings, draw, example, judge, online, spoken, tables
from models.training.forecast_live import lived
from models.training.forecast_near import near_findings
from models.training.recipes import Progress, Say, chosen
from models.training.stays import Stay, load
from models.vitals.forecast import VitalsForecaster
from models.vitals.forecast import load as load_model

FLOORS: Final[Mapping[str, tuple[float, ...]]] = {
    "heart_rate": (0.015, 0.028, 0.040, 0.057),
    "spo2": (0.03, 0.06, 0.09, 0.11),
    "systolic": (0.08, 0.10, 0.12, 0.13),
    "respiration": (0.03, 0.05, 0.07, 0.08),
}
"""Skill to reach on eICU ``test``: plain gradient boosting, measured before this model was made."""
RIVALS: Final = ("drift", "mean", "boosting")


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress, /) -> Evaluation:
    """The figures of a version on a split; see ``recipes.Evaluate``."""
    model = load_model(bundle)
    found = Findings()
    say("reading stays")
    stays = load(folder, ("eicu",))
    judged, train = chosen(stays, split), [stay for stay in stays if stay.split == "train"]
    n = _hours(found, model, judged, train, say, progress)
    _elsewhere(found, model, folder, say)
    if (folder / "mimic_numerics_1min.csv").is_file() and (folder / "eicu_nibp_minutes.parquet").is_file():
        say("minutes ahead, on real minutes")
        near_findings(found, model, folder, split)
    else:
        found.notes.append("No real minutes in this folder: the near-term head is not judged.")
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=split or "all but train",
        n=n,
        metrics=defined(found.metrics),
        tables=tuple(found.tables),
        notes=tuple(found.notes),
        plots=found.plots,
    )


def _hours(
    found: Findings, model: VitalsForecaster, judged: list[Stay], train: list[Stay], say: Say, progress: Progress
) -> int:
    asked = examples(judged)
    hours = spoken(model, asked)
    windows = asked.windows()
    rivals = {"drift": baselines.drift(windows), "mean": baselines.mean(windows)}
    if train:
        say("fitting gradient boosting to compare with")
        known = examples(train)
        rivals["boosting"] = baselines.boosting(known, asked, 0, lambda done, of: progress("boosting", done, of))
    else:
        found.notes.append("No training stays in this folder: gradient boosting is left out.")
    judge(found, hours, rivals)
    say("hour by hour through wards of 50 beds, as it is served")
    online(found, lived(model, judged, lambda done, of: progress("stays lived through", done, of)))
    tables(found, FLOORS, RIVALS)
    crossings(found, hours)
    draw(found, "boosting")
    example(found, hours)
    found.notes.append(
        "Skill is 1 - MAE / MAE of persistence (the last known hourly value, none older than 12 h). Online: all stays "
        "begin at once in wards of 50 and intervals learn from what comes true; fell back: told by persistence."
    )
    return len(asked)


def _elsewhere(found: Findings, model: VitalsForecaster, folder: Path, say: Say) -> None:
    if not (folder / "mimic_hourly.parquet").is_file():
        return
    say("the MIMIC demo, another hospital")
    stays = load(folder, ("mimic",))
    hours = spoken(model, examples(stays))
    judge(found, hours, {}, "_mimic")
    online(found, lived(model, stays, lambda done, of: None), "_mimic_online")
    kinds = ("skill", "mae", "coverage")
    found.metrics = {
        name: figure
        for name, figure in found.metrics.items()
        if "_mimic" not in name or (name.split("_", 1)[0] in kinds and not name.endswith("_raw"))
    }
    found.notes.append(
        f"MIMIC demo ({len(stays)} stays, all splits: none was trained on), at 4 h: "
        + "; ".join(_at_4h(found, vital) for vital in FLOORS)
        + "."
    )


def _at_4h(found: Findings, vital: str) -> str:
    names = {"skill": "", "coverage": "", "coverage online": "_online"}
    shown = (found.shown(f"{word.split()[0]}_{vital}_4h_mimic{ending}") for word, ending in names.items())
    return f"{vital} " + ", ".join(f"{word} {figure}" for word, figure in zip(names, shown, strict=True))
