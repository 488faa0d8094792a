"""The gate before any figure of an image model: nothing of what is judged may have been seen in training.

Looked for between the splits: the same pixels, the same picture (``lookalikes``), the same patient or cluster; and
whether numbers that know no anatomy tell the label. The first three are leaks: no figure goes out. The last is told
beside every figure, for a model that is no better than it has learned where an image came from, not what it shows.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from models.imaging.pixels import Grey, read, statistics
from models.registry import Interval
from models.training.evaluation import Table, defined
from models.training.intervals import interval, mean
from models.training.lookalikes import ALIKE, TWIN, contrast, pairs

Kind = Literal["same_pixels", "same_picture", "same_group"]
KINDS: Final[Mapping[Kind, str]] = {
    "same_pixels": "images whose pixels stand in another split, bit for bit",
    "same_picture": "images that stand in another split recompressed, resized, brightened, turned, mirrored, inverted",
    "same_group": "patients or clusters with images in more than one split",
}
RIVAL: Final = "forest"
TREES: Final = 200
SEED: Final = 20260102
SHOWN: Final = 10
DRAWS: Final = 300


class Leaky(Poison):
    """The data leak: a figure on this split would tell of memory."""


@dataclass(frozen=True)
class Leak:
    """Two images (or a group) on two sides; ``alike`` is how much, 1 for the same pixels and groups."""

    kind: Kind
    one: str
    other: str
    splits: tuple[str, str]
    alike: float = 1.0


@dataclass(frozen=True)
class Shortcut:
    """What a forest makes of grey levels and size: ``figures`` on the judged split, ``blind`` that of always saying
    the commonest label (or the mean).

    ``found``: it is beyond ``blind`` by more than chance explains.
    """

    figures: Mapping[str, Interval]
    blind: float
    found: bool

    @property
    def main(self) -> str:
        """The name of the figure that is compared: accuracy, or mae of a measure."""
        return "mae" if "mae" in self.figures else "accuracy"


@dataclass(frozen=True)
class Audit:
    """What was found. ``alike`` are pairs across splits that may be of one patient: told, but no leak that is proven.

    ``grouped`` is how many images have a group (patient or cluster) of their own to be told apart by.
    """

    counts: Mapping[str, int]
    grouped: int
    leaks: tuple[Leak, ...] = ()
    alike: tuple[Leak, ...] = ()
    shortcut: Shortcut | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Nothing leaks."""
        return not self.leaks

    def demand(self) -> None:
        """Raises Leaky, naming what leaks and how much: to be called before a figure is made, kept or printed."""
        if self.leaks:
            found = self._by_kind()
            said = "; ".join(f"{len(leaks)} {KINDS[kind]}" for kind, leaks in found.items())
            first = self.leaks[0]
            where = f"{first.one} ({first.splits[0]}) and {first.other} ({first.splits[1]})"
            raise Leaky("leaky_split", f"{said}; first: {where}. No figure is told: divide the images anew", "split")

    def beside(self, metrics: Mapping[str, Interval]) -> dict[str, Interval]:
        """These figures with those of the forest beside them (``accuracy_forest``, ...). Raises Leaky."""
        self.demand()
        rivals = self.shortcut.figures if self.shortcut else {}
        return {**metrics, **{f"{name}_{RIVAL}": rivals[name] for name in rivals if name in metrics}}

    def remarks(self, metrics: Mapping[str, Interval]) -> tuple[str, ...]:
        """What must be read with these figures."""
        said = [*self.notes]
        if self.alike:
            said.append(
                f"{len(self.alike)} pair{'s' * (len(self.alike) != 1)} of images look alike across the splits "
                "without being one picture: probably one patient twice, where no patient is known; the figures are "
                "on the high side."
            )
        if (short := self.shortcut) is not None and short.found:
            told = short.figures[short.main]
            said.append(
                f"Grey levels and size alone, which know no anatomy, give {short.main} {told.value:.3f} "
                f"[{told.low:.3f}, {told.high:.3f}] on this split, where guessing gives {short.blind:.3f}: part of any "
                "figure here tells of the images' sources."
            )
            ours = metrics.get(short.main)
            if ours is not None and not _beyond(short.main, ours, told):
                said.append(f"**The model is no better than that: its {short.main} tells nothing of anatomy.**")
        return tuple(said)

    def tables(self) -> tuple[Table, ...]:
        """For an evaluation and a card: what was looked for, and what was found."""
        found = self._by_kind()
        rows: list[tuple[str, int | str, str]] = [
            (said, len(found.get(kind, ())), "leak" if found.get(kind) else "none") for kind, said in KINDS.items()
        ]
        rows.append((f"pairs across splits that correlate by {ALIKE} to {TWIN}", len(self.alike), "told"))
        if self.shortcut:
            told = self.shortcut.figures[self.shortcut.main]
            said = f"{told.value:.3f} [{told.low:.3f}, {told.high:.3f}]; guessing {self.shortcut.blind:.3f}"
            held = "shortcut: told beside every figure" if self.shortcut.found else "none"
            rows.append((f"{self.shortcut.main} of a forest on grey levels and size", said, held))
        images = ", ".join(f"{number:,} {split}" for split, number in self.counts.items())
        title = f"Leakage audit ({images}; {self.grouped:,} with a patient or cluster)"
        return (Table(title=title, columns=("looked for", "found", "verdict"), rows=tuple(rows)),)

    def document(self) -> dict[str, Any]:
        """The JSON form; of each kind the first few by name."""
        import msgspec

        plain: dict[str, Any] = msgspec.to_builtins(
            {
                "passed": self.passed,
                "images": dict(self.counts),
                "grouped": self.grouped,
                "leaks": {kind: {"n": len(all_), "first": all_[:SHOWN]} for kind, all_ in self._by_kind().items()},
                "alike": {"n": len(self.alike), "first": self.alike[:SHOWN]},
                "shortcut": self.shortcut,
            }
        )
        return plain

    def _by_kind(self) -> dict[Kind, list[Leak]]:
        found: dict[Kind, list[Leak]] = {}
        for leak in self.leaks:
            found.setdefault(leak.kind, []).append(leak)
        return found


