"""One frozen struct a message: what each Kafka record says, its units, and when it was so.

Times are epoch milliseconds UTC and end in ``_ms``. Records are additive: a new field has a default, nothing
is renamed, and a breaking change is a new topic. ``version`` is the schema version that the writer used.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

SCHEMA_VERSION: Final = 1


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all records: immutable, keyword-only; fields at their default do not travel."""


class Vital(StrEnum):
    """The vital signs that travel. Units: see ``contracts.clinical.codes.VITALS``."""

    HEART_RATE = "heart_rate"
    RESPIRATION = "respiration"
    SPO2 = "spo2"
    SYSTOLIC = "systolic"
    DIASTOLIC = "diastolic"
    MEAN_PRESSURE = "mean_pressure"
    TEMPERATURE = "temperature"
    SUPPLEMENTAL_OXYGEN = "supplemental_oxygen"
    CONSCIOUSNESS = "consciousness"


class Source(StrEnum):
    """Where a reading was taken: it decides plausibility rules and which code is sent on."""

    MONITOR = "monitor"
    ECG = "ecg"
    PLETH = "pleth"
    ARTERIAL = "arterial"
    CUFF = "cuff"
    PROBE = "probe"
    NURSE = "nurse"


class Quality(StrEnum):
    """What the producer says of a value before anyone judges it. ``measuring``: a cuff is inflating, no value yet."""

    MEASURED = "measured"
    HELD = "held"
    INTERPOLATED = "interpolated"
    NO_SIGNAL = "no_signal"
    MEASURING = "measuring"


class Tag(StrEnum):
    """What the core decided about a value; nothing is ever clamped.

    Only ``ok`` and ``clock_suspect`` (a good value whose time is not believed) take part in scores and limits.
    """

    OK = "ok"
    IMPLAUSIBLE = "implausible"
    UNIT_MISMATCH = "unit_mismatch"
    NO_SIGNAL = "no_signal"
    CUFF_INTERFERENCE = "cuff_interference"
    CLOCK_SUSPECT = "clock_suspect"
    FROZEN = "frozen"
    STALE = "stale"
    LATE = "late"


class Priority(StrEnum):
    """Alarm priority in the words of IEC 60601-1-8."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Category(StrEnum):
    """Physiological alarms speak of the patient, technical ones of the equipment, advisories of a prediction.

    An advisory is silent, whatever its priority: it is shown and never sounds, is not escalated, does not latch, and
    once acknowledged does not come back until it is over.
    """

    PHYSIOLOGICAL = "physiological"
    TECHNICAL = "technical"
    ADVISORY = "advisory"


class AlarmState(StrEnum):
    """States of one alarm condition of one patient; ``inactive`` and ``pending`` make no signal."""

    INACTIVE = "inactive"
    PENDING = "pending"
    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    LATCHED = "latched"


class AlarmEvent(StrEnum):
    """Why an alarm changed. ``note`` and ``audio_*`` leave the state as it is."""

    RAISED = "raised"
    PRIORITY_RAISED = "priority_raised"
    ACKNOWLEDGED = "acknowledged"
    REALARMED = "realarmed"
    ESCALATED = "escalated"
    AUDIO_PAUSED = "audio_paused"
    AUDIO_RESUMED = "audio_resumed"
    LATCHED = "latched"
    CLEARED = "cleared"
    NOTE = "note"


class ActionKind(StrEnum):
    """What a person may do at the feed or the terminal."""

    ACKNOWLEDGE = "acknowledge"
    PAUSE_AUDIO = "pause_audio"
    RESUME_AUDIO = "resume_audio"
    ESCALATE = "escalate"
    NOTE = "note"
    STANDBY = "standby"


class SourceOffset(Record, frozen=True, kw_only=True):
    """The Kafka record that something came from."""

    topic: str
    partition: int
    offset: int


class Reading(Record, frozen=True, kw_only=True):
    """One value of one vital. ``at_ms`` None: taken at the frame's tick. ``unit`` None: the canonical unit.

    ``value`` is a number, or an ACVPU letter for consciousness, or None when the device has no value.
    Supplemental oxygen: 0 is room air, above 0 is the flow in L/min.
    """

    vital: Vital
    value: float | str | None
    at_ms: int | None = None
    unit: str | None = None
    source: Source = Source.MONITOR
    quality: Quality = Quality.MEASURED


class BedReadings(Record, frozen=True, kw_only=True):
    """What one bed's devices said since the last tick. ``patient`` is a pseudonym."""

    bed: str
    patient: str
    readings: tuple[Reading, ...] = ()


