"""What becomes of an image model's answers when images are turned, recompressed, darkened or written on."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Interval
from models.training.evaluation import Table

Grey = NDArray[np.float32]
Shock = Callable[[Grey, np.random.Generator], Grey]
AS_IT_IS: Final = "as it is"


def turned(degrees: float) -> Shock:
    """About its middle, black where nothing was."""

    def shock(image: Grey, chance: np.random.Generator) -> Grey:
        from PIL import Image

        return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR), np.float32)

    return shock


def shifted(share: float) -> Shock:
    """To the right and down by this share of the side, black where nothing was."""

    def shock(image: Grey, chance: np.random.Generator) -> Grey:
        by = round(share * len(image))
        made = np.zeros_like(image)
        made[by:, by:] = image[: len(image) - by, : len(image) - by]
        return made

    return shock


def lighter(by: float) -> Shock:
    """Brighter, or darker where ``by`` is below 0; cut to [0, 1]."""
    return lambda image, chance: np.clip(image + np.float32(by), 0, 1)


def contrasted(times: float) -> Shock:
    """More or less contrast about its mean; cut to [0, 1]."""
    return lambda image, chance: np.clip((image - image.mean()) * np.float32(times) + image.mean(), 0, 1)


def coarser(share: float) -> Shock:
    """Made smaller by this share, and as large as before again."""

    def shock(image: Grey, chance: np.random.Generator) -> Grey:
        from PIL import Image

        side = len(image)
        small = Image.fromarray(image).resize((round(side * share),) * 2, Image.Resampling.BILINEAR)
        return np.asarray(small.resize((side, side), Image.Resampling.BILINEAR), np.float32).clip(0, 1)

    return shock


def recompressed(quality: int) -> Shock:
    """As JPEG of this quality."""

    def shock(image: Grey, chance: np.random.Generator) -> Grey:
        from PIL import Image

        page = io.BytesIO()
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(page, "JPEG", quality=quality)
        return np.asarray(Image.open(page), np.float32) / np.float32(255)

    return shock


def noisy(deviation: float) -> Shock:
    """With noise of this standard deviation; cut to [0, 1]."""
    return lambda image, chance: np.clip(image + chance.normal(0, deviation, image.shape).astype(np.float32), 0, 1)


def marked(image: Grey, chance: np.random.Generator) -> Grey:
    """With a bright letter L in a corner, as radiographers put it there."""
    side = len(image)
    made, unit = image.copy(), max(2, side // 32)
    top, left = (side // 16 if chance.random() < 0.5 else side - side // 16 - 5 * unit for _ in range(2))
    made[top : top + 5 * unit, left : left + unit] = 1
    made[top + 4 * unit : top + 5 * unit, left : left + 3 * unit] = 1
    return made


SHOCKS: Final[Mapping[str, Shock]] = {
    AS_IT_IS: lambda image, chance: image,
    "turned by 5°": turned(5),
    "turned by 10°": turned(10),
    "turned by 15°": turned(15),
    "left for right": lambda image, chance: np.ascontiguousarray(image[:, ::-1]),
    "shifted by 5 %": shifted(0.05),
    "brighter by 0.15": lighter(0.15),
    "darker by 0.15": lighter(-0.15),
    "contrast 0.7": contrasted(0.7),
    "contrast 1.3": contrasted(1.3),
    "inverted": lambda image, chance: 1 - image,
    "half the size and back": coarser(0.5),
    "JPEG, quality 50": recompressed(50),
    "noise of 0.05": noisy(0.05),
    "a bright marker": marked,
}


def shocked(name: str, images: Grey, seed: int) -> Grey:
    """All images (n, side, side) under a shock. Same seed: the same."""
    chance = np.random.default_rng([seed, *name.encode()])
    return np.stack([SHOCKS[name](image, chance) for image in images]).astype(np.float32)


def suite(
    images: Grey, figures: Callable[[Grey], Mapping[str, Interval | None]], seed: int, told: Callable[[int, int], None]
) -> tuple[Table, dict[str, dict[str, Interval]]]:
    """``figures`` of the images under every shock, as a table and by shock; ``told(done, all)`` hears of each."""
    found: dict[str, dict[str, Interval]] = {}
    for done, name in enumerate(SHOCKS):
        made = figures(shocked(name, images, seed))
        found[name] = {figure: value for figure, value in made.items() if value is not None}
        told(done + 1, len(SHOCKS))
    columns = list(dict.fromkeys(figure for each in found.values() for figure in each))
    rows = tuple((name, *(_cell(each.get(figure)) for figure in columns)) for name, each in found.items())
    title = f"Robustness: the same {len(images):,} images, changed"
    return Table(title=title, columns=("image", *columns), rows=rows), found


def _cell(found: Interval | None) -> str | None:
    if found is None:
        return None
    digits = 3 if abs(found.value) < 2 else 1
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
