"""Walks an id back: alarm, image job, image, row of a topic, cohort; what each came from, and whether that still holds.

alarm   transitions -> their records -> the vitals frame's bytes -> its readings; policy; model and its manifest
result  its record -> job -> arrival -> the image's bytes, sha256 reckoned anew; model, manifest, data, code
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from batch.cohorts import Cohort, rows_of
from batch.cohorts import NotThere as NoCohort
from batch.cohorts import find as find_cohort
from batch.expected import GRAINS, expected, tables_of
from batch.selection import digest
from batch.trail import Link, Place, Raw, Trail, compared, missing, place_named, verified
from batch.version import code_version
from contracts import codec
from contracts.errors import Poison
from contracts.lake import ALERTS_TABLE, IMAGE_METADATA, IMAGES, JOBS, PREDICTIONS, VITALS_TABLE, Table
from contracts.records import AlertTransition, BedReadings, VitalsFrame
from contracts.topology import ALERTS, FORECASTS, IMAGE_RESULTS, SCORES, VITALS, topic_named
from models.bundle import DIGITS
from models.ward.alarms import alert_id

SHA256_DIGITS: Final = 64
MOST_READINGS: Final = 40
IDS: Final = ((ALERTS_TABLE, "alert_id"), (PREDICTIONS, "job_id"), (JOBS, "job_id"), (IMAGES, "instance"))
"""Where ids are looked for, and near ones when there is none."""


class NotThere(LookupError):
    """Nothing in the lake has this id. ``near`` are ids that look like it."""

    def __init__(self, ident: str, near: Iterable[str]) -> None:
        self.near = tuple(near)
        hint = f"; near it: {', '.join(self.near)}" if self.near else ""
        super().__init__(f"nothing in the lake has the id {ident}{hint}")


def traced(trail: Trail, ident: str) -> Link:
    """The tree of what ``ident`` came from. Raises NotThere, and Transient when HDFS does not answer."""
    if (place := place_named(ident)) is not None:
        return row(trail, *place)
    for walk in (_alarm, _job, _image):
        if (found := walk(trail, ident)) is not None:
            return found
    try:
        return cohort(trail, find_cohort(trail.storage, ident))
    except NoCohort as missed:
        known = sorted({value for table, column in IDS for value in trail.known(table, column)})
        begun = [one for one in known if one.startswith(ident)][:5]
        near = difflib.get_close_matches(ident, known, n=5, cutoff=0.6)
        raise NotThere(ident, dict.fromkeys([*begun, *near, *missed.near])) from None


# -- alarms --------------------------------------------------------------------------------------------------------


def _alarm(trail: Trail, ident: str) -> Link | None:
    rows = sorted(trail.rows(ALERTS_TABLE, alert_id=ident), key=lambda one: (one["seq"], one["kafka_offset"]))
    if not rows:
        return None
    first = rows[0]
    told = {name: first[name] for name in ("patient", "ward", "bed", "condition", "category", "onset_ms")}
    reckoned = alert_id(first["policy"], first["patient"], first["condition"], first["onset_ms"])
    seqs = {one["seq"] for one in rows}
    lost = sorted(set(range(max(seqs) + 1)) - seqs)
    wrong = None if reckoned == ident else f"policy, patient, condition and onset give the id {reckoned}"
    links = [_transition(trail, one) for one in rows]
    links += [missing("transition", f"{ident}/{seq}", "the lake has no row of it") for seq in lost]
    links += [trail.policy(one) for one in sorted({one["policy"] for one in rows if one["policy"]})]
    links += [_named_model(trail, one) for one in sorted({one["model"] for one in rows if one["model"]})]
    return compared("alarm", ident, wrong, told, links)


def _named_model(trail: Trail, name_and_version: str) -> Link:
    name, _, version = name_and_version.partition("@")
    return trail.model(name, version)


def _transition(trail: Trail, found: Mapping[str, Any]) -> Link:
    place = _place(found, ALERTS.name)
    told = {name: found[name] for name in ("event", "state", "priority", "message", "event_ms")}
    links = [_record(trail, place, _fields_of(found)), _frame(trail, found)]
    return verified("transition", f"{found['alert_id']}/{found['seq']}", told, links)


def _frame(trail: Trail, found: Mapping[str, Any]) -> Link:
    """The vitals frame behind a row, as bytes, and its readings of the row's bed."""
    place = Place(VITALS.name, found["frame_partition"], found["frame_offset"])
    raw = trail.raw(place)
    if raw is None:
        return missing("vitals frame", str(place), _nowhere(trail))
    try:
        frame = codec.decode_frame(raw.value).frame
    except Poison as wrong:
        return compared("vitals frame", str(place), f"its bytes are no frame: {wrong}", _bytes_told(raw))
    mine = [bed for bed in frame.beds if bed.patient == found["patient"]]
    told = _bytes_told(raw) | {"gateway": frame.gateway, "at_ms": frame.at_ms, "kind": _kind(frame, mine)}
    links = [_readings(trail, place, frame, mine[0])] if mine else []
    if found.get("reading_ms") is not None and found.get("vital"):
        links.append(_behind(trail, found, frame, mine))
    return verified("vitals frame", str(place), told, [*links, trail.landed(place)])


