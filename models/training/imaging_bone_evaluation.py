"""What the bone age model is worth: errors by sex and age, agreement, its band, robustness, heat maps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.imaging.settings import ImageSettings
from models.registry import Bundle, Interval
from models.training import imaging_plots, leakage
from models.training.evaluation import Evaluation, Table, defined
from models.training.imaging_asking import UNKNOWN_SEX, Asked, networks, settings_of
from models.training.imaging_bone import LABEL, NAME, months
from models.training.imaging_data import Pictures, load, to_judge
from models.training.imaging_maps import faithfulness
from models.training.imaging_robustness import suite
from models.training.intervals import interval, mean
from models.training.recipes import SEED, Progress, Say

BANDS: Final = ((0, 60, "under 5 years"), (60, 120, "5 to 9"), (120, 180, "10 to 14"), (180, 1200, "15 and over"))
MAPPED: Final = 24
USUAL: Final = 41.0
"""Months: the standard deviation of bone ages in the data. An answer moved by so much has nothing left of itself."""
SEXES: Final = {"female": 0.0, "male": 1.0}


class Told:
    """What a model said of images, and what was so, in months."""

    def __init__(self, values: NDArray[np.float32], pictures: Pictures) -> None:
        self.truth, self.value = months(pictures), np.asarray(values, np.float64)
        self.off = self.value - self.truth
        self.groups, self.sex = pictures.groups, pictures.sex

    @property
    def kinds(self) -> NDArray[np.str_]:
        """The sex of each, in a word."""
        return np.select([self.sex == 0.0, self.sex == 1.0], ["female", "male"], "sex unknown")


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """Judged on ``split`` (test where none is named) of a folder laid out like shared/data/bone_age, or of one that
    holds it, or of shards. Raises Misconfigured without such images, ``leakage.Leaky`` where they leak."""
    settings, part = settings_of(bundle), split or "test"
    every = load(folder, NAME, settings.size, LABEL)
    every.of(part)
    say(f"auditing {len(every):,} films")
    found = to_judge(every, part, networks(bundle), [float(age) for age in months(every)])
    judged, audit, asked = found.pictures, found.audit, Asked.of(bundle)
    answers = asked.answers if found.network is None else partial(asked.apart, network=found.network)
    say(f"asking about {len(judged):,} films of {part}")
    told = Told(answers(judged.pixels, sex=judged.sex), judged)
    blind = Told(answers(judged.pixels, sex=np.full(len(judged), UNKNOWN_SEX, np.float32)), judged)
    metrics = defined({**_whole(told, settings), "mae_months_sex_untold": mean(np.abs(blind.off), told.groups)})
    if audit.shortcut:
        metrics[f"mae_months_{leakage.RIVAL}"] = audit.shortcut.figures["mae"]
    shaken, by_shock = suite(
        judged.pixels,
        lambda images: _shaken(Told(answers(images, sex=judged.sex), judged)),
        SEED,
        lambda done, whole: progress("robustness", done, whole),
    )
    faithful, maps = _faithful(asked, judged)
    metrics |= {f"heat_{way}": value for way, value in maps.items()}
    shown = {name: figures["mae_months"] for name, figures in by_shock.items()}
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=part,
        n=len(judged),
        metrics=metrics,
        tables=(_groups(told, settings), *audit.tables(), shaken, faithful),
        notes=(*found.remarks, *audit.remarks({"mae": metrics["mae_months"]}), *_notes(told, settings)),
        plots={
            "agreement.png": imaging_plots.agreement(told.truth, told.value, told.kinds, "Bone age", "months"),
            "told.png": imaging_plots.scatter(told.truth, told.value, told.kinds, "Bone age", "months"),
            "robustness.png": imaging_plots.dots(shown, "Bone age: changed images", "mean absolute error (months)"),
            "maps.png": _sheet(asked, judged, told),
        },
    )


def _whole(told: Told, settings: ImageSettings) -> dict[str, Interval | None]:
    found: dict[str, Interval | None] = {"mae_months": mean(np.abs(told.off), told.groups)}
    for sex in SEXES:
        mine = told.kinds == sex
        found[f"mae_months_{sex}"] = mean(np.abs(told.off[mine]), told.groups[mine])

    def limit(times: float) -> Interval | None:
        return interval(lambda rows: float(told.off[rows].mean() + times * told.off[rows].std(ddof=1)), told.groups)

    found |= {
        "rmse_months": interval(lambda rows: float(np.sqrt((told.off[rows] ** 2).mean())), told.groups),
        "bias_months": mean(told.off, told.groups),
        "agreement_lower": limit(-1.96),
        "agreement_upper": limit(1.96),
        "within_12_months": mean(np.abs(told.off) <= 12, told.groups),
    }
    if settings.half_width is not None:
        found["coverage_90"] = mean(np.abs(told.off) <= settings.half_width, told.groups)
    return found


def _shaken(told: Told) -> dict[str, Interval | None]:
    return {"mae_months": mean(np.abs(told.off), told.groups), "bias_months": mean(told.off, told.groups)}


def _faithful(asked: Asked, judged: Pictures) -> tuple[Table, dict[str, Interval]]:
    """How much of the answer is left: 1 where it stays, 0 where it moved by a usual child's distance from the mean."""
    rows = np.sort(np.random.default_rng(SEED).permutation(len(judged))[:MAPPED])
    some = judged.where(rows)
    whole = asked.answers(some.pixels, some.sex)

    def left(changed: NDArray[np.float32], at: NDArray[np.intp]) -> NDArray[np.float64]:
        moved = np.abs(asked.answers(changed, some.sex) - whole)
        return np.asarray(np.clip(1 - moved / USUAL, 0, 1))

    return faithfulness(some.pixels, asked.maps(some.pixels, some.sex)[..., 0], left, some.groups, SEED)


