"""How likely a knee patient's bone is thin: a logistic regression on what is asked, alone or beside the image's word.

The bundle says everything in JSON, ``table.json`` and, of the fused model, ``fusion.json``; plain numpy serves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured, Poison
from models.bundle import Bundle
from models.risk.knee_columns import FIELD_OF, columns
from models.risk.knee_fields import BY_NAME, FIELDS, Value, checked

TABULAR: Final = "knee_osteoporosis_tabular"
FUSED: Final = "knee_osteoporosis_fused"
IMAGE: Final = "knee_osteoporosis"
TABLE_FILE: Final = "table.json"
FUSION_FILE: Final = "fusion.json"
LABELS: Final = ("normal", "osteopenia", "osteoporosis")
Source = Literal["table", "table and image"]
Doubles = NDArray[np.float64]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """An input: what it is in training on average, of each sex (taken where it is missing), how far it spreads, the
    least and the most seen, and what a spread above the average adds to the logit of each label."""

    name: str
    mean: float
    of_women: float
    of_men: float
    spread: float
    least: float
    most: float
    weights: tuple[float, ...]


class TableModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A multinomial logistic regression. ``shares`` are the labels' in training; ``threshold`` is of osteoporosis: the
    probability from which it is worth a measurement, chosen in training."""

    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    intercepts: tuple[float, ...]
    shares: tuple[float, ...]
    threshold: float
    caveats: tuple[str, ...] = ()


class Fusion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Logits of table and image, each less their mean, times their weight, and ``intercepts`` added.

    ``image_adds`` is whether the image made the table better beyond chance in cross-validation; where not, ``why`` says
    so and the table speaks alone.
    """

    table_weight: float
    image_weight: float
    intercepts: tuple[float, ...]
    image_adds: bool
    why: str


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer adds to the log odds of each label, against the average patient of the data."""

    field: str
    label: str
    given: str | None
    adds: Mapping[str, float]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """``label`` is the most probable. ``usual`` are the probabilities before anything is known of the patient.

    ``positive`` is the label whose probability is held against ``threshold``; ``raised`` says whether it reaches it.
    ``drivers``: most of what moves ``positive`` first. ``imputed``: what was not told -> what was taken instead, in
    words. ``remarks`` tell of this patient, ``caveats`` of the model.
    """

    model: str
    version: str
    source: Source
    label: str
    probabilities: Mapping[str, float]
    usual: Mapping[str, float]
    positive: str
    threshold: float
    raised: bool
    drivers: tuple[Driver, ...]
    imputed: Mapping[str, str]
    remarks: tuple[str, ...]
    caveats: tuple[str, ...]


def assess(bundle: Bundle, fields: Mapping[str, Any], image_logits: Sequence[float] | None = None) -> Assessment:
    """What the answers (``knee_fields.FIELDS``; blank ones may be left out, but for sex and age) say of the bone.

    ``bundle`` is the tabular or the fused model's; ``image_logits`` are the image model's three, before its
    temperature, and go with the fused one only. Pure. Raises Poison (``bad_fields``, ``bad_logits``), Misconfigured.
    """
    return KneeRisk(bundle).assess(fields, image_logits)