class AlertAction(Record, frozen=True, kw_only=True):
    """A person's action on an alarm (``alert_id``) or on a whole bed (``alert_id`` None).

    ``action_id`` makes it idempotent. ``pause_s`` is asked for; the policy caps it.
    """

    version: int
    action_id: str
    ward: str
    bed: str
    kind: ActionKind
    actor: str
    role: str
    at_ms: int
    alert_id: str | None = None
    pause_s: int | None = None
    text: str | None = None


class PastSeries(Record, frozen=True, kw_only=True):
    """What one vital was, in steps of its ``PastVitals``, oldest first; None where nothing is known."""

    vital: Vital
    values: tuple[float | None, ...]


class PastVitals(Record, frozen=True, kw_only=True):
    """A patient's vitals before this ward's log knew of them: means over steps of ``step_s`` from ``start_ms`` on.

    It fills what the models see of the past, never a value that was read live; it neither scores nor alarms by itself.
    ``origin`` says where it was found: ``recording``, ``simulation``, ``topic`` or ``lake``.
    """

    bed: str
    patient: str
    start_ms: int
    step_s: int
    origin: str
    series: tuple[PastSeries, ...] = ()


class PatientFacts(Record, frozen=True, kw_only=True):
    """What risk models may know of a patient besides vitals. ``sex`` is ``female`` or ``male``.

    ``admitted_ms`` is when this stay in intensive or monitored care began.
    """

    patient: str
    age_years: float | None = None
    sex: str | None = None
    admitted_ms: int | None = None


class ModelRef(Record, frozen=True, kw_only=True):
    """A model of the registry: ``version`` is the first 12 hex digits of the sha256 of its manifest."""

    name: str
    version: str


class VitalsFrame(Record, frozen=True, kw_only=True):
    """One tick of one gateway: the readings of 1..N beds of one ward.

    A frame without beds and actions is a clock tick of the ward's log; one with ``actions`` carries
    what people did, in the order in which the core sees it (docs/why/one-log-per-ward.md). A tick names the ``models``
    that are champion at its moment: the core changes over at that very record. ``past`` and ``facts`` tell of patients
    of this ward what their devices do not.
    """

    version: int
    ward: str
    gateway: str
    seq: int
    at_ms: int
    beds: tuple[BedReadings, ...] = ()
    actions: tuple[AlertAction, ...] = ()
    models: tuple[ModelRef, ...] = ()
    past: tuple[PastVitals, ...] = ()
    facts: tuple[PatientFacts, ...] = ()


class ScoredVital(Record, frozen=True, kw_only=True):
    """A bed's latest value of one vital and what the core makes of it."""

    vital: Vital
    value: float | str | None
    at_ms: int
    tag: Tag = Tag.OK
    quality: Quality = Quality.MEASURED
    source: Source = Source.MONITOR


class News2Component(Record, frozen=True, kw_only=True):
    """Points of one NEWS2 component; None when missing or stale, then it may be anything in its range."""

    vital: Vital
    points: int | None = None
    age_ms: int | None = None


class News2(Record, frozen=True, kw_only=True):
    """NEWS2 as an interval [minimum, maximum] over what the missing components could be. RCP 2017, 0 to 20."""

    minimum: int
    maximum: int
    scale: int
    single_red: bool = False
    components: tuple[News2Component, ...] = ()


class OpenAlarm(Record, frozen=True, kw_only=True):
    """An alarm of this bed that is not inactive, as the feed shows it on the tile."""

    condition: str
    state: AlarmState
    priority: Priority
    category: Category
    alert_id: str | None = None
    onset_ms: int
    audio_until_ms: int | None = None


