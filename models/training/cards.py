"""A model's card: what it is for, what it was made from, what it is worth and what it must not be used for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from models.registry import Interval, Manifest
from models.training.evaluation import Cell, Evaluation, Table, rival_in

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "What it finds": ("auroc", "auprc", "macro", "accuracy", "precision", "specificity"),
    "Error": ("skill", "mae", "rmse", "pinball", "crps"),
    "Alarms": ("recall", "ppv", "lead", "alarms", "false", "nab", "events", "f1"),
    "Calibration": ("coverage", "brier", "ece", "slope", "width", "observed"),
}
SKILL: Final = ", and skill against persistence (1 - MAE / MAE of persistence)"
OTHER: Final = "Further figures"
ACRONYMS: Final[Mapping[str, str]] = {
    word: word.upper()
    for word in ("auroc", "auprc", "mae", "rmse", "ece", "ppv", "crps", "nab", "news2", "sbp", "map", "sofa", "mri")
} | {"spo2": "SpO2", "brier": "Brier score", "saps1": "SAPS-I"}
WARNING: Final = (
    "Research software, not a medical device. It has been tested on no ward, and nothing it says may decide about care."
)
_FIGURE: Final = re.compile(r"-?[\d.,]+(?![0-9A-Za-z])")
"""What a cell of figures begins with; a hash may begin with digits."""
_NONE: Final = (None, "", "–")
CHANCE: Final = (
    "Intervals are 95 %, by bootstrap over patients: they tell of chance in the draw of patients, "
    "not of another hospital, monitor or time."
)


def card(
    manifest: Manifest, sha256: str, evaluations: Mapping[str, Evaluation], does: str = "", limits: Iterable[str] = ()
) -> str:
    """The card in Markdown: what manifest and evaluations say.

    ``does`` stands in for a purpose that was not told, ``limits`` are those of all models of its kind.
    """
    parts = [f"# {manifest.name} {sha256[:12]}", f"> **{WARNING}**"]
    parts += ["## What it is for", manifest.purpose or (does[:1].upper() + does[1:] + "." if does else "Not told.")]
    parts += ["## What it was made from", _data(manifest), _synthetic(manifest)]
    if not evaluations:
        parts += ["## What it is worth", "Not judged yet: `ward model evaluate`."]
    for found in _by_trust(evaluations):
        parts += [f"## What it is worth on `{found.split}`", _judged(found)]
        parts += [markdown(table) for table in found.tables]
        parts += ["\n".join(f"- {note}" for note in found.notes)] if found.notes else []
        parts += [f"### Every figure on `{found.split}`", *_figures(found)]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in (*manifest.limits, *limits, CHANCE))]
    parts += ["## What it is, exactly", _identity(manifest, sha256)]
    return "\n\n".join(part for part in parts if part) + "\n"


def figures(metrics: Mapping[str, Interval]) -> list[Table]:
    """The metrics in tables, one a group, each baseline in a column beside what it is a baseline of."""
    rows: dict[str, dict[str, Interval]] = {}
    for name, interval in metrics.items():
        base, rival = rival_in(name, metrics)
        rows.setdefault(base, {})[rival] = interval
    tables = []
    for title in (*GROUPS, OTHER):
        mine = {base: found for base, found in rows.items() if _group(base) == title}
        if not mine:
            continue
        rivals = list(dict.fromkeys(rival for found in mine.values() for rival in found if rival))
        tables.append(
            Table(
                title=title + (SKILL if any(base.startswith("skill") for base in mine) else ""),
                columns=("figure", "value", "95 % interval", *(words(rival) for rival in rivals), "cases"),
                rows=tuple(_row(base, found, rivals) for base, found in mine.items()),
            )
        )
    return tables


def words(metric: str) -> str:
    """A metric's name for people: ``auroc_hypotension`` is "AUROC hypotension"; ``at_1.2`` is a budget of alarms."""
    named = " ".join(ACRONYMS.get(word, word) for word in metric.split("_"))
    return re.sub(r"\bat (\d[\d.]*)", r"at \1 a day", named)


