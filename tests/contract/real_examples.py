"""Makes contracts/examples: what the core says of a short, realistic shift. ``python -m tests.contract.real_examples``.

Pseudonyms only. The topics that nobody writes yet get one record each, written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts import records as r
from contracts.codec import decode_frame, encode
from contracts.generate import SCHEMAS
from contracts.topology import (
    ACCESS_LOG,
    ALERT_ACTIONS,
    ALERTS,
    CLOCK_KEY,
    DEAD_LETTERS,
    FORECASTS,
    IMAGE_ARRIVALS,
    IMAGE_FEEDBACK,
    IMAGE_FINDINGS,
    IMAGE_JOBS,
    IMAGE_REFUSALS,
    IMAGE_RESULTS,
    IMAGE_STUDIES,
    SCORES,
    SNAPSHOTS,
    VITALS,
    Topic,
    partition_for,
)
from models.ports import ANOMALY, DETERIORATION, FORECAST, Answers, Ask
from models.ward.core import WardCore
from models.ward.policy import load_policy

EXAMPLES: Final = SCHEMAS.parent / "examples"
WARD: Final = "W3"
T0: Final = 1_767_340_800_000
PARTITION: Final = partition_for(WARD, VITALS.partitions)

MODELS: Final = tuple(
    r.ModelRef(name=name, version=sha256(name.encode()).hexdigest()[:12]) for name in (ANOMALY, DETERIORATION, FORECAST)
)

Example = tuple[Topic[Any], str, r.Record]


def reading(vital: r.Vital, value: float | str | None, **more: Any) -> r.Reading:
    return r.Reading(vital=vital, value=value, **more)


def bed(number: int, second: int, spo2: float | None) -> r.BedReadings:
    """A bed's readings: continuous ones each second, the rest as the nurse and the cuff took them."""
    readings = [
        reading(r.Vital.HEART_RATE, 74.0 + second % 4, source=r.Source.ECG),
        reading(r.Vital.RESPIRATION, 16.0),
        reading(
            r.Vital.SPO2,
            spo2,
            source=r.Source.PLETH,
            quality=r.Quality.NO_SIGNAL if spo2 is None else r.Quality.MEASURED,
        ),
    ]
    if second == 0:
        taken_ms = T0 - 240_000
        readings += [
            reading(r.Vital.SYSTOLIC, 124.0, at_ms=taken_ms, source=r.Source.CUFF, unit="mm[Hg]"),
            reading(r.Vital.DIASTOLIC, 71.0, at_ms=taken_ms, source=r.Source.CUFF, unit="mm[Hg]"),
            reading(r.Vital.MEAN_PRESSURE, 89.0, at_ms=taken_ms, source=r.Source.CUFF, unit="mm[Hg]"),
            reading(r.Vital.TEMPERATURE, 37.1, at_ms=taken_ms, source=r.Source.NURSE, unit="Cel"),
            reading(r.Vital.SUPPLEMENTAL_OXYGEN, 2.0, at_ms=taken_ms, source=r.Source.NURSE, unit="L/min"),
            reading(r.Vital.CONSCIOUSNESS, "A", at_ms=taken_ms, source=r.Source.NURSE),
        ]
    return r.BedReadings(bed=f"{WARD}-B0{number}", patient=f"p-000{number}", readings=tuple(readings))


def shift() -> Iterator[tuple[r.VitalsFrame, int]]:
    """The ward's log: one patient desaturates, another loses the probe, a nurse acts, the clock ticks."""
    acknowledge = r.AlertAction(
        version=1,
        action_id="6f1c2a9e-0d3b-4a57-9a51-7f0a52b1c0de",
        ward=WARD,
        bed=f"{WARD}-B01",
        kind=r.ActionKind.ACKNOWLEDGE,
        actor="nurse-7",
        role="nurse",
        at_ms=T0 + 24_600,
    )
    for second in range(40):
        at_ms = T0 + second * 1000
        yield r.VitalsFrame(version=1, ward=CLOCK_KEY, gateway="worker", seq=second, at_ms=at_ms), at_ms
        beds = (bed(1, second, 97.0 if second < 5 else 82.0), bed(2, second, 96.0 if second < 8 else None))
        yield r.VitalsFrame(version=1, ward=WARD, gateway="gw-3", seq=second, at_ms=at_ms, beds=beds), at_ms + 180
        if second == 24:
            now_ms = at_ms + 640
            yield (
                r.VitalsFrame(version=1, ward=WARD, gateway="actions", seq=1, at_ms=now_ms, actions=(acknowledge,)),
                now_ms,
            )


