"""What SQL asks of vitals, biomarkers and images beyond its own words: window statistics, time beyond a limit, slopes.

Plain numpy functions first, each by its definition; ``register`` makes Arrow functions of SQL of them. The aggregates
take rows in any order. Spark does not mix them with its own aggregates in one SELECT: ``vital_stats`` counts itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Struct = dict[str, float | int | None]

GAP_CAP_S: Final = 300.0
"""A value is held to be so for at most this long after it was read, unless the caller says otherwise."""
DAY_MS: Final = 86_400_000.0

STATS: Final = "struct<n:bigint,mean:double,std:double,min:double,max:double,median:double,slope_per_day:double>"
INTENSITY: Final = "struct<mean:double,std:double,p01:double,p99:double,entropy:double>"


@dataclass(frozen=True)
class Function:
    """One function of SQL: how it is called, what it gives, what it means."""

    call: str
    gives: str
    means: str

    @property
    def name(self) -> str:
        """Its name."""
        return self.call.partition("(")[0]


FUNCTIONS: Final = (
    Function(
        "vital_stats(value [, at_ms])",
        STATS,
        "aggregate: count, mean, sample deviation, least, greatest, median and, with times, slope of the values",
    ),
    Function(
        "time_above(value, at_ms, limit [, cap_s])",
        "double",
        f"aggregate: seconds above the limit; a value holds until the next, at most cap_s ({GAP_CAP_S:.0f})",
    ),
    Function("time_below(value, at_ms, limit [, cap_s])", "double", "aggregate: as time_above, below the limit"),
    Function(
        "slope_per_day(value, at_ms)", "double", "aggregate: least-squares slope, units a day; null for one moment only"
    ),
    Function("pixel_stats(pixels)", INTENSITY, "intensities of image_shards.pixels; null for what is no float32 image"),
    Function(
        "image_stats(content)", INTENSITY, "intensities of a DICOM, JPEG, PNG or TIFF file; null where it has none"
    ),
)
NAMES: Final = tuple(function.name for function in FUNCTIONS)


def vital_stats(value: Floats, at_ms: Floats | None = None) -> Struct:
    """Statistics of the values that are there (NaN is none). ``std`` is the sample's (n - 1), null for one value."""
    known = value[~np.isnan(value)]
    n = len(known)
    if n == 0:
        return {"n": 0, "mean": None, "std": None, "min": None, "max": None, "median": None, "slope_per_day": None}
    return {
        "n": n,
        "mean": float(known.mean()),
        "std": float(known.std(ddof=1)) if n > 1 else None,
        "min": float(known.min()),
        "max": float(known.max()),
        "median": float(np.median(known)),
        "slope_per_day": slope_per_day(value, at_ms) if at_ms is not None else None,
    }


def time_above(value: Floats, at_ms: Floats, limit: float, cap_s: float = GAP_CAP_S) -> float | None:
    """Seconds for which the last value known was above ``limit``.

    Each value holds until the next one is read, at most ``cap_s`` seconds; the last one for no time, because nothing
    tells how long. Of several values at one moment the greatest holds. Null without any value.
    """
    known = ~(np.isnan(value) | np.isnan(at_ms))
    if not known.any() or np.isnan(limit) or np.isnan(cap_s):
        return None
    order = np.lexsort((value[known], at_ms[known]))
    held, at = value[known][order], at_ms[known][order]
    lasts_s = np.clip(np.diff(at) / 1000.0, 0.0, cap_s)
    return float(lasts_s[held[:-1] > limit].sum())


def time_below(value: Floats, at_ms: Floats, limit: float, cap_s: float = GAP_CAP_S) -> float | None:
    """As ``time_above``, below ``limit``; of several values at one moment the least holds."""
    return time_above(-value, at_ms, -limit, cap_s)


def slope_per_day(value: Floats, at_ms: Floats) -> float | None:
    """The least-squares slope of the values over time, in their unit a day; null for fewer than two moments."""
    known = ~(np.isnan(value) | np.isnan(at_ms))
    seen, days = value[known], at_ms[known] / DAY_MS
    if len(seen) < 2 or days.min() == days.max():
        return None
    away = days - days.mean()
    return float((away * (seen - seen.mean())).sum() / (away * away).sum())


def pixel_stats(pixels: bytes | None) -> Struct | None:
    """Intensities of an image as it stands in a shard (float32 in [0, 1], little-endian); None for what is none."""
    from models.imaging.pixels import statistics

    if not pixels or len(pixels) % 4:
        return None
    values = np.frombuffer(pixels, "<f4")
    inside = bool(((values >= 0.0) & (values <= 1.0)).all())
    return asdict(statistics(values)) if inside else None


def image_stats(content: bytes | None) -> Struct | None:
    """Intensities of the normalised image in a file's bytes; None where no image can be read from them."""
    from contracts.errors import Poison
    from models.imaging.pixels import read, statistics

    if not content:
        return None
    try:
        return asdict(statistics(read(content).pixels))
    except Poison:
        return None


def register(spark: Any) -> None:
    """Make the functions known to this session of Spark, under their names."""
    import pyarrow as pa
    from pyspark.sql.functions import arrow_udf

    def aggregate(name: str, gives: str, made: Callable[..., Any]) -> None:
        made.__annotations__ = {"given": pa.Array, "return": Struct if gives == STATS else float}
        spark.udf.register(name, arrow_udf(made, gives))

    def scalar(name: str, one: Callable[[bytes | None], Struct | None]) -> None:
        kind = pa.struct([(field, pa.float64()) for field in ("mean", "std", "p01", "p99", "entropy")])

        def made(content: Any) -> Any:
            return pa.array([one(value.as_py()) for value in content], kind)

        made.__annotations__ = {"content": pa.Array, "return": pa.Array}
        spark.udf.register(name, arrow_udf(made, INTENSITY))

    aggregate("vital_stats", STATS, lambda *given: vital_stats(*map(floats, given)))
    aggregate("time_above", "double", lambda *given: time_above(*limited(given)))
    aggregate("time_below", "double", lambda *given: time_below(*limited(given)))
    aggregate("slope_per_day", "double", lambda *given: slope_per_day(*map(floats, given)))
    scalar("pixel_stats", pixel_stats)
    scalar("image_stats", image_stats)


def floats(given: Any) -> Floats:
    """An Arrow array of numbers as numpy; null is NaN."""
    import pyarrow as pa

    wide: Floats = given.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return wide


def limited(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values and times as arrays, limit and cap as the numbers that they are in every row."""
    value, at_ms, *constants = map(floats, given)
    return (value, at_ms, *(float(one[0]) if len(one) else float("nan") for one in constants))
