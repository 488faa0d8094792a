"""What is chosen on validation images: temperature, threshold, from where on a label is told, a measure's band."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TEMPERATURES: Final = np.exp(np.linspace(np.log(0.1), np.log(10), 401))
LEAST_TOLD: Final = 0.9
"""Labels are told of at least this share of validation images."""
COVERAGE: Final = 0.9
HALF: Final = 0.5


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Floats:
    """Probabilities (n, classes)."""
    scaled = np.asarray(logits, np.float64) / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    made: Floats = odds / odds.sum(axis=1, keepdims=True)
    return made


def temperature(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """The divisor of logits under which these truths (places of labels) are most likely."""
    rows = np.arange(len(truth))
    losses = [-np.log(np.maximum(softmax(logits, each)[rows, truth], 1e-12)).mean() for each in TEMPERATURES]
    return float(round(TEMPERATURES[int(np.argmin(losses))], 4))


def threshold(truth: NDArray[np.bool_], probability: Floats) -> float:
    """The cut with the best sum of sensitivity and specificity; of several, the highest, but none above 0.5: to miss a
    finding is worse than to tell one that is none."""
    cuts = np.unique(np.r_[0.0, probability[probability < HALF], HALF])
    middles = np.r_[(cuts[1:] + cuts[:-1]) / 2, HALF]
    found = probability[None, :] >= middles[:, None]
    gain = (found & truth).sum(1) / max(truth.sum(), 1) - (found & ~truth).sum(1) / max((~truth).sum(), 1)
    return float(round(middles[np.flatnonzero(gain >= gain.max() - 1e-12)[-1]], 4))


def unsure_below(right: NDArray[np.bool_], confidence: Floats, wanted: float = 0.99) -> float:
    """The lowest confidence from which on a share ``wanted`` of labels is right, but so that enough are told."""
    most = float(np.quantile(confidence, 1 - LEAST_TOLD))
    for cut in np.unique(np.r_[0.0, confidence[confidence <= most]]):
        if right[confidence >= cut].mean() >= wanted:
            return float(round(cut, 4))
    return float(round(most, 4))


def half_width(errors: NDArray[np.floating], coverage: float = COVERAGE) -> float:
    """Split conformal prediction: half the width of a band that holds the truth of a new case with this probability,
    from the absolute errors on cases that were not trained on."""
    ranked = np.sort(np.abs(np.asarray(errors, np.float64)))
    place = min(len(ranked) - 1, int(np.ceil((len(ranked) + 1) * coverage)) - 1)
    return float(ranked[place])