def _groups(told: Told, settings: ImageSettings) -> Table:
    rows: list[tuple[Any, ...]] = []
    known = {"all": told.kinds != "", **{sex: told.kinds == sex for sex in SEXES}}
    known |= {name: (told.truth >= low) & (told.truth < high) for low, high, name in BANDS}
    for name, mine in known.items():
        error, bias = (mean(of[mine], told.groups[mine]) for of in (np.abs(told.off), told.off))
        inside = np.abs(told.off[mine]) <= (settings.half_width or 0.0)
        if error and bias:
            share = f"{inside.mean():.0%}" if settings.half_width else None
            rows.append((name, _cell(error), _cell(bias), share, int(mine.sum())))
    columns = ("films", "mean absolute error (months)", "bias (months)", "within the band", "films judged")
    return Table(title="By sex and by bone age", columns=columns, rows=tuple(rows))


def _sheet(asked: Asked, judged: Pictures, told: Told) -> bytes:
    order = np.argsort(told.truth, kind="stable")
    rows = np.r_[
        order[np.linspace(0, len(order) - 1, min(6, len(order))).astype(int)], np.argsort(-np.abs(told.off))[:6]
    ]
    some = judged.where(rows)
    names = [f"{told.kinds[i]}, {told.truth[i]:.0f} months, told {told.value[i]:.0f}" for i in rows]
    maps = asked.maps(some.pixels, some.sex)[..., 0]
    return imaging_plots.sheet(some.pixels, maps, names, "What adds months; below, the largest errors")


def _notes(told: Told, settings: ImageSettings) -> tuple[str, ...]:
    worst = float(np.abs(told.off).max())
    return (
        "One film a child, as far as the data tell: intervals are drawn over films.",
        f"Bias and limits of agreement are Bland and Altman's: told less true, its mean ± 1.96 standard deviations. "
        f"The largest error is {worst:.0f} months.",
        f"The band is ± {settings.half_width:g} months by split conformal prediction on validation films.",
    )


def _cell(found: Interval) -> str:
    return f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"