def audit(
    images: Iterable[Grey],
    splits: Sequence[str],
    groups: Sequence[str | None] | None,
    labels: Sequence[str] | Sequence[float] | None,
    *,
    judged: str | None = "test",
    names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Audit:
    """Look for leaks between every two splits. One entry an image everywhere; ``images`` are read once, in order, as
    ``models.imaging.pixels.read`` makes them, before anything was augmented or resized.

    ``groups`` are patients, or clusters of look-alikes; None (or "" for one image) where they are not known. ``labels``
    are words, or numbers of a measure. The forest is judged on ``judged``, trained on the rest; None judges each split
    by the others (folds). 3,000 images take half a minute.
    """
    called = list(names) if names is not None else [f"image {at}" for at in range(len(splits))]
    marks, seen, known = [], [], []
    for image in images:
        marks.append(hashlib.sha256(repr(image.shape).encode() + image.astype("<f4").tobytes()).hexdigest())
        seen.append(contrast(image))
        known.append(_numbers(image))
    if not len(marks) == len(splits) == len(called):
        raise ValueError(f"{len(marks)} images, {len(splits)} splits and {len(called)} names")
    where, owners = np.asarray(splits), list(groups) if groups is not None else [None] * len(splits)
    same = list(_of_one_mark(marks, where, called))
    near, alike = _near(np.stack(seen), where, called, {(leak.one, leak.other) for leak in same})
    whose = np.asarray([owner or f"~{at}" for at, owner in enumerate(owners)])
    shared = [Leak("same_group", str(one), str(one), (a, b)) for one, a, b in _across(owners, where)]
    shortcut = None
    if labels is not None:
        shortcut = _shortcut(np.asarray(known), np.asarray(labels), where, whose, judged)
    return Audit(
        counts={split: int((where == split).sum()) for split in dict.fromkeys(splits)},
        grouped=sum(owner not in (None, "") for owner in owners),
        leaks=(*same, *near, *shared),
        alike=alike,
        shortcut=shortcut,
        notes=(
            *notes,
            *(() if any(owners) else ("The data tell no patients: overlap of patients cannot be ruled out.",)),
        ),
    )


def of_rows(
    home: Path,
    rows: Sequence[Mapping[str, str]],
    *,
    label: str,
    group: str | None = None,
    split: str = "split",
    measure: bool = False,
    judged: str | None = "test",
) -> Audit:
    """The audit of images as ``labels.csv`` lists them: ``image`` is a file below ``home``, the others are columns."""
    told = [row[label] for row in rows]
    return audit(
        (read((home / row["image"]).read_bytes(), row["image"]).pixels for row in rows),
        [row[split] for row in rows],
        [row[group] or None for row in rows] if group else None,
        [float(value) for value in told] if measure else told,
        judged=judged,
        names=[row["image"] for row in rows],
    )


def side_by_side(leaky: Mapping[str, Interval], honest: Mapping[str, Interval], how: str) -> Table:
    """Figures of one method on a split that leaks and on one that does not; ``how`` says how the first was made."""
    rows = tuple(
        (
            name,
            f"{leaky[name].value:.3f}",
            f"{honest[name].value:.3f}",
            f"{leaky[name].value - honest[name].value:+.3f}",
        )
        for name in leaky
        if name in honest
    )
    return Table(
        title=f"Leaky and honest, side by side: {how}", columns=("figure", "leaky", "honest", "gap"), rows=rows
    )


def by_chance(splits: Sequence[str], judged: str = "test", seed: int = SEED) -> NDArray[Any]:
    """A division of single images, as large as this one, that heeds neither patients nor look-alikes: the leaky one."""
    shuffled = np.asarray(splits).copy()
    np.random.default_rng(seed).shuffle(shuffled)
    return np.where(shuffled == judged, judged, "train")


def neighbour(
    vectors: NDArray[np.float32], labels: Sequence[str], splits: Sequence[str], judged: str = "test"
) -> NDArray[np.bool_]:
    """Of each judged image, in order, whether its nearest neighbour (cosine) among the others has its label: what
    memory alone gives."""
    where, truth = np.asarray(splits), np.asarray(labels)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ours, others = np.flatnonzero(where == judged), np.flatnonzero(where != judged)
    nearest = others[(unit[ours] @ unit[others].T).argmax(axis=1)]
    return np.asarray(truth[nearest] == truth[ours])


def _numbers(image: Grey) -> tuple[float, ...]:
    """Eight grey levels and the size: nothing of where anything is."""
    seen = statistics(image)
    quartiles = (float(value) for value in np.percentile(image, (25, 50, 75)))
    rows, cols = image.shape
    return (seen.mean, seen.std, seen.p01, seen.p99, seen.entropy, *quartiles, float(rows), float(cols))


def _of_one_mark(marks: Sequence[str], where: NDArray[Any], called: Sequence[str]) -> Iterator[Leak]:
    """Images of the same pixels in two splits, each with the first of its like on the other side."""
    by_mark: dict[str, list[int]] = defaultdict(list)
    for at, mark in enumerate(marks):
        by_mark[mark].append(at)
    for same in by_mark.values():
        for other in same[1:]:
            if where[other] != where[same[0]]:
                yield Leak("same_pixels", called[same[0]], called[other], (str(where[same[0]]), str(where[other])))


def _near(
    seen: NDArray[np.float32], where: NDArray[Any], called: Sequence[str], told: set[tuple[str, str]]
) -> tuple[list[Leak], tuple[Leak, ...]]:
    """Pairs of one picture, and pairs that are merely alike."""
    found = []
    for one, other in combinations(sorted(set(where.tolist())), 2):
        first, second = np.flatnonzero(where == one), np.flatnonzero(where == other)
        for pair in pairs(seen[first], seen[second]):
            a, b = called[first[pair.one]], called[second[pair.other]]
            if not {(a, b), (b, a)} & told:
                found.append(Leak("same_picture", a, b, (one, other), round(pair.alike, 4)))
    found.sort(key=lambda leak: -leak.alike)
    return [leak for leak in found if leak.alike >= TWIN], tuple(leak for leak in found if leak.alike < TWIN)


def _across(owners: Sequence[str | None], where: NDArray[Any]) -> Iterator[tuple[str, str, str]]:
    sides: dict[str, set[str]] = defaultdict(set)
    for owner, split in zip(owners, where.tolist(), strict=True):
        if owner:
            sides[owner].add(split)
    for owner, found in sides.items():
        if len(found) > 1:
            first, second, *_ = sorted(found)
            yield owner, first, second


def _shortcut(
    known: NDArray[np.float64], labels: NDArray[Any], where: NDArray[Any], whose: NDArray[Any], judged: str | None
) -> Shortcut | None:
    """The forest, trained on all but each judged split; None where a split has nothing to learn from."""
    if measure := bool(np.issubdtype(labels.dtype, np.number)):
        labels = labels.astype(np.float64)
    said, blind = np.zeros(len(labels), labels.dtype), np.zeros(len(labels), labels.dtype)
    rows = np.zeros(len(labels), bool)
    for split in [judged] if judged is not None else sorted(set(where.tolist())):
        ours = where == split
        if not ours.any() or ours.all():
            return None
        forest = _forest(measure).fit(known[~ours], labels[~ours])
        said[ours] = forest.predict(known[ours])
        common, counts = np.unique(labels[~ours], return_counts=True)
        blind[ours] = np.mean(labels[~ours]) if measure else common[counts.argmax()]
        rows |= ours
    truth, guess, base, who = labels[rows], said[rows], blind[rows], whose[rows]
    if measure:
        figures = defined({"mae": mean(np.abs(truth - guess), who)})
        worst = float(np.abs(truth - base).mean())
        return Shortcut(figures, worst, figures["mae"].high < worst)

    words = np.unique(labels)
    said_so, is_so = guess[:, None] == words, truth[:, None] == words
    right = said_so & is_so

    def macro_f1(drawn: NDArray[np.intp]) -> float:
        hits, both = right[drawn].sum(0), said_so[drawn].sum(0) + is_so[drawn].sum(0)
        return float((2 * hits / np.maximum(both, 1)).mean())

    figures = defined({"accuracy": mean(truth == guess, who), "macro_f1": interval(macro_f1, who, draws=DRAWS)})
    figures["f1_macro"] = figures["macro_f1"]
    common_share = float((truth == base).mean())
    return Shortcut(figures, common_share, figures["accuracy"].low > common_share)


def _forest(measure: bool) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if measure else RandomForestClassifier
    return kind(TREES, random_state=SEED, min_samples_leaf=2, n_jobs=1)


def _beyond(name: str, ours: Interval, theirs: Interval) -> bool:
    return ours.value < theirs.low if name == "mae" else ours.value > theirs.high
