"""Prometheus metrics of the image processes, made from the declarations in contracts.metrics."""

from __future__ import annotations

from contracts import metrics as declared
from streams.metrics import Exported


class ImageWorkerMetrics(Exported):
    """Of ``streams.image_worker``."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = self._gauge(declared.IMAGE_JOBS_WAITING)
        self.read_seconds = self._histogram(declared.IMAGE_READ_SECONDS)
        self.step_seconds = self._histogram(declared.IMAGE_STEP_SECONDS)
        self.delay_seconds = self._histogram(declared.IMAGE_DELAY_SECONDS)
        self.results = self._counter(declared.IMAGE_RESULTS_WRITTEN)
        self.refusals = self._counter(declared.IMAGE_REFUSALS_TOLD)
        self.retries = self._counter(declared.IMAGE_RETRIES)
        self.dead_letters = self._counter(declared.DEAD_LETTERS)
        self.model_in_force = self._gauge(declared.MODEL_IN_FORCE)
        self.model_refused = self._gauge(declared.MODEL_REFUSED)


class ImagingMetrics(Exported):
    """Of ``streams.imaging``."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = self._counter(declared.IMAGE_JOBS_ASKED)
        self.refusals = self._counter(declared.IMAGE_REFUSALS_TOLD)
        self.studies = self._counter(declared.IMAGE_STUDIES_TOLD)
        self.findings = self._gauge(declared.IMAGE_FINDINGS_STANDING)
        self.dead_letters = self._counter(declared.DEAD_LETTERS)
        self.gap_records = self._counter(declared.GAPS_REREAD)
        self.redelivered = self._counter(declared.DUPLICATES_SKIPPED)