def number(value: Cell) -> str:
    """A cell as text, a float with as many digits as it is worth."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:g}" if value == round(value, 1) and abs(value) < 1000 else fixed(value)
    return f"{value:,}" if isinstance(value, int) else value


def fixed(value: float) -> str:
    """A figure's text, so that those of its kind stand under one another."""
    size = abs(value)
    return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:.0f}"


def _group(metric: str) -> str:
    kind, _, rest = metric.partition("_")
    if kind == "gain":
        kind = rest.partition("_")[0]
    return next((title for title, kinds in GROUPS.items() if kind in kinds), OTHER)


def _row(base: str, found: Mapping[str, Interval], rivals: Iterable[str]) -> tuple[Cell, ...]:
    own = found.get("")
    shown = (fixed(own.value), f"{fixed(own.low)} to {fixed(own.high)}", own.n) if own else (None, None, None)
    others = (fixed(found[rival].value) if rival in found else None for rival in rivals)
    return (words(base), *shown[:2], *others, shown[2])


def _by_trust(evaluations: Mapping[str, Evaluation]) -> list[Evaluation]:
    order = {"test": 0, "validation": 2}
    return [evaluations[split] for split in sorted(evaluations, key=lambda split: (order.get(split, 1), split))]


def _judged(found: Evaluation) -> str:
    aim = {
        "test": "None of its cases was used for training, tuning or the choice of thresholds.",
        "validation": "Training stopped, calibration and thresholds were chosen on it: these figures flatter.",
    }
    return f"{found.n:,} cases. {found.flatters or aim.get(found.split, '')}".strip()


def _figures(found: Evaluation) -> list[str]:
    return [markdown(table) for table in figures(found.metrics)]


def markdown(table: Table) -> str:
    """The table in Markdown, its title above it."""
    lines = [f"**{table.title}**", "", f"| {' | '.join(table.columns)} |"]
    lines += ["".join("| ---: " if right else "| --- " for right in numeric(table)) + "|"]
    lines += [f"| {' | '.join(number(cell) for cell in row)} |" for row in table.rows]
    return "\n".join(lines)


def numeric(table: Table) -> list[bool]:
    """Of each column, whether it holds numbers and nothing else, which are read from the right."""
    columns = ([row[i] for row in table.rows if row[i] not in _NONE] for i in range(len(table.columns)))
    return [bool(cells) and all(map(_is_number, cells)) for cells in columns]


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) or (isinstance(cell, str) and _FIGURE.match(cell) is not None)


def _data(manifest: Manifest) -> str:
    rows = tuple(
        (each.name, each.licence, f"{each.rows:,}", "synthetic" if each.synthetic else "real", each.sha256[:12])
        for each in manifest.data
    )
    table = Table(title="Data", columns=("name", "licence", "rows used", "kind", "sha256"), rows=rows)
    return markdown(table)


def _synthetic(manifest: Manifest) -> str:
    made_up = [each.name for each in manifest.data if each.synthetic]
    if not made_up:
        return "Nothing in it is synthetic."
    return f"**Synthetic: {', '.join(made_up)}.** Figures from it tell of the simulator, not of patients."


def _identity(manifest: Manifest, sha256: str) -> str:
    lines = [f"- manifest sha256 `{sha256}`, made {manifest.made} by {manifest.code}, seed {manifest.seed}"]
    lines += [f"- `{file}` sha256 `{digest}`" for file, digest in manifest.files.items()]
    lines += [f"- made again: `ward model train {manifest.name} --data DIR --seed {manifest.seed}`"]
    lines += [f"- judged again: `ward model evaluate {manifest.name} --model {sha256[:12]} --data DIR --split test`"]
    return "\n".join(lines)