def made_by_the_core() -> Iterator[Example]:
    core = WardCore(load_policy())
    state = core.fresh(WARD)
    told: set[str] = set()
    for offset, (frame, now_ms) in enumerate(shift()):
        source = r.SourceOffset(topic=VITALS.name, partition=PARTITION, offset=offset)
        state, out = core.step(state, frame, now_ms, source)
        if frame.actions:
            yield VITALS, "actions", frame
            yield ALERT_ACTIONS, "acknowledge", frame.actions[0]
        elif offset == 0:
            yield VITALS, "tick", frame
        elif offset == 1:
            yield VITALS, "frame", frame
        for transition in out.transitions:
            what = f"{transition.category}-{transition.event}"
            if what not in told:
                told.add(what)
                yield ALERTS, what, transition
        if frame.seq == 39 and out.scores is not None:
            yield SCORES, "one-alarm-one-lost-probe", out.scores
    next_offset = offset + 1
    yield (
        SNAPSHOTS,
        "snapshot",
        r.WardSnapshot(
            version=1,
            ward=WARD,
            partition=PARTITION,
            next_offset=next_offset,
            at_ms=now_ms,
            state=core.dump(state),
        ),
    )


def foreseen() -> Iterator[tuple[r.VitalsFrame, int]]:
    """The ward's log again: a patient whose past is known, models in force, nothing crossed yet."""
    patient = f"{WARD}-B01", "p-0001"
    past = r.PastVitals(
        bed=patient[0],
        patient=patient[1],
        start_ms=T0 - 6 * 3_600_000,
        step_s=3600,
        origin="recording",
        series=(
            r.PastSeries(vital=r.Vital.HEART_RATE, values=(71.0, 70.0, None, 74.0, 79.0, 86.0)),
            r.PastSeries(vital=r.Vital.SPO2, values=(97.0, 97.0, 96.0, 95.0, 95.0, 93.0)),
        ),
    )
    facts = r.PatientFacts(patient=patient[1], age_years=71.0, sex="female", admitted_ms=T0 - 30 * 3_600_000)
    yield r.VitalsFrame(version=1, ward=WARD, gateway="gw-3", seq=0, at_ms=T0, past=(past,), facts=(facts,)), T0
    for second in range(260):
        at_ms = T0 + second * 1000
        yield (
            r.VitalsFrame(version=1, ward=CLOCK_KEY, gateway="worker", seq=second, at_ms=at_ms, models=MODELS),
            at_ms,
        )
        beds = (bed(1, second, 92.0),)
        yield r.VitalsFrame(version=1, ward=WARD, gateway="gw-3", seq=second, at_ms=at_ms, beds=beds), at_ms + 180


def answered(ask: Ask) -> Answers:
    """What models might say of that patient; the numbers are made up."""
    quantiles = tuple((90.0 - 2 * n, 92.0 - n, 94.0) for n in range(2))
    forecast = r.VitalForecast(
        vital=r.Vital.SPO2,
        engine=r.Engine.LSTM,
        horizons_s=(600, 1800),
        quantiles=quantiles,
        below=(0.41, 0.83),
        skill=(0.04, 0.11),
    )
    driver = r.Driver(what="level 92, usually 97", share=0.71, vital=r.Vital.SPO2)
    anomaly = r.Anomaly(score=0.993, learning=True, baseline_s=5400, drivers=(driver,))
    risk = r.Risk(name="hypotension", probability=0.42, horizon_s=14_400, known=0.83, drivers=(driver,))
    return Answers((0.05, 0.5, 0.95), (anomaly,), ((forecast,),), ((risk,),) if ask.risks else None, {})


