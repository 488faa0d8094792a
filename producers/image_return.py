"""Results go back as DICOM: ``python -m producers.image_return``, settings from WARD_*.

Every result becomes a structured report and, where there is a picture, a Secondary Capture in the image's own study;
both lie on HDFS beside the images, and go to ``WARD_RETURN_TO`` where that is set. What is done is what is committed: a
killed process does its last result again, and the same result gives the same instances.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import posixpath
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import ImageResult
from contracts.settings import Settings
from contracts.topology import IMAGE_RESULTS
from producers import pace
from producers.dicom_tls import of_the_return
from producers.image_store import Zone, identified, images
from producers.intake_identities import Identities
from producers.returned_capture import LARGEST, capture
from producers.returned_gauges import Gauges
from producers.returned_log import Results
from producers.returned_report import report
from producers.returned_sending import NotTaken, Target, target
from producers.returned_series import restored, source_of

log = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
IDENTITIES: Final = ("originals", "pseudonyms")
UNDATED: Final = "undated"
UNTELLABLE: Final = (Poison, ValueError, TypeError, LookupError, AttributeError)
"""What pydicom and highdicom raise over a header or a value that they cannot write."""
_URI: Final = re.compile(r"(?:hdfs://[^/]*)?(/.+)")
_PLAIN: Final = re.compile(r"[A-Za-z0-9.\-]{1,80}")
REPORT, CAPTURE = "report", "capture"
Objects = dict[str, Any]


class Returning:
    """Makes, stores and sends what is said of one image. Doing it twice is doing it once."""

    def __init__(self, zone: Zone, identities: Identities | None, to: Target | None, gauges: Gauges) -> None:
        """``identities`` None: nobody is told as the hospital knows them. ``to`` None: nothing is sent."""
        self._zone, self._identities, self._to, self._gauges = zone, identities, to, gauges

    def of(self, result: ImageResult) -> list[str]:
        """Where the objects of this result lie now, their sending over. Raises Transient while a part is away."""
        header = self._header(result)
        source = source_of(header, result)
        pictures = self._pictures(result)
        objects = made(result, source, pictures)
        folder = self._folder(result, source)
        paths = [self._stored(kind, one, folder) for kind, one in objects.items()]
        if self._to is not None:
            self._send(self._as_known_there(result, source, pictures, objects))
        return paths

    def _header(self, result: ImageResult) -> Any:
        """The stored image without its pixels; None when there is none."""
        import pydicom

        if result.uri is None:
            return None
        try:
            content = self._zone.read(path_of(result.uri))
        except FileNotFoundError:
            log.warning("an image is not where its result says; its report refers to it all the same")
            return None
        return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)

    def _pictures(self, result: ImageResult) -> tuple[bytes | None, bytes | None]:
        found = []
        for uri in (result.preview_uri, result.heatmap_uri):
            content = None
            if uri is not None:
                with contextlib.suppress(FileNotFoundError):
                    content = self._zone.read(path_of(uri))
            found.append(content if content is not None and len(content) <= LARGEST else None)
        return found[0], found[1]

    def _folder(self, result: ImageResult, source: Any) -> str:
        """The patient's folder of that day: where the image lies, or would lie."""
        if result.uri is not None:
            return posixpath.dirname(posixpath.dirname(path_of(result.uri)))
        day = str(source.StudyDate)
        dated = f"{day[:4]}-{day[4:6]}-{day[6:8]}" if re.fullmatch(r"\d{8}", day) else UNDATED
        patient = str(source.PatientID)
        if not _PLAIN.fullmatch(patient) or ".." in patient:
            raise Poison("no_patient", "a result without an image and without a patient has no place", "$.patient")
        return f"{self._zone.root}/{patient}/{dated}"

    def _stored(self, kind: str, one: Any, folder: str) -> str:
        path = f"{folder}/{one.SeriesInstanceUID}/{one.SOPInstanceUID}.dcm"
        with contextlib.suppress(FileExistsError):
            self._zone.write(path, packed(one))
            self._gauges.count(kind, "stored")
        return path

    def _as_known_there(self, result: ImageResult, source: Any, pictures: Any, objects: Objects) -> Objects:
        if self._identities is None:
            return objects
        known = self._identities.of(result.study, result.instance, result.revision)
        if known is None:
            log.warning("nobody is known behind an image; its result goes out under the pseudonym")
            return objects
        return made(result, restored(source, known.originals), pictures)

    def _send(self, objects: Objects) -> None:
        assert self._to is not None  # noqa: S101
        try:
            self._to.send(list(objects.values()))
        except Transient:
            self._count(objects, "failed")
            raise
        except NotTaken as refused:
            self._count(objects, "refused")
            log.error("a result was not taken: %s", refused)
            return
        self._count(objects, "sent")

    def _count(self, objects: Objects, outcome: str) -> None:
        for kind in objects:
            self._gauges.count(kind, outcome)


