"""The lake on one page: every table, its columns, how it is partitioned, where it lies and who may read it.

Spark's schemas, Hive's tables, the docs and every plain reader derive from here. Types are Hive's words. A column is
never renamed or removed; a new one goes to the end of its table and is null in what was written before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from contracts.topology import (
    ACCESS_LOG,
    ALERT_ACTIONS,
    ALERTS,
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
    TOPICS,
    VITALS,
    Topic,
)

Zone = Literal["deidentified", "restricted", "identified"]
"""deidentified: researchers and everybody above. restricted: free text and names of staff, for the platform's own
people. identified: what leads back to a person; apart from all else."""

ROOT: Final = "/lake"
IMAGES_ROOT: Final = "/images"
"""De-identified images as they came: ``<pseudonym>/<study date>/<series>/<sop>.dcm``."""
IDENTIFIED_ROOT: Final = "/identified"
TABLES: Final = f"{ROOT}/tables"
STAGING: Final = f"{ROOT}/_staging"
MANIFESTS: Final = f"{ROOT}/_manifests"
CHECKPOINT: Final = f"{ROOT}/_checkpoint"
COHORTS_ROOT: Final = f"{ROOT}/cohorts"
EXPORTS_ROOT: Final = f"{ROOT}/exports"


@dataclass(frozen=True)
class Column:
    """One column: its Hive type and what it means, with the unit."""

    name: str
    type: str
    means: str


@dataclass(frozen=True)
class Table:
    """A published table. ``grain`` says what one row is; ``topic`` is where its rows come from, None for derived ones.

    ``buckets`` is (column, number). Below ``path`` there are only partitions ``name=value`` and finished Parquet files.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    partitions: tuple[Column, ...] = ()
    topic: Topic[Any] | None = None
    zone: Zone = "deidentified"
    buckets: tuple[str, int] | None = None
    keep_days: int | None = None
    """Rows whose date is older may go; None: for ever. ``WARD_LAKE_KEEP`` overrides."""

    @property
    def path(self) -> str:
        """Its folder on HDFS."""
        return f"{TABLES}/{self.name}"