def said_with_models() -> Iterator[Example]:
    core = WardCore(load_policy())
    state = core.fresh(WARD)
    told: set[str] = set()
    for offset, (frame, now_ms) in enumerate(foreseen()):
        source = r.SourceOffset(topic=VITALS.name, partition=PARTITION, offset=offset)
        state, _ = core.step(state, frame, now_ms, source)
        if frame.past:
            yield VITALS, "past-and-facts", frame
        if frame.models and frame.seq == 0:
            yield VITALS, "tick-with-models", frame
        ask = core.ask(state, now_ms) if frame.ward == CLOCK_KEY else None
        if ask is None:
            continue
        state, heeded = core.heed(state, ask, answered(ask), now_ms, source)
        for transition in heeded.transitions:
            yield ALERTS, f"advisory-{transition.condition}-{transition.event}", transition
        if ask.risks and "heard" not in told and heeded.scores and heeded.forecast:
            told.add("heard")
            yield SCORES, "outlooks", heeded.scores
            yield FORECASTS, "spo2-ahead", heeded.forecast


def refused() -> Iterator[Example]:
    """Dead letters as they come from a frame with one bad reading, and from bytes that are no frame."""
    good = next(frame for frame, _ in shift() if frame.beds)
    raw = encode(good).replace(b'"value":16.0', b'"value":"16 /min"', 1)
    (fault,) = decode_frame(raw).faults
    source = r.SourceOffset(topic=VITALS.name, partition=PARTITION, offset=77)
    common: dict[str, Any] = {"version": 1, "source": source, "by": "streams.worker", "at_ms": T0 + 60_000}
    yield (
        DEAD_LETTERS,
        "one-reading",
        r.DeadLetter(
            reason=fault.reason,
            field=fault.field,
            detail=fault.detail,
            raw=fault.raw,
            key=WARD.encode(),
            partial=True,
            **common,
        ),
    )
    yield (
        DEAD_LETTERS,
        "tombstone",
        r.DeadLetter(
            reason="tombstone",
            field="$",
            detail="the record has no value; producers send frames, never deletes",
            key=WARD.encode(),
            **common,
        ),
    )


def by_hand() -> Iterator[Example]:
    """The rest: what people ask for, and topics that are still awaited."""
    yield (
        ALERT_ACTIONS,
        "pause",
        r.AlertAction(
            version=1,
            action_id="b7c7a0a4-51b0-4d0f-8a86-0a2d5d1f6c11",
            ward=WARD,
            bed=f"{WARD}-B02",
            kind=r.ActionKind.PAUSE_AUDIO,
            actor="nurse-7",
            role="nurse",
            at_ms=T0 + 30_000,
            pause_s=60,
        ),
    )
    digest = sha256(b"an image that was never taken").hexdigest()
    where = f"hdfs:///images/p-0001/{WARD}/1.dcm"
    yield (
        IMAGE_ARRIVALS,
        "radiograph",
        r.ImageArrival(
            version=1,
            patient="p-0001",
            study="st-01",
            series="se-01",
            instance="im-01",
            modality="DX",
            uri=where,
            sha256=digest,
            at_ms=T0,
            body_part="KNEE",
            view="AP",
            ward=WARD,
        ),
    )
    job: dict[str, Any] = {"version": 1, "job_id": "j-01", "study": "st-01", "instance": "im-01"}
    yield (
        IMAGE_JOBS,
        "job",
        r.ImageJob(uri=where, sha256=digest, model="knee_osteoporosis", at_ms=T0 + 400, urgency=1, **job),
    )
    result = job | {"model": "knee_osteoporosis", "model_sha256": digest, "at_ms": T0 + 2_000}
    yield IMAGE_RESULTS, "finding", r.ImageResult(label="osteopenia", probability=0.71, **result)
    result |= {"patient": "p-0001", "input_sha256": digest, "code": "0.1.0"}
    yield IMAGE_RESULTS, "refusal", r.ImageResult(refusal="not a knee", **result)
    yield from imaging(digest, where)
    yield (
        ACCESS_LOG,
        "query",
        r.Access(
            version=1,
            access_id="2f1c3a54-8a1e-4a53-9f0d-9f6a3c1d2b10",
            actor="nurse-8",
            role="clinician",
            action="sql",
            target="vitals",
            at_ms=T0 + 60_000,
            query="select count(*) from vitals",
            purpose="data quality",
        ),
    )