class BedScore(Record, frozen=True, kw_only=True):
    """One bed after one frame: tagged values, NEWS2, open alarms. ``heard_ms``: log time of its last reading."""

    bed: str
    patient: str
    heard_ms: int
    values: tuple[ScoredVital, ...] = ()
    news2: News2 | None = None
    alarms: tuple[OpenAlarm, ...] = ()
    late: int = 0
    duplicates: int = 0


class Driver(Record, frozen=True, kw_only=True):
    """What drove a model's output: an input and its share of the deviation, in [-1, 1]; the largest come first.

    ``vital`` is None for an input that is no vital. ``what`` says it in words: ``level 134, usually 82``.
    Positive raises the output, negative lowers it.
    """

    what: str
    share: float
    vital: Vital | None = None


class Anomaly(Record, frozen=True, kw_only=True):
    """How unlike this patient's own past, and any patient's, the last minutes are: calibrated, in [0, 1].

    ``learning`` is False while an alarm is active or values are not believed; ``baseline_s`` is how much of the patient
    has been learned. ``drift`` names the vitals whose usual level was just found to have changed.
    """

    score: float
    learning: bool
    baseline_s: int = 0
    drivers: tuple[Driver, ...] = ()
    drift: tuple[Vital, ...] = ()


class Risk(Record, frozen=True, kw_only=True):
    """A calibrated probability that ``name`` happens within ``horizon_s`` (0: before leaving the hospital).

    ``known`` is the share of the model's vitals that were there to be read, in [0, 1].
    """

    name: str
    probability: float
    horizon_s: int
    known: float = 1.0
    drivers: tuple[Driver, ...] = ()


class BedOutlook(Record, frozen=True, kw_only=True):
    """What the models make of one bed. ``at_ms``: event time of what they saw.

    Risks are asked for less often than the rest: where there are none, the last ones stand.
    """

    bed: str
    patient: str
    at_ms: int
    anomaly: Anomaly | None = None
    risks: tuple[Risk, ...] = ()


class ModelInForce(Record, frozen=True, kw_only=True):
    """The model behind an output, and the record of the log at which it took over in this ward."""

    name: str
    version: str
    since: SourceOffset | None = None


class ScoreFrame(Record, frozen=True, kw_only=True):
    """The scores of every bed that one vitals frame touched, or that a clock tick found silent.

    ``at_ms`` is the frame's event time, ``now_ms`` its log time. ``outlooks`` are there on the ticks at which the
    models spoke, every few seconds, and then ``models`` says which ones.
    """

    version: int
    ward: str
    at_ms: int
    now_ms: int
    source: SourceOffset
    policy: str
    beds: tuple[BedScore, ...] = ()
    outlooks: tuple[BedOutlook, ...] = ()
    models: tuple[ModelInForce, ...] = ()


class AlertTransition(Record, frozen=True, kw_only=True):
    """One immutable step in the life of one alarm; (``alert_id``, ``seq``) is its identity.

    ``onset_ms`` is the episode's start in event time, ``at_ms`` when this step happened, ``reading_ms`` the time of
    the reading behind it. ``message`` reads like ``SpO2 84<90``. ``audio_until_ms``: the sound is paused until then.
    An advisory names the ``model`` behind it (``name@version``), its calibrated ``probability`` (an anomaly's score),
    the ``drivers`` and, for an early warning, the ``lead_s`` it looks ahead.
    """

    version: int
    alert_id: str
    seq: int
    ward: str
    bed: str
    patient: str
    condition: str
    category: Category
    priority: Priority
    event: AlarmEvent
    state: AlarmState
    at_ms: int
    onset_ms: int
    message: str
    source: SourceOffset
    policy: str
    vital: Vital | None = None
    value: float | str | None = None
    limit: float | None = None
    reading_ms: int | None = None
    actor: str | None = None
    action_id: str | None = None
    audio_until_ms: int | None = None
    escalation: int = 0
    note: str | None = None
    model: str | None = None
    drivers: tuple[Driver, ...] = ()
    probability: float | None = None
    lead_s: int | None = None


