"""What the models make of every bed, newest only: anomaly and risks for the wall, forecasts for whoever opens a bed.

A prediction is never current once it is older than ``STALE_MS`` of its ward's log time, and never told of another
patient than the one it was made for; whoever shows one is given its age.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from contracts import codec
from contracts.records import (
    BedForecast,
    BedOutlook,
    Driver,
    ModelInForce,
    Record,
    Risk,
    ScoreFrame,
    SourceOffset,
    Vital,
)
from models.ports import DETERIORATION

STALE_MS: Final = 60_000
"""Six rounds of the models: what is older was made by something that has stopped."""

RISKS_KEPT_MS: Final = 150_000
"""Risks are asked for once a minute, so those of the last two rounds stand beside a newer anomaly, with their age."""

_encoder: Final = msgspec.json.Encoder()

BedKey = tuple[str, str]


class Outlook(NamedTuple):
    """The newest outlook of a bed: as it goes to clients, when it changed in the feed's own count, and log times."""

    data: bytes
    changed: int
    seen: BedOutlook
    now_ms: int
    risks_ms: int


class _Driver(msgspec.Struct, frozen=True):
    vital: Vital | None
    what: str
    share: float


class _Anomaly(msgspec.Struct, frozen=True):
    score: float
    learning: bool
    baseline_s: int
    drivers: tuple[_Driver, ...]
    drift: tuple[Vital, ...]


class _Risk(msgspec.Struct, frozen=True):
    name: str
    probability: float
    horizon_s: int
    known: float
    drivers: tuple[_Driver, ...]


class _Outlook(msgspec.Struct, frozen=True):
    """As clients see it: a record's fields at their default do not travel, these do."""

    bed: str
    patient: str
    at_ms: int
    anomaly: _Anomaly | None
    risks: tuple[_Risk, ...]


class _Round(NamedTuple):
    at_ms: int
    now_ms: int


class Outlooks:
    """The newest outlook of every bed, and the models that spoke lately in every ward."""

    def __init__(self) -> None:
        self.beds: dict[BedKey, Outlook] = {}
        self._rounds: dict[str, _Round] = {}
        self._serving: dict[tuple[str, str], tuple[ModelInForce, int]] = {}
        self._since: dict[tuple[str, str, str], SourceOffset] = {}

    def take(self, frame: ScoreFrame, changed: int) -> bytes | None:
        """Take the outlooks of a frame: the ``outlook`` event to tell, or None when it has none or they are known."""
        known = self._rounds.get(frame.ward)
        if not frame.outlooks or (known is not None and frame.now_ms <= known.now_ms):
            return None
        self._rounds[frame.ward] = _Round(frame.at_ms, frame.now_ms)
        self.serve(frame.ward, frame.models, frame.now_ms)
        asked = any(model.name == DETERIORATION for model in frame.models) or any(o.risks for o in frame.outlooks)
        told = []
        for outlook in frame.outlooks:
            key = frame.ward, outlook.bed
            risks, risks_ms = self._risks(key, outlook, frame.now_ms, asked)
            outlook = outlook if risks is outlook.risks else msgspec.structs.replace(outlook, risks=risks)
            data = outlook_shown(outlook, frame.now_ms, risks_ms)
            self.beds[key] = Outlook(data, changed, outlook, frame.now_ms, risks_ms)
            told.append(data)
        return self._event(frame.ward, told)

    def serve(self, ward: str, models: Iterable[ModelInForce], now_ms: int) -> None:
        """Note that these models spoke in the ward at that log time."""
        for model in models:
            self._serving[ward, model.name] = model, now_ms
            if model.since is not None:
                self._since[ward, model.name, model.version] = model.since

    def models(self, ward: str) -> list[ModelInForce]:
        """The models that spoke in the ward's last rounds."""
        mine = [spoke for (of, _), spoke in self._serving.items() if of == ward]
        newest = max((now_ms for _, now_ms in mine), default=0)
        return [model for model, now_ms in mine if newest - now_ms <= RISKS_KEPT_MS]

    def since(self, ward: str, name: str, version: str) -> SourceOffset | None:
        """The record of the log at which that version took over in the ward, as far as this feed has seen it serve."""
        return self._since.get((ward, name, version))

    def events_after(self, position: int, ward: str | None) -> Iterator[bytes]:
        """One ``outlook`` event a ward with the outlooks that are newer than ``position`` in the feed's count."""
        for of, told in self._by_ward(position, ward).items():
            yield self._event(of, told)

    def whole(self, ward: str | None) -> list[bytes]:
        """Everything known, as the data of one ``outlook`` event a ward."""
        return [self._group(of, told) for of, told in self._by_ward(-1, ward).items()]

    def forget(self, ward: str, bed: str) -> None:
        """Drop a bed that left the wall."""
        self.beds.pop((ward, bed), None)

    def _risks(self, key: BedKey, outlook: BedOutlook, now_ms: int, asked: bool) -> tuple[tuple[Risk, ...], int]:
        before = self.beds.get(key)
        kept = before is not None and before.seen.patient == outlook.patient and not asked
        if before is None or not kept or now_ms - before.risks_ms > RISKS_KEPT_MS:
            return outlook.risks, now_ms
        return before.seen.risks, before.risks_ms

    def _by_ward(self, position: int, ward: str | None) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for (of, _), outlook in self.beds.items():
            if outlook.changed > position and ward in (None, of):
                found.setdefault(of, []).append(outlook.data)
        return found

    def _group(self, ward: str, told: Iterable[bytes]) -> bytes:
        known = self._rounds[ward]
        head: dict[str, Any] = {"ward": ward, "at_ms": known.at_ms, "now_ms": known.now_ms, "stale_after_ms": STALE_MS}
        head |= {"risks_stale_after_ms": RISKS_KEPT_MS, "models": [model_shown(one) for one in self.models(ward)]}
        return b'%s,"beds":[%s]}' % (_encoder.encode(head)[:-1], b",".join(told))

    def _event(self, ward: str, told: Iterable[bytes]) -> bytes:
        return b"event: outlook\ndata: %s\n\n" % self._group(ward, told)