def _c(*rows: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


FROM: Final = _c(
    ("kafka_partition", "int", "partition of the topic that the row came from"),
    ("kafka_offset", "bigint", "its offset there"),
    ("row", "int", "which row of that record, from 0: (kafka_partition, kafka_offset, row) is the row's identity"),
    ("event_ms", "bigint", "when it was so, epoch ms UTC; the row's date is this moment's"),
    ("ingest_ms", "bigint", "when the broker took the record, epoch ms UTC"),
    ("schema_version", "int", "version of the schema that the writer used"),
)
"""Columns that every table of a topic begins with."""

BY_DATE: Final = Column(
    "date", "date", "UTC date of event_ms, however late it came; of ingest_ms where that clock cannot be right"
)
BY_WARD: Final = Column("ward", "string", "the ward; `~unnamed` stands for names that no folder can have")
BY_DATE_AND_WARD: Final = (BY_DATE, BY_WARD)
BY_MONTH_AND_MODALITY: Final = _c(
    ("year", "int", "year of the (shifted) study date, 0 when unknown"),
    ("month", "int", "its month, 0 when unknown"),
    ("modality", "string", "DICOM modality (0008,0060): CR, CT, DX, MR, ...; `unknown` when it is not told"),
)

DRIVERS: Final = "array<struct<what:string,share:double,vital:string>>"
MODELS: Final = "array<struct<name:string,version:string>>"
"""Name and version of each model of the registry in force."""

RECORDS: Final = Table(
    "records",
    "one Kafka record, byte for byte, of every topic that is landed",
    _c(
        ("kafka_partition", "int", "partition"),
        ("kafka_offset", "bigint", "offset: (topic, kafka_partition, kafka_offset) is the row's identity"),
        ("ingest_ms", "bigint", "the broker's timestamp of the record, epoch ms UTC"),
        ("key", "binary", "the message key"),
        ("value", "binary", "the message value; null for a tombstone"),
        ("headers", "array<struct<key:string,value:binary>>", "the message headers, in order"),
        ("rows", "int", "how many rows it became in the tables of its topic; 0 for one that no schema fits"),
        ("unreadable", "string", "why no schema fits it, else null"),
    ),
    partitions=(
        Column("topic", "string", "the topic"),
        Column("date", "date", "UTC date of ingest_ms"),
    ),
    zone="restricted",
)

VITALS_TABLE: Final = Table(
    "vitals",
    "one reading of one vital of one bed",
    (
        *FROM,
        *_c(
            ("bed", "string", "bed"),
            ("patient", "string", "pseudonym"),
            ("vital", "string", "which vital sign; see contracts.records.Vital"),
            ("value", "double", "its value in `unit`; null for a letter or when the device had none"),
            ("letter", "string", "ACVPU letter of consciousness"),
            ("unit", "string", "unit as sent; null: the canonical one"),
            ("source", "string", "ecg, pleth, arterial, cuff, probe, nurse, monitor"),
            ("quality", "string", "measured, held, interpolated, no_signal, measuring"),
            ("frame_ms", "bigint", "the gateway's tick that carried it, epoch ms UTC"),
            ("gateway", "string", "which gateway"),
            ("seq", "bigint", "the gateway's frame counter"),
        ),
    ),
    BY_DATE_AND_WARD,
    VITALS,
)

SCORES_TABLE: Final = Table(
    "scores",
    "one bed after one frame: NEWS2 as an interval, values in force, open alarms",
    (
        *FROM,
        *_c(
            ("bed", "string", "bed"),
            ("patient", "string", "pseudonym"),
            ("now_ms", "bigint", "log time of the frame that was scored, epoch ms UTC"),
            ("heard_ms", "bigint", "log time of the bed's last reading, epoch ms UTC"),
            ("news2_min", "int", "NEWS2 at the least, over what missing components could be"),
            ("news2_max", "int", "NEWS2 at the most"),
            ("news2_scale", "int", "SpO2 scale: 1 or 2"),
            ("single_red", "boolean", "whether one component alone has 3 points"),
            ("components", "array<struct<vital:string,points:int,age_ms:bigint>>", "points of each NEWS2 component"),
            (
                "values",
                "array<struct<vital:string,value:double,letter:string,at_ms:bigint,tag:string,quality:string,"
                "source:string>>",
                "the latest value of each vital and what the core made of it",
            ),
            (
                "alarms",
                "array<struct<condition:string,state:string,priority:string,category:string,alert_id:string,"
                "onset_ms:bigint>>",
                "alarms of the bed that are not inactive",
            ),
            ("late", "int", "readings of the frame that came late"),
            ("duplicates", "int", "readings of the frame that had come before"),
            ("policy", "string", "hash of the alarm policy"),
            ("frame_partition", "int", "partition of the vitals frame behind it"),
            ("frame_offset", "bigint", "offset of the vitals frame behind it"),
        ),
    ),
    BY_DATE_AND_WARD,
    SCORES,
)

OUTLOOKS: Final = Table(
    "outlooks",
    "what the models made of one bed at one tick: anomaly and risks",
    (
        *FROM,
        *_c(
            ("bed", "string", "bed"),
            ("patient", "string", "pseudonym"),
            ("anomaly", "double", "calibrated anomaly score in [0, 1]; null when none was asked for"),
            ("learning", "boolean", "whether the detector was learning"),
            ("baseline_s", "int", "seconds of this patient learned"),
            ("drivers", DRIVERS, "what drove the anomaly, the largest first"),
            ("drift", "array<string>", "vitals whose usual level was just found to have changed"),
            (
                "risks",
                f"array<struct<name:string,probability:double,horizon_s:int,known:double,drivers:{DRIVERS}>>",
                "calibrated probabilities of deterioration",
            ),
            ("models", MODELS, "models in force"),
            ("frame_partition", "int", "partition of the vitals frame behind it"),
            ("frame_offset", "bigint", "offset of the vitals frame behind it"),
        ),
    ),
    BY_DATE_AND_WARD,
    SCORES,
)

FORECASTS_TABLE: Final = Table(
    "forecasts",
    "one vital of one bed at one horizon, forecast at one tick",
    (
        *FROM,
        *_c(
            ("bed", "string", "bed"),
            ("patient", "string", "pseudonym"),
            ("vital", "string", "which vital sign"),
            ("horizon_s", "int", "seconds ahead of event_ms"),
            ("levels", "array<double>", "levels of the quantiles, ascending"),
            ("quantiles", "array<double>", "the quantiles, in the vital's unit"),
            ("below", "double", "probability of being below the low limit at some time up to the horizon"),
            ("above", "double", "probability of being above the high limit"),
            ("engine", "string", "lstm or persistence"),
            ("skill", "double", "1 - MAE / MAE of persistence in this ward lately"),
            ("known", "double", "share of the past that was there to be seen"),
            ("models", MODELS, "models in force"),
            ("frame_partition", "int", "partition of the vitals frame behind it"),
            ("frame_offset", "bigint", "offset of the vitals frame behind it"),
        ),
    ),
    BY_DATE_AND_WARD,
    FORECASTS,
)

ALERTS_TABLE: Final = Table(
    "alerts",
    "one transition of one alarm",
    (
        *FROM,
        *_c(
            ("alert_id", "string", "the alarm's episode"),
            ("seq", "int", "which step of it: (alert_id, seq) is the transition's identity"),
            ("bed", "string", "bed"),
            ("patient", "string", "pseudonym"),
            ("condition", "string", "what is wrong"),
            ("category", "string", "physiological, technical, advisory"),
            ("priority", "string", "high, medium, low (IEC 60601-1-8)"),
            ("event", "string", "why it changed: raised, acknowledged, cleared, ..."),
            ("state", "string", "the state after it"),
            ("onset_ms", "bigint", "the episode's start, epoch ms UTC"),
            ("message", "string", "as shown, like `SpO2 84<90`"),
            ("vital", "string", "the vital it speaks of"),
            ("value", "double", "its value"),
            ("limit", "double", "the limit it broke"),
            ("reading_ms", "bigint", "time of the reading behind it, epoch ms UTC"),
            ("escalation", "int", "how often it was escalated"),
            ("policy", "string", "hash of the alarm policy"),
            ("model", "string", "`name@version` behind an advisory"),
            ("probability", "double", "an advisory's calibrated probability"),
            ("lead_s", "int", "how far an early warning looks ahead"),
            ("drivers", DRIVERS, "what drove an advisory"),
            ("actor", "string", "who acted; not in the de-identified view"),
            ("note", "string", "free text; not in the de-identified view"),
            ("frame_partition", "int", "partition of the vitals frame behind it"),
            ("frame_offset", "bigint", "offset of the vitals frame behind it"),
        ),
    ),
    BY_DATE_AND_WARD,
    ALERTS,
)

ACTIONS: Final = Table(
    "actions",
    "one thing that a person did to an alarm or a bed",
    (
        *FROM,
        *_c(
            ("action_id", "string", "the action's identity"),
            ("bed", "string", "bed"),
            ("alert_id", "string", "the alarm; null for the whole bed"),
            ("kind", "string", "acknowledge, pause_audio, escalate, note, standby, ..."),
            ("actor", "string", "who"),
            ("role", "string", "as what"),
            ("pause_s", "int", "the pause asked for"),
            ("text", "string", "free text"),
        ),
    ),
    BY_DATE_AND_WARD,
    ALERT_ACTIONS,
    zone="restricted",
)

IMAGES: Final = Table(
    "images",
    "one arrival of a stored, de-identified image",
    (
        *FROM,
        *_c(
            ("patient", "string", "pseudonym"),
            ("study", "string", "pseudonymous StudyInstanceUID"),
            ("series", "string", "pseudonymous SeriesInstanceUID"),
            ("instance", "string", "pseudonymous SOPInstanceUID"),
            ("modality", "string", "DICOM modality"),
            ("body_part", "string", "DICOM BodyPartExamined"),
            ("view", "string", "view or plane"),
            ("uri", "string", "where it lies on HDFS"),
            ("sha256", "string", "of its bytes"),
            ("revision", "int", "which arrival of the instance, from 0"),
            ("laterality", "string", "L, R or null"),
            ("sex", "string", "F, M, O or null: retained patient characteristics"),
            ("age_years", "double", "at the study, 90 and above told as 90"),
            ("source", "string", "how it came: c_store, folder, submit, upload"),
            ("format", "string", "what it was before it was stored as DICOM"),
            ("rows", "int", "height in pixels"),
            ("cols", "int", "width in pixels"),
        ),
    ),
    BY_DATE_AND_WARD,
    IMAGE_ARRIVALS,
)

JOBS: Final = Table(
    "image_jobs",
    "one request that a model read an image",
    (
        *FROM,
        *_c(
            ("job_id", "string", "the job"),
            ("study", "string", "pseudonymous StudyInstanceUID"),
            ("instance", "string", "pseudonymous SOPInstanceUID"),
            ("uri", "string", "where the image lies"),
            ("sha256", "string", "of its bytes"),
            ("model", "string", "which model"),
            ("urgency", "int", "higher goes first"),
            ("attempt", "int", "from 1"),
            ("patient", "string", "pseudonym"),
            ("series", "string", "pseudonymous SeriesInstanceUID"),
            ("modality", "string", "DICOM modality"),
            ("body_part", "string", "DICOM BodyPartExamined"),
            ("view", "string", "view or plane"),
            ("sex", "string", "F, M, O or null"),
            ("age_years", "double", "at the study, 90 and above told as 90"),
            ("rule", "string", "the rule that asked for it"),
            ("arrived_ms", "bigint", "when the image came to the gateway, epoch ms UTC"),
            ("revision", "int", "which arrival of the instance, from 0"),
        ),
    ),
    (BY_DATE,),
    IMAGE_JOBS,
)

PREDICTIONS: Final = Table(
    "predictions",
    "what a model said of one image, or why it declined",
    (
        *FROM,
        *_c(
            ("job_id", "string", "the job: trace it with `ward lake trace`"),
            ("study", "string", "pseudonymous StudyInstanceUID"),
            ("instance", "string", "pseudonymous SOPInstanceUID"),
            ("patient", "string", "pseudonym; null in results of before it was told"),
            ("model", "string", "which model"),
            ("model_sha256", "string", "the manifest's sha256: its first 12 digits are the version"),
            ("code", "string", "version of the code that ran it"),
            ("input_sha256", "string", "of the bytes that were read"),
            ("label", "string", "the finding"),
            ("probability", "double", "calibrated"),
            ("refusal", "string", "why it declined"),
            ("heatmap_uri", "string", "where the heat map lies"),
            ("detail", "string", "why it declined, in a sentence"),
            ("probabilities", "map<string,double>", "calibrated, of every label"),
            ("positive", "boolean", "whether it is a finding: what counts as one reached `threshold`"),
            ("threshold", "double", "that summed probability"),
            ("value", "double", "a measure in `unit`"),
            ("low", "double", "low end of its 90 % band"),
            ("high", "double", "and its high end"),
            ("unit", "string", "of value, low and high"),
            ("preview_uri", "string", "where the image lies as it was read, beside the heat map"),
            ("uri", "string", "where the image lies"),
            ("series", "string", "pseudonymous SeriesInstanceUID"),
            ("modality", "string", "DICOM modality"),
            ("body_part", "string", "DICOM BodyPartExamined"),
            ("view", "string", "view or plane"),
            ("caveats", "array<string>", "what must be told with it"),
            ("arrived_ms", "bigint", "when the image came to the gateway, epoch ms UTC"),
            ("took_ms", "bigint", "milliseconds of reading"),
            ("attempt", "int", "which attempt it was, from 1"),
            ("revision", "int", "which arrival of the instance, from 0"),
        ),
    ),
    (BY_DATE,),
    IMAGE_RESULTS,
)

REFUSALS: Final = Table(
    "image_refusals",
    "one image that was not let in",
    (
        *FROM,
        *_c(
            ("refusal_id", "string", "the refusal's identity"),
            ("sha256", "string", "of the bytes that came; they lie in the identified zone"),
            ("reason", "string", "a short stable word"),
            ("detail", "string", "what was found and what was expected"),
            ("source", "string", "how it came: c_store, folder, submit, upload"),
            ("size", "bigint", "bytes"),
        ),
    ),
    (BY_DATE,),
    IMAGE_REFUSALS,
    zone="restricted",
)

STUDIES: Final = Table(
    "image_studies",
    "one revision of a study that had been quiet for a while",
    (
        *FROM,
        *_c(
            ("study", "string", "pseudonymous StudyInstanceUID"),
            ("patient", "string", "pseudonym"),
            ("revision", "int", "which revision of the study, from 0"),
            ("instances", "array<string>", "pseudonymous SOPInstanceUIDs of its images"),
            ("first_ms", "bigint", "when its first image came, epoch ms UTC"),
            ("last_ms", "bigint", "when its last one came, epoch ms UTC"),
        ),
    ),
    (BY_DATE,),
    IMAGE_STUDIES,
)

IMAGE_FINDINGS_TABLE: Final = Table(
    "image_findings",
    "one change of one positive finding",
    (
        *FROM,
        *_c(
            ("finding_id", "string", "the finding"),
            ("seq", "int", "which step of it: (finding_id, seq) is the change's identity"),
            ("study", "string", "pseudonymous StudyInstanceUID"),
            ("instance", "string", "pseudonymous SOPInstanceUID"),
            ("patient", "string", "pseudonym"),
            ("model", "string", "which model"),
            ("label", "string", "what was found"),
            ("priority", "string", "high, medium, low"),
            ("state", "string", "open, escalated, accepted, rejected, withdrawn"),
            ("job_id", "string", "the job behind it: trace it with `ward lake trace`"),
            ("policy", "string", "hash of the findings policy"),
            ("why", "string", "what made the priority"),
            ("probability", "double", "calibrated"),
            ("actor", "string", "who accepted or rejected it; not in the de-identified view"),
        ),
    ),
    (BY_DATE,),
    IMAGE_FINDINGS,
)

FEEDBACK: Final = Table(
    "image_feedback",
    "what one reader made of one result: a label for training",
    (
        *FROM,
        *_c(
            ("feedback_id", "string", "the feedback's identity"),
            ("job_id", "string", "the job whose result it is about"),
            ("study", "string", "pseudonymous StudyInstanceUID"),
            ("instance", "string", "pseudonymous SOPInstanceUID"),
            ("patient", "string", "pseudonym"),
            ("model", "string", "which model"),
            ("verdict", "string", "accept or reject"),
            ("label", "string", "what is right in the reader's view"),
            ("value", "double", "the same of a measure"),
            ("uri", "string", "where the image lies"),
            ("sha256", "string", "of its bytes"),
            ("actor", "string", "who; not in the de-identified view"),
            ("note", "string", "free text; not in the de-identified view"),
        ),
    ),
    (BY_DATE,),
    IMAGE_FEEDBACK,
)

DEAD: Final = Table(
    "dead_letters",
    "one record, or part of one, that the platform could not use",
    (
        *FROM,
        *_c(
            ("source_topic", "string", "where it stood"),
            ("source_partition", "int", "its partition"),
            ("source_offset", "bigint", "its offset"),
            ("reason", "string", "a short stable word"),
            ("field", "string", "JSON path of the offending part"),
            ("detail", "string", "what was found and what was expected"),
            ("by", "string", "who set it aside"),
            ("partial", "boolean", "whether only a part of the record was bad"),
        ),
    ),
    (BY_DATE,),
    DEAD_LETTERS,
    zone="restricted",
)

ACCESS: Final = Table(
    "access",
    "one read of patients' data by a person or a program",
    (
        *FROM,
        *_c(
            ("access_id", "string", "the access's identity"),
            ("actor", "string", "who"),
            ("role", "string", "as what"),
            ("action", "string", "what was done: sql, cohort_freeze, cohort_export, trace, report, plot, feed, ..."),
            ("target", "string", "of what: tables, a cohort, a patient, a path"),
            ("query", "string", "the text that was run"),
            ("purpose", "string", "why, in the actor's words"),
            ("outcome", "string", "granted or refused"),
        ),
    ),
    (BY_DATE,),
    ACCESS_LOG,
    zone="restricted",
)

IMAGE_METADATA: Final = Table(
    "image_metadata",
    "one image file: what its header says, de-identified, and what preprocessing made of it",
    _c(
        ("image_id", "string", "sha256 of the file's bytes: the row's identity"),
        ("patient", "string", "pseudonym; null when the file tells no patient"),
        ("study", "string", "pseudonymous StudyInstanceUID"),
        ("series", "string", "pseudonymous SeriesInstanceUID"),
        ("instance", "string", "pseudonymous SOPInstanceUID"),
        ("uri", "string", "where the file lies on HDFS"),
        ("format", "string", "dicom, jpeg, png, tiff"),
        ("transfer_syntax", "string", "UID of the DICOM transfer syntax"),
        ("sop_class", "string", "UID of the DICOM SOP class"),
        ("body_part", "string", "DICOM BodyPartExamined"),
        ("view", "string", "ViewPosition, else the image plane"),
        ("laterality", "string", "L, R or null"),
        ("study_date", "date", "shifted by the patient's own number of days"),
        ("sex", "string", "F, M, O or null: retained patient characteristics"),
        ("age_years", "double", "at the study, 90 and above told as 90"),
        ("rows", "int", "height in pixels"),
        ("cols", "int", "width in pixels"),
        ("frames", "int", "frames of the file"),
        ("bits", "int", "bits stored a sample"),
        ("photometric", "string", "DICOM PhotometricInterpretation, or the mode of a picture"),
        ("spacing_mm", "array<double>", "pixel spacing, rows and columns"),
        ("manufacturer", "string", "of the device"),
        ("bytes", "bigint", "size of the file"),
        ("mean", "double", "mean of the normalised image, in [0, 1]"),
        ("std", "double", "its standard deviation"),
        ("p01", "double", "its 1st percentile"),
        ("p99", "double", "its 99th percentile"),
        ("entropy", "double", "of its 256-bin histogram, in bits"),
        ("code", "string", "version of the preprocessing code"),
    ),
    BY_MONTH_AND_MODALITY,
    buckets=("patient", 8),
)

SHARDS: Final = Table(
    "image_shards",
    "one image, resized and normalised, ready to be trained on",
    _c(
        ("image_id", "string", "sha256 of the file's bytes"),
        ("patient", "string", "pseudonym"),
        ("label", "string", "from a labels file that lay beside the images; null without one"),
        ("split", "string", "train, validation, test, or null"),
        ("pixels", "binary", "float32 little-endian, rows by columns, in [0, 1]; one channel"),
        ("pixels_sha256", "string", "of `pixels`: the same file gives the same bytes"),
        ("code", "string", "version of the preprocessing code"),
    ),
    _c(
        ("dataset", "string", "which set of images, as named when it was put in"),
        ("size", "int", "128 or 224: rows and columns"),
        ("modality", "string", "DICOM modality"),
    ),
    buckets=("patient", 8),
)

FEATURES: Final = Table(
    "features",
    "one image as a vector",
    _c(
        ("image_id", "string", "sha256 of the file's bytes"),
        ("patient", "string", "pseudonym"),
        ("vector", "array<float>", "the features"),
        ("model", "string", "`name@version` of what made them"),
        ("code", "string", "version of the code"),
    ),
    _c(
        ("dataset", "string", "which set of images"),
        ("kind", "string", "pca or backbone"),
    ),
    buckets=("patient", 8),
)

QUARANTINE: Final = Table(
    "quarantine",
    "one image file that could not be used, and why",
    _c(
        ("image_id", "string", "sha256 of the file's bytes"),
        ("uri", "string", "where the file lies"),
        ("reason", "string", "a short stable word"),
        ("detail", "string", "what was found and what was expected"),
        ("bytes", "bigint", "size of the file"),
        ("code", "string", "version of the preprocessing code"),
    ),
    _c(("dataset", "string", "which set of images")),
    zone="restricted",
)

CLINICAL: Final = Table(
    "clinical",
    "one clinical fact of one patient: a biomarker, an outcome, a characteristic",
    _c(
        ("patient", "string", "pseudonym"),
        ("at_ms", "bigint", "when it was so, epoch ms UTC; null for what does not change"),
        ("name", "string", "what, like `lactate` or `t_score`"),
        ("value", "double", "its value in `unit`"),
        ("text", "string", "its value where that is a word"),
        ("unit", "string", "UCUM unit"),
        ("low", "double", "where the value was told as a range or a bound, like `<0.5`: at least this"),
        ("high", "double", "and at most this"),
        ("usual_low", "double", "low end of the reference range that came with it"),
        ("usual_high", "double", "and its high end"),
    ),
    _c(("dataset", "string", "which set of facts, as named when it was put in")),
)

COHORTS: Final = Table(
    "cohorts",
    "one frozen cohort",
    _c(
        ("cohort", "string", "its id: the hash of what it was made from"),
        ("name", "string", "as its maker called it"),
        ("made_ms", "bigint", "when, epoch ms UTC"),
        ("made_by", "string", "by whom; not in the de-identified view"),
        ("query", "string", "the SQL text; not in the de-identified view"),
        ("rows", "bigint", "rows selected"),
        ("patients", "bigint", "patients among them"),
        ("snapshot", "string", "sha256 of the snapshot manifest: what the tables held"),
        ("code", "string", "version of the code"),
    ),
)

FROM_TOPICS: Final = (
    VITALS_TABLE,
    SCORES_TABLE,
    OUTLOOKS,
    FORECASTS_TABLE,
    ALERTS_TABLE,
    ACTIONS,
    IMAGES,
    JOBS,
    PREDICTIONS,
    REFUSALS,
    STUDIES,
    IMAGE_FINDINGS_TABLE,
    FEEDBACK,
    DEAD,
    ACCESS,
)
"""Tables that the stream writes, besides ``records``."""

ALL: Final[Mapping[str, Table]] = MappingProxyType(
    {
        table.name: table
        for table in (
            RECORDS,
            *FROM_TOPICS,
            IMAGE_METADATA,
            SHARDS,
            FEATURES,
            QUARANTINE,
            CLINICAL,
            COHORTS,
        )
    }
)

LANDED: Final = tuple(topic for topic in TOPICS if not topic.internal)
"""Topics whose every record is landed: all but the core's own snapshots, which repeat what the log says."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._~ -]")


def partition_value(text: str) -> str:
    """A value as it stands in a path ``name=value``: what is not plain is percent-encoded, an empty one is named.

    >>> partition_value("W3/a")
    'W3%2Fa'
    """
    quoted = _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)
    return quoted or "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Owner:
    """Who owns a folder of HDFS, and its mode in octal digits."""

    user: str
    group: str
    mode: str


ZONES: Final[Mapping[str, Owner]] = MappingProxyType(
    {
        ROOT: Owner("ward", "research", "755"),
        TABLES: Owner("ward", "research", "755"),
        STAGING: Owner("ward", "ward", "700"),
        MANIFESTS: Owner("ward", "research", "755"),
        CHECKPOINT: Owner("ward", "ward", "700"),
        COHORTS_ROOT: Owner("ward", "research", "750"),
        EXPORTS_ROOT: Owner("ward", "research", "750"),
        IMAGES_ROOT: Owner("ward", "research", "750"),
        IDENTIFIED_ROOT: Owner("identity", "identity", "700"),
        **{
            table.path: Owner("ward", {"deidentified": "research"}.get(table.zone, "ward"), "750")
            for table in ALL.values()
        },
    }
)
"""Every zone of HDFS, its owner and mode: made so by ``infra.launch.zones``, held so by a test."""

MEMBERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ward": ("ward", "research"),
        "hive": ("ward", "research"),
        "researcher": ("research",),
        "identity": ("identity",),
    }
)
"""The users that HDFS knows, and their groups: ``ward`` is the platform, ``hive`` reads for the clients of SQL and owns
nothing, so that none of them can change a file, ``identity`` may lead back to persons."""