def _kind(frame: VitalsFrame, mine: list[BedReadings]) -> str:
    if mine:
        return "readings of this bed"
    return "actions" if frame.actions else "a tick of the clock" if not frame.beds else "readings of other beds"


def _readings(trail: Trail, place: Place, frame: VitalsFrame, bed: BedReadings) -> Link:
    """The rows of the bed's readings, held against the frame's bytes."""
    stored = trail.rows(VITALS_TABLE, kafka_partition=place.partition, kafka_offset=place.offset, patient=bed.patient)
    stored.sort(key=lambda one: int(one["row"]))
    there = [(one["vital"], one["letter"] or one["value"], one["event_ms"]) for one in stored]
    said = [(x.vital.value, x.value, frame.at_ms if x.at_ms is None else x.at_ms) for x in bed.readings]
    shown = {f"{vital}": value for vital, value, _ in said[:MOST_READINGS]}
    if not stored:
        return missing("readings", f"{place} {bed.patient}", "the table vitals has no rows of it", shown)
    wrong = None if there == said else f"the table says {there}, the frame {said}"
    return compared("readings", f"{place} {bed.patient}", wrong, shown)


def _behind(trail: Trail, found: Mapping[str, Any], frame: VitalsFrame, mine: list[BedReadings]) -> Link:
    """The very reading that the transition speaks of: in this frame, else in the table."""
    ident = f"{found['vital']} {found['value']} at {found['reading_ms']}"
    wanted = (found["vital"], found["reading_ms"])
    values = [
        x.value
        for bed in mine
        for x in bed.readings
        if (x.vital.value, frame.at_ms if x.at_ms is None else x.at_ms) == wanted
    ]
    told = {"found": "this frame"}
    if not values:
        rows = trail.rows(VITALS_TABLE, patient=found["patient"], vital=found["vital"], event_ms=found["reading_ms"])
        values = [one["letter"] or one["value"] for one in rows]
        told = {"found": _place(rows[0], VITALS.name).__str__() if rows else "nowhere"}
    if not values:
        return missing("reading", ident, "neither the frame nor the table vitals has a reading of that moment")
    same = found["value"] is None or found["value"] in values
    return compared("reading", ident, None if same else f"the readings of that moment are {values}", told)


# -- images --------------------------------------------------------------------------------------------------------


def _job(trail: Trail, ident: str) -> Link | None:
    results = trail.rows(PREDICTIONS, job_id=ident)
    if results:
        links = [_result(trail, one) for one in sorted(results, key=lambda one: int(one["kafka_offset"]))]
        return links[0] if len(links) == 1 else verified("image job", ident, {"results": len(links)}, links)
    jobs = trail.rows(JOBS, job_id=ident)
    if not jobs:
        return None
    waiting = missing("result", ident, "no model has answered")
    return verified("image job", ident, {}, [waiting, *_asked(trail, jobs, [])])


def _result(trail: Trail, found: Mapping[str, Any]) -> Link:
    told = {name: found[name] for name in ("model", "label", "probability", "refusal", "patient", "event_ms")}
    said = [("result", found["input_sha256"])]
    jobs = trail.rows(JOBS, job_id=found["job_id"])
    links = [_record(trail, _place(found, IMAGE_RESULTS.name), _fields_of(found))]
    links += _asked(trail, jobs, said) or [
        missing("image job", found["job_id"], "the lake has no such job"),
        *_arrivals(trail, found["instance"], said),
    ]
    links.append(trail.model(found["model"], found["model_sha256"][:DIGITS], found["model_sha256"]))
    links.append(_code(found["code"]))
    return verified("result", found["job_id"], told, links)


