"""What a model is worth on some data: figures with their intervals, tables, remarks, plots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from contracts.errors import Poison
from models.registry import Interval

__all__ = ["LOWER_IS_BETTER", "Evaluation", "Interval", "Table", "defined", "direction", "read", "rival_in"]

LOWER_IS_BETTER: Final = frozenset({"mae", "rmse", "brier", "ece", "pinball", "crps", "width", "loss"})
HIGHER_IS_BETTER: Final = frozenset(
    {"auroc", "auprc", "skill", "recall", "ppv", "f1", "accuracy", "nab", "gain", "macro", "precision", "specificity"}
)

BASELINES: Final = (
    "persistence",
    "drift",
    "mean",
    "boosting",
    "news2",
    "limits_held",
    "limits",
    "saps1",
    "sofa",
    "zscore",
    "forest",
    "river",
    "majority",
    "whole",
    "table",
)
"""Last words of a metric's name that mean a rival on the same cases."""

Cell = str | float | int | None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to be read by people: in a card, on a terminal."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A model on one split of one folder of data. ``n`` is how many cases (windows, stays, images) it was judged on.

    ``sha256`` is of the model's manifest. ``metrics`` are named kind first: ``auroc_hypotension``, ``skill_spo2_4h``,
    a baseline's with the baseline last: ``auroc_hypotension_news2``. ``notes`` say what the figures do not;
    ``flatters`` says what was chosen with these very cases, where something was. ``plots`` are PNG files by name; they
    are no part of the JSON form.
    """

    model: str
    version: str
    sha256: str
    split: str
    n: int
    metrics: Mapping[str, Interval]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    plots: Mapping[str, bytes] = {}
    flatters: str | None = None

    def document(self) -> dict[str, Any]:
        """The JSON form, all but the plots."""
        plain: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(self, plots={}))
        del plain["plots"]
        return plain


def read(text: str | bytes, where: str) -> Evaluation:
    """The evaluation in its JSON form. Raises Poison (``bad_evaluation``) naming ``where``."""
    try:
        return msgspec.json.decode(text, type=Evaluation)
    except msgspec.MsgspecError as wrong:
        raise Poison("bad_evaluation", f"{wrong}; `ward model evaluate --keep` writes it again", where) from wrong


def defined(metrics: Mapping[str, Interval | None]) -> dict[str, Interval]:
    """Those that are defined on the data (no AUROC where all are of one class)."""
    return {name: interval for name, interval in metrics.items() if interval is not None}


def rival_in(name: str, metrics: Mapping[str, Interval]) -> tuple[str, str]:
    """(metric, rival) of a baseline's figure, (name, "") of the model's own."""
    for rival in BASELINES:
        base = name.removesuffix(f"_{rival}")
        if base != name and base in metrics:
            return base, rival
    return name, ""


def direction(metric: str) -> int:
    """1 where more is better, -1 where less is, 0 where neither (coverage, slope, count), by its first word."""
    kind = metric.split("_", 1)[0]
    return -1 if kind in LOWER_IS_BETTER else int(kind in HIGHER_IS_BETTER)
