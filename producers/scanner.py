"""The demo's modality: sends images of the simulated ward's patients by C-STORE; ``python -m producers.scanner``.

An image that the gateway cannot take now is offered again until it can; one that it refuses is counted and left. At the
end a line of JSON on stdout says what came of it.
"""

from __future__ import annotations

import argparse
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from contracts.errors import Misconfigured
from contracts.settings import Settings
from producers import pace
from producers.scanner_list import Exam, exams
from producers.scanner_objects import CLASSES, JPEG, NATIVE, Facts, wrapped

__all__ = ["Facts", "Sender", "Sent", "exams", "play", "run", "wrapped"]

log = logging.getLogger(__name__)

CALLING: Final = "WARDSCANNER"
EVERY_S: Final = 15.0
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0
ANSWER_S: Final = 60.0
KEPT_OPEN_S: Final = 5.0
"""Between images that come faster than this the association stays open."""
ABORTS: Final = 5
"""An object at which the association broke off so often is given up: it may be the object."""
AWAY: Final = range(0xA700, 0xA800)
"""Statuses that say: not now (PS3.4, table B.2-1, out of resources)."""


class Sent(msgspec.Struct, kw_only=True):
    """What came of it. ``failed`` got no answer before the end; ``statuses`` counts answers, retried ones too."""

    stored: int = 0
    refused: int = 0
    failed: int = 0
    retries: int = 0
    seconds: float = 0.0
    statuses: dict[str, int] = msgspec.field(default_factory=dict)


class Sender:
    """A storage SCU for the objects of this scanner. Not for several threads.

    ``patience_s`` bounds how long one object is offered while nobody takes it; None: until ``stop`` is set.
    """

    def __init__(self, host: str, port: int, called: str, stop: threading.Event, patience_s: float | None) -> None:
        from pynetdicom import AE

        logging.getLogger("pynetdicom").setLevel(logging.ERROR)  # it tells of every association
        self._where, self._called, self._stop, self._patience_s = (host, port), called, stop, patience_s
        self._entity = AE(ae_title=CALLING)
        self._entity.acse_timeout = self._entity.connection_timeout = 10.0
        self._entity.dimse_timeout = self._entity.network_timeout = ANSWER_S
        for uid in CLASSES.values():
            for syntax in (NATIVE, JPEG):
                self._entity.add_requested_context(uid, syntax)
        self._link: Any = None
        self._away = False
        self._aborts = 0
        self.sent = Sent()

    def send(self, dataset: Any) -> int | None:
        """Offer an object until it is answered for good: the status, or None when there was no answer in time."""
        begun_s, wait_s, self._aborts = time.monotonic(), FIRST_WAIT_S, 0
        while True:
            status = self._offered(dataset)
            if status is not None:
                word = f"0x{status:04X}"
                self.sent.statuses[word] = self.sent.statuses.get(word, 0) + 1
                if status not in AWAY:
                    self._back()
                    return status
            self._gone(status)
            late = self._patience_s is not None and time.monotonic() - begun_s + wait_s > self._patience_s
            if late or self._aborts >= ABORTS or self._stop.wait(wait_s):
                return None
            self.sent.retries += 1
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def close(self) -> None:
        """Release the association."""
        if self._link is not None and self._link.is_established:
            self._link.release()
        self._link = None

    def _offered(self, dataset: Any) -> int | None:
        if self._link is None or not self._link.is_established:
            self._link = self._entity.associate(*self._where, ae_title=self._called)
        if not self._link.is_established:
            return None
        try:
            answer = self._link.send_c_store(dataset)
        except (RuntimeError, ValueError) as failure:  # the association went, or has no context for this object
            log.warning("not sent: %s", failure)
            self.close()
            return None
        if "Status" not in answer:
            self._aborts += 1
            return None
        return int(answer.Status)

    def _gone(self, status: int | None) -> None:
        if not self._away:
            self._away = True
            why = "does not answer" if status is None else f"says 0x{status:04X}"
            log.warning("the gateway at %s:%d %s; the image waits", *self._where, why)

    def _back(self) -> None:
        if self._away:
            self._away = False
            log.info("the gateway takes images again")


def play(
    sender: Sender, source: Iterator[Exam], stop: threading.Event, *, every_s: float, count: int | None = None
) -> Sent:
    """Send ``count`` exams (None: without end), one every ``every_s`` from the first one on, until ``stop`` is set."""
    begun_s = time.monotonic()
    sent, number = sender.sent, 0
    while not stop.is_set() and (count is None or number < count):
        due_s = begun_s + number * every_s
        if stop.wait(max(0.0, due_s - time.monotonic())):
            break
        exam = next(source)
        number += 1
        status = sender.send(exam.dataset)
        if status is None:
            sent.failed += 1
        elif status == 0 or status in range(0xB000, 0xC000):
            sent.stored += 1
        else:
            sent.refused += 1
        log.info("%s: %s", exam.shows, "no answer" if status is None else f"0x{status:04X}")
        if every_s >= KEPT_OPEN_S:
            sender.close()
    sender.close()
    sent.seconds = round(time.monotonic() - begun_s, 3)
    return sent


def run(settings: Settings, arguments: Sequence[str]) -> int:
    """The scanner as a process: 0 when every image was answered, 1 when one was not."""
    asked = _parser().parse_args(arguments)
    if not settings.dicom_port:
        raise Misconfigured("nowhere to send to: set WARD_DICOM_PORT, or start the gateway with `./ward up gateway`")
    every_s = 1.0 / asked.rate if asked.rate else asked.every
    start_ms = pace.now_ms() if asked.start_ms is None else asked.start_ms
    source = exams(settings.beds, settings.seed, start_ms, every_s, settings.data_dir)
    with pace.stopping_on_signals() as (stop, _):
        sender = Sender(settings.dicom_host, settings.dicom_port, settings.dicom_aet, stop, asked.patience)
        log.info("running: an image every %g s to %s", every_s, settings.dicom_aet)
        sent = play(sender, source, stop, every_s=every_s, count=asked.count)
    print(msgspec.json.encode(sent).decode(), flush=True)
    return 1 if sent.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="producers.scanner",
        description=__doc__,
        epilog="Examples: python -m producers.scanner --every 5s · python -m producers.scanner --rate 2 --count 100",
    )
    pace_of = parser.add_mutually_exclusive_group()
    pace_of.add_argument("--every", type=_seconds, default=EVERY_S, help="time between images, like 5s or 2m (15s)")
    pace_of.add_argument("--rate", type=_above_zero, help="images a second instead")
    parser.add_argument("--count", type=int, help="stop after so many (never)")
    parser.add_argument("--patience", type=_seconds, help="how long one image is offered (until it is taken)")
    parser.add_argument("--start-ms", type=int, help="when the first was taken; the same gives the same bytes (now)")
    return parser


def _seconds(text: str) -> float:
    """A time like ``5s``, ``500ms``, ``2m`` or plain seconds."""
    for ending, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)):
        if text.endswith(ending):
            return _above_zero(text.removesuffix(ending)) * factor
    raise argparse.ArgumentTypeError(text)


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: it is a number above 0")
    return number


if __name__ == "__main__":
    pace.as_process(run)