def _asked(trail: Trail, jobs: list[dict[str, Any]], said: list[tuple[str, str | None]]) -> list[Link]:
    """The newest request of a job, with the arrival and the image that it was about."""
    if not jobs:
        return []
    job = max(jobs, key=lambda one: (one["attempt"], one["kafka_offset"]))
    told = {name: job[name] for name in ("model", "urgency", "attempt", "uri")}
    links = [_record(trail, _place(job, JOBS.topic.name if JOBS.topic else ""), _fields_of(job))]
    links += _arrivals(trail, job["instance"], [*said, ("job", job["sha256"])], job["uri"])
    return [verified("image job", job["job_id"], told, links)]


def _arrivals(trail: Trail, instance: str, said: list[tuple[str, str | None]], uri: str | None = None) -> list[Link]:
    """The arrival whose bytes were meant, and the image."""
    rows = trail.rows(IMAGES, instance=instance)
    meant = {sha256 for _, sha256 in said if sha256}
    fitting = [one for one in rows if one["sha256"] in meant] or [one for one in rows if one["uri"] == uri] or rows
    if not fitting:
        gone = missing("arrival", instance, "the lake has no arrival of this image")
        return [gone, trail.image(uri, said)] if uri else [gone]
    return [_arrival(trail, max(fitting, key=lambda one: (one["revision"], one["kafka_offset"])), said)]


def _arrival(trail: Trail, found: Mapping[str, Any], said: list[tuple[str, str | None]]) -> Link:
    told = {name: found[name] for name in ("patient", "modality", "body_part", "revision", "event_ms")}
    record = _record(trail, _place(found, IMAGES.topic.name if IMAGES.topic else ""), _fields_of(found))
    image = trail.image(found["uri"], [*said, ("arrival", found["sha256"])])
    return verified("arrival", found["instance"], told, [record, image])


def _image(trail: Trail, ident: str) -> Link | None:
    """An image by its instance, or by the sha256 of its bytes, and what was made of it."""
    arrivals = trail.rows(IMAGES, instance=ident)
    if len(ident) == SHA256_DIGITS:
        arrivals += trail.rows(IMAGES, sha256=ident)
    headers = trail.rows(IMAGE_METADATA, image_id=ident) if len(ident) == SHA256_DIGITS else []
    if not arrivals and not headers:
        return None
    links = [_arrival(trail, one, []) for one in arrivals]
    for one in headers:
        told = {name: one[name] for name in ("patient", "format", "rows", "cols", "code")}
        links.append(verified("header", ident, told, [trail.image(one["uri"], [("header", one["image_id"])])]))
    for one in trail.rows(PREDICTIONS, instance={one["instance"] for one in arrivals}):
        told = {name: one[name] for name in ("model", "label", "probability", "refusal")}
        links.append(verified("result", one["job_id"], told))
    return verified("image", ident, {}, links)


def _code(code: str | None) -> Link:
    if code is None:
        return missing("code", "-", "the result does not tell the version of its code")
    if code != code_version():
        return missing("code", code, f"another version is installed here: {code_version()}")
    return verified("code", code)


# -- rows and cohorts ------------------------------------------------------------------------------------------------


def row(trail: Trail, place: Place, number: int | None) -> Link:
    """A record of a topic, or one of the rows that it became. Raises NotThere when neither lake nor Kafka has it."""
    raw = trail.raw(place)
    topic = topic_named(place.topic)
    if raw is None:
        raise NotThere(str(place), ())
    wanted = expected(topic, raw.value, raw.ingest_ms or 0)
    links = []
    stored: list[dict[str, Any]] = []
    for table in tables_of(topic):
        rows = trail.rows(table, kafka_partition=place.partition, kafka_offset=place.offset)
        stored += [one for one in rows if number is None or one["row"] == number]
        links.append(_rows_of(table, place, rows, [each[1:] for each in wanted.rows.get(table.name, ())]))
    if number is not None and not stored:
        raise NotThere(f"{place}/{number}", [f"{place}/{one}" for one in range(min(raw.rows or 0, 5))])
    links += _came_from(trail, place, raw, stored[0] if stored else {})
    told = _bytes_told(raw) | ({} if wanted.sound else {"refused": wanted.why})
    ident = str(place) if number is None else f"{place}/{number}"
    return verified("record", ident, told, [*links, trail.landed(place)])


