"""Repeated cross-validation over patients, and figures of it with intervals: few cases, so each is judged often."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Interval
from models.risk.knee import LABELS, softmax
from models.training.evaluation import defined
from models.training.intervals import interval

REPEATS: Final = 10
FOLDS: Final = 5
DRAWS: Final = 300
BINS: Final = 5
HOW: Final = f"{FOLDS}-fold cross-validation over patients, {REPEATS} times"
Doubles = NDArray[np.float64]
Rows = NDArray[np.intp]


def folds(truth: Rows, groups: NDArray[np.str_], seed: int, n: int = FOLDS) -> Iterator[tuple[Rows, Rows]]:
    """(learned from, judged) of each fold: the labels' shares are alike, and a group is on one side."""
    from sklearn.model_selection import StratifiedGroupKFold

    cut = StratifiedGroupKFold(n, shuffle=True, random_state=seed)
    yield from cut.split(np.zeros(len(truth)), truth, groups)


@dataclass(frozen=True)
class Crossed:
    """What was told of each case by a model that had not seen it: ``probabilities`` (repeats, n, labels), the place of
    the label ``said`` (repeats, n), whether osteoporosis was ``raised`` (repeats, n). One repeat is a plain test."""

    truth: Rows
    groups: NDArray[np.str_]
    probabilities: Doubles
    said: Rows
    raised: NDArray[np.bool_]

    @classmethod
    def of(
        cls, truth: Rows, groups: NDArray[np.str_], logits: Doubles, cuts: Doubles, finding_first: bool = False
    ) -> Crossed:
        """``logits`` (repeats, n, labels), ``cuts`` the threshold of osteoporosis in force for each (repeats, n).

        ``finding_first``: as an image model tells labels: osteoporosis where it is raised, else the likelier other.
        """
        told = softmax(logits)
        raised = told[..., -1] >= cuts
        said = told.argmax(axis=-1)
        if finding_first:
            said = np.where(raised, len(LABELS) - 1, told[..., :-1].argmax(axis=-1))
        return cls(truth, groups, told, said, raised)

    def score(self, label: int) -> Doubles:
        """(repeats, n): the probability of a label."""
        return np.asarray(self.probabilities[..., label], np.float64)


Statistic = Callable[[Crossed, Rows], float]


def crossed(
    truth: Rows,
    groups: NDArray[np.str_],
    fit: Callable[[Rows, Rows, int], tuple[Doubles, float]],
    seed: int,
    after: Callable[[int, int], None] = lambda done, whole: None,
    finding_first: bool = False,
) -> Crossed:
    """Every case judged once a repeat. ``fit(learned, judged, seed)`` gives the judged ones' logits and a threshold."""
    repeats = REPEATS
    logits, cuts = np.zeros((repeats, len(truth), len(LABELS))), np.zeros((repeats, len(truth)))
    for repeat in range(repeats):
        for learned, judged in folds(truth, groups, seed + repeat):
            logits[repeat, judged], cuts[repeat, judged] = fit(learned, judged, seed + repeat)
        after(repeat + 1, repeats)
    return Crossed.of(truth, groups, logits, cuts, finding_first)


def macro_f1(found: Crossed, rows: Rows) -> float:
    """Mean over labels and repeats; a label that nobody has or is told counts 0."""
    return float(np.mean([_f1(found.truth[rows], said[rows]) for said in found.said]))


def accuracy(found: Crossed, rows: Rows) -> float:
    """Share of right labels."""
    return float((found.said[:, rows] == found.truth[rows]).mean())


def accuracy_balanced(found: Crossed, rows: Rows) -> float:
    """Mean over the labels that are there of how often they are told."""
    true = found.truth[rows]
    right = found.said[:, rows] == true
    return float(np.mean([right[:, true == label].mean() for label in np.unique(true)]))


def auroc_of(label: int) -> Statistic:
    """AUROC of one label's probability, mean over repeats."""

    def of(found: Crossed, rows: Rows) -> float:
        from scipy.stats import rankdata

        true = found.truth[rows] == label
        if true.all() or not true.any():
            return float("nan")
        ranks = rankdata(found.score(label)[:, rows], axis=1)[:, true].sum(axis=1)
        n, m = int(true.sum()), int((~true).sum())
        return float(((ranks - n * (n + 1) / 2) / (n * m)).mean())

    return of


