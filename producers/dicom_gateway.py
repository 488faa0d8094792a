"""The gateway of images, ``python -m producers.dicom_gateway``: C-STORE, HTTP and a watched folder, one way in."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import urlsplit

from contracts.errors import Misconfigured
from contracts.settings import Settings
from producers.intake import Intake
from producers.intake_scp import Scp
from producers.pace import as_process, stopping_on_signals

log = logging.getLogger(__name__)

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
GRACE_S: Final = 5.0
FAILURE, INTERRUPTED = 1, 130


class _Part:
    """A door that runs in a thread of its own; when it ends by itself, ``failed`` is set and the process ends."""

    def __init__(self, name: str, run: Any, stop: threading.Event) -> None:
        self.failed = False
        self._run, self._stop = run, stop
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def join(self, within_s: float) -> None:
        """Wait for its end."""
        self._thread.join(within_s)

    def _work(self) -> None:
        try:
            self._run()
        finally:
            self.failed = not self._stop.is_set()
            self._stop.set()


def serve(settings: Settings, _arguments: Sequence[str]) -> int:
    """Until told to stop: 0, 130 when interrupted, 1 when a door failed. Raises Misconfigured, Transient."""
    if not (settings.dicom_port or settings.intake_port or settings.intake_folder):
        raise Misconfigured("no door is open: set WARD_DICOM_PORT, WARD_INTAKE_PORT or WARD_INTAKE_FOLDER")
    for chatty in ("hdfs", "uvicorn", "urllib3", "watchfiles"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with stopping_on_signals() as (stop, came), ExitStack() as open_doors:
        intake = Intake(settings)
        open_doors.callback(intake.close)
        scp = Scp(settings, intake)
        intake.start()
        doors = []
        if settings.intake_folder:
            doors.append(_folder(settings, intake, stop, open_doors))
        if settings.dicom_port:
            scp.start()
            open_doors.callback(scp.stop, GRACE_S)
            log.info("images by C-STORE on %s:%d as %s", settings.dicom_host, settings.dicom_port, settings.dicom_aet)
        if settings.intake_port:  # the last one: what asks after our health finds all doors open
            doors.append(_http(settings, intake, stop, open_doors))
        stop.wait()
        log.info("the gateway ends")
    if any(door.failed for door in doors):
        return FAILURE
    return INTERRUPTED if signal.SIGINT in came else 0


def _folder(settings: Settings, intake: Intake, stop: threading.Event, open_doors: ExitStack) -> _Part:
    from producers.intake_folder import Watch

    part = _Part("folder", Watch(settings.intake_folder or "", intake, stop).run, stop)
    open_doors.callback(part.join, GRACE_S)
    return part


def _http(settings: Settings, intake: Intake, stop: threading.Event, open_doors: ExitStack) -> _Part:
    import uvicorn

    from producers.intake_http import build

    host, port = settings.intake_host, settings.intake_port
    named = urlsplit(settings.intake or "").hostname or host  # by what the others call us
    # a query may name a patient: no access log
    config = uvicorn.Config(
        build(intake, frozenset({*LOOPBACK, host.lower(), named.lower()})),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=round(GRACE_S),
        timeout_keep_alive=75,
        limit_concurrency=64,
        server_header=False,
    )
    server = uvicorn.Server(config)

    def run() -> None:
        try:
            server.run()
        except SystemExit:  # how it says that the port is taken
            log.error("WARD_INTAKE_PORT: cannot listen on %s:%d", host, port)

    part = _Part("http", run, stop)

    def end() -> None:
        server.should_exit = True
        part.join(2 * GRACE_S)

    open_doors.callback(end)
    log.info("images by HTTP on %s:%d", host, port)
    return part


if __name__ == "__main__":
    as_process(serve)
