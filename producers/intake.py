"""The one way of an image into the house, whichever door it came by: cleaned, stored, told, and only then answered."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import queue
import re
import threading
import time
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import SCHEMA_VERSION, ImageArrival, ImageRefusal
from contracts.settings import Settings
from contracts.topology import IMAGE_ARRIVALS, IMAGE_REFUSALS
from models.imaging import keyfile
from models.imaging.child import MEMORY_BYTES, Child
from producers import image_store
from producers.intake_child import Cleaned, Order, Task
from producers.intake_events import Announcer
from producers.intake_gauges import Gauges
from producers.intake_identities import Identities, Identity
from producers.intake_reasons import said
from producers.intake_wrap import Given

log = logging.getLogger(__name__)

LARGEST: Final = 128 * 1024 * 1024
"""Bytes of one image as it comes, by any door."""
CHILDREN: Final = 2
SECONDS: Final = 20.0
UNDATED: Final = "undated"
REFUSED: Final = "refused"
BURNED_IN: Final = ("refuse", "mask")
_LOCKS: Final = 64
_PLAIN: Final = re.compile(r"[A-Za-z0-9.\-]{1,80}")


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an image. ``stored`` now, ``known`` (the very same lies there already), or ``refused``.

    ``instance``, ``study`` and ``patient`` are pseudonyms, ``uri`` its path on HDFS, ``sha256`` that of the stored
    bytes; of a refused one it is that of the bytes which came, and ``reason`` and ``detail`` say why, quoting nothing.
    """

    outcome: Literal["stored", "known", "refused"]
    sha256: str
    instance: str | None = None
    study: str | None = None
    patient: str | None = None
    uri: str | None = None
    revision: int = 0
    reason: str | None = None
    detail: str | None = None


