"""The small-cell guard: nobody comes out whose characteristics fewer than k patients share.

Pure of files: it is given columns and says which rows may go out and what stands in them then.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Final

Rung = Callable[[object], Hashable]
Profile = frozenset[tuple[Hashable, ...]]

TOP_AGE: Final = 90
"""Ages from here on are one: HIPAA's Safe Harbor (45 CFR 164.514(b)(2)(i)(C)) names all of them identifying."""


@dataclass(frozen=True)
class Guarded:
    """What may go out: ``rows`` are indices into what was given; the columns hold those rows only.

    ``told`` says, column by column, what was done to how many patients.
    """

    rows: tuple[int, ...]
    quasi: dict[str, list[Hashable]]
    words: dict[str, list[Hashable]]
    patients: int
    told: tuple[dict[str, str], ...] = ()


@dataclass
class _Ladder:
    """A characteristic and how it is told, from fine to not at all."""

    name: str
    rungs: list[tuple[str, Rung]]
    raw: Sequence[object]
    at: dict[str, int] = field(default_factory=dict)

    def value(self, patient: str, raw: object) -> Hashable:
        """As this patient's is told now."""
        return self.rungs[self.at.get(patient, 0)][1](raw)


def guarded(
    patients: Sequence[str],
    quasi: Mapping[str, Sequence[object]],
    words: Mapping[str, Sequence[object]],
    k: int,
) -> Guarded:
    """Generalise and suppress until every patient is one of at least ``k`` that look the same.

    ``patients`` says whose each row is. ``quasi`` are the columns by which a person could be recognised: patients look
    the same when their rows hold the same set of tuples of them. A patient of a smaller group gets coarser bands, then
    no value, column after column (the most particular first), and leaves when even that does not help. Of ``words``
    (other text) a value that fewer than ``k`` patients have becomes None.
    """
    ladders = [_ladder(name, values) for name, values in quasi.items()]
    tuples: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for row, patient in enumerate(patients):
        tuples[patient].add(tuple(ladder.raw[row] for ladder in ladders))
    profiles = {patient: _profile(patient, raw, ladders) for patient, raw in tuples.items()}
    told: list[dict[str, str]] = []
    for ladder, rung in _steps(ladders):
        small = _small(profiles, k)
        if not small:
            break
        moved = {patient for patient in small if ladder.at.get(patient, 0) < rung}
        for patient in moved:
            ladder.at[patient] = rung
            profiles[patient] = _profile(patient, tuples[patient], ladders)
        told.append(_said(ladder.name, ladder.rungs[rung][0], len(moved), k))
    gone = _small(profiles, k)
    if gone:
        told.append(_said("*", "patients left out: no group of theirs is large enough", len(gone), k))
    rows = tuple(row for row, patient in enumerate(patients) if patient not in gone)
    whose = [patients[row] for row in rows]
    kept = {
        ladder.name: [ladder.value(patient, ladder.raw[row]) for row, patient in zip(rows, whose, strict=True)]
        for ladder in ladders
    }
    common = {}
    for name, values in words.items():
        common[name], rare = _common(whose, [values[row] for row in rows], k)
        if rare:
            told.append(_said(name, "values that too few have left out", rare, k))
    return Guarded(rows, kept, common, len(set(whose)), tuple(told))


def cells(counts: Mapping[str, int], k: int) -> dict[str, int | None]:
    """Counts of patients with small ones withheld (None), and one more where one alone could be reckoned back."""
    held = {name for name, count in counts.items() if 0 < count < k}
    others = sorted((name for name in counts if name not in held), key=lambda name: (counts[name], name))
    if held and (len(held) == 1 or sum(counts[name] for name in held) < k):
        held |= set(others[:1])
    return {name: None if name in held else count for name, count in counts.items()}


def counted(number: int, k: int) -> str:
    """A number of patients as it may be told."""
    return str(number) if number == 0 or number >= k else f"fewer than {k}"


def _said(column: str, what: str, patients: int, k: int) -> dict[str, str]:
    return {"column": column, "what": what, "patients": counted(patients, k)}


def _profile(patient: str, raw: set[tuple[object, ...]], ladders: list[_Ladder]) -> Profile:
    return frozenset(
        tuple(ladder.value(patient, value) for ladder, value in zip(ladders, row, strict=True)) for row in raw
    )


def _small(profiles: Mapping[str, Profile], k: int) -> set[str]:
    sizes = Counter(profiles.values())
    return {patient for patient, profile in profiles.items() if sizes[profile] < k}


def _steps(ladders: list[_Ladder]) -> list[tuple[_Ladder, int]]:
    """Coarser bands first, then no value at all, the column with the most values first."""
    particular = sorted(ladders, key=lambda ladder: (-len({_key(v) for v in ladder.raw}), ladder.name))
    banded = [(ladder, rung) for ladder in particular for rung in range(1, len(ladder.rungs) - 1)]
    return banded + [(ladder, len(ladder.rungs) - 1) for ladder in particular]


def _common(patients: Sequence[str], values: Sequence[object], k: int) -> tuple[list[Hashable], int]:
    """The values that enough patients have, else None; and how many patients lost one."""
    whose: dict[Hashable, set[str]] = defaultdict(set)
    for patient, value in zip(patients, values, strict=True):
        whose[_key(value)].add(patient)
    rare = {value for value, having in whose.items() if value is not None and len(having) < k}
    lost = set[str]().union(*(whose[value] for value in rare)) if rare else set[str]()
    return [None if _key(value) in rare else _key(value) for value in values], len(lost)


def _ladder(name: str, values: Sequence[object]) -> _Ladder:
    numbers = [float(v) for v in values if isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v)]
    given = sum(value is not None for value in values)
    if not numbers or len(numbers) < given:
        return _Ladder(name, [("as it is", _key), ("left out", _nothing)], values)
    top = TOP_AGE if name.lower().startswith("age") else None
    width = 10.0 if top else _width(max(numbers) - min(numbers), max(map(abs, numbers)))
    rungs: list[tuple[str, Rung]] = [
        (f"in bands of {width * times:g}", _banded(width * times, top)) for times in (1, 2, 5)
    ]
    return _Ladder(name, [*rungs, ("left out", _nothing)], values)


def _width(spread: float, largest: float) -> float:
    """A band that cuts the spread into some ten: a power of ten."""
    return 10.0 ** math.floor(math.log10(spread or largest or 1.0))


def _banded(width: float, top: float | None) -> Rung:
    def band(value: object) -> Hashable:
        if not isinstance(value, Real):
            return None
        number = float(value)
        if not math.isfinite(number):
            return None
        if top is not None and number >= top:
            return f"{top:g}+"
        low = math.floor(number / width) * width
        return f"{low:.10g}-{low + width if top is None else min(low + width, top):.10g}"

    return band


def _nothing(_: object) -> Hashable:
    return None


def _key(value: object) -> Hashable:
    return value if isinstance(value, Hashable) else repr(value)
