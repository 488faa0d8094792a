"""The functions of SQL against other people's arithmetic: numpy, scipy and a plain loop."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from batch import functions as f

Floats = NDArray[np.float64]
NONE = float("nan")


@pytest.fixture(params=range(5))
def series(request: pytest.FixtureRequest) -> tuple[Floats, Floats]:
    """Values and times: uneven, with gaps in both, in no order."""
    dice = np.random.default_rng(request.param)
    at = np.sort(dice.integers(0, 3 * 86_400_000, 200)).astype(np.float64)
    value = 90 + 5 * np.sin(at / 1e7) + dice.normal(0, 2, 200)
    value[dice.integers(0, 200, 12)] = NONE
    order = dice.permutation(200)
    return value[order], at[order]


def seconds_above(value: Floats, at_ms: Floats, limit: float, cap_s: float) -> float:
    """By a plain loop over readings in order."""
    rows = sorted((t, v) for v, t in zip(value, at_ms, strict=True) if not math.isnan(v))
    total = 0.0
    for (t, v), (following, _) in itertools.pairwise(rows):
        if v > limit:
            total += min((following - t) / 1000, cap_s)
    return total


def test_statistics_are_those_of_the_standard_library(series: tuple[Floats, Floats]) -> None:
    value, at = series
    known = [float(v) for v in value if not math.isnan(v)]
    found = f.vital_stats(value, at)
    assert found["n"] == len(known)
    for name, expected in (
        ("mean", statistics.fmean(known)),
        ("std", statistics.stdev(known)),
        ("median", statistics.median(known)),
        ("min", min(known)),
        ("max", max(known)),
    ):
        assert found[name] == pytest.approx(expected), name
    assert found["slope_per_day"] == f.slope_per_day(value, at)


def test_the_slope_is_that_of_linregress_whatever_the_order(series: tuple[Floats, Floats]) -> None:
    value, at = series
    known = ~np.isnan(value)
    expected = stats.linregress(at[known] / 86_400_000, value[known]).slope
    assert f.slope_per_day(value, at) == pytest.approx(expected)


@pytest.mark.parametrize("cap_s", [30.0, 300.0, 1e9])
def test_time_beyond_a_limit_is_that_of_a_plain_loop(series: tuple[Floats, Floats], cap_s: float) -> None:
    value, at = series
    assert f.time_above(value, at, 91.0, cap_s) == pytest.approx(seconds_above(value, at, 91.0, cap_s))
    assert f.time_below(value, at, 91.0, cap_s) == pytest.approx(seconds_above(-value, at, -91.0, cap_s))


def test_a_value_holds_until_the_next_but_not_beyond_the_cap_and_the_last_for_no_time() -> None:
    at = np.array([0.0, 60_000, 120_000, 1_000_000])
    value = np.array([80.0, 95, 80, 80])
    assert f.time_below(value, at, 90.0) == 60 + f.GAP_CAP_S
    assert f.time_below(value, at, 80.0) == 0.0, "at the limit is not beyond it"
    # of two at one moment the one that is further beyond counts
    assert f.time_above(np.array([1.0, 9.0, 0.0]), np.array([0.0, 0.0, 10_000.0]), 5.0) == 10.0
    assert f.time_below(np.array([1.0, 9.0, 9.0]), np.array([0.0, 0.0, 10_000.0]), 5.0) == 10.0


def test_nothing_and_a_single_point_give_what_can_be_said() -> None:
    nothing, one, when = np.array([NONE]), np.array([5.0]), np.array([7.0])
    assert f.vital_stats(nothing, when) == {
        "n": 0,
        "mean": None,
        "std": None,
        "min": None,
        "max": None,
        "median": None,
        "slope_per_day": None,
    }
    single = f.vital_stats(one)
    assert (single["n"], single["mean"], single["std"], single["slope_per_day"]) == (1, 5.0, None, None)
    assert f.slope_per_day(one, when) is None
    assert f.slope_per_day(np.array([1.0, 2.0]), np.array([7.0, 7.0])) is None, "two values of one moment"
    assert f.time_above(nothing, when, 1.0) is None
    assert f.time_above(one, when, 1.0) == 0.0
    assert f.time_above(one, when, NONE) is None


def test_intensities_are_numpys_and_the_entropy_scipys() -> None:
    pixels = np.random.default_rng(1).beta(2, 5, (64, 48)).astype("<f4")
    found = f.pixel_stats(pixels.tobytes())
    assert found is not None
    wide = pixels.astype(np.float64)
    assert found["mean"] == pytest.approx(wide.mean())
    assert found["std"] == pytest.approx(wide.std())
    assert found["p01"] == pytest.approx(np.percentile(wide, 1))
    assert found["p99"] == pytest.approx(np.percentile(wide, 99))
    counts = np.bincount(np.minimum((wide * 256).astype(int), 255).ravel(), minlength=256)
    assert found["entropy"] == pytest.approx(stats.entropy(counts, base=2))


def test_what_is_no_image_gives_null() -> None:
    for wrong in (None, b"", b"123", np.array([2.0], "<f4").tobytes(), np.array([NONE], "<f4").tobytes()):
        assert f.pixel_stats(wrong) is None
    for wrong in (None, b"", b"not an image", b"\xff\xd8\xff\xe0broken"):
        assert f.image_stats(wrong) is None


def test_a_png_has_the_intensities_of_its_pixels() -> None:
    import io

    from PIL import Image

    grey = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    found = f.image_stats(file.getvalue())
    assert found is not None
    assert found["mean"] == pytest.approx((grey / 255).mean(), abs=0.01)
    assert found["entropy"] == pytest.approx(8.0, abs=0.2)