class Intake:
    """Takes images in. For several threads at once: at most ``children`` files are worked on, the others wait."""

    def __init__(
        self, settings: Settings, gauges: Gauges | None = None, *, children: int = CHILDREN, seconds: float = SECONDS
    ) -> None:
        """Raises Misconfigured for settings that cannot work; servers are asked for nothing yet."""
        if settings.intake_burned_in not in BURNED_IN:
            raise Misconfigured(f"WARD_INTAKE_BURNED_IN={settings.intake_burned_in}: refuse or mask")
        order = Order(keyfile.key(keyfile.place(settings)), settings.intake_burned_in == "mask")
        self.gauges = gauges or Gauges()
        self.images, self._identified = image_store.images(settings), image_store.identified(settings)
        self.identities = Identities(self._identified)
        self.announcer = Announcer(settings.kafka)
        self._children: queue.SimpleQueue[Child[Task, Cleaned]] = queue.SimpleQueue()
        self._all = [
            Child[Task, Cleaned]("producers.intake_child", order, Cleaned, seconds=seconds, memory_bytes=MEMORY_BYTES)
            for _ in range(children)
        ]
        for child in self._all:
            self._children.put(child)
        self._ending = threading.Event()
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def take(
        self, content: bytes, source: str, given: Given | None = None, claimed: tuple[str, str] | None = None
    ) -> Receipt:
        """Store an image and tell of it, or refuse it and tell of that; on return both are durable.

        ``source`` is the door (c_store, folder, submit, upload), ``claimed`` the SOP class and instance that the
        message named. Taking the same again changes nothing. Raises Transient when HDFS or Kafka does not take it now:
        the sender keeps the image and tries again.
        """
        began = time.monotonic()
        try:
            receipt = self._taken(content, source, Task(content, given or Given(), claimed))
        except Transient as away:
            self.gauges.took(source, "failed", time.monotonic() - began)
            log.warning("an image could not be taken now: %s", away)
            raise
        self.gauges.took(source, receipt.outcome, time.monotonic() - began)
        return receipt

    def wrong(self) -> str | None:
        """What keeps images from being taken now; None when nothing does."""
        try:
            self.images.sizes(f"{self.images.root}/{image_store.DRAFTS}")
            self._identified.sizes(f"{self._identified.root}/{image_store.DRAFTS}")
        except Transient as away:
            return str(away)
        return self.announcer.reachable()

    def start(self) -> None:
        """Get the children ready behind whoever calls, and remove what killed ones left on HDFS, where it answers.

        What is taken meanwhile waits for its child.
        """
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def close(self) -> None:
        """End the children. What is still under way ends as Transient."""
        self._ending.set()
        for child in self._all:
            child.close()
        self.announcer.close()

    def _warm(self) -> None:
        with contextlib.suppress(Transient):
            for _ in self._all:
                if self._ending.is_set():
                    return
                with self._child() as child:  # to the end of the line, so that the next one comes
                    child.start()
            self.images.sweep()
            self._identified.sweep()

    # -- the way -----------------------------------------------------------------------------------------------------

    def _taken(self, content: bytes, source: str, task: Task) -> Receipt:
        now_ms = time.time_ns() // 1_000_000
        try:
            made = self._cleaned(task)
        except Poison as poison:
            with self._alone(hashlib.sha256(content).hexdigest()):
                return self._refused(content, poison.reason, source, now_ms)
        with self._alone(made.told.instance or ""):
            return self._stored(made, content, source, now_ms)

    def _cleaned(self, task: Task) -> Cleaned:
        """By a child. One that crashed may have been killed by somebody else: only a second time is it the file."""
        with self._child() as child:
            for attempt in (1, 2):
                if self._ending.is_set():
                    break
                try:
                    return child.ask(task)
                except Poison as poison:
                    if poison.reason != "crashed" or (attempt == 2 and not self._ending.is_set()):
                        raise
        raise Transient("the gateway ends")

    def _stored(self, made: Cleaned, content: bytes, source: str, now_ms: int) -> Receipt:
        one, there = self._placed(made, hashlib.sha256(content).hexdigest())
        receipt = Receipt(
            outcome="known" if there else "stored",
            sha256=one.sha256,
            instance=one.instance,
            study=one.study,
            patient=one.patient,
            uri=one.uri,
            revision=one.revision,
        )
        if there and self.identities.told(one) and self.images.status(one.uri) is not None:
            return receipt
        self._write(one.uri, made.content)
        self.identities.remember(one)
        self.announcer.tell(IMAGE_ARRIVALS, one.study, _arrival(made, one, source, now_ms))
        self.identities.seal(one)
        return receipt

    def _placed(self, made: Cleaned, raw_sha256: str) -> tuple[Identity, bool]:
        """Who it is and where it goes, and whether it went there before: HDFS is asked, so that restarts know too."""
        told, sha256 = made.told, hashlib.sha256(made.content).hexdigest()
        patient, study, series, instance = (_plain(w) for w in (told.patient, told.study, told.series, told.instance))
        revision = 0
        for known in self.identities.revisions(study, instance):
            if sha256 == known.sha256:
                return known, True
            revision = known.revision + 1
        folder = f"{self.images.root}/{patient}/{told.study_date or UNDATED}/{series}"
        while not self._free(path := f"{folder}/{instance}{f'.r{revision}' if revision else ''}.dcm", made.content):
            revision += 1
        one = Identity(
            version=SCHEMA_VERSION,
            patient=patient,
            study=study,
            series=series,
            instance=instance,
            uri=path,
            sha256=sha256,
            raw_sha256=raw_sha256,
            shift_days=made.shift_days,
            originals=made.originals,
            revision=revision,
        )
        return one, False

    def _free(self, path: str, content: bytes) -> bool:
        """Whether nothing lies there, or these very bytes: a gateway was killed before it wrote down whose they are."""
        status = self.images.status(path)
        return status is None or (status["length"] == len(content) and self.images.read(path) == content)

    def _write(self, path: str, content: bytes) -> None:
        with contextlib.suppress(FileExistsError):
            self.images.write(path, content)
        if self.images.read(path) != content:
            raise Transient(f"HDFS gives other bytes for {path} than it was given")

    def _refused(self, content: bytes, reason: str, source: str, now_ms: int) -> Receipt:
        sha256 = hashlib.sha256(content).hexdigest()
        path = f"{self._identified.root}/{REFUSED}/{sha256}"
        receipt = Receipt(outcome="refused", sha256=sha256, reason=reason, detail=said(reason))
        status = self._identified.status(path)
        if status is not None and status["permission"] == image_store.SEALED:
            return receipt
        if status is None:
            with contextlib.suppress(FileExistsError):
                self._identified.write(path, content)
        refusal = ImageRefusal(
            version=SCHEMA_VERSION,
            refusal_id=sha256[:32],
            sha256=sha256,
            reason=reason,
            detail=said(reason),
            source=source,
            at_ms=now_ms,
            size=len(content),
        )
        self.announcer.tell(IMAGE_REFUSALS, sha256, refusal)
        self._identified.seal(path)
        log.info("an image was refused: %s", reason)
        return receipt

    @contextlib.contextmanager
    def _child(self) -> Iterator[Child[Task, Cleaned]]:
        child = self._children.get()
        try:
            yield child
        finally:
            self._children.put(child)

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """One thread at a time for one instance, so that two senders of it do not both think that they are first."""
        with self._locks[hash(name) % _LOCKS]:
            yield


def _plain(word: str | None) -> str:
    """A pseudonym, fit to be a name on HDFS."""
    if word is None or not _PLAIN.fullmatch(word) or ".." in word:
        raise Transient("a pseudonym that is no name: the reading process is of another version")
    return word


def _arrival(made: Cleaned, one: Identity, source: str, now_ms: int) -> ImageArrival:
    told = made.told
    return ImageArrival(
        version=SCHEMA_VERSION,
        patient=one.patient,
        study=one.study,
        series=one.series,
        instance=one.instance,
        modality=told.modality,
        uri=one.uri,
        sha256=one.sha256,
        at_ms=now_ms,
        body_part=told.body_part,
        view=told.view,
        revision=one.revision,
        laterality=told.laterality,
        sex=told.sex,
        age_years=told.age_years,
        source=source,
        format=made.came_as,
        rows=made.rows,
        cols=made.cols,
    )