class KneeRisk:
    """A version, decoded once. Raises Poison (``bad_model``) where its files do not read."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.table: TableModel = _decoded(bundle, TABLE_FILE, TableModel)
        fused = FUSION_FILE in bundle.manifest.files
        self.fusion: Fusion | None = _decoded(bundle, FUSION_FILE, Fusion) if fused else None
        self._weights = np.asarray([column.weights for column in self.table.columns], np.float64)

    def logits(self, values: Mapping[str, Value]) -> Doubles:
        """Of checked answers: one a label, of the table alone."""
        shares = self._shares(values)
        whole: Doubles = np.asarray(self.table.intercepts) + shares.sum(axis=0)
        return whole

    def assess(self, fields: Mapping[str, Any], image_logits: Sequence[float] | None = None) -> Assessment:
        """As the function ``assess``."""
        values = checked(fields)
        table = self.table
        remarks = [*_measured(values), *self._beyond(values)]
        logits, source = self._spoken(self.logits(values), image_logits, remarks)
        probabilities = softmax(logits)
        positive = table.labels[-1]
        risk = float(probabilities[-1])
        return Assessment(
            model=self.bundle.name,
            version=self.bundle.version,
            source=source,
            label=table.labels[int(probabilities.argmax())],
            probabilities=dict(zip(table.labels, map(float, probabilities), strict=True)),
            usual=dict(zip(table.labels, table.shares, strict=True)),
            positive=positive,
            threshold=table.threshold,
            raised=risk >= table.threshold,
            drivers=self._drivers(values),
            imputed=self._imputed(values),
            remarks=tuple(remarks),
            caveats=table.caveats,
        )

    def _spoken(self, table: Doubles, image: Sequence[float] | None, remarks: list[str]) -> tuple[Doubles, Source]:
        fusion = self.fusion
        if image is not None and fusion is None:
            raise Misconfigured(f"{self.bundle.name} weighs no image; give image_logits to {FUSED}")
        if fusion is None:
            return table, "table"
        if image is None:
            remarks.append("No image was given: the patient data speak alone.")
            return table, "table"
        seen = np.asarray(image, np.float64)
        if seen.shape != table.shape or not np.isfinite(seen).all():
            raise Poison("bad_logits", f"{len(table)} finite numbers are wanted, one a label", "image_logits")
        if not fusion.image_adds:
            remarks.append(fusion.why)
            return table, "table"
        return fused(fusion, table, seen), "table and image"

    def _inputs(self, values: Mapping[str, Value]) -> Doubles:
        found = columns(values)
        male = values["sex"] == "male"
        filled = [
            found[column.name] if np.isfinite(found[column.name]) else (column.of_men if male else column.of_women)
            for column in self.table.columns
        ]
        return np.asarray(filled, np.float64)

    def _shares(self, values: Mapping[str, Value]) -> Doubles:
        """(columns, labels): what each column adds to each logit."""
        means = np.asarray([column.mean for column in self.table.columns])
        spreads = np.asarray([column.spread for column in self.table.columns])
        shares: Doubles = ((self._inputs(values) - means) / spreads)[:, None] * self._weights
        return shares

    def _drivers(self, values: Mapping[str, Value]) -> tuple[Driver, ...]:
        shares = self._shares(values)
        shares = shares - shares.mean(axis=1, keepdims=True)
        adds: dict[str, Doubles] = {}
        for column, share in zip(self.table.columns, shares, strict=True):
            name = FIELD_OF[column.name]
            adds[name] = adds.get(name, np.zeros(len(self.table.labels))) + share
        ordered = sorted(adds, key=lambda name: -abs(float(adds[name][-1])))
        return tuple(
            Driver(
                field=name,
                label=BY_NAME[name].label,
                given=_given(name, values),
                adds=dict(zip(self.table.labels, map(float, adds[name]), strict=True)),
            )
            for name in ordered
            if np.abs(adds[name]).max() > 0
        )

    def _imputed(self, values: Mapping[str, Value]) -> dict[str, str]:
        male = values["sex"] == "male"
        asked = [field for field in FIELDS if field.idle is None and not (male and field.women_only)]
        return {field.name: self._taken(field.name, male) for field in asked if field.name not in values}

    def _taken(self, name: str, male: bool) -> str:
        whose = "men" if male else "women"
        if name == "menopause_age":
            return "the usual age of menopause, 47 years"
        mine = [column for column in self.table.columns if FIELD_OF[column.name] == name]
        if BY_NAME[name].kind in ("number", "whole") and len(mine) == 1:
            average = mine[0].of_men if male else mine[0].of_women
            if name == "max_walk_km":
                average = float(np.expm1(average))
            return f"the average of {whose} in the data, {average:.3g} {BY_NAME[name].unit or ''}".rstrip()
        return f"the average of {whose} in the data" if mine else "nothing: it does not count"

    def _beyond(self, values: Mapping[str, Value]) -> list[str]:
        """A remark for each number that lies outside what was seen in training."""
        found = columns(values)
        beyond = dict.fromkeys(
            FIELD_OF[column.name]
            for column in self.table.columns
            if np.isfinite(found[column.name]) and not column.least <= found[column.name] <= column.most
        )
        return [f"{BY_NAME[name].label}: beyond every patient that the model has seen." for name in beyond]


def fused(fusion: Fusion, table: Doubles, image: Doubles) -> Doubles:
    """Logits of both, each (..., labels), in one."""
    mine = fusion.table_weight * (table - table.mean(axis=-1, keepdims=True))
    seen = fusion.image_weight * (image - image.mean(axis=-1, keepdims=True))
    both: Doubles = mine + seen + np.asarray(fusion.intercepts)
    return both


def softmax(logits: Doubles) -> Doubles:
    """Along the last axis; they sum to 1 however large the logits."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Doubles = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def by_t_score(t_score: float) -> str:
    """The label by definition (World Health Organization, 1994): -1 and -2.5 standard deviations are the bounds."""
    return LABELS[0] if t_score > -1.0 else LABELS[1] if t_score > -2.5 else LABELS[2]


def _measured(values: Mapping[str, Value]) -> list[str]:
    remarks = []
    if (score := values.get("t_score")) is not None:
        remarks.append(
            f"The T-score given, {score:g}, is {by_t_score(float(score))} by definition: that is the diagnosis itself. "
            "It goes before this estimate, which is made without it."
        )
    if "z_score" in values:
        remarks.append("The Z-score given is not used: it comes with the T-score, by which the diagnosis is made.")
    return remarks


def _given(name: str, values: Mapping[str, Value]) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return value
    unit = BY_NAME[name].unit
    return f"{value:g} {unit}" if unit else f"{value:g}"


def _decoded(bundle: Bundle, file: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(bundle.read(file), type=kind)
    except msgspec.MsgspecError as wrong:
        where = f"{bundle.name}/{bundle.version}/{file}"
        raise Poison("bad_model", f"{wrong}; it was made by another release, train it again", where) from wrong