class WardSnapshot(Record, frozen=True, kw_only=True):
    """The core's state of one ward after every record below ``next_offset``; only the core reads ``state``."""

    version: int
    ward: str
    partition: int
    next_offset: int
    at_ms: int
    state: bytes


class Engine(StrEnum):
    """Who made a forecast: the trained network, or persistence where that has been the better one lately."""

    LSTM = "lstm"
    PERSISTENCE = "persistence"


class VitalForecast(Record, frozen=True, kw_only=True):
    """The forecast of one vital of one bed by one engine, in the vital's unit.

    ``quantiles`` has a row a horizon, each with one value for every level of its ``VitalsForecast``, ascending;
    the outer ones are conformal. ``below`` and ``above`` are the probabilities that the vital is beyond its low or high
    alarm limit at some time up to each horizon; None without such a limit. ``skill`` is 1 - MAE / MAE of persistence in
    this ward lately, per horizon, None until enough has come true.
    """

    vital: Vital
    engine: Engine
    horizons_s: tuple[int, ...]
    quantiles: tuple[tuple[float, ...], ...]
    below: tuple[float, ...] | None = None
    above: tuple[float, ...] | None = None
    skill: tuple[float | None, ...] = ()


class BedForecast(Record, frozen=True, kw_only=True):
    """The forecasts of one bed. ``at_ms`` is the moment they look ahead from, ``known`` the share of the past seen.

    A vital may stand twice: minutes ahead (the near-term head) and hours ahead.
    """

    bed: str
    patient: str
    at_ms: int
    known: float = 1.0
    vitals: tuple[VitalForecast, ...] = ()


class VitalsForecast(Record, frozen=True, kw_only=True):
    """Forecasts of beds of one ward made at one tick of its log. ``levels`` are those of all quantiles, ascending."""

    version: int
    ward: str
    at_ms: int
    now_ms: int
    source: SourceOffset
    levels: tuple[float, ...]
    models: tuple[ModelInForce, ...] = ()
    beds: tuple[BedForecast, ...] = ()


class ImageArrival(Record, frozen=True, kw_only=True):
    """A stored, de-identified image: where it lies and what it is. Never pixels.

    ``sha256`` is that of the stored bytes. ``revision`` counts stored arrivals of the instance with other bytes, from
    0. ``sex`` (F, M, O) and ``age_years`` are characteristics that the profile retains. ``source`` says how it came
    (c_store, folder, submit, upload), ``format`` what it was before it was stored as DICOM.
    """

    version: int
    patient: str
    study: str
    series: str
    instance: str
    modality: str
    uri: str
    sha256: str
    at_ms: int
    body_part: str | None = None
    view: str | None = None
    ward: str | None = None
    revision: int = 0
    laterality: str | None = None
    sex: str | None = None
    age_years: float | None = None
    source: str | None = None
    format: str | None = None
    rows: int | None = None
    cols: int | None = None


class ImageRefusal(Record, frozen=True, kw_only=True):
    """An image that was not let in. ``reason`` is a short stable word, ``detail`` quotes nothing of the file.

    ``sha256`` is that of the bytes that came; they lie in the identified zone only. ``at_ms`` is when they came.
    """

    version: int
    refusal_id: str
    sha256: str
    reason: str
    detail: str
    source: str
    at_ms: int
    size: int


class ImageJob(Record, frozen=True, kw_only=True):
    """Which model is to read which image. Higher ``urgency`` goes first. ``rule`` is the rule that said so.

    ``job_id`` is a function of instance, bytes and model: the same image asked for twice is one job. ``arrived_ms`` is
    when the image came to the gateway.
    """

    version: int
    job_id: str
    study: str
    instance: str
    uri: str
    sha256: str
    model: str
    at_ms: int
    urgency: int = 0
    attempt: int = 1
    patient: str | None = None
    series: str | None = None
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    sex: str | None = None
    age_years: float | None = None
    rule: str | None = None
    arrived_ms: int | None = None
    revision: int = 0


