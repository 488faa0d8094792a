"""Every process of the topology, in one table: what it runs, what it needs, how to tell that it is well.

up, down, status, logs, doctor, the demo, the test fixtures and the check of docker-compose.yml derive from here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from contracts.errors import Misconfigured
from infra.launch import grafana, hdfs, influx, kafka, spark
from infra.launch.probes import http_answers, page_has, points_flow
from infra.site import Site
from infra.supervisor import LEFTOVERS

Health = Callable[[Site], str | None]
Profile = Literal["core", "demo"]


def alive(_site: Site) -> str | None:
    """Health of a process that only has to run."""
    return None


def here() -> str | None:
    """A process that runs anywhere."""
    return None


def python(*arguments: str) -> Callable[[Site], list[str]]:
    """The command line of one of our own modules."""
    return lambda _site: [sys.executable, "-m", *arguments]


@dataclass(frozen=True)
class Container:
    """The same process in docker-compose.yml: its service and image.

    ``image`` None is our own: ``stage`` of infra/Dockerfile, called as its image is.
    """

    image: str | None
    heap_variable: str | None = None
    stage: str = "wardstream"


@dataclass(frozen=True)
class Process:
    """One program. ``once`` runs to its end; every other one is started again whenever it ends.

    ``health`` answers None when well, else what is wrong. ``ready_s`` is how long a first start may take on a busy
    machine. ``heap_mb`` bounds a Java heap. ``nice`` above 0 gives way to the rest (``supervisor.give_way``).
    ``container`` is None where the official image does it itself. ``absent`` tells why it cannot run here and the fix,
    else None; whoever asks for an absent one by name is told.
    """

    name: str
    does: str
    command: Callable[[Site], list[str]]
    health: Health = alive
    needs: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    prepare: Callable[[Site], None] | None = None
    fetches: tuple[str, ...] = ()
    heap_mb: int | None = None
    nice: int = 0
    once: bool = False
    profile: Profile = "core"
    ready_s: float = 90.0
    stop_s: float = 10.0
    environ: Mapping[str, str] = field(default_factory=dict)
    absent: Callable[[], str | None] = here
    container: Container | None = None

    @property
    def is_server(self) -> bool:
        """Whether this is a fetched server rather than one of our own modules."""
        return bool(self.fetches) and (self.container is None or self.container.image is not None)


BEHIND_VITALS: Final = LEFTOVERS
"""A slow image delays no vital; nor does the archive, which gives way to both where niceness is all that there is."""
STORES: Final = 5
"""Images and the archive wait for HDFS, and no vital does."""
OWN: Final = Container(None)
OWN_WITH_SPARK: Final = Container(None, stage="wardstream-lake")

PROCESSES: Final[tuple[Process, ...]] = (
    Process(
        "kafka",
        "the log everything goes through",
        kafka.command,
        kafka.health,
        ports=("kafka", "kafka_controller"),
        prepare=kafka.prepare,
        fetches=("kafka",),
        heap_mb=kafka.HEAP_MB,
        container=Container("apache/kafka:4.3.1", heap_variable="KAFKA_HEAP_OPTS"),
    ),
    Process(
        "topics",
        "makes the topics of contracts/topology.py",
        python("infra.topics"),
        needs=("kafka",),
        once=True,
        container=OWN,
    ),
    Process(
        "vitals",
        "the Faust worker: validates, scores, raises alarms",
        python("streams.worker"),
        lambda site: page_has(
            site.url("vitals_metrics") + "/metrics", "ward_frames_total{", "it has taken nothing from the log yet"
        ),
        needs=("topics",),
        ports=("vitals_metrics",),
        container=OWN,
    ),
    Process(
        "feed",
        "the live alert feed",
        python("streams.feed.server"),
        lambda site: http_answers(site.url("feed") + "/readyz"),
        needs=("topics",),
        ports=("feed",),
        fetches=("web",),
        container=OWN,
    ),
    Process(
        "recordings",
        "plays real ICU recordings",
        python("producers.recordings"),
        needs=("vitals", "feed"),
        profile="demo",
        container=OWN,
    ),
    Process(
        "simulator",
        "the simulated ward, with scripted deteriorations",
        python("producers.ward"),
        needs=("vitals", "feed"),
        profile="demo",
        container=OWN,
    ),
    Process(
        "namenode",
        "HDFS: where files are",
        hdfs.namenode_command,
        hdfs.namenode_health,
        ports=("namenode", "namenode_http"),
        prepare=hdfs.prepare,
        fetches=("hadoop",),
        heap_mb=hdfs.HEAP_MB,
        nice=STORES,
        container=Container("apache/hadoop:3.4.1", heap_variable="HDFS_NAMENODE_OPTS"),
    ),
    Process(
        "datanode",
        "HDFS: the files",
        hdfs.datanode_command,
        hdfs.datanode_health,
        needs=("namenode",),
        ports=("datanode", "datanode_http", "datanode_ipc"),
        fetches=("hadoop",),
        heap_mb=hdfs.HEAP_MB,
        nice=STORES,
        container=Container("apache/hadoop:3.4.1", heap_variable="HDFS_DATANODE_OPTS"),
    ),
    Process(
        "influxdb",
        "trends and health as time series",
        influx.command,
        influx.health,
        ports=("influx", "influx_rpc"),
        prepare=influx.prepare,
        fetches=("influxdb",),
        container=Container("influxdb:2.7.12"),
    ),
    Process(
        "influx-setup",
        "makes InfluxDB's user and database",
        python("infra.launch.influx"),
        needs=("influxdb",),
        once=True,
    ),
    Process(
        "sink",
        "scores, forecasts, alerts and the platform's metrics into InfluxDB",
        python("streams.influx"),
        lambda site: points_flow(site.url("sink_metrics") + "/metrics"),
        needs=("topics", "influx-setup"),
        ports=("sink_metrics",),
        container=OWN,
    ),
    Process(
        "grafana",
        "the monitoring wall",
        grafana.command,
        grafana.health,
        needs=("influx-setup",),
        ports=("grafana",),
        prepare=grafana.prepare,
        absent=grafana.absent,
        container=Container("grafana/grafana:11.6.0"),
    ),
    Process(
        "zones",
        "makes HDFS's zones, with owners and modes",
        python("infra.launch.zones"),
        needs=("datanode",),
        once=True,
        environ={"WARD_HDFS_USER": hdfs.superuser()},
        container=OWN,
    ),
    Process(
        "gateway",
        "images in: C-STORE, submit, upload, a folder; de-identified, stored, told",
        python("producers.dicom_gateway"),
        lambda site: http_answers(site.url("intake") + "/healthz"),
        needs=("topics", "zones"),
        ports=("dicom", "intake"),
        fetches=("images",),
        nice=BEHIND_VITALS,
        container=OWN,
    ),
    Process(
        "imaging",
        "which model reads which image; the radiologist's list",
        python("streams.imaging"),
        lambda site: http_answers(site.url("imaging_metrics") + "/metrics"),
        needs=("topics",),
        ports=("imaging_metrics",),
        nice=BEHIND_VITALS,
        container=OWN,
    ),
    Process(
        "image-worker",
        "reads images: gate, model, heat map",
        python("streams.image_worker"),
        lambda site: http_answers(site.url("image_worker_metrics") + "/metrics"),
        needs=("topics", "zones"),
        ports=("image_worker_metrics",),
        fetches=("images",),
        nice=BEHIND_VITALS,
        container=OWN,
    ),
    Process(
        "image-return",
        "results as DICOM, to where they are wanted",
        python("producers.image_return"),
        lambda site: http_answers(site.url("return_metrics") + "/metrics"),
        needs=("topics", "zones"),
        ports=("return_metrics",),
        fetches=("images",),
        nice=BEHIND_VITALS,
        container=OWN,
    ),
    Process(
        "scanner",
        "a modality that sends images of the simulated ward's patients",
        python("producers.scanner"),
        needs=("gateway", "imaging", "image-worker"),
        profile="demo",
        nice=BEHIND_VITALS,
        container=OWN,
    ),
    Process(
        "lake",
        "every record of every topic into Parquet on HDFS, once",
        python("batch.lake"),
        spark.lake_health,
        needs=("topics", "zones"),
        ports=("lake_metrics",),
        fetches=("spark", "spark-python"),
        nice=spark.NICE,
        ready_s=600.0,
        container=OWN_WITH_SPARK,
    ),
    Process(
        "hive",
        "the lake's tables in SQL, for any Hive client",
        python("batch.thrift"),
        spark.hive_health,
        needs=("zones",),
        ports=("hive",),
        fetches=("spark", "spark-python"),
        nice=spark.NICE,
        ready_s=600.0,
        container=OWN_WITH_SPARK,
    ),
)

BY_NAME: Final[Mapping[str, Process]] = {process.name: process for process in PROCESSES}
PORTS: Final = tuple(port for process in PROCESSES for port in process.ports)
PREFERRED_PORTS: Final = {"feed": 8800, "dicom": 11112}
READ_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "WARD_SCRAPE": ("sink",),
    "WARD_JAVA_HOME": ("lake", "hive"),
    "WARD_DICOM_PORT": ("gateway", "scanner"),
    "WARD_INTAKE": ("gateway", "scanner", "feed"),
    "WARD_INTAKE_PORT": ("gateway",),
    "WARD_IMAGING_METRICS_PORT": ("imaging",),
    "WARD_IMAGE_WORKER_METRICS_PORT": ("image-worker",),
    "WARD_RETURN_METRICS_PORT": ("image-return",),
}
"""Settings that only these processes get: for all others a new value would be no reason to start again."""
TOGETHER: Final[Mapping[str, tuple[str, ...]]] = {"images": ("gateway", "imaging", "image-worker", "image-return")}
"""A word for several processes, where some are to be left out."""


def chosen(
    names: Iterable[str] | None = None, profile: Profile = "core", without: Iterable[str] = ()
) -> tuple[Process, ...]:
    """The named processes and all they need, in start order; without names, those of the profile.

    The demo profile includes core; what is absent here is left out, and so is what ``without`` names (also by a word of
    TOGETHER), with all that needs it. Raises Misconfigured for a name that is not in the table, of something that is
    absent, or of something that cannot do without what is left out.
    """
    wanted = (
        set(names)
        if names is not None
        else {p.name for p in PROCESSES if p.profile in ("core", profile) and p.absent() is None}
    )
    skipped = spelled_out(without)
    if unknown := (wanted | skipped) - BY_NAME.keys():
        raise Misconfigured(f"no process {', '.join(sorted(unknown))}; there are {', '.join(BY_NAME)}")
    skipped = with_dependents(skipped)
    if names is not None and (lost := wanted & skipped):
        raise Misconfigured(f"{', '.join(sorted(lost))} cannot start without {', '.join(sorted(set(without)))}")
    wanted -= skipped
    grown = set[str]()
    while grown != wanted:
        grown, wanted = wanted, wanted | {need for name in wanted for need in BY_NAME[name].needs}
    for name in sorted(wanted):
        if trouble := BY_NAME[name].absent():
            raise Misconfigured(f"cannot start {name}: {trouble}")
    return in_order(wanted)


def spelled_out(names: Iterable[str]) -> set[str]:
    """The names, each word of TOGETHER as the processes that it stands for."""
    return {process for name in names for process in TOGETHER.get(name, (name,))}


def with_dependents(names: Iterable[str]) -> set[str]:
    """The named processes and everything that needs one of them."""
    grown, going = set[str](), set(names)
    while grown != going:
        grown, going = going, going | {p.name for p in PROCESSES if going & set(p.needs)}
    return going


def in_order(names: Iterable[str]) -> tuple[Process, ...]:
    """The named processes so that each comes after what it needs."""
    ordered: list[Process] = []
    left = [process for process in PROCESSES if process.name in set(names)]
    while left:
        ready = [p for p in left if not any(n in {other.name for other in left} for n in p.needs)]
        if not ready:
            raise Misconfigured(f"these processes need each other: {', '.join(p.name for p in left)}")
        ordered += ready
        left = [process for process in left if process not in ready]
    return tuple(ordered)
