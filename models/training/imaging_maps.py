"""Whether heat maps show what answers rest on: pixels are taken away, or put back, the hottest first.

A map that is right makes the answer fall fast when its hottest places are taken away (deletion, small is good) and come
back fast when they are put back (insertion, large is good); by Petsiuk and others, RISE, 2018. Beside it stand a random
order and one from the middle outwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Interval
from models.training.evaluation import Table, defined
from models.training.intervals import mean

Floats = NDArray[np.float32]
STEPS: Final = 8
BLUR: Final = 0.06
"""What is taken away is blurred by this share of the side: black patches would be a marker of their own."""
OURS: Final = "heat map"


def heat(maps: Floats, side: int) -> Floats:
    """Maps (n, rows, columns), their negative part cut off, over images of this side (bilinear)."""
    from PIL import Image

    cut = np.maximum(maps, 0)
    made = [np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BILINEAR)) for each in cut]
    return np.stack(made).astype(np.float32)


def faithfulness(
    images: Floats,
    maps: Floats,
    score: Callable[[Floats, NDArray[np.intp]], NDArray[np.floating]],
    groups: NDArray[np.str_],
    seed: int,
) -> tuple[Table, dict[str, Interval]]:
    """Deletion and insertion by heat map, at random, from the middle. ``score(images, rows)`` is how much of the answer
    is left in these versions of the images ``rows``: 1 all, 0 none."""
    n, side, _ = images.shape
    veiled = np.stack([_veiled(image) for image in images])
    chance = np.random.default_rng([seed, 17])
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    orders: Mapping[str, Floats] = {
        OURS: heat(maps, side),
        "at random": heat(chance.random((n, *maps.shape[1:])).astype(np.float32), side),
        "from the middle": np.broadcast_to(-np.hypot(y, x), images.shape).astype(np.float32),
    }
    figures: dict[str, Interval | None] = {}
    for name, hot in orders.items():
        deleted, inserted = _curves(images, veiled, hot, score)
        figures |= {f"deletion_{name}": mean(deleted, groups), f"insertion_{name}": mean(inserted, groups)}
    found = defined(figures)
    rows = tuple((name, *(_cell(found[f"{way}_{name}"]) for way in ("deletion", "insertion"))) for name in orders)
    title = f"What is left of the answer while pixels go or come, hottest first (mean over {n} images)"
    told = {way: found[f"{way}_{OURS}"] for way in ("deletion", "insertion")}
    return Table(title=title, columns=("order", "deletion (low is good)", "insertion (high is good)"), rows=rows), told


def _curves(
    images: Floats, veiled: Floats, hot: Floats, score: Callable[[Floats, NDArray[np.intp]], NDArray[np.floating]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the score over the steps, of each image, as pixels go and as they come."""
    n, side, _ = images.shape
    rank = np.argsort(np.argsort(-hot.reshape(n, -1), axis=1), axis=1).reshape(n, side, side)
    rows = np.arange(n)
    gone, come = [], []
    for step in range(STEPS + 1):
        taken = rank < step / STEPS * side * side
        gone.append(score(np.where(taken, veiled, images), rows))
        come.append(score(np.where(taken, images, veiled), rows))
    return np.mean(gone, axis=0), np.mean(come, axis=0)


def _veiled(image: Floats) -> Floats:
    from PIL import Image, ImageFilter

    soft = Image.fromarray(np.rint(image * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(BLUR * len(image)))
    return np.asarray(soft, np.float32) / np.float32(255)


def _cell(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
