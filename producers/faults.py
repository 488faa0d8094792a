"""Bad records of every kind that a gateway, a proxy or a typing error can make, each with the reason it is refused for.

For tests and load runs: ``mixed`` strews them among good frames, the same way every time for the same seed.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from contracts.codec import MAX_BEDS, MAX_BYTES, encode
from contracts.records import SCHEMA_VERSION, BedReadings, Reading, Vital, VitalsFrame
from contracts.topology import VITALS, partition_for

Make = Callable[[VitalsFrame, random.Random], bytes | None]


class Fault(NamedTuple):
    """One kind of bad record. ``partial``: only a bed or reading is bad; the rest of the frame is good and goes on."""

    name: str
    reason: str
    make: Make
    partial: bool = False
    wrong_partition: bool = False


class Sent(NamedTuple):
    """A record to send. ``fault`` is None when it is good."""

    key: str
    value: bytes | None
    partition: int
    fault: Fault | None = None


def _plain(frame: VitalsFrame) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode(frame))
    return found


def _dump(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _bytes(raw: bytes) -> Make:
    return lambda _frame, _rng: raw


def _header(**changes: Any) -> Make:
    return lambda frame, _rng: _dump(_plain(frame) | changes)


def _without(field: str) -> Make:
    def make(frame: VitalsFrame, _rng: random.Random) -> bytes:
        document = _plain(frame)
        del document[field]
        return _dump(document)

    return make


def _in_reading(bed: int | None, **changes: Any) -> Make:
    """Spoil every reading of one bed, or of all beds (None)."""

    def make(frame: VitalsFrame, _rng: random.Random) -> bytes:
        document = _plain(frame)
        for one in document["beds"] if bed is None else [document["beds"][bed]]:
            one["readings"] = [_merged(reading, changes) for reading in one["readings"]]
        return _dump(document)

    return make


def _in_beds(**changes: Any) -> Make:
    def make(frame: VitalsFrame, _rng: random.Random) -> bytes:
        document = _plain(frame)
        document["beds"] = [_merged(bed, changes) for bed in document["beds"]]
        return _dump(document)

    return make


def _merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (document | changes).items() if value is not _GONE}


_GONE: Final = object()


def _truncated(frame: VitalsFrame, rng: random.Random) -> bytes:
    raw = encode(frame)
    return raw[: rng.randrange(1, len(raw))]


def _not_utf8(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return encode(frame).replace(frame.ward.encode(), b"\xff\xfe", 1)


def _latin1_name(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return encode(frame).replace(frame.beds[0].bed.encode(), "Zimmer-größer".encode("latin-1"), 1)


def _nan(frame: VitalsFrame, _rng: random.Random) -> bytes:
    document = _plain(frame)
    document["beds"][0]["readings"][0]["value"] = float("nan")
    return _dump(document)


def _overflow(frame: VitalsFrame, _rng: random.Random) -> bytes:
    document = _plain(frame)
    document["beds"][0]["readings"][0]["value"] = "@"
    return _dump(document).replace(b'"@"', b"1e999")


def _too_large(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return _dump(_plain(frame) | {"padding": "x" * MAX_BYTES})


def _too_deep(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return encode(frame)[:-1] + b',"note":' + b"[" * 5000 + b"]" * 5000 + b"}"


def _same_patient_twice(frame: VitalsFrame, _rng: random.Random) -> bytes:
    document = _plain(frame)
    document["beds"] = [document["beds"][0], document["beds"][0] | {"bed": "elsewhere"}]
    return _dump(document)


def _too_many_beds(frame: VitalsFrame, _rng: random.Random) -> bytes:
    document = _plain(frame)
    document["beds"] = [{"bed": f"B{n}", "patient": f"p{n}", "readings": []} for n in range(MAX_BEDS + 1)]
    return _dump(document)


def _surrogate(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return encode(frame).replace(b'"ward":"' + frame.ward.encode(), b'"ward":"\\ud800', 1)


def _zipped(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return gzip.compress(encode(frame), mtime=0)


def _avro(frame: VitalsFrame, rng: random.Random) -> bytes:
    name = frame.ward.encode()
    return (
        b"\x00"
        + rng.randrange(1, 99).to_bytes(4, "big")
        + bytes([len(name) * 2])
        + name
        + b"\x9a\x99\x99\x99"
        + rng.randbytes(60)
    )


def _protobuf(frame: VitalsFrame, _rng: random.Random) -> bytes:
    name = frame.ward.encode()
    return b"\x08\x01\x12" + bytes([len(name)]) + name + b"\x1d\x00\x00\x9a\x42" * 8


def _msgpack(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return msgspec.msgpack.encode(frame)


def _twice(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return encode(frame) + encode(frame)


def _utf16(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return encode(frame).decode().encode("utf-16")


def _good(frame: VitalsFrame, _rng: random.Random) -> bytes:
    return encode(frame)


def _noise(_frame: VitalsFrame, rng: random.Random) -> bytes:
    return b"\x80" + rng.randbytes(200)  # a lone continuation byte: never text


FAULTS: Final[tuple[Fault, ...]] = (
    # nothing, or nothing like JSON
    Fault("tombstone", "tombstone", lambda _frame, _rng: None),
    Fault("empty", "empty", _bytes(b"")),
    Fault("blank", "empty", _bytes(b" \n\t")),
    Fault("not_utf8", "not_utf8", _not_utf8),
    Fault("latin1_name", "not_utf8", _latin1_name),
    Fault("utf16", "not_utf8", _utf16),
    Fault("random_bytes", "not_utf8", _noise),
    Fault("gzip", "not_utf8", _zipped),
    Fault("msgpack", "not_utf8", _msgpack),
    Fault("avro", "not_utf8", _avro),
    Fault("protobuf", "not_utf8", _protobuf),
    Fault("truncated", "not_json", _truncated),
    Fault("two_documents", "not_json", _twice),
    Fault("html", "not_json", _bytes(b"<html><body><h1>502 Bad Gateway</h1></body></html>")),
    Fault("xml", "not_json", _bytes(b"<?xml version='1.0'?><frame ward='W1'/>")),
    Fault("hl7", "not_json", _bytes(b"MSH|^~\\&|GW|WARD|||20260102030405||ORU^R01|1|P|2.6\r")),
    Fault("nan", "not_json", _nan),
    Fault("lone_surrogate", "not_json", _surrogate),
    Fault("too_deep", "not_json", _too_deep),
    Fault("too_large", "too_large", _too_large),
    # JSON, but no frame
    Fault("array", "not_an_object", _bytes(b"[1,2,3]")),
    Fault("number", "not_an_object", _bytes(b"42")),
    Fault("text", "not_an_object", _bytes(b'"no beds today"')),
    Fault("null", "not_an_object", _bytes(b"null")),
    Fault("other_record", "missing_field", _bytes(b'{"version":1,"alert_id":"a","seq":1}')),
    # a frame with a bad header
    *(
        Fault(f"without_{field}", "missing_field", _without(field))
        for field in ("version", "ward", "gateway", "seq", "at_ms")
    ),
    Fault("version_text", "wrong_type", _header(version="1")),
    Fault("version_unknown", "unknown_version", _header(version=9)),
    Fault("ward_number", "wrong_type", _header(ward=7)),
    Fault("ward_empty", "bad_name", _header(ward="")),
    Fault("ward_control", "bad_name", _header(ward="W\u0000")),
    Fault("gateway_long", "bad_name", _header(gateway="g" * 129)),
    Fault("seq_negative", "wrong_type", _header(seq=-1)),
    Fault("seq_fraction", "wrong_type", _header(seq=1.5)),
    Fault("time_text", "wrong_type", _header(at_ms="2026-01-02T07:00:00Z")),
    Fault("time_seconds", "bad_time", _header(at_ms=1_767_340_800)),
    Fault("time_zero", "bad_time", _header(at_ms=0)),
    Fault("time_far", "bad_time", _header(at_ms=9_999_999_999_999)),
    Fault("time_huge", "bad_time", _header(at_ms=10**40)),
    Fault("beds_object", "wrong_type", _header(beds={})),
    Fault("beds_null", "wrong_type", _header(beds=None)),
    Fault("actions_text", "wrong_type", _header(actions="acknowledge")),
    # bad beds and readings throughout
    Fault("patient_twice", "duplicate_bed", _same_patient_twice),
    Fault("too_many_beds", "too_many_beds", _too_many_beds),
    Fault("bed_without_patient", "missing_field", _in_beds(patient=_GONE)),
    Fault("bed_number", "wrong_type", _in_beds(bed=3)),
    Fault("bed_empty", "bad_name", _in_beds(bed="")),
    Fault("readings_object", "wrong_type", _in_beds(readings={})),
    Fault("vital_unknown", "wrong_type", _in_reading(None, vital="aura")),
    Fault("vital_missing", "missing_field", _in_reading(None, vital=_GONE)),
    Fault("value_missing", "missing_field", _in_reading(None, value=_GONE)),
    Fault("value_text", "bad_value", _in_reading(None, vital="heart_rate", value="72")),
    Fault("value_huge", "wrong_type", _in_reading(None, value=10**400)),
    Fault("value_list", "wrong_type", _in_reading(None, value=[72])),
    Fault("value_bool", "wrong_type", _in_reading(None, value=True)),
    Fault("consciousness_letter", "bad_value", _in_reading(None, vital="consciousness", value="Z")),
    Fault("consciousness_number", "bad_value", _in_reading(None, vital="consciousness", value=15)),
    Fault("reading_time", "bad_time", _in_reading(None, at_ms=12)),
    Fault("quality_unknown", "wrong_type", _in_reading(None, quality="guessed")),
    Fault("source_number", "wrong_type", _in_reading(None, source=4)),
    # one bed is bad, the others are not
    Fault("one_vital_unknown", "wrong_type", _in_reading(0, vital="aura"), partial=True),
    Fault("one_value_text", "bad_value", _in_reading(0, vital="spo2", value="97 %"), partial=True),
    Fault("one_value_overflows", "wrong_type", _overflow, partial=True),
    # a good frame in a log that is not its own
    Fault("wrong_partition", "wrong_partition", _good, wrong_partition=True),
)
"""Partial faults need frames of two beds or more."""

WHOLE: Final = tuple(fault for fault in FAULTS if not fault.partial)


def mixed(
    frames: Iterable[VitalsFrame],
    *,
    bad: float,
    seed: int,
    faults: tuple[Fault, ...] = WHOLE,
    partitions: int = VITALS.partitions,
) -> Iterator[Sent]:
    """The good frames in their order, with bad records strewn in: on average ``bad`` of them for each good one.

    Every kind comes up as often as every other, in rotation.
    """
    rng = random.Random(seed)  # noqa: S311 reproducible, not secret
    turn = 0
    owed = 0.0
    for frame in frames:
        owed += bad * rng.uniform(0.0, 2.0)
        while owed >= 1.0:
            owed -= 1.0
            yield spoiled(frame, faults[turn % len(faults)], rng, partitions)
            turn += 1
        yield Sent(frame.ward, encode(frame), partition_for(frame.ward, partitions))


def spoiled(frame: VitalsFrame, fault: Fault, rng: random.Random, partitions: int = VITALS.partitions) -> Sent:
    """One bad record made from a good frame."""
    partition = partition_for(frame.ward, partitions)
    if fault.wrong_partition:
        partition = (partition + 1) % partitions
    return Sent(frame.ward, fault.make(frame, rng), partition, fault)


def good_frame(seq: int = 0, beds: int = 2) -> VitalsFrame:
    """A small good frame to spoil."""
    return VitalsFrame(
        version=SCHEMA_VERSION,
        ward="W1",
        gateway="W1-gw",
        seq=seq,
        at_ms=1_767_340_800_000 + seq * 1000,
        beds=tuple(
            BedReadings(
                bed=f"W1-{n + 1:02d}",
                patient=f"sim-{n}",
                readings=(Reading(vital=Vital.HEART_RATE, value=72.0), Reading(vital=Vital.SPO2, value=97.0)),
            )
            for n in range(beds)
        ),
    )
