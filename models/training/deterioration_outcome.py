"""Judges the probability of death in hospital: on the Challenge's own stays, and outside, on those of eICU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from models.bundle import Bundle
from models.ports import Floats
from models.training import deterioration_death as death_48h
from models.training import plots
from models.training.deterioration_findings import Doubles, Findings
from models.training.deterioration_rows import death_rows
from models.training.evaluation import Cell, Table
from models.training.recipes import chosen
from models.training.stays import Stay, load
from models.vitals.deterioration import DEATH, RISKS, Calibration, Deterioration, session

GROUND: Final = 0.86
"""AUROC on the Challenge's test records; plain boosting reached 0.84."""
_RECORDS: Final = "challenge2012_records.csv"
_LAST: Final = 47
_OUTSIDE_HOURS: Final = (23, 47)


def death(
    found: Findings, model: Deterioration, bundle: Bundle, folder: Path, split: str | None, outside: Sequence[Stay]
) -> None:
    """Both models of death on the Challenge's stays of the split, where there are any, and on all of ``outside``."""
    table: list[tuple[Cell, ...]] = []
    whole = _Whole(bundle)
    if (folder / _RECORDS).is_file():
        judged = chosen(load(folder, ("challenge2012",), labs=True), split)
        seen, truth, stay = death_rows(judged, (_LAST,))
        who = np.array([each.patient for each in judged])[stay]
        scores = _severity([judged[i] for i in stay])
        told = model.probabilities(seen)[:, RISKS.index(DEATH)]
        found.judge(DEATH, truth, told, who, scores)
        table.append(_row(found, "Challenge 2012", "vitals, age, sex (served)", DEATH, len(truth), truth.mean()))
        full = whole.probabilities([judged[i] for i in stay])
        found.judge(f"{DEATH}_48h", truth, full, who, scores)
        table.append(
            _row(found, "Challenge 2012", "and laboratory, GCS, urine", f"{DEATH}_48h", len(truth), truth.mean())
        )
        reliable = {"vitals, age, sex": (truth, told), "and laboratory": (truth, full)}
        found.draw(DEATH, "Death in hospital, vitals, age and sex", truth, told, scores)
        found.draw(f"{DEATH}_48h", "Death in hospital, with the laboratory", truth, full, scores)
        found.plots["reliability_death.png"] = plots.reliability(reliable, "Death in hospital, Challenge 2012, 48 h")
    for hour in _OUTSIDE_HOURS:
        seen, truth, stay = death_rows(outside, (hour,))
        if not len(truth):
            continue
        who = np.array([each.patient for each in outside])[stay]
        told = model.probabilities(seen)[:, RISKS.index(DEATH)]
        name, where = f"{DEATH}_eicu_{hour + 1}h", f"eICU, {hour + 1} h"
        found.judge(name, truth, told, who, {})
        table.append(_row(found, where, "vitals, age, sex (served)", name, len(truth), truth.mean()))
        if hour == _LAST:
            name = f"{DEATH}_48h_eicu"
            found.judge(name, truth, whole.probabilities([outside[i] for i in stay]), who, {})
            table.append(_row(found, where, "and laboratory; no GCS, ventilation", name, len(truth), truth.mean()))
    columns = ("stays", "what is known", "n", "died", "AUROC", "SAPS-I", "AUPRC", "Brier", "slope", "ECE")
    found.tables.append(Table(title="Death in hospital", columns=columns, rows=tuple(table)))
    found.notes.append(
        "Death was learned from the Challenge's training records alone, so that all eICU stays with a known outcome "
        "are outside: another time, other hospitals. The larger model knows neither GCS nor ventilation nor the kind "
        "of unit there. SAPS-I and SOFA are the Challenge's own columns."
    )


class _Whole:
    """The model that knows the laboratory, from a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._session = session(bundle.read(death_48h.GRAPH))
        try:
            self._calibration = msgspec.convert(bundle.parameters.get("death_48h"), Calibration)
        except (msgspec.MsgspecError, ValueError) as wrong:
            raise Poison("bad_model", f"death_48h: {wrong}", f"{bundle.name}/{bundle.version}") from wrong

    def probabilities(self, stays: Sequence[Stay]) -> Doubles:
        seen: Floats = death_48h.features(stays)
        (raw,) = self._session.run(None, {"rows": seen})
        odds = raw[:, 0].astype(np.float64) * self._calibration.slope + self._calibration.intercept
        return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def _severity(stays: Sequence[Stay]) -> Mapping[str, NDArray[np.float64]]:
    """SAPS-I and SOFA as the Challenge gives them; -1 there is not known, and stands for the least."""
    return {
        name: np.array([float(stay.facts[name]) for stay in stays])
        for name in ("saps1", "sofa")
        if all(name in stay.facts for stay in stays)
    }


def _row(found: Findings, where: str, known: str, name: str, count: int, share: float) -> tuple[Cell, ...]:
    figures = [found.shown(f"auroc_{name}{end}") for end in ("", "_saps1")]
    rest = [found.shown(f"{kind}_{name}") for kind in ("auprc", "brier", "slope", "ece")]
    return (where, known, count, f"{share:.1%}", *figures, *rest)
