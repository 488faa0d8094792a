"""The codec: what goes in comes out, what is broken is set aside by name, nothing else ever escapes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import records as r
from contracts.codec import LATEST_MS, MAX_BEDS, MAX_BYTES, MAX_MODELS, MAX_PAST, Decoded, decode, decode_frame, encode
from contracts.errors import Poison
from contracts.topology import TOPICS

DEEP = os.environ.get("WARDSTREAM_TEST_DEPTH", "") == "deep"
T0 = 1_767_340_800_000
REASONS = {
    "tombstone",
    "empty",
    "too_large",
    "not_utf8",
    "not_json",
    "not_an_object",
    "missing_field",
    "wrong_type",
    "unknown_version",
    "bad_name",
    "bad_time",
    "bad_value",
    "too_many_beds",
    "too_many",
    "duplicate_bed",
    "duplicate_model",
}
RECORDS: list[type[r.Record]] = sorted(
    (
        kind
        for kind in vars(r).values()
        if isinstance(kind, type) and issubclass(kind, r.Record) and kind is not r.Record
    ),
    key=lambda kind: kind.__name__,
)

names = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), min_size=1, max_size=20
)
times = st.integers(T0, T0 + 10**9)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of that annotation."""
    origin = get_origin(kind)
    if origin in (UnionType, Union):
        return st.one_of([values_of(part) for part in get_args(kind)])
    if origin is tuple:
        return st.lists(values_of(get_args(kind)[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(*(values_of(part) for part in get_args(kind)), max_size=3)
    if kind is NoneType:
        return st.none()
    if kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if kind is str:
        return names
    if kind is int:
        return st.integers(0, 2**53)
    if kind is bytes:
        return st.binary(max_size=40)
    if kind is bool:
        return st.booleans()
    if issubclass(kind, r.Record):
        return records_of(kind)
    return st.sampled_from(list(kind))


def records_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any record of that kind, with a version that we read."""
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name in kind.__struct_fields__}
    fields = {name: values_of(hint) for name, hint in hints.items()}
    if hints.get("version") is int:
        fields["version"] = st.sampled_from([1, 2, 3])
    return st.builds(kind, **fields)


def a_reading(vital: r.Vital) -> st.SearchStrategy[r.Reading]:
    value: st.SearchStrategy[Any] = st.floats(-200, 500, allow_nan=False)
    if vital is r.Vital.CONSCIOUSNESS:
        value = st.sampled_from("ACVPU")
    return st.builds(
        r.Reading,
        vital=st.just(vital),
        value=st.none() | value,
        at_ms=st.none() | times,
        unit=st.none() | names,
        source=st.sampled_from(r.Source),
        quality=st.sampled_from(r.Quality),
    )


pasts = st.builds(
    r.PastVitals,
    bed=names,
    patient=names,
    start_ms=times,
    step_s=st.integers(1, 3600),
    origin=st.sampled_from(["recording", "simulation", "topic", "lake"]),
    series=st.lists(
        st.sampled_from([v for v in r.Vital if v is not r.Vital.CONSCIOUSNESS]), max_size=2, unique=True
    ).map(lambda vitals: tuple(r.PastSeries(vital=vital, values=(None, 80.5, -3.0)) for vital in vitals)),
)
facts = st.builds(
    r.PatientFacts,
    patient=names,
    age_years=st.none() | st.floats(0, 130),
    sex=st.sampled_from([None, "female", "male"]),
    admitted_ms=st.none() | times,
)


@st.composite
def frames(draw: st.DrawFn) -> r.VitalsFrame:
    """A good frame."""
    beds = tuple(
        r.BedReadings(
            bed=f"B{number}",
            patient=f"p-{number}",
            readings=tuple(draw(a_reading(vital)) for vital in draw(st.lists(st.sampled_from(r.Vital), max_size=4))),
        )
        for number in range(draw(st.integers(0, 3)))
    )
    return r.VitalsFrame(
        version=draw(st.sampled_from([1, 2, 3])),
        ward=draw(names),
        gateway=draw(names),
        seq=draw(st.integers(0, 2**40)),
        at_ms=draw(times),
        beds=beds,
        models=tuple(r.ModelRef(name=f"m_{n}", version=f"{n:012x}") for n in range(draw(st.integers(0, 2)))),
        past=tuple(draw(st.lists(pasts, max_size=2))),
        facts=tuple(draw(st.lists(facts, max_size=2))),
    )


def frame(**changed: Any) -> dict[str, Any]:
    beds = [
        {
            "bed": f"B{n}",
            "patient": f"p-{n}",
            "readings": [{"vital": "spo2", "value": 90.0 + n}, {"vital": "heart_rate", "value": 80.0}],
        }
        for n in range(3)
    ]
    return {"version": 1, "ward": "W1", "gateway": "g1", "seq": 4, "at_ms": T0, "beds": beds} | changed


def raw(document: Any) -> bytes:
    return json.dumps(document).encode()


def poison(value: bytes | None) -> Poison:
    with pytest.raises(Poison) as refused:
        decode_frame(value)
    assert refused.value.reason in REASONS
    return refused.value


# -- round trips -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_as_it_was_sent(kind: type[r.Record]) -> None:
    @settings(max_examples=200 if DEEP else 15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(records_of(kind))
    def check(record: r.Record) -> None:
        sent = encode(record)
        assert decode(sent, kind) == record
        assert encode(decode(sent, kind)) == sent
        assert b"\n" not in sent

    check()


@settings(max_examples=2000 if DEEP else 80, deadline=None)
@given(frames())
def test_a_good_frame_decodes_whole_and_encodes_to_an_equal_one(sent: r.VitalsFrame) -> None:
    decoded = decode_frame(encode(sent))
    assert decoded == Decoded(sent)
    assert decode_frame(encode(decoded.frame)) == decoded


def test_whole_numbers_are_numbers_and_defaults_do_not_travel() -> None:
    decoded = decode_frame(
        raw(frame(beds=[{"bed": "B", "patient": "p", "readings": [{"vital": "spo2", "value": 97}]}]))
    )
    value = decoded.frame.beds[0].readings[0].value
    assert (value, type(value)) == (97.0, float)
    assert b"quality" not in encode(decoded.frame)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_later_version_that_only_adds_is_read(version: int) -> None:
    document = frame(version=version, firmware="9.1")
    document["beds"][1] |= {"room": "12"}
    document["beds"][1]["readings"][0] |= {"perfusion": 3.1}
    assert decode_frame(raw(document)) == decode_frame(raw(frame(version=version)))


@pytest.mark.parametrize("version", [9, 0, -1, 4, 2**60])
def test_a_version_that_we_do_not_know_is_refused(version: int) -> None:
    refused = poison(raw(frame(version=version)))
    assert (refused.reason, refused.field) == ("unknown_version", "$.version")
    assert poison(raw(frame(version=version, beds=[{"bed": 3}]))).reason == "unknown_version"
    for topic in TOPICS:
        if topic.record is not r.VitalsFrame and "version" in topic.record.__struct_fields__:
            with pytest.raises(Poison, match=r"unknown_version|missing_field"):
                decode(raw({"version": version}), topic.record)


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        (None, "tombstone", "$"),
        (b"", "empty", "$"),
        (b" \n\t ", "empty", "$"),
        (b" " * (MAX_BYTES + 1) + b"{}", "too_large", "$"),
        (b"\xff\xfe{}", "not_utf8", "$"),
        (b'{"ward": "\xc3("}', "not_utf8", "$"),
        (b"{", "not_json", "$"),
        (b"readings", "not_json", "$"),
        (raw(frame()) + b" {}", "not_json", "$"),
        (b'{"version": ' + b"[" * 100_000, "wrong_type", "$.version"),
        (b'{"later": ' + b"[" * 100_000, "not_json", "$"),
        (b"[]", "not_an_object", "$"),
        (b"7", "not_an_object", "$"),
        (b"null", "not_an_object", "$"),
        (b"{}", "missing_field", "$.version"),
        (raw({"version": 1}), "missing_field", "$.ward"),
        (raw(frame(ward=5)), "wrong_type", "$.ward"),
        (raw(frame(version="1")), "wrong_type", "$.version"),
        (raw(frame(version=True)), "wrong_type", "$.version"),
        (raw(frame(seq=-1)), "wrong_type", "$.seq"),
        (raw(frame(at_ms=1.5)), "wrong_type", "$.at_ms"),
        (raw(frame(at_ms="now")), "wrong_type", "$.at_ms"),
        (raw(frame(at_ms=0)), "bad_time", "$.at_ms"),
        (raw(frame(at_ms=T0 * 1000)), "bad_time", "$.at_ms"),
        (raw(frame(ward="")), "bad_name", "$.ward"),
        (raw(frame(ward="W\n1")), "bad_name", "$.ward"),
        (raw(frame(gateway="g" * 129)), "bad_name", "$.gateway"),
        (raw(frame(beds={})), "wrong_type", "$.beds"),
        (raw(frame(beds=[{"bed": f"{n}", "patient": f"{n}"} for n in range(MAX_BEDS + 1)])), "too_many_beds", "$.beds"),
        (raw(frame(beds=[{"bed": "B1"}])), "missing_field", "$.beds[0].patient"),
        (raw(frame(beds=[7])), "wrong_type", "$.beds[0]"),
        (raw(frame(actions=[{}])), "missing_field", "$.actions[0].version"),
        (json.dumps(frame()).replace("91.0", "NaN").replace("90.0", "NaN").encode(), "not_json", "$"),
    ],
    ids=lambda part: str(part)[:24],
)
def test_what_cannot_be_used_is_refused_by_reason_and_field(value: bytes | None, reason: str, field: str) -> None:
    refused = poison(value)
    if reason == "not_an_object" or value == raw(frame(beds=[7])):
        assert refused.reason in (reason, "not_an_object")
    else:
        assert (refused.reason, refused.field) == (reason, field)
    assert refused.detail
    assert str(refused) == f"{refused.reason} at {refused.field}: {refused.detail}"


# -- salvage ---------------------------------------------------------------------------------------------

BROKEN_READINGS: list[tuple[Any, str, str]] = [
    ({"vital": "spo2"}, "missing_field", ".value"),
    ({"value": 3.0}, "missing_field", ".vital"),
    ({"vital": "mood", "value": 3.0}, "wrong_type", ".vital"),
    ({"vital": "spo2", "value": [97]}, "wrong_type", ".value"),
    ({"vital": "spo2", "value": True}, "wrong_type", ".value"),
    ({"vital": "spo2", "value": "97"}, "bad_value", ".value"),
    ({"vital": "consciousness", "value": "X"}, "bad_value", ".value"),
    ({"vital": "consciousness", "value": 15}, "bad_value", ".value"),
    ({"vital": "spo2", "value": 97.0, "at_ms": 3}, "bad_time", ".at_ms"),
    ({"vital": "spo2", "value": 97.0, "quality": "superb"}, "wrong_type", ".quality"),
    ("spo2=97", "not_an_object", ""),
]


@pytest.mark.parametrize(("broken", "reason", "at"), BROKEN_READINGS, ids=str)
def test_one_bad_reading_costs_only_itself(broken: Any, reason: str, at: str) -> None:
    document = frame()
    document["beds"][1]["readings"].insert(1, broken)
    (fault,) = (decoded := decode_frame(raw(document))).faults
    assert decoded.frame == decode_frame(raw(frame())).frame
    assert (fault.reason, fault.field) == (reason, f"$.beds[1].readings[1]{at}")
    assert fault.raw == json.dumps(broken).encode()
    assert fault.detail


@pytest.mark.parametrize(
    ("change", "reason", "at"),
    [
        ({"patient": None}, "wrong_type", ".patient"),
        ({"patient": ""}, "bad_name", ".patient"),
        ({"bed": "B\x00"}, "bad_name", ".bed"),
        ({"readings": "none"}, "wrong_type", ".readings"),
    ],
    ids=str,
)
def test_one_bad_bed_costs_only_itself(change: dict[str, Any], reason: str, at: str) -> None:
    document, good = frame(), frame()
    document["beds"][1] |= change
    del good["beds"][1]
    (fault,) = (decoded := decode_frame(raw(document))).faults
    assert decoded.frame == decode_frame(raw(good)).frame
    assert (fault.reason, fault.field, fault.raw) == (
        reason,
        f"$.beds[1]{at}",
        json.dumps(document["beds"][1]).encode(),
    )


def test_a_bed_of_which_every_reading_is_bad_is_left_out_with_a_fault_for_each() -> None:
    document = frame()
    document["beds"][0]["readings"] = [{"vital": "spo2", "value": "x"}, {"vital": "spo2", "value": "y"}]
    decoded = decode_frame(raw(document))
    assert [bed.bed for bed in decoded.frame.beds] == ["B1", "B2"]
    assert [fault.field for fault in decoded.faults] == ["$.beds[0].readings[0].value", "$.beds[0].readings[1].value"]


@pytest.mark.parametrize("field", ["patient", "bed"])
def test_beds_that_nobody_can_tell_apart_are_set_aside_and_the_others_go_on(field: str) -> None:
    document = frame()
    document["beds"][2][field] = document["beds"][0][field]
    decoded = decode_frame(raw(document))
    assert [bed.bed for bed in decoded.frame.beds] == ["B1"]
    assert [(f.reason, f.field) for f in decoded.faults] == [
        ("duplicate_bed", f"$.beds[0].{field}"),
        ("duplicate_bed", f"$.beds[2].{field}"),
    ]
    assert [f.raw for f in decoded.faults] == [json.dumps(document["beds"][n]).encode() for n in (0, 2)]
    del document["beds"][1]
    assert poison(raw(document)).reason == "duplicate_bed"


def test_the_bytes_of_a_fault_are_those_that_were_sent_spaces_and_all() -> None:
    odd = b'{ "vital" :"spo2",\t"value": "\\u0039" , "extra":[1,  2]}'
    sent = raw(frame()).replace(b'{"vital": "spo2", "value": 91.0}', odd)
    assert odd in sent
    (fault,) = decode_frame(sent).faults
    assert fault.raw == odd


A_PAST: dict[str, Any] = {
    "bed": "B1",
    "patient": "p-1",
    "start_ms": T0,
    "step_s": 60,
    "origin": "recording",
    "series": [{"vital": "spo2", "values": [97.0, None, 96]}],
}
SOME_FACTS: dict[str, Any] = {"patient": "p-1", "age_years": 71.5, "sex": "female", "admitted_ms": T0}
A_MODEL: dict[str, Any] = {"name": "vitals_anomaly", "version": "0123456789ab"}
SPO2 = A_PAST["series"]
BROKEN_PARTS: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("past", A_PAST, {"step_s": 0}, "bad_value", ".step_s"),
    ("past", A_PAST, {"step_s": 3601}, "bad_value", ".step_s"),
    ("past", A_PAST, {"step_s": "hourly"}, "wrong_type", ".step_s"),
    ("past", A_PAST, {"origin": "memory"}, "bad_value", ".origin"),
    ("past", A_PAST, {"patient": ""}, "bad_name", ".patient"),
    ("past", A_PAST, {"bed": "B\n"}, "bad_name", ".bed"),
    ("past", A_PAST, {"start_ms": 0}, "bad_time", ".start_ms"),
    ("past", A_PAST, {"start_ms": LATEST_MS - 1}, "bad_time", ".series"),
    ("past", A_PAST, {"series": [*SPO2, *SPO2]}, "bad_value", ".series[1].vital"),
    ("past", A_PAST, {"series": [{"vital": "consciousness", "values": []}]}, "bad_value", ".series[0].vital"),
    ("past", A_PAST, {"series": [{"vital": "spo2", "values": ["97"]}]}, "wrong_type", ".series[0].values[0]"),
    (
        "past",
        A_PAST,
        {"series": [{"vital": "spo2", "values": [None] * (MAX_PAST + 1)}]},
        "too_many",
        ".series[0].values",
    ),
    ("facts", SOME_FACTS, {"age_years": -1}, "bad_value", ".age_years"),
    ("facts", SOME_FACTS, {"age_years": 200}, "bad_value", ".age_years"),
    ("facts", SOME_FACTS, {"sex": "F"}, "bad_value", ".sex"),
    ("facts", SOME_FACTS, {"admitted_ms": 7}, "bad_time", ".admitted_ms"),
    ("facts", SOME_FACTS, {"patient": None}, "wrong_type", ".patient"),
    ("models", A_MODEL, {"name": "../../weights"}, "bad_name", ".name"),
    ("models", A_MODEL, {"version": "latest"}, "bad_value", ".version"),
]


@pytest.mark.parametrize(("part", "good", "change", "reason", "at"), BROKEN_PARTS, ids=lambda part: str(part)[:24])
def test_one_bad_past_fact_or_model_costs_only_itself(
    part: str, good: dict[str, Any], change: dict[str, Any], reason: str, at: str
) -> None:
    other = good | {"name": "vitals_forecast"} if part == "models" else good
    document = frame(**{part: [other, good | change]})
    (fault,) = (decoded := decode_frame(raw(document))).faults
    assert decoded.frame == decode_frame(raw(frame(**{part: [other]}))).frame
    assert (fault.reason, fault.field) == (reason, f"$.{part}[1]{at}")
    assert fault.raw == json.dumps(good | change).encode()
    alone = poison(raw(frame(beds=[], **{part: [good | change]})))
    assert (alone.reason, alone.field) == (reason, f"$.{part}[0]{at}")


def test_a_frame_with_two_versions_of_a_model_or_with_too_many_of_anything_is_refused() -> None:
    twice = [A_MODEL, A_MODEL | {"version": "ba9876543210"}]
    assert poison(raw(frame(models=twice))).reason == "duplicate_model"
    many = [{"name": f"m_{n}", "version": "0123456789ab"} for n in range(MAX_MODELS + 1)]
    assert poison(raw(frame(models=many))).reason == "too_many"
    assert poison(raw(frame(facts=[SOME_FACTS] * (MAX_BEDS + 1)))).field == "$.facts"


# -- whatever comes --------------------------------------------------------------------------------------

PARTS = ("$.beds[", "$.models[", "$.past[", "$.facts[")
Noise = st.tuples(st.integers(0, 10**6), st.integers(0, 12), st.binary(max_size=12))


def read(reader: Callable[[bytes], Any], value: bytes) -> Any:
    """What it reads; None when it refuses as it should. Anything else that it raises goes through."""
    try:
        return reader(value)
    except Poison as refusal:
        refused = refusal
    assert refused.reason in REASONS, refused.reason
    assert refused.field.startswith("$")
    return None


def survives(value: bytes) -> None:
    decoded = read(decode_frame, value)
    if decoded is None:
        return
    assert decode_frame(encode(decoded.frame)).frame == decoded.frame
    assert all(fault.reason in REASONS and fault.field.startswith(PARTS) for fault in decoded.faults)


@settings(max_examples=20_000 if DEEP else 300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_poison(value: bytes) -> None:
    survives(value)
    for topic in TOPICS:
        read(partial(decode, kind=topic.record), value)


@settings(max_examples=20_000 if DEEP else 100, deadline=None)
@given(frames(), st.lists(Noise, min_size=1, max_size=4))
def test_a_frame_damaged_anywhere_is_a_frame_or_poison(
    sent: r.VitalsFrame, noise: list[tuple[int, int, bytes]]
) -> None:
    value = encode(sent)
    for place, length, put in noise:
        at = place % (len(value) + 1)
        value = value[:at] + put + value[at + length :]
    survives(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=10_000 if DEEP else 300, deadline=None)
@given(
    st.sampled_from(["version", "ward", "gateway", "seq", "at_ms", "beds", "actions", "models", "past", "facts"]),
    json_values,
    st.integers(0, 3),
)
def test_any_json_anywhere_in_a_frame_is_salvaged_or_poison(field: str, value: Any, depth: int) -> None:
    document = frame()
    if depth == 0:
        document[field] = value
    elif depth == 1:
        document["beds"][1] = value
    elif depth == 2:
        document["beds"][1]["readings"][0] = value
    else:
        document["beds"][1]["readings"][0]["value"] = value
    sent = json.dumps(document).encode()
    survives(sent)
    if depth and sent.count(b"Infinity") == 0:
        kept = {bed.bed for bed in decode_frame(sent).frame.beds}
        assert {"B0", "B2"} <= kept, "a fault in one bed took another one with it"


def test_a_lone_surrogate_is_not_let_in() -> None:
    for text in (b'"\\ud800"', b'"W\\udfff1"'):
        survives(raw(frame()).replace(b'"W1"', text))
        survives(raw(frame()).replace(b'"B1"', text))


def test_a_snapshot_state_travels_as_bytes() -> None:
    sent = r.WardSnapshot(version=1, ward="W", partition=3, next_offset=9, at_ms=T0, state=bytes(range(256)))
    assert decode(encode(sent), r.WardSnapshot) == sent
    assert isinstance(msgspec.json.decode(encode(sent))["state"], str)
