"""C-ECHO and C-STORE: an image is answered with success when it is durable and told of, and never before."""

from __future__ import annotations

import fnmatch
import logging
import socket
import threading
import time
import weakref
from typing import Any, Final

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from producers.dicom_tls import of_the_gateway
from producers.intake import LARGEST, Intake

log = logging.getLogger(__name__)

SUCCESS, OUT_OF_RESOURCES, NOT_AS_SAID, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
"""PS3.4, table B.2-1."""
NOT_RECOGNISED: Final = (0x01, 0x01, 0x03)
"""Rejected for good, by the service user: the calling AE title is not known (PS3.8, table 9-21)."""
PDU_BYTES: Final = 128 * 1024
LONGEST_PDU: Final = 256 * 1024
"""Also of those that ask for an association, whose length nobody agrees on before."""
ASSOCIATIONS: Final = 8
IDLE_S: Final = 30.0
ASK_S: Final = 10.0
"""Who connects must ask for an association in so long; until then it takes one of their places, even if it has left."""
_CHUNK: Final = 64 * 1024


class _Measured:
    """Reads one association's socket and counts: a PDU, and what came since the last message, have a largest size."""

    def __init__(self, connection: socket.socket, largest: int) -> None:
        self._socket, self._largest = connection, largest
        self.came = 0

    def recv(self, count: int) -> bytearray:
        """``count`` bytes, fewer when the peer ended. Raises ConnectionError for more than may be."""
        self.came += count
        if count > LONGEST_PDU or self.came > self._largest:
            log.warning("an association was cut: its peer sends more than an image may have")
            raise ConnectionAbortedError("larger than it may be")
        found = bytearray()
        while len(found) < count and (part := self._socket.recv(min(_CHUNK, count - len(found)))):
            found += part
        return found


class Scp:
    """A storage SCP on one address. ``allow`` are calling AE titles, ``*`` stands for any ending."""

    def __init__(self, settings: Settings, intake: Intake, *, idle_s: float = IDLE_S, largest: int = LARGEST) -> None:
        """Raises Misconfigured for AE titles that are none, and for TLS files that are none."""
        self._intake, self._largest, self._idle_s = intake, largest, idle_s
        self._address = (settings.dicom_host, settings.dicom_port)
        self._allow = [title.strip() for title in settings.dicom_allow.split(",") if title.strip()]
        self._measured: weakref.WeakKeyDictionary[Any, _Measured] = weakref.WeakKeyDictionary()
        self._server: Any = None
        if not self._allow:
            raise Misconfigured(
                "WARD_DICOM_ALLOW names no AE title, so that nobody could send: name some, with * at an end"
            )
        self._ae = _entity(settings.dicom_aet, idle_s)
        self._tls = of_the_gateway(settings)

    def start(self) -> None:
        """Listen, in threads of its own. Raises Misconfigured when the address cannot be had."""
        from pynetdicom import evt

        handlers = [
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_C_STORE, self._on_store),
        ]
        try:
            self._server = self._ae.start_server(
                self._address, block=False, evt_handlers=handlers, ssl_context=self._tls
            )
        except OSError as taken:
            host, port = self._address
            raise Misconfigured(f"WARD_DICOM_PORT: cannot listen on {host}:{port} ({taken.strerror})") from taken

    def stop(self, grace_s: float = 5.0) -> None:
        """Take no more associations, let those that are open end what they are at, then cut them."""
        if self._server is None:
            return
        until = time.monotonic() + grace_s
        pause = threading.Event()
        self._server.shutdown()
        while self._ae.active_associations and time.monotonic() < until:
            pause.wait(0.05)
        self._ae.shutdown()

    # -- what pynetdicom calls ---------------------------------------------------------------------------------------

    def _on_open(self, event: Any) -> None:
        wire = event.assoc.dul.socket
        wire.socket.settimeout(self._idle_s)
        # pynetdicom reads as many bytes as a peer says it will send
        measured = self._measured[event.assoc] = _Measured(wire.socket, self._largest)
        wire.recv = measured.recv

    def _on_request(self, event: Any) -> None:
        title = str(event.assoc.requestor.primitive.calling_ae_title).strip()
        if not any(fnmatch.fnmatchcase(title, pattern) for pattern in self._allow):
            log.warning("an association was rejected: its AE title is not in WARD_DICOM_ALLOW")
            event.assoc.acse.send_reject(*NOT_RECOGNISED)
            event.assoc.kill()

    def _on_store(self, event: Any) -> Any:
        if measured := self._measured.get(event.assoc):
            measured.came = 0
        request = event.request
        claimed = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        try:
            receipt = self._intake.take(event.encoded_dataset(), "c_store", claimed=claimed)
        except Transient:
            return _status(OUT_OF_RESOURCES, "not stored, try again")
        if receipt.outcome != "refused":
            return SUCCESS
        wrong = NOT_AS_SAID if receipt.reason == "mismatch" else NOT_UNDERSTOOD
        return _status(OUT_OF_RESOURCES if receipt.reason == "too_large" else wrong, receipt.reason or "refused")


def _entity(title: str, idle_s: float) -> Any:
    from pydicom.pixels import get_decoder
    from pydicom.uid import AllTransferSyntaxes
    from pynetdicom import AE, AllStoragePresentationContexts
    from pynetdicom.sop_class import Verification

    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they quote what was sent
    try:
        entity = AE(ae_title=title)
    except (ValueError, TypeError) as wrong:
        raise Misconfigured(f"WARD_DICOM_AET={title!r} is no AE title: 1 to 16 characters") from wrong
    syntaxes = []
    for syntax in AllTransferSyntaxes:
        try:
            syntaxes += [syntax] if get_decoder(syntax).is_available else []
        except NotImplementedError:
            continue
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, syntaxes)
    entity.maximum_associations = ASSOCIATIONS
    entity.maximum_pdu_size = PDU_BYTES
    entity.dimse_timeout = entity.network_timeout = idle_s
    entity.acse_timeout = min(idle_s, ASK_S)
    return entity


def _status(code: int, comment: str) -> Any:
    from pydicom.dataset import Dataset

    told = Dataset()
    told.Status, told.ErrorComment = code, comment[:64]
    return told