class ImageResult(Record, frozen=True, kw_only=True):
    """What a model said of an image, or why it declined (``refusal``, a short stable word; ``detail`` in a sentence).

    ``model_sha256`` is that of the model's manifest, ``input_sha256`` that of the bytes which were read, ``code`` the
    version of the code that ran: with them a finding can be walked back to what it was made from. ``probability`` is
    the calibrated one of ``label``, ``probabilities`` those of every label. ``positive`` tells a finding: the summed
    probability of what counts as one reached ``threshold``. A measure (bone age) has ``value`` in ``unit`` with its
    90 % band ``low`` to ``high`` instead. ``preview_uri`` and ``heatmap_uri`` are PNG files on HDFS of one size.
    """

    version: int
    job_id: str
    study: str
    instance: str
    model: str
    model_sha256: str
    at_ms: int
    label: str | None = None
    probability: float | None = None
    refusal: str | None = None
    heatmap_uri: str | None = None
    patient: str | None = None
    input_sha256: str | None = None
    code: str | None = None
    detail: str | None = None
    probabilities: dict[str, float] | None = None
    positive: bool | None = None
    threshold: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str | None = None
    preview_uri: str | None = None
    uri: str | None = None
    series: str | None = None
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    caveats: tuple[str, ...] = ()
    arrived_ms: int | None = None
    took_ms: int | None = None
    attempt: int = 1
    revision: int = 0


class StudyRevision(Record, frozen=True, kw_only=True):
    """A study that has been quiet for a while: these are its instances. A late one gives the next ``revision``.

    ``first_ms`` and ``last_ms`` are when its first and last instance came.
    """

    version: int
    study: str
    patient: str
    revision: int
    instances: tuple[str, ...]
    at_ms: int
    first_ms: int
    last_ms: int


class FindingState(StrEnum):
    """Where a finding stands on the radiologist's list."""

    OPEN = "open"
    ESCALATED = "escalated"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class ImageFinding(Record, frozen=True, kw_only=True):
    """Every change of a positive finding: what the radiologist's list shows.

    ``finding_id`` is a function of patient, study, model and finding. ``policy`` is the hash of the findings policy,
    ``why`` says what made the priority. ``actor`` stands where a person did it. WITHDRAWN: a later revision of the
    image is no longer positive.
    """

    version: int
    finding_id: str
    seq: int
    study: str
    instance: str
    patient: str
    model: str
    label: str
    priority: Priority
    state: FindingState
    at_ms: int
    job_id: str
    policy: str
    why: str
    probability: float | None = None
    actor: str | None = None


class Verdict(StrEnum):
    """What a reader made of a result."""

    ACCEPT = "accept"
    REJECT = "reject"


class ImageFeedback(Record, frozen=True, kw_only=True):
    """What a reader made of a result: a label for training. ``label`` (or ``value``) is what is right in their view.

    On ACCEPT it is what the model said. ``sha256`` is that of the stored image.
    """

    version: int
    feedback_id: str
    job_id: str
    study: str
    instance: str
    patient: str
    model: str
    verdict: Verdict
    actor: str
    at_ms: int
    label: str | None = None
    value: float | None = None
    uri: str | None = None
    sha256: str | None = None
    note: str | None = None


class Access(Record, frozen=True, kw_only=True):
    """One read of patients' data: who, as what, what and why. It is written before the read, refused ones too.

    ``action`` is a short stable word (sql, cohort_freeze, cohort_export, trace, report, plot, feed), ``target`` what
    was read (tables, a cohort, a patient, a route of the feed), ``query`` the text that was run, ``outcome`` granted or
    refused.
    """

    version: int
    access_id: str
    actor: str
    role: str
    action: str
    target: str
    at_ms: int
    outcome: str = "granted"
    query: str | None = None
    purpose: str | None = None


class DeadLetter(Record, frozen=True, kw_only=True):
    """A record that could not be read: its bytes, where it stood, why. ``path`` is set when only a part was bad."""

    version: int
    source: SourceOffset
    reason: str
    field: str
    detail: str
    by: str
    at_ms: int
    raw: bytes | None = None
    key: bytes | None = None
    partial: bool = False