def imaging(digest: str, where: str) -> Iterator[Example]:
    """What else is said of images."""
    held: dict[str, Any] = {"version": 1, "study": "st-01", "patient": "p-0001"}
    read: dict[str, Any] = held | {"instance": "im-01", "job_id": "j-01", "model": "brain_tumour"}
    yield (
        IMAGE_RESULTS,
        "tumour",
        r.ImageResult(
            **read,
            model_sha256=digest,
            at_ms=T0 + 2_000,
            label="glioma",
            probability=0.93,
            probabilities={"glioma": 0.93, "meningioma": 0.04, "notumor": 0.02, "pituitary": 0.01},
            positive=True,
            threshold=0.5,
            preview_uri=f"{where}.brain_tumour.preview.png",
            heatmap_uri=f"{where}.brain_tumour.heat.png",
            uri=where,
            modality="MR",
            body_part="BRAIN",
            caveats=("Heat is not proof.",),
            arrived_ms=T0,
            took_ms=181,
        ),
    )
    yield (
        IMAGE_RESULTS,
        "bone-age",
        r.ImageResult(
            **read | {"model": "bone_age"},
            model_sha256=digest,
            at_ms=T0 + 2_000,
            value=118.5,
            low=101.0,
            high=136.0,
            unit="months",
        ),
    )
    yield (
        IMAGE_REFUSALS,
        "burned-in",
        r.ImageRefusal(
            version=1,
            refusal_id=digest[:32],
            sha256=digest,
            reason="burned_in",
            detail="2 lines of letters in the pixels",
            source="c_store",
            at_ms=T0,
            size=526_336,
        ),
    )
    yield (
        IMAGE_STUDIES,
        "late-instance",
        r.StudyRevision(
            **held, revision=1, instances=("im-01", "im-02"), at_ms=T0 + 60_000, first_ms=T0, last_ms=T0 + 40_000
        ),
    )
    yield (
        IMAGE_FINDINGS,
        "open",
        r.ImageFinding(
            **read,
            finding_id=digest[:32],
            seq=0,
            label="glioma",
            priority=r.Priority.HIGH,
            state=r.FindingState.OPEN,
            at_ms=T0 + 2_000,
            policy=digest,
            why="glioma is of high priority",
            probability=0.93,
        ),
    )
    yield (
        IMAGE_FEEDBACK,
        "reject",
        r.ImageFeedback(
            **read,
            feedback_id="3b2a3c54-8a1e-4a53-9f0d-9f6a3c1d2b11",
            verdict=r.Verdict.REJECT,
            actor="nurse-3",
            at_ms=T0 + 90_000,
            label="meningioma",
            uri=where,
            sha256=digest,
            note="dural tail",
        ),
    )


def examples() -> Iterator[tuple[Path, bytes, Topic[Any]]]:
    """Every example: its file, its bytes, its topic."""
    for topic, what, record in (*made_by_the_core(), *said_with_models(), *refused(), *by_hand()):
        path = EXAMPLES / f"{topic.name}.v1.{what.replace('_', '-')}.json"
        yield path, msgspec.json.format(encode(record), indent=2) + b"\n", topic


if __name__ == "__main__":
    EXAMPLES.mkdir(exist_ok=True)
    for file, content, _ in examples():
        file.write_bytes(content)
        print(file.name)
