"""The system on one page: every topic, every step, who writes and who reads.

Topic creation, the worker's subscriptions, the README's picture and the docs derive from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from contracts import records as r

R = TypeVar("R", bound=r.Record)

DAY_MS: Final = 24 * 3600 * 1000
PARTITIONS: Final = 12


@dataclass(frozen=True)
class Topic(Generic[R]):
    """A Kafka topic: its record, key, and broker settings. ``key`` says in words what the message key is."""

    name: str
    record: type[R]
    key: str
    purpose: str
    partitions: int = PARTITIONS
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"retention.ms": str(7 * DAY_MS)}))
    internal: bool = False


@dataclass(frozen=True)
class Step:
    """A program that reads and writes topics; ``name`` is the module that runs it."""

    name: str
    does: str
    reads: tuple[Topic[Any], ...] = ()
    writes: tuple[Topic[Any], ...] = ()


VITALS: Final = Topic(
    "patient_vitals",
    r.VitalsFrame,
    "ward",
    "one gateway tick: readings of 1..N beds; also the log's clock ticks, sequenced actions, what is known of patients",
    config=MappingProxyType({"retention.ms": str(7 * DAY_MS), "message.timestamp.type": "LogAppendTime"}),
)
IMAGE_ARRIVALS: Final = Topic("image_arrivals", r.ImageArrival, "study", "a stored, de-identified image")
SCORES: Final = Topic(
    "vitals_scores",
    r.ScoreFrame,
    "ward",
    "tagged values, NEWS2 interval and open alarms a bed; what the models make of it",
)
FORECASTS: Final = Topic(
    "vitals_forecasts",
    r.VitalsForecast,
    "ward",
    "quantiles of each vital ahead, and the probability of crossing a limit",
)
IMAGE_JOBS: Final = Topic("image_jobs", r.ImageJob, "study", "which model reads which image")
IMAGE_RESULTS: Final = Topic("image_results", r.ImageResult, "study", "finding or refusal of one image")
IMAGE_REFUSALS: Final = Topic("image_refusals", r.ImageRefusal, "sha256", "an image that was not let in, and why")
IMAGE_STUDIES: Final = Topic(
    "image_studies", r.StudyRevision, "study", "a study that is complete as far as anyone can tell, by revision"
)
IMAGE_FINDINGS: Final = Topic(
    "image_findings",
    r.ImageFinding,
    "study",
    "every change of a positive finding: the radiologist's list",
    config=MappingProxyType({"retention.ms": str(90 * DAY_MS)}),
)
IMAGE_FEEDBACK: Final = Topic(
    "image_feedback",
    r.ImageFeedback,
    "study",
    "what readers made of results: labels for training",
    config=MappingProxyType({"retention.ms": str(90 * DAY_MS)}),
)
ALERTS: Final = Topic(
    "alerts",
    r.AlertTransition,
    "alert id",
    "every transition of every alarm",
    config=MappingProxyType({"retention.ms": str(90 * DAY_MS)}),
)
ALERT_ACTIONS: Final = Topic(
    "alert_actions",
    r.AlertAction,
    "ward",
    "acknowledge, audio pause, escalate, note, standby: by whom",
    config=MappingProxyType({"retention.ms": str(90 * DAY_MS)}),
)
ACCESS_LOG: Final = Topic(
    "access_log",
    r.Access,
    "actor",
    "who read what of patients' data, and why",
    partitions=1,
    config=MappingProxyType({"retention.ms": str(90 * DAY_MS)}),
)
DEAD_LETTERS: Final = Topic(
    "dead_letters",
    r.DeadLetter,
    "source topic",
    "what could not be read, its bytes and why",
    partitions=1,
    config=MappingProxyType({"retention.ms": str(90 * DAY_MS)}),
)
SNAPSHOTS: Final = Topic(
    "ward_snapshots",
    r.WardSnapshot,
    "ward",
    "the core's state of a ward, so that a restart resumes within seconds",
    config=MappingProxyType(
        {
            "cleanup.policy": "compact",
            "segment.ms": "60000",
            "min.cleanable.dirty.ratio": "0.2",
            "delete.retention.ms": "60000",
            "max.message.bytes": str(16 * 1024 * 1024),  # a ward is one record, whatever models remember of its beds
        }
    ),
    internal=True,
)

TOPICS: Final[tuple[Topic[Any], ...]] = (
    VITALS,
    IMAGE_ARRIVALS,
    SCORES,
    FORECASTS,
    IMAGE_JOBS,
    IMAGE_RESULTS,
    IMAGE_REFUSALS,
    IMAGE_STUDIES,
    IMAGE_FINDINGS,
    IMAGE_FEEDBACK,
    ALERTS,
    ALERT_ACTIONS,
    ACCESS_LOG,
    DEAD_LETTERS,
    SNAPSHOTS,
)

STEPS: Final[tuple[Step, ...]] = (
    Step("producers.recordings", "plays real ICU recordings", writes=(VITALS,)),
    Step("producers.ward", "the simulated hospital", writes=(VITALS,)),
    Step(
        "streams.worker",
        "validates, scores NEWS2, asks the models, runs the alarms",
        reads=(VITALS, ALERT_ACTIONS, SNAPSHOTS),
        writes=(VITALS, SCORES, FORECASTS, ALERTS, DEAD_LETTERS, SNAPSHOTS),
    ),
    Step(
        "producers.dicom_gateway",
        "takes images in by C-STORE, folder, submit or upload: de-identifies, stores, tells",
        writes=(IMAGE_ARRIVALS, IMAGE_REFUSALS),
    ),
    Step(
        "streams.imaging",
        "which model reads which image; when a study is complete; what stands on the radiologist's list",
        reads=(IMAGE_ARRIVALS, IMAGE_RESULTS, IMAGE_FEEDBACK, SCORES),
        writes=(IMAGE_JOBS, IMAGE_RESULTS, IMAGE_STUDIES, IMAGE_FINDINGS, DEAD_LETTERS),
    ),
    Step(
        "streams.image_worker",
        "reads images: gate, model, heat map",
        reads=(IMAGE_JOBS,),
        writes=(IMAGE_RESULTS, DEAD_LETTERS),
    ),
    Step("producers.image_return", "results as DICOM, to where they are wanted", reads=(IMAGE_RESULTS,)),
    Step(
        "streams.feed.server",
        "the live alert feed",
        reads=(SCORES, FORECASTS, ALERTS, IMAGE_RESULTS, IMAGE_REFUSALS, IMAGE_FINDINGS, IMAGE_FEEDBACK),
        writes=(ALERT_ACTIONS, ACCESS_LOG, IMAGE_FEEDBACK),
    ),
    Step(
        "streams.influx",
        "brings all of it to InfluxDB, for the monitoring wall",
        reads=(SCORES, FORECASTS, ALERTS, IMAGE_RESULTS, IMAGE_REFUSALS, IMAGE_FINDINGS),
    ),
    Step(
        "streams.cli",
        "ward tail, ward acknowledge, ward dlq",
        reads=(ALERTS, DEAD_LETTERS),
        writes=(ALERT_ACTIONS, VITALS),
    ),
    Step(
        "batch.lake",
        "Spark lands every record as Parquet on HDFS, once",
        reads=(
            VITALS,
            SCORES,
            FORECASTS,
            ALERTS,
            ALERT_ACTIONS,
            IMAGE_ARRIVALS,
            IMAGE_JOBS,
            IMAGE_RESULTS,
            IMAGE_REFUSALS,
            IMAGE_STUDIES,
            IMAGE_FINDINGS,
            IMAGE_FEEDBACK,
            ACCESS_LOG,
            DEAD_LETTERS,
        ),
    ),
    Step("batch.cli", "ward lake, ward cohort: who reads what is told", writes=(ACCESS_LOG,)),
)

CLOCK_KEY: Final = "~clock"
"""Key of a clock tick of the log; such a frame has neither beds nor actions and its ward is this word."""


def topic_named(name: str) -> Topic[Any]:
    """The topic of that name; KeyError when there is none."""
    return {topic.name: topic for topic in TOPICS}[name]


def partition_for(key: str, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a non-empty UTF-8 key (murmur2, as every Java client)."""
    return (_murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    length = len(data)
    h = (0x9747B28C ^ length) & mask
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * m) & mask
        k ^= k >> 24
        h = ((h * m) & mask) ^ ((k * m) & mask)
    tail = data[length - length % 4 :]
    if tail:
        h = ((h ^ int.from_bytes(tail, "little")) * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)


def as_mermaid() -> str:
    """The flow as a Mermaid flowchart, for the README."""
    lines = ["flowchart LR"]
    for step in STEPS:
        lines.append(f'  {_node(step.name)}["{step.name}<br/><small>{step.does}</small>"]')
    for topic in TOPICS:
        lines.append(f"  {topic.name}[({topic.name})]")
    for step in STEPS:
        lines += [f"  {topic.name} --> {_node(step.name)}" for topic in step.reads]
        lines += [f"  {_node(step.name)} --> {topic.name}" for topic in step.writes]
    return "\n".join(lines)


def _node(name: str) -> str:
    return name.replace(".", "_")