def made(result: ImageResult, source: Any, pictures: tuple[bytes | None, bytes | None]) -> Objects:
    """What is said of an image, by kind: the report always, the capture where there is a preview that can be read."""
    preview, heat = pictures
    objects = {REPORT: report(result, source)}
    if preview is not None:
        try:
            objects[CAPTURE] = capture(result, source, preview, heat)
        except Poison as wrong:
            log.warning("no capture for a result: %s", wrong.reason)
    return objects


def written(one: Any) -> bytes:
    """A dataset as a DICOM file."""
    out = io.BytesIO()
    one.save_as(out, enforce_file_format=True)
    return out.getvalue()


def packed(one: Any) -> bytes:
    """The same in Deflated Explicit VR Little Endian: a capture has 260 KB then instead of 1.5 MB."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    small = copy.deepcopy(one)
    small.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return written(small)


def path_of(uri: str) -> str:
    """The path on HDFS. Raises Poison for what is none.

    >>> path_of("hdfs:///images/p-1/undated/2/3.dcm"), path_of("/images/p-1/undated/2/3.dcm")
    ('/images/p-1/undated/2/3.dcm', '/images/p-1/undated/2/3.dcm')
    """
    found = _URI.fullmatch(uri)
    if found is None or posixpath.normpath(found[1]) != found[1]:
        raise Poison("bad_uri", "the address of an image is a path on HDFS with no way upwards", "$.uri")
    return found[1]


def until_done(do: Callable[[], object], results: Results, stop: threading.Event) -> bool:
    """Do it again, with pauses that grow to half a minute, until nothing is away; False when told to stop before."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            do()
        except Transient as away:
            log.warning("a result waits: %s", away)
        except UNTELLABLE as wrong:
            # it stays in the log and on the feed; the next ones shall not wait for it
            log.error("a result cannot be told as DICOM (%s)", wrong)
            return True
        else:
            return True
        if results.wait(wait_s, stop):
            return False
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def serve(settings: Settings, _arguments: Sequence[str]) -> int:
    """Until told to stop: 0. Raises Misconfigured for settings that cannot be, Transient when no broker answers."""
    if settings.return_identities not in IDENTITIES:
        raise Misconfigured(f"WARD_RETURN_IDENTITIES={settings.return_identities!r}: it is {' or '.join(IDENTITIES)}")
    for chatty in ("hdfs", "urllib3", "highdicom"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    to = target(settings.return_to, settings.dicom_aet, of_the_return(settings)) if settings.return_to else None
    known = Identities(identified(settings)) if to and settings.return_identities == "originals" else None
    gauges = Gauges()
    returning = Returning(images(settings), known, to, gauges)
    with pace.stopping_on_signals() as (stop, _), contextlib.ExitStack() as open_things:
        if settings.return_metrics_port:
            open_things.callback(gauges.serve(settings.metrics_host, settings.return_metrics_port))
        results = Results(settings.kafka, settings.return_group, IMAGE_RESULTS, gauges)
        open_things.callback(results.close)
        log.info("running: results to HDFS%s", f" and to {to.name}" if to else "")
        while not stop.is_set():
            if (came := results.next(1.0)) is None:
                continue
            result, told = came
            if result is None or until_done(lambda one=result: returning.of(one), results, stop):  # type: ignore[misc]
                told()
    log.info("stopped")
    return 0


if __name__ == "__main__":
    pace.as_process(serve)