class _Heads(Record, frozen=True, kw_only=True):
    """A VitalsForecast whose beds are left as they are: most of them are never asked for."""

    version: int
    ward: str
    at_ms: int
    now_ms: int
    source: SourceOffset
    levels: tuple[float, ...]
    models: tuple[ModelInForce, ...] = ()
    beds: tuple[msgspec.Raw, ...] = ()


class _Who(Record, frozen=True, kw_only=True):
    bed: str
    patient: str


class Forecast(NamedTuple):
    """The newest forecast of a bed, its bytes as they stood in the log."""

    patient: str
    now_ms: int
    source: SourceOffset
    levels: tuple[float, ...]
    models: tuple[ModelInForce, ...]
    raw: bytes

    def bed(self) -> BedForecast:
        """What it says. Raises Poison when it is not a forecast."""
        return codec.decode(self.raw, BedForecast)


class Told(NamedTuple):
    """A record of forecasts: by whom, when by the log's time, and each bed's."""

    ward: str
    now_ms: int
    models: tuple[ModelInForce, ...]
    beds: dict[str, Forecast]


class Forecasts:
    """The newest forecast of every bed, about 3 kB each."""

    def __init__(self) -> None:
        self.beds: dict[BedKey, Forecast] = {}

    def take(self, raw: bytes | None) -> Told:
        """Take a record of the forecasts topic; what it holds. Raises Poison when it cannot be read."""
        told = forecasts_in(raw)
        for bed, forecast in told.beds.items():
            known = self.beds.get((told.ward, bed))
            if known is None or forecast.now_ms > known.now_ms:
                self.beds[told.ward, bed] = forecast
        return told

    def forget(self, ward: str, bed: str) -> None:
        """Drop a bed that left the wall."""
        self.beds.pop((ward, bed), None)


def forecasts_in(raw: bytes | None) -> Told:
    """What a record of the forecasts topic holds. Raises Poison when it cannot be read."""
    heads = codec.decode(raw, _Heads)
    found = {}
    for part in heads.beds:
        data = bytes(part)
        who = codec.decode(data, _Who)
        found[who.bed] = Forecast(who.patient, heads.now_ms, heads.source, heads.levels, heads.models, data)
    return Told(heads.ward, heads.now_ms, heads.models, found)


def outlook_shown(outlook: BedOutlook, now_ms: int, risks_ms: int) -> bytes:
    """An outlook as JSON with every field there, and the log times from which the ages of its parts count."""
    whole = _encoder.encode(msgspec.convert(outlook, _Outlook, from_attributes=True))
    return b'%s,"now_ms":%d,"risks_ms":%d}' % (whole[:-1], now_ms, risks_ms)


def forecast_shown(forecast: Forecast) -> dict[str, Any]:
    """A forecast with every field there. Raises Poison when it is not one."""
    bed = forecast.bed()
    return {
        "at_ms": bed.at_ms,
        "now_ms": forecast.now_ms,
        "known": bed.known,
        "levels": forecast.levels,
        "models": [model_shown(model) for model in forecast.models],
        "vitals": [
            {
                "vital": one.vital,
                "engine": one.engine,
                "horizons_s": one.horizons_s,
                "quantiles": one.quantiles,
                "below": one.below,
                "above": one.above,
                "skill": one.skill,
            }
            for one in bed.vitals
        ],
    }


def drivers_shown(drivers: Sequence[Driver]) -> list[dict[str, Any]]:
    """Drivers with every field there."""
    return [{"vital": one.vital, "what": one.what, "share": one.share} for one in drivers]


def model_shown(model: ModelInForce) -> dict[str, Any]:
    """A model in force with every field there."""
    return {"name": model.name, "version": model.version, "since": model.since}
