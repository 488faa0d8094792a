"""Record <-> bytes. JSON on the wire, decoded straight into the records; whatever does not fit raises Poison.

``decode_frame`` keeps what is good in a damaged frame: one malformed bed, reading, past, fact or model is reported as a
``Fault`` of its own and the rest of the frame goes on, so that a single broken device never blinds a whole gateway.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from contracts import records as r
from contracts.clinical.codes import VITALS
from contracts.errors import Poison

R = TypeVar("R", bound=r.Record)

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_BEDS: Final = 2000
MAX_MODELS: Final = 16
MAX_PAST: Final = 4000
"""Steps of a past: a day of minutes, an hour of seconds, and some more."""
MAX_STEP_S: Final = 3600
MAX_AGE: Final = 130
EARLIEST_MS: Final = 631_152_000_000  # 1990-01-01: a clock before this was never set
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01
SUPPORTED_VERSIONS: Final = frozenset({1, 2, 3})
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_MODEL: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VERSION: Final = re.compile(r"[0-9a-f]{12}")
_ORIGINS: Final = frozenset({"recording", "simulation", "topic", "lake"})
_SEXES: Final = frozenset({"female", "male"})
_CONSCIOUSNESS: Final = frozenset("ACVPU")

_encoder: Final = msgspec.json.Encoder()


class Fault(msgspec.Struct, frozen=True):
    """A part of a frame that could not be read: its own bytes and why."""

    raw: bytes
    reason: str
    field: str
    detail: str


class Decoded(msgspec.Struct, frozen=True):
    """A frame and what had to be left out of it."""

    frame: r.VitalsFrame
    faults: tuple[Fault, ...] = ()


class _LooseBed(msgspec.Struct, frozen=True):
    bed: str
    patient: str
    readings: list[msgspec.Raw]


class _LooseFrame(msgspec.Struct, frozen=True):
    version: int
    ward: str
    gateway: str
    seq: int
    at_ms: int
    beds: list[msgspec.Raw] = []
    actions: tuple[r.AlertAction, ...] = ()
    models: list[msgspec.Raw] = []
    past: list[msgspec.Raw] = []
    facts: list[msgspec.Raw] = []


def encode(record: r.Record) -> bytes:
    """The record as canonical JSON bytes: fields in declared order, defaults left out, no spaces."""
    return _encoder.encode(record)


def decode(raw: bytes | None, kind: type[R]) -> R:
    """The record in ``raw``.

    Raises Poison with a stable reason: tombstone, empty, too_large, not_utf8, not_json, not_an_object,
    missing_field, wrong_type, unknown_version.
    """
    record: R = _parse(_whole(raw), kind)
    version = getattr(record, "version", 1)
    if isinstance(version, int):  # a model's is a hash
        _check_version(version)
    return record


def decode_frame(raw: bytes | None) -> Decoded:
    """The frame in ``raw`` with unreadable parts set aside.

    A patient or a bed that stands twice in it is set aside wherever it stands (duplicate_bed): nobody can say whose the
    readings are, and the others of the gateway must not go blind for it. Raises Poison when nothing can be used: the
    reasons of ``decode`` and bad_name, bad_time, too_many_beds, too_many, and that of the first fault when nothing else
    is left.
    """
    whole = _whole(raw)
    try:
        frame = _parse(whole, r.VitalsFrame)
    except Poison as whole_fault:
        if whole_fault.reason not in {"missing_field", "wrong_type"}:
            raise
        return _salvage(whole, whole_fault)
    _check_frame(frame)
    if (
        all(_bed_is_sound(bed) for bed in frame.beds)
        and not (len(frame.beds) > 1 and _doubled(frame.beds))
        and ((not frame.models and not frame.past and not frame.facts) or _extras_are_sound(frame))
    ):
        return Decoded(frame)
    return _salvage(whole, None)


def _whole(raw: bytes | None) -> bytes:
    if raw is None:
        raise Poison("tombstone", "the record has no value; producers send frames, never deletes")
    if not raw.strip():
        raise Poison("empty", "the value is empty")
    if len(raw) > MAX_BYTES:
        raise Poison("too_large", f"{len(raw)} bytes; at most {MAX_BYTES}")
    return raw


_decoders: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {}


def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder


def _parse(raw: bytes, kind: type[Any]) -> Any:
    try:
        return _decoder(kind).decode(raw)
    except msgspec.ValidationError as wrong:
        message, _, path = str(wrong).partition(" - at `")
        field = path.rstrip("`") or "$"
        if field == "$" and message.startswith("Expected `object`"):
            raise Poison("not_an_object", message) from wrong
        reason = "missing_field" if "missing required field" in message else "wrong_type"
        if reason == "missing_field":
            field = f"{field}.{message.rsplit('`', 2)[-2]}"
        raise Poison(reason, message, field) from wrong
    except msgspec.DecodeError as wrong:
        raise Poison("not_utf8" if _is_not_utf8(raw) else "not_json", str(wrong)) from wrong
    except UnicodeDecodeError as wrong:
        raise Poison("not_utf8", str(wrong)) from wrong
    except RecursionError as wrong:
        raise Poison("not_json", "nested too deeply") from wrong


def _is_not_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def _check_version(version: int) -> None:
    if version not in SUPPORTED_VERSIONS:
        raise Poison(
            "unknown_version", f"schema version {version}; known are {sorted(SUPPORTED_VERSIONS)}", "$.version"
        )


def _check_frame(frame: r.VitalsFrame | _LooseFrame) -> None:
    _check_version(frame.version)
    for field, name in (("ward", frame.ward), ("gateway", frame.gateway)):
        if not _NAME.fullmatch(name):
            raise Poison("bad_name", f"{field} must have 1 to 128 printable characters", f"$.{field}")
    _check_time(frame.at_ms, "$.at_ms")
    if frame.seq < 0:
        raise Poison("wrong_type", f"seq {frame.seq} is negative", "$.seq")
    if len(frame.beds) > MAX_BEDS:
        raise Poison("too_many_beds", f"{len(frame.beds)} beds; at most {MAX_BEDS}", "$.beds")
    for field, most in (("models", MAX_MODELS), ("past", 2 * MAX_BEDS), ("facts", MAX_BEDS)):
        if len(getattr(frame, field)) > most:
            raise Poison("too_many", f"{len(getattr(frame, field))} {field}; at most {most}", f"$.{field}")


def _doubled(beds: Sequence[r.BedReadings]) -> dict[str, set[str]]:
    """The patients and the bed names that stand more than once among these beds; empty when there are none."""
    patients, names = {bed.patient for bed in beds}, {bed.bed for bed in beds}
    if len(patients) == len(names) == len(beds):
        return {}
    return {
        field: {name for name, times in Counter(getattr(bed, field) for bed in beds).items() if times > 1}
        for field in ("patient", "bed")
    }


def _bed_is_sound(bed: r.BedReadings) -> bool:
    return bool(_NAME.fullmatch(bed.bed) and _NAME.fullmatch(bed.patient)) and all(
        _reading_is_sound(reading) for reading in bed.readings
    )


def _reading_is_sound(reading: r.Reading) -> bool:
    value = reading.value
    if value is not None:
        if reading.vital is r.Vital.CONSCIOUSNESS:
            if value not in _CONSCIOUSNESS:
                return False
        elif isinstance(value, str):
            return False
    at_ms = reading.at_ms
    return at_ms is None or EARLIEST_MS <= at_ms <= LATEST_MS


def _extras_are_sound(frame: r.VitalsFrame) -> bool:
    try:
        for model in frame.models:
            _check_model(model)
        for past in frame.past:
            _check_past(past)
        for facts in frame.facts:
            _check_facts(facts)
    except Poison:
        return False
    return len({model.name for model in frame.models}) == len(frame.models)


def _salvage(raw: bytes, whole_fault: Poison | None) -> Decoded:
    try:
        loose: _LooseFrame = _parse(raw, _LooseFrame)
    except Poison as header:
        raise (whole_fault or header) from None
    _check_frame(loose)
    read: list[tuple[int, r.BedReadings]] = []
    faults: list[Fault] = []
    for index, raw_bed in enumerate(loose.beds):
        bed, bed_faults = _salvage_bed(bytes(raw_bed), f"$.beds[{index}]")
        faults += bed_faults
        if bed is not None:
            read.append((index, bed))
    doubled = _doubled([bed for _, bed in read])
    beds: list[r.BedReadings] = []
    for index, bed in read:
        twice = [field for field, names in doubled.items() if getattr(bed, field) in names]
        if twice:
            detail = f"{twice[0]} {getattr(bed, twice[0])!r} stands more than once in one frame"
            faults.append(Fault(bytes(loose.beds[index]), "duplicate_bed", f"$.beds[{index}].{twice[0]}", detail))
        else:
            beds.append(bed)
    models, model_faults = _salvage_parts(loose.models, r.ModelRef, _check_model, "$.models")
    past, past_faults = _salvage_parts(loose.past, r.PastVitals, _check_past, "$.past")
    facts, facts_faults = _salvage_parts(loose.facts, r.PatientFacts, _check_facts, "$.facts")
    faults += model_faults + past_faults + facts_faults
    if len({model.name for model in models}) < len(models):
        raise Poison("duplicate_model", "a model stands more than once in one frame", "$.models")
    if faults and not (beds or models or past or facts):
        first = faults[0]
        raise Poison(first.reason, first.detail, first.field)
    frame = r.VitalsFrame(
        version=loose.version,
        ward=loose.ward,
        gateway=loose.gateway,
        seq=loose.seq,
        at_ms=loose.at_ms,
        beds=tuple(beds),
        actions=loose.actions,
        models=tuple(models),
        past=tuple(past),
        facts=tuple(facts),
    )
    _check_frame(frame)
    return Decoded(frame, tuple(faults))


def _salvage_bed(raw: bytes, path: str) -> tuple[r.BedReadings | None, list[Fault]]:
    try:
        loose: _LooseBed = _parse(raw, _LooseBed)
    except Poison as wrong:
        return None, [Fault(raw, wrong.reason, wrong.field.replace("$", path, 1), wrong.detail)]
    for field, name in (("bed", loose.bed), ("patient", loose.patient)):
        if not _NAME.fullmatch(name):
            return None, [Fault(raw, "bad_name", f"{path}.{field}", "must have 1 to 128 printable characters")]
    readings, faults = _salvage_parts(loose.readings, r.Reading, _check_reading, f"{path}.readings")
    if faults and not readings:
        return None, faults
    return r.BedReadings(bed=loose.bed, patient=loose.patient, readings=tuple(readings)), faults


def _salvage_parts(
    raws: Sequence[msgspec.Raw], kind: type[R], check: Callable[[R], None], path: str
) -> tuple[list[R], list[Fault]]:
    """The parts that can be read and pass ``check``, and what is wrong with each other one."""
    good: list[R] = []
    faults: list[Fault] = []
    for index, raw in enumerate(raws):
        try:
            part: R = _parse(bytes(raw), kind)
            check(part)
        except Poison as wrong:
            at = wrong.field.replace("$", f"{path}[{index}]", 1)
            faults.append(Fault(bytes(raw), wrong.reason, at, wrong.detail))
        else:
            good.append(part)
    return good, faults


def _check_reading(reading: r.Reading) -> None:
    value = reading.value
    if value is not None and reading.vital is r.Vital.CONSCIOUSNESS and value not in _CONSCIOUSNESS:
        raise Poison("bad_value", f"consciousness is one of A C V P U, not {value!r}", "$.value")
    if isinstance(value, str) and reading.vital is not r.Vital.CONSCIOUSNESS:
        unit = VITALS[reading.vital].ucum
        raise Poison("bad_value", f"{reading.vital} is a number in {unit}, not the text {value!r}", "$.value")
    if reading.at_ms is not None:
        _check_time(reading.at_ms, "$.at_ms")


def _check_time(at_ms: int, field: str) -> None:
    if not EARLIEST_MS <= at_ms <= LATEST_MS:
        raise Poison("bad_time", f"{at_ms} is not an epoch time in milliseconds between 1990 and 2100", field)


def _check_name(name: str, field: str) -> None:
    if not _NAME.fullmatch(name):
        raise Poison("bad_name", "must have 1 to 128 printable characters", field)


def _check_model(model: r.ModelRef) -> None:
    if not _MODEL.fullmatch(model.name):
        raise Poison("bad_name", f"{model.name!r} names no model: small letters, digits and _", "$.name")
    if not _VERSION.fullmatch(model.version):
        raise Poison("bad_value", f"{model.version!r} is no version: 12 hex digits", "$.version")


def _check_past(past: r.PastVitals) -> None:
    _check_name(past.bed, "$.bed")
    _check_name(past.patient, "$.patient")
    if not 1 <= past.step_s <= MAX_STEP_S:
        raise Poison("bad_value", f"a step of {past.step_s} s; it is 1 to {MAX_STEP_S}", "$.step_s")
    if past.origin not in _ORIGINS:
        raise Poison("bad_value", f"{past.origin!r} is no origin; known are {sorted(_ORIGINS)}", "$.origin")
    seen: set[r.Vital] = set()
    for index, series in enumerate(past.series):
        if series.vital in seen or series.vital is r.Vital.CONSCIOUSNESS:
            why = "stands twice" if series.vital in seen else "is no number"
            raise Poison("bad_value", f"{series.vital} {why}", f"$.series[{index}].vital")
        if len(series.values) > MAX_PAST:
            raise Poison("too_many", f"{len(series.values)} steps; at most {MAX_PAST}", f"$.series[{index}].values")
        seen.add(series.vital)
    _check_time(past.start_ms, "$.start_ms")
    longest = max((len(series.values) for series in past.series), default=0)
    _check_time(past.start_ms + longest * past.step_s * 1000, "$.series")


def _check_facts(facts: r.PatientFacts) -> None:
    _check_name(facts.patient, "$.patient")
    if facts.age_years is not None and not 0 <= facts.age_years <= MAX_AGE:
        raise Poison("bad_value", f"an age of {facts.age_years}; it is 0 to {MAX_AGE}", "$.age_years")
    if facts.sex is not None and facts.sex not in _SEXES:
        raise Poison("bad_value", f"sex {facts.sex!r}; known are {sorted(_SEXES)}", "$.sex")
    if facts.admitted_ms is not None:
        _check_time(facts.admitted_ms, "$.admitted_ms")
