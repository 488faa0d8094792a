"""What an evaluation of risks has found so far, and how one risk is judged beside its rivals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.ports import Flags
from models.training import intervals, plots
from models.training.evaluation import Cell, Interval, Table

Doubles = NDArray[np.float64]
Names = NDArray[np.str_]

RIVALS: Final[Mapping[str, str]] = {
    "news2": "NEWS2",
    "boosting": "plain boosting",
    "saps1": "SAPS-I",
    "sofa": "SOFA",
    "limits": "alarm limits",
    "limits_held": "alarm limits held 2 h",
}
"""As they end a metric's name, and as they are shown."""


@dataclass
class Findings:
    """Grows as parts of an evaluation add to it."""

    metrics: dict[str, Interval | None] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plots: dict[str, bytes] = field(default_factory=dict)

    def judge(self, name: str, truth: Flags, told: Doubles, who: Names, scores: Mapping[str, Doubles]) -> None:
        """Figures of probabilities told, a row each, and of rivals' ``scores`` on the same rows; none of no rows."""
        if not len(truth):
            return
        self.metrics |= {
            f"auroc_{name}": intervals.auroc(truth, told, who),
            f"auprc_{name}": intervals.auprc(truth, told, who),
            f"observed_{name}": intervals.mean(truth, who),
            f"brier_{name}": intervals.brier(truth, told, who),
            f"ece_{name}": intervals.ece(truth, told, who),
            f"slope_{name}": intervals.calibration_slope(truth, told, who),
        }
        for rival, score in scores.items():
            self.metrics[f"auroc_{name}_{rival}"] = intervals.auroc(truth, score, who)
            self.metrics[f"auprc_{name}_{rival}"] = intervals.auprc(truth, score, who)
            self.metrics[f"gain_auroc_{name}_{rival}"] = intervals.auroc_gain(truth, told, score, who)

    def draw(self, name: str, title: str, truth: Flags, told: Doubles, scores: Mapping[str, Doubles]) -> None:
        """ROC and precision-recall beside the rivals, where both classes are there."""
        if truth.any() and not truth.all():
            cases = {"this model": (truth, told), **{RIVALS[rival]: (truth, s) for rival, s in scores.items()}}
            self.plots[f"finding_{name}.png"] = plots.finding(cases, title)

    def shown(self, metric: str, digits: int = 3) -> Cell:
        """A figure with its interval, as a table's cell."""
        figure = self.metrics.get(metric)
        if figure is None:
            return None
        return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
