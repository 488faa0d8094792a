"""The worker that reads images: gate, model, heat map. ``python -m streams.image_worker``, settings from WARD_*.

Exit codes: 0 after SIGTERM or SIGINT, 2 for a wrong setting, 4 when no broker answers at the start.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

import structlog

from contracts.settings import Settings
from contracts.topology import DEAD_LETTERS, IMAGE_JOBS, IMAGE_RESULTS
from models.champions import Event, Missing
from models.imaging.gate import Gates
from models.imaging.serving import ImageModels
from models.registry import Registry, own_folder
from streams.hdfs_files import Files
from streams.image_jobs import ImageWorker
from streams.image_metrics import ImageWorkerMetrics
from streams.image_reading import Gate, ImageReader, Open
from streams.running import entered, serve_metrics

log = structlog.get_logger(__name__)

NEEDED: Final = (IMAGE_JOBS, IMAGE_RESULTS, DEAD_LETTERS)


def main() -> int:
    """Run until told to stop; the exit code."""
    logging.getLogger("hdfs").setLevel(logging.WARNING)  # it says each file that it reads and writes
    return entered("image worker", lambda: Settings.from_env(os.environ), NEEDED, run)


def run(settings: Settings) -> int:
    """One worker, with its metrics beside it."""
    metrics = ImageWorkerMetrics()
    registry = Registry(own_folder(settings))
    tell = teller(metrics)
    models = ImageModels(registry, tell)
    reader = ImageReader(Files.of(settings), models, gates(registry, tell), metrics)
    worker = ImageWorker(settings, reader, metrics)

    def health() -> dict[str, Any]:
        return {"models": {ref.name: ref.version for ref in models.champions()}, "refused": dict(models.refused)}

    serve_metrics(metrics, "image_worker_metrics_port", settings, health)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    log.info("image worker starts", kafka=settings.kafka, group=settings.image_worker_group, pid=os.getpid())
    try:
        worker.run()
    finally:
        reader.close()
    log.info("image worker ends")
    return 0


def gates(registry: Registry, tell: Callable[[Event], None]) -> Callable[[], Gate]:
    """The gate before every model, asked for before each job: the champion of image_scope, followed.

    Without one it stands open: models judge by themselves whether they are sure.
    """
    champions, stands_open = Gates(registry, tell), Open()

    def asked() -> Gate:
        found = champions.asked()
        return stands_open if isinstance(found, Missing) else found

    return asked


def teller(metrics: ImageWorkerMetrics) -> Callable[[Event], None]:
    """Who hears of events of the models."""

    def tell(event: Event) -> None:
        about = {"model": event.name, "version": event.version}
        if event.what == "loaded":
            metrics.model_refused.labels(event.name).set(0)
            metrics.model_in_force.labels(event.name, event.version).set(1)
            log.info("model in force from the next job on", **about)
        else:
            metrics.model_refused.labels(event.name).set(1)
            log.error("model refused; the one before goes on, if there was one", why=event.why, **about)

    return tell


if __name__ == "__main__":
    sys.exit(main())
