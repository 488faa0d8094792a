"""One job of the image worker: bytes from HDFS, decoded in a child, gated, read by the model, pictures stored."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from contracts.errors import Poison, WardError
from contracts.records import SCHEMA_VERSION, ImageJob, ImageResult
from models.champions import Missing
from models.imaging.classifier import ImageModel, Reading
from models.imaging.guarded import Examined, Guarded
from models.imaging.heat import scaled
from models.imaging.pixels import MAX_BYTES, Grey
from models.imaging.render import SIZE, heat_png, preview_png, upright
from models.imaging.serving import ImageModels
from models.imaging.settings import ImageSettings
from models.version import code_of
from streams.hdfs_files import Files, path_of
from streams.image_metrics import ImageWorkerMetrics

ROOTS: Final = ("contracts", "models", "streams")
NO_MODEL: Final = "model_unavailable"
PREVIEW, HEAT = "preview.png", "heat.png"
SCHEME: Final = "hdfs://"
"""Before a path: the file system that the ward is told of."""
Refusal = tuple[str, str]


class JobFailed(WardError):
    """A job that could not be done this time for a reason of its own; ``reason`` is a short stable word."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Gate(Protocol):
    """Says whether a model should see an image at all; its ``sizes`` are the shards that it looks at."""

    sizes: tuple[int, ...]

    def refused(self, seen: Examined, body_part: str, settings: ImageSettings) -> Refusal | None:
        """Why not, as a short stable word and a sentence; None when it may."""
        ...


class Open:
    """A gate that stands open: where no model of what is in scope is to be had."""

    sizes: tuple[int, ...] = ()

    def refused(self, seen: Examined, body_part: str, settings: ImageSettings) -> Refusal | None:
        """Nothing is refused."""
        return None


@dataclass(frozen=True)
class _Told:
    """What a job has come to so far."""

    model_sha256: str = ""
    settings: ImageSettings | None = None
    reading: Reading | None = None
    refusal: Refusal | None = None
    preview_uri: str | None = None
    heatmap_uri: str | None = None


class ImageReader:
    """Does one job at a time. The same job with the same model gives the same result but for its times."""

    def __init__(
        self,
        files: Files,
        models: ImageModels,
        gate: Callable[[], Gate],
        metrics: ImageWorkerMetrics,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._models = models
        self._gate = gate
        self._metrics = metrics
        self._wall = wall
        self._child: Guarded | None = None
        self._sizes: tuple[int, ...] = ()

    def read(self, job: ImageJob) -> ImageResult:
        """The result of a job, its pictures stored. Raises Transient while HDFS is away, JobFailed otherwise."""
        began = time.perf_counter()
        told = self._told(job)
        return self._result(job, told, (time.perf_counter() - began) * 1000)

    def given_up(self, job: ImageJob, failed: JobFailed) -> ImageResult:
        """The result of a job that failed too often: nobody waits for it any longer, and nobody misses it."""
        found = self._models.asked(job.model)
        sha256 = "" if isinstance(found, Missing) else found.sha256
        return self._result(job, _Told(sha256, refusal=(failed.reason, failed.detail)), 0.0)

    def close(self) -> None:
        """End the child that decodes."""
        if self._child is not None:
            self._child.close()

    def _told(self, job: ImageJob) -> _Told:
        model = self._models.asked(job.model)
        if isinstance(model, Missing):
            return _Told(refusal=(NO_MODEL, f"{job.model} cannot be asked: {model.why}"))
        with self._step("fetch"):
            content = self._fetched(job)
        gate = self._gate()
        try:
            with self._step("decode"):
                seen = self._decoder(model, gate).examine(content, deidentified=True)
        except Poison as bad:
            return _Told(model.sha256, model.settings, refusal=(bad.reason, bad.detail))
        picture = upright(shard(seen, SIZE), seen.rows, seen.cols)
        with self._step("gate"):
            refusal = gate.refused(seen, model.settings.body_part, model.settings)
        reading = None
        if refusal is None:
            with self._step("model"):
                reading = model.read(shard(seen, model.settings.size), job.sex or seen.told.sex)
        with self._step("render"):
            pictures = _pictures(picture, seen, reading)
        with self._step("store"):
            uris = {name: self._stored(job, name, png) for name, png in pictures.items()}
        if reading is not None and reading.refusal is not None:
            refusal = (reading.refusal, reading.detail or "")
        return _Told(model.sha256, model.settings, reading, refusal, uris.get(PREVIEW), uris.get(HEAT))

    def _fetched(self, job: ImageJob) -> bytes:
        try:
            content = self._files.read(path_of(job.uri), MAX_BYTES)
        except FileNotFoundError as gone:
            raise JobFailed("missing", "the image is not where the job says") from gone
        except Poison as bad:
            raise JobFailed(bad.reason, bad.detail) from bad
        found = hashlib.sha256(content).hexdigest()
        if found != job.sha256:
            raise JobFailed("changed", f"the stored image has sha256 {found[:12]}, the job says {job.sha256[:12]}")
        return content

    def _decoder(self, model: ImageModel, gate: Gate) -> Guarded:
        """The child, started anew for a model that wants another size."""
        wanted = tuple(sorted({*self._sizes, SIZE, model.settings.size, *gate.sizes}))
        if self._child is None or wanted != self._sizes:
            self.close()
            self._child, self._sizes = Guarded(None, wanted), wanted
        return self._child

    def _stored(self, job: ImageJob, name: str, png: bytes) -> str:
        path = f"{path_of(job.uri)}.{job.model}.{name}"
        self._files.write(path, png)
        return f"{SCHEME}{path}"

    def _result(self, job: ImageJob, told: _Told, took_ms: float) -> ImageResult:
        reading = told.reading if told.refusal is None else None
        fields: dict[str, Any] = {}
        if reading is not None:
            fields = {name: getattr(reading, name) for name in READING}
        return ImageResult(
            version=SCHEMA_VERSION,
            job_id=job.job_id,
            study=job.study,
            instance=job.instance,
            model=job.model,
            model_sha256=told.model_sha256,
            at_ms=int(self._wall() * 1000),
            refusal=told.refusal[0] if told.refusal else None,
            detail=told.refusal[1] if told.refusal else None,
            heatmap_uri=told.heatmap_uri,
            preview_uri=told.preview_uri,
            input_sha256=job.sha256,
            code=code_of(*ROOTS),
            caveats=told.settings.caveats if told.settings and reading else (),
            took_ms=round(took_ms),
            **{name: getattr(job, name) for name in PASSED_ON},
            **fields,
        )

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._metrics.step_seconds.labels(name).observe(time.perf_counter() - began)


READING: Final = ("label", "probability", "probabilities", "positive", "threshold", "value", "low", "high", "unit")
PASSED_ON: Final = (
    "patient",
    "uri",
    "series",
    "modality",
    "body_part",
    "view",
    "arrived_ms",
    "attempt",
    "revision",
)


def shard(seen: Examined, size: int) -> Grey:
    """The image in a size that was asked for, square with its bars."""
    return np.frombuffer(seen.shards[size], "<f4").reshape(size, size).astype(np.float32)


def _pictures(picture: Grey, seen: Examined, reading: Reading | None) -> dict[str, bytes]:
    made = {PREVIEW: preview_png(picture)}
    if reading is not None and reading.heat is not None:
        heat = upright(reading.heat, seen.rows, seen.cols)
        made[HEAT] = heat_png(np.clip(scaled(heat, picture.shape[0], picture.shape[1]), 0.0, 1.0))
    return made
