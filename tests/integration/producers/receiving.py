"""Who takes DICOM in a test: dcmtk's storescp, and a STOW-RS service by the words of PS3.18, section 10.5."""

from __future__ import annotations

import email.policy
import io
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom
import pytest

from infra.site import free_ports


class Receiver:
    """``storescp`` on a port of its own, writing what it takes into ``folder``."""

    def __init__(self, folder: Path, title: str, options: Sequence[str] = ()) -> None:
        self.folder, self.title, self.options = folder, title, options
        self.port = free_ports(["dicom"])["dicom"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["storescp", "-aet", self.title, "-od", str(self.folder), "+xa", *self.options, str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def taken(self) -> list[Any]:
        """The objects that came, whole ones."""
        return [pydicom.dcmread(path) for path in sorted(self.folder.iterdir())]


@contextmanager
def receiver(folder: Path, title: str, options: Sequence[str] = ()) -> Iterator[Receiver]:
    """Not started yet; gone at the end."""
    if shutil.which("storescp") is None:
        pytest.skip("dcmtk is not here: `apt-get install dcmtk`")
    folder.mkdir()
    one = Receiver(folder, title, options)
    yield one
    one.stop()


class Service:
    """POST ../studies of multipart/related; ``answers`` are the next statuses, 200 when there are none left."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.taken: list[Any] = []
        self.requests = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self._body()
                service.requests += 1
                status = service.answers.pop(0) if service.answers else 200
                content = b""
                if status == 200:
                    assert self.path == "/rs/studies"
                    parts = list(_parts(self.headers["Content-Type"], body))
                    service.taken += parts
                    content = _stored(parts)
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers["Content-Length"]))
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/rs"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _parts(kind: str, body: bytes) -> Iterator[Any]:
    """The DICOM files of a multipart/related message; each part must say that it is one."""
    whole = BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    assert whole.get_content_type() == "multipart/related"
    assert whole.get_param("type") == "application/dicom"
    for part in whole.iter_parts():
        assert part.get_content_type() == "application/dicom"
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        yield pydicom.dcmread(io.BytesIO(content))


def _stored(parts: list[Any]) -> bytes:
    told = pydicom.Dataset()
    told.ReferencedSOPSequence = [pydicom.Dataset() for _ in parts]
    for item, part in zip(told.ReferencedSOPSequence, parts, strict=True):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = part.SOPClassUID, part.SOPInstanceUID
    return str(told.to_json()).encode()