def loss_log(found: Crossed, rows: Rows) -> float:
    """Mean of -log of the true label's probability."""
    told = found.probabilities[:, rows, found.truth[rows]]
    return float(-np.log(np.maximum(told, 1e-12)).mean())


def brier_osteoporosis(found: Crossed, rows: Rows) -> float:
    """Mean squared error of the probability of osteoporosis."""
    return float(((found.score(-1)[:, rows] - (found.truth[rows] == len(LABELS) - 1)) ** 2).mean())


def ece_osteoporosis(found: Crossed, rows: Rows) -> float:
    """Calibration error over bins of equally many cases, mean over repeats."""
    true = found.truth[rows] == len(LABELS) - 1
    errors = []
    for told in found.score(-1)[:, rows]:
        parts = np.array_split(np.argsort(told, kind="stable"), BINS)
        errors.append(sum(abs(float((told[part] - true[part]).sum())) for part in parts) / len(rows))
    return float(np.mean(errors))


def recall_raised(found: Crossed, rows: Rows) -> float:
    """Of osteoporosis, how much is raised."""
    return _share(found.raised[:, rows][:, found.truth[rows] == len(LABELS) - 1])


def specificity_raised(found: Crossed, rows: Rows) -> float:
    """Of all others, how many are not raised."""
    return 1 - _share(found.raised[:, rows][:, found.truth[rows] != len(LABELS) - 1])


FIGURES: Final[Mapping[str, Statistic]] = {
    "macro_f1": macro_f1,
    "accuracy_balanced": accuracy_balanced,
    "accuracy": accuracy,
    **{f"auroc_{label}": auroc_of(at) for at, label in enumerate(LABELS)},
    "recall_raised": recall_raised,
    "specificity_raised": specificity_raised,
    "loss_log": loss_log,
    "brier_osteoporosis": brier_osteoporosis,
    "ece_osteoporosis": ece_osteoporosis,
}
MAIN: Final = ("macro_f1", "accuracy_balanced", "auroc_normal", "auroc_osteoporosis", "loss_log")


def figures(found: Crossed, names: Mapping[str, Statistic] = FIGURES) -> dict[str, Interval]:
    """Each figure with its interval, by drawing patients; a draw takes a patient in all repeats."""
    return defined(
        {
            name: interval(lambda rows, one=one: one(found, rows), found.groups, draws=DRAWS)  # type: ignore[misc]
            for name, one in names.items()
        }
    )


def gain(ours: Crossed, theirs: Crossed, name: str) -> Interval | None:
    """A figure less that of a rival on the same cases, paired draw by draw."""
    one = FIGURES[name]
    return interval(lambda rows: one(ours, rows) - one(theirs, rows), ours.groups, draws=DRAWS)


def commonest(like: Crossed) -> Crossed:
    """The rival that knows nothing: each label as often as it is, so the commonest is always said."""
    shares = np.bincount(like.truth, minlength=len(LABELS)) / len(like.truth)
    logits = np.broadcast_to(np.log(np.maximum(shares, 1e-9)), (1, len(like.truth), len(LABELS)))
    return Crossed.of(like.truth, like.groups, logits, np.ones((1, len(like.truth))))


def beside(metrics: dict[str, Interval], rival: str, theirs: Crossed, names: tuple[str, ...] = MAIN) -> None:
    """Add a rival's figures: ``macro_f1_majority``."""
    found = figures(theirs, {name: FIGURES[name] for name in names})
    metrics |= {f"{name}_{rival}": value for name, value in found.items()}


def shown(value: Interval | None) -> str | None:
    """``0.62 [0.55, 0.69]``."""
    return None if value is None else f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _f1(true: Rows, said: Rows) -> float:
    n = len(LABELS)
    counts: NDArray[Any] = np.bincount(true * n + said, minlength=n * n).reshape(n, n)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.divide(2.0 * np.diag(counts), both, out=np.zeros(n), where=both > 0).mean())


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if flags.size else float("nan")
