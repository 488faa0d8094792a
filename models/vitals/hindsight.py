"""What forecasts and risks were worth, seen from the moment that they spoke of. Pure; the sink asks it, live.

A forecast is what was told, by whichever engine and with its conformal band, not what a network meant. It is looked at
once in ten minutes (of hours ahead: once an hour, like risks) and held against what the scores then showed: minutes
ahead the mean of that minute, hours ahead the mean of the hour up to it, which is what each head speaks of. Where the
vital was not seen then, or the patient has left, nothing is said: what is told here is of those who stayed and were
measured. A risk is judged as it was learned: any of the hours ahead whose mean meets the condition.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.records import BedOutlook, Engine, ScoreFrame, VitalsForecast
from models.vitals.forecast_memory import PER_UNIT
from models.vitals.history import CHANNEL, CHANNELS, MINUTE_MS
from models.vitals.instability import CONDITIONS, met, observed
from models.vitals.seen import HOUR_MIN, Packed, Seen

NEAR_EVERY_MIN: Final = 10
FAR_EVERY_MIN: Final = 60
RUSH_MIN: Final = 12 * 60
"""Forecasts so far ahead of the scores are not waited for; both are read together, but in no order, after an outage."""
CHANCES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Between these stand the classes of told probabilities; most are small, so tenths would tell nothing."""
ENGINES: Final = tuple(Engine)
_PLACES: Final = {name: place for place, name in enumerate(CONDITIONS)}
_LARGEST: Final = 1e6

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Worth(NamedTuple):
    """Forecasts of one vital of one ward, so many seconds ahead, by one engine, whose moment was ``at_ms``.

    ``inside`` and ``width`` are by band, outermost first (``bands`` says the nominal share of each), ``under`` by
    level: how many values lay below that quantile, one that lay on it counts half. ``error``, ``naive`` (persistence),
    ``pinball`` (mean over levels) and ``width`` are sums over the ``n`` forecasts, in the vital's unit.
    """

    ward: str
    vital: str
    horizon_s: int
    engine: str
    at_ms: int
    n: int
    levels: tuple[float, ...]
    under: tuple[float, ...]
    inside: tuple[int, ...]
    width: tuple[float, ...]
    error: float
    naive: float
    pinball: float

    @property
    def bands(self) -> tuple[float, ...]:
        """The share that each band promises to hold, outermost first."""
        return tuple(
            round(high - low, 6)
            for low, high in zip(self.levels[: len(self.levels) // 2], reversed(self.levels), strict=False)
        )


class Outcome(NamedTuple):
    """Risks of one ward of about the same probability, whose hours were over at ``at_ms``.

    ``told`` is the sum of the ``n`` probabilities, ``came`` how often it happened, ``brier`` the sum of squared errors.
    """

    ward: str
    risk: str
    chance: str
    at_ms: int
    n: int
    told: float
    came: int
    brier: float


class Told(msgspec.Struct, array_like=True):
    """What waits for its moment: the forecasts of a ward made in one minute for one horizon, a row a vital of a bed.

    The columns are arrays as bytes. ``last`` is what persistence said, empty until the minute was closed.
    """

    made: int
    horizon_s: int
    levels: tuple[float, ...]
    place: bytes
    serial: bytes
    channel: bytes
    engine: bytes
    quantiles: bytes
    last: bytes = b""

    @property
    def due(self) -> int:
        """The minute it speaks of."""
        return self.made + self.horizon_s // 60


class Chance(msgspec.Struct, array_like=True):
    """Risks of a ward told in one minute, a row each; ``hours`` of theirs were looked at, ``seen`` could tell."""

    made: int
    horizon_h: int
    place: bytes
    serial: bytes
    condition: bytes
    probability: bytes
    came: bytes
    seen: bytes
    hours: int = 0


class Ward(msgspec.Struct):
    """What is known and waited for in one ward; ``near``, ``far`` and ``risked`` are the slots looked at last."""

    seen: Seen = msgspec.field(default_factory=Seen)
    near: int = 0
    far: int = 0
    risked: int = 0
    told: list[Told] = msgspec.field(default_factory=list)
    chances: list[Chance] = msgspec.field(default_factory=list)


class Kept(msgspec.Struct, array_like=True):
    """A ward as it is kept over a restart."""

    seen: Packed
    near: int
    far: int
    risked: int
    told: list[Told]
    chances: list[Chance]


class Hindsight:
    """All wards. Hand in every forecast and score frame, in the order of each ward's log."""

    def __init__(self) -> None:
        self._wards: dict[str, Ward] = {}

    def forecast(self, frame: VitalsForecast) -> None:
        """Remember what is told, if it is time to look again. A frame that is told twice counts once."""
        ward, made = self._ward(frame.ward), frame.now_ms // MINUTE_MS
        begun = ward.seen.minute or (ward.told[0].made if ward.told else made)
        if made - begun > RUSH_MIN:
            return
        near, far = made // NEAR_EVERY_MIN > ward.near, made // FAR_EVERY_MIN > ward.far
        if not near and not far:
            return
        if near:
            ward.near = made // NEAR_EVERY_MIN
        if far:
            ward.far = made // FAR_EVERY_MIN
        ward.told += _told(ward.seen, frame, made, near, far)

    def scores(self, frame: ScoreFrame) -> list[Worth | Outcome]:
        """Look at what a ward's patients show; what came true or did not in a minute that has just closed."""
        ward = self._ward(frame.ward)
        found: list[Worth | Outcome] = []
        if ward.seen.take(frame):
            found += _judged(frame.ward, ward)
        if frame.outlooks:
            made = frame.now_ms // MINUTE_MS
            if made // FAR_EVERY_MIN > ward.risked and (chances := _chances(ward.seen, frame.outlooks, made)):
                ward.risked = made // FAR_EVERY_MIN
                ward.chances += chances
        return found

    def _ward(self, name: str) -> Ward:
        ward = self._wards.get(name)
        if ward is None:
            ward = self._wards[name] = Ward()
        return ward

    def packed(self) -> bytes:
        """Everything, to go on after a restart; patients stand in it as digests."""
        kept = {
            name: Kept(w.seen.packed(), w.near, w.far, w.risked, w.told, w.chances) for name, w in self._wards.items()
        }
        return msgspec.msgpack.encode(kept)

    @classmethod
    def unpacked(cls, raw: bytes) -> Hindsight:
        """As it was packed. Raises ValueError for bytes of another kind."""
        one = cls()
        for name, kept in msgspec.msgpack.decode(raw, type=dict[str, Kept]).items():
            ward = Ward(Seen.unpacked(kept.seen), kept.near, kept.far, kept.risked, kept.told, kept.chances)
            one._wards[name] = ward
        return one


def _told(seen: Seen, frame: VitalsForecast, made: int, near: bool, far: bool) -> Iterator[Told]:
    """The rows of a frame, by horizon."""
    rows: dict[int, list[tuple[int, int, int, int, tuple[float, ...]]]] = {}
    for bed in frame.beds:
        place = seen.stay_of(bed.patient).place
        serial = int(seen.serials[place])
        for vital in bed.vitals:
            channel, engine = CHANNEL.get(vital.vital, -1), ENGINES.index(vital.engine)
            if channel < 0:
                continue
            for horizon_s, row in zip(vital.horizons_s, vital.quantiles, strict=False):
                wanted = near if horizon_s < FAR_EVERY_MIN * 60 else far
                if wanted and horizon_s >= 60 and len(row) == len(frame.levels) > 0:
                    rows.setdefault(horizon_s, []).append((place, serial, channel, engine, row))
    for horizon_s, each in rows.items():
        place_, serial_, channel_, engine_, quantiles = zip(*each, strict=True)
        yield Told(
            made,
            horizon_s,
            frame.levels,
            _bytes(place_, np.int32),
            _bytes(serial_, np.int64),
            _bytes(channel_, np.int8),
            _bytes(engine_, np.int8),
            _bytes(quantiles, np.float32),
        )


def _chances(seen: Seen, outlooks: tuple[BedOutlook, ...], made: int) -> list[Chance]:
    """The risks of a frame whose outcome can be seen, by hours ahead."""
    rows: dict[int, list[tuple[int, int, int, float]]] = {}
    for outlook in outlooks:
        for risk in outlook.risks:
            condition, hours = _PLACES.get(risk.name, -1), risk.horizon_s // 3600
            if condition >= 0 and hours > 0:
                place = seen.stay_of(outlook.patient).place
                rows.setdefault(hours, []).append((place, int(seen.serials[place]), condition, risk.probability))
    found = []
    for hours, each in rows.items():
        place_, serial_, condition_, probability_ = zip(*each, strict=True)
        no = bytes(len(each))
        found.append(
            Chance(
                made,
                hours,
                _bytes(place_, np.int32),
                _bytes(serial_, np.int64),
                _bytes(condition_, np.int8),
                _bytes(probability_, np.float64),
                no,
                no,
            )
        )
    return found


def _judged(name: str, ward: Ward) -> Iterator[Worth | Outcome]:
    """What the minutes closed so far decide; it waits no longer."""
    seen, waiting = ward.seen, []
    for told in ward.told:
        if not told.last and told.made < seen.minute:
            told.last = _values(told, seen, told.made, seen.newest).tobytes()
        if told.due < seen.minute:
            yield from _worth(name, told, seen)
        else:
            waiting.append(told)
    ward.told = waiting
    open_ = []
    for chance in ward.chances:
        while chance.hours < chance.horizon_h and chance.made + (chance.hours + 1) * HOUR_MIN < seen.minute:
            _lived(chance, seen)
        if chance.hours < chance.horizon_h:
            open_.append(chance)
        else:
            yield from _outcomes(name, chance)
    ward.chances = open_


def _values(told: Told, seen: Seen, minute: int, near: Any) -> Floats:
    """What each row's vital was at, in hundredths of its unit but to the step in which forecasts are told; NaN where
    it is not known, or somebody else lies there."""
    cells = near(minute) if told.horizon_s < FAR_EVERY_MIN * 60 else seen.hour(minute)
    place, channel = np.frombuffer(told.place, np.int32), np.frombuffer(told.channel, np.int8)
    steps = PER_UNIT[channel]
    found: Floats = np.rint(cells[place, channel].astype(np.float64) * steps) / steps
    found[seen.serials[place] != np.frombuffer(told.serial, np.int64)] = np.nan
    return found


def _worth(name: str, told: Told, seen: Seen) -> Iterator[Worth]:
    truth, last = _values(told, seen, told.due, seen.at), np.frombuffer(told.last, np.float64)
    quantiles = np.frombuffer(told.quantiles, np.float32).reshape(len(truth), -1).astype(np.float64)
    levels = np.array(told.levels)
    sane = (np.abs(quantiles) < _LARGEST).all(1)
    known = np.isfinite(truth) & np.isfinite(last) & sane
    channel, engine = np.frombuffer(told.channel, np.int8), np.frombuffer(told.engine, np.int8)
    for place, vital in enumerate(CHANNELS):
        for voice, spoken in enumerate(ENGINES):
            rows = known & (channel == place) & (engine == voice)
            if not (n := int(rows.sum())):
                continue
            off = np.round(truth[rows, None] - quantiles[rows], 2)  # both are whole hundredths
            half = len(levels) // 2
            low, high = quantiles[rows, :half], quantiles[rows][:, : -half - 1 : -1]
            yield Worth(
                ward=name,
                vital=vital.value,
                horizon_s=told.horizon_s,
                engine=spoken.value,
                at_ms=told.due * MINUTE_MS,
                n=n,
                levels=told.levels,
                under=tuple(((off < 0).sum(0) + (off == 0).sum(0) / 2).tolist()),
                inside=tuple(((off[:, :half] >= 0) & (off[:, : -half - 1 : -1] <= 0)).sum(0).tolist()),
                width=_sums(high - low),
                error=float(round(np.abs(off[:, half]).sum(), 4)),
                naive=float(round(np.abs(truth[rows] - last[rows]).sum(), 4)),
                pinball=float(round(np.maximum(levels * off, (levels - 1) * off).mean(1).sum(), 4)),
            )


def _lived(chance: Chance, seen: Seen) -> None:
    """One more hour of those that the risks speak of."""
    chance.hours += 1
    hour = seen.hour(chance.made + chance.hours * HOUR_MIN)
    place, condition = np.frombuffer(chance.place, np.int32), np.frombuffer(chance.condition, np.int8)
    theirs = seen.serials[place] == np.frombuffer(chance.serial, np.int64)
    came = np.frombuffer(chance.came, np.bool_) | (theirs & met(hour)[place, condition])
    told = np.frombuffer(chance.seen, np.bool_) | (theirs & observed(hour)[place, condition])
    chance.came, chance.seen = came.tobytes(), told.tobytes()


def _outcomes(name: str, chance: Chance) -> Iterator[Outcome]:
    came, told = np.frombuffer(chance.came, np.bool_), np.frombuffer(chance.seen, np.bool_)
    probability = np.frombuffer(chance.probability, np.float64)
    condition, classes = np.frombuffer(chance.condition, np.int8), np.searchsorted(CHANCES, probability, "right")
    for place, risk in enumerate(CONDITIONS):
        for number in range(len(CHANCES) + 1):
            rows: Flags = told & (condition == place) & (classes == number)
            if n := int(rows.sum()):
                yield Outcome(
                    ward=name,
                    risk=risk,
                    chance=chance_name(number),
                    at_ms=(chance.made + chance.horizon_h * HOUR_MIN) * MINUTE_MS,
                    n=n,
                    told=float(round(probability[rows].sum(), 6)),
                    came=int(came[rows].sum()),
                    brier=float(round(((probability - came)[rows] ** 2).sum(), 6)),
                )


def chance_name(number: int) -> str:
    """A class of probabilities in percent; the names sort as the numbers do.

    >>> [chance_name(number) for number in range(7)]
    ['00-01 %', '01-02 %', '02-05 %', '05-10 %', '10-20 %', '20-50 %', '50-100 %']
    """
    edges = (0.0, *CHANCES, 1.0)
    return f"{edges[number] * 100:02.0f}-{edges[number + 1] * 100:02.0f} %"


def _sums(columns: Floats) -> tuple[float, ...]:
    return tuple(np.round(columns.sum(0), 4).tolist())


def _bytes(column: Any, kind: Any) -> bytes:
    return np.array(column, kind).tobytes()