def _rows_of(table: Table, place: Place, rows: list[dict[str, Any]], wanted: list[tuple[Any, ...]]) -> Link:
    """The rows that a record became, held against its bytes."""
    columns = GRAINS[table.name].columns
    there = [tuple(one[name] for name in columns) for one in sorted(rows, key=lambda one: int(one["row"]))]
    width = len(columns)
    said = [each[:width] for each in wanted]
    ident = f"{table.name} {place}"
    if not rows and said:
        return missing("rows", ident, f"the table has none of the {len(said)} rows of this record")
    wrong = None if there == said else f"the table has {len(there)} rows that are not the {len(said)} of the record"
    return compared("rows", ident, wrong, {"rows": len(there)})


def _came_from(trail: Trail, place: Place, raw: Raw, found: Mapping[str, Any]) -> list[Link]:
    """What a record of these topics was made from."""
    topic = topic_named(place.topic)
    if topic is ALERTS and found:
        return [_frame(trail, found), trail.policy(found["policy"])]
    if topic is IMAGE_RESULTS and found:
        return [_result(trail, found)]
    if topic not in (SCORES, FORECASTS):
        return []
    try:
        made = codec.decode(raw.value, topic.record)
    except Poison:
        return []
    source, policy = made.source, getattr(made, "policy", None)
    frame = {"frame_partition": source.partition, "frame_offset": source.offset, "patient": found.get("patient")}
    links = [_frame(trail, frame), *([trail.policy(policy)] if policy else [])]
    return links + [trail.model(one.name, one.version) for one in made.models]


def cohort(trail: Trail, found: Cohort) -> Link:
    """A cohort: its rows as they were frozen, what they were selected from, the code."""
    told = {"name": found.name, "query": found.query, "rows": found.rows, "patients": found.patients}
    try:
        rows = rows_of(trail.storage, found)
        wrong = None if digest(rows) == found.digest else "its rows are not those of its manifest"
        members = compared("members", found.members, wrong, {"sha256": found.members_sha256})
    except Poison as tampered:
        members = compared("members", found.members, tampered.detail)
    snapshot = found.snapshot.sha256()
    wrong = None if snapshot == found.snapshot_sha256 else f"its sha256 is {snapshot}"
    tables = [
        verified("table", held.table, {"rows": held.rows, "files": len(held.files), "below": held.until})
        for held in found.snapshot.tables
    ]
    links = [members, compared("snapshot", found.snapshot_sha256, wrong, {}, tables), _code(found.code)]
    return verified("cohort", found.cohort, told, links)


# -- records ---------------------------------------------------------------------------------------------------------


def _place(found: Mapping[str, Any], topic: str) -> Place:
    return Place(topic, found["kafka_partition"], found["kafka_offset"])


def _nowhere(trail: Trail) -> str:
    return f"the lake does not have it, and {'Kafka was not asked' if trail.kafka is None else 'Kafka neither'}"


def _bytes_told(raw: Raw) -> dict[str, Any]:
    content = raw.value or b""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "from": raw.found}


def _fields_of(found: Mapping[str, Any]) -> Callable[[Any], str | None]:
    """What a record's fields say otherwise than the row's columns of the same name."""

    def wrong(record: Any) -> str | None:
        said = msgspec.to_builtins(record)
        for field in msgspec.structs.fields(type(record)):
            if field.name not in found or field.name in ("ward", "value", "drivers"):
                continue
            value = said.get(field.name, field.default)
            if _plain(found[field.name]) != _plain(value):
                return f"{field.name} is {found[field.name]!r} in the table and {value!r} in the record"
        if isinstance(record, AlertTransition) and found["value"] is not None and found["value"] != record.value:
            return f"value is {found['value']!r} in the table and {record.value!r} in the record"
        return None

    return wrong


def _plain(value: Any) -> Any:
    """A list or a map as both have it: Arrow tells a map as pairs, a record its lists as tuples."""
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, list | tuple):
        pairs = bool(value) and all(isinstance(one, tuple) and len(one) == 2 for one in value)
        return sorted(value) if pairs else list(value)
    return value


def _record(trail: Trail, place: Place, check: Callable[[Any], str | None]) -> Link:
    """The record that a row came from, held against the row."""
    raw = trail.raw(place)
    if raw is None:
        return missing("record", str(place), _nowhere(trail))
    try:
        record = codec.decode(raw.value, topic_named(place.topic).record)
    except Poison as wrong:
        return compared("record", str(place), f"its bytes are not what the row says: {wrong}", _bytes_told(raw))
    return compared("record", str(place), check(record), _bytes_told(raw), [trail.landed(place)])
