"""Where results are sent as DICOM: a storage SCP by C-STORE, or a STOW-RS service."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from ssl import SSLContext
from typing import Any, Final, Protocol

from contracts.errors import Misconfigured, Transient, WardError

REPORT, CAPTURE = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.7"
"""Comprehensive SR and Secondary Capture Image Storage."""
SYNTAXES: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
"""Explicit and Implicit VR Little Endian."""
CONNECT_S: Final = 10.0
ANSWER_S: Final = 60.0
OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)
WARNINGS: Final = range(0xB000, 0xC000)
LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
"""HTTP statuses after which the same may be accepted later."""
_PEER: Final = re.compile(r"([^@\s\\]{1,16})@(\[[0-9A-Fa-f:]+\]|[^:\s]+):(\d{1,5})")


class NotTaken(WardError):
    """The target refused objects for good; sending them again would not help."""


class Target(Protocol):
    """Takes DICOM objects."""

    name: str
    """For messages; without what a URL may hide."""

    def send(self, objects: Sequence[Any]) -> None:
        """Returns when every object is taken.

        Raises Transient when the target does not answer or is not able to now, NotTaken when it refuses for good.
        """


def target(where: str, calling: str, tls: SSLContext | None = None) -> Target:
    """The target that ``WARD_RETURN_TO`` names; ``tls`` is for a peer. Raises Misconfigured for what is neither peer
    nor URL."""
    if found := _PEER.fullmatch(where):
        return Peer(found[1], found[2].strip("[]"), int(found[3]), calling, tls)
    if re.fullmatch(r"https?://[^\s/]+(/\S*)?", where):
        return Service(where)
    raise Misconfigured("WARD_RETURN_TO: it is AET@host:port, or the http(s) URL of a STOW-RS service")


class Peer:
    """A storage SCP. ``called`` is its AE title, ``calling`` ours."""

    def __init__(self, called: str, host: str, port: int, calling: str, tls: SSLContext | None = None) -> None:
        from pynetdicom import AE

        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        self.name = f"{called}@{host}:{port}"
        self._called, self._address = called, (host, port)
        self._tls = None if tls is None else (tls, host)
        self._entity = AE(ae_title=calling)
        self._entity.acse_timeout = self._entity.connection_timeout = CONNECT_S
        self._entity.dimse_timeout = self._entity.network_timeout = ANSWER_S
        for uid in (REPORT, CAPTURE):
            for syntax in SYNTAXES:
                self._entity.add_requested_context(uid, syntax)

    def send(self, objects: Sequence[Any]) -> None:
        """As Target, in one association."""
        link = self._entity.associate(*self._address, ae_title=self._called, tls_args=self._tls)
        if not link.is_established:
            if link.is_rejected:
                raise Transient(f"{self.name} rejects the association: does it know AE {self._entity.ae_title}?")
            by = " by TLS with a certificate that is trusted here" if self._tls else ""
            raise Transient(f"{self.name} does not answer{by}")
        try:
            refused = list(self._refused(link, objects))
        finally:
            if link.is_established:
                link.release()
        if refused:
            raise NotTaken(f"{self.name} refuses {', '.join(refused)}")

    def _refused(self, link: Any, objects: Sequence[Any]) -> Iterable[str]:
        """Offer each; what was refused for good, and with which status."""
        for one in objects:
            try:
                answer = link.send_c_store(one)
            except ValueError:
                yield f"{one.Modality} (its SOP class was not accepted)"
                continue
            except RuntimeError as gone:
                raise Transient(f"{self.name} ended the association") from gone
            status = int(answer.Status) if "Status" in answer else None
            if status is None:
                raise Transient(f"{self.name} gave no answer to a C-STORE")
            if status in OUT_OF_RESOURCES:
                raise Transient(f"{self.name} is out of resources (0x{status:04X})")
            if status != 0 and status not in WARNINGS:
                yield f"{one.Modality} (0x{status:04X})"


class Service:
    """A STOW-RS service (PS3.18, section 10.5) at a base URL, to which ``/studies`` is added."""

    def __init__(self, url: str) -> None:
        from dicomweb_client import DICOMwebClient

        logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)
        self.name = re.sub(r"//[^/@]*@", "//", url).split("?")[0]
        self._client = DICOMwebClient(url=url.rstrip("/"), timeout=(CONNECT_S, ANSWER_S))
        self._client.set_http_retry_params(retry=False)  # the one who calls waits, and goes on being told to stop

    def send(self, objects: Sequence[Any]) -> None:
        """As Target, in one request."""
        import requests

        try:
            told = self._client.store_instances(list(objects))
        except requests.HTTPError as wrong:
            code = wrong.response.status_code if wrong.response is not None else 0
            if code in LATER:
                raise Transient(f"{self.name} answers {code}") from wrong
            raise NotTaken(f"{self.name} answers {code}") from wrong
        except requests.RequestException as away:
            raise Transient(f"{self.name} does not answer ({type(away).__name__})") from away
        reasons = [int(one.get("FailureReason", 0)) for one in told.get("FailedSOPSequence") or ()]
        if any(reason in OUT_OF_RESOURCES for reason in reasons):
            raise Transient(f"{self.name} is out of resources")
        if reasons:
            raise NotTaken(f"{self.name} refuses {', '.join(f'0x{reason:04X}' for reason in reasons)}")
