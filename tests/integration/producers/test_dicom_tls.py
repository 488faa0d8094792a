"""C-STORE by TLS, into the gateway and back out of it, with dcmtk at the other end."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trustme

from contracts.errors import Transient
from contracts.settings import Settings
from infra.stack import Stack, wait_until
from producers.dicom_tls import of_the_return
from producers.returned_report import report
from producers.returned_sending import target
from producers.returned_series import source_of
from tests.conftest import servers
from tests.integration.producers.gateway import Gateway, Told, gateway
from tests.integration.producers.receiving import receiver
from tests.integration.producers.test_gateway import scan
from tests.unit.producers.test_returned import FINDING, image, read_back, result

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs]
SILENT = 5


@dataclass(frozen=True)
class Shown:
    """A certificate and its key, in files."""

    cert: Path
    key: Path

    def dcmtk(self, trusts: Path) -> tuple[str, ...]:
        """As dcmtk's tools take them."""
        return "+tls", str(self.key), str(self.cert), "+cf", str(trusts)


def shown(authority: trustme.CA, folder: Path, name: str, *hosts: str) -> Shown:
    made = authority.issue_cert(*hosts)
    one = Shown(folder / f"{name}.pem", folder / f"{name}.key")
    made.cert_chain_pems[0].write_to_path(one.cert)
    made.private_key_pem.write_to_path(one.key)
    return one


@dataclass(frozen=True)
class Hospital:
    """One authority, who has a certificate of it, and somebody of another."""

    authority: Path
    gateway: Shown
    scanner: Shown
    stranger: Shown


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    folder = tmp_path_factory.mktemp("certificates")
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "authority.pem")
    return Hospital(
        folder / "authority.pem",
        shown(ours, folder, "gateway", "127.0.0.1"),
        shown(ours, folder, "scanner", "scanner.example"),
        shown(others, folder, "stranger", "127.0.0.1"),
    )


@pytest.fixture(scope="module")
def environ(session_stack: Stack, hospital: Hospital) -> dict[str, str]:
    found = servers(session_stack, ["zones", "topics"]).environment()
    return {name: found[name] for name in ("WARD_KAFKA", "WARD_HDFS_URL")} | {
        "WARD_DICOM_TLS_CERT": str(hospital.gateway.cert),
        "WARD_DICOM_TLS_KEY": str(hospital.gateway.key),
        "WARD_DICOM_TLS_CLIENTS": str(hospital.authority),
    }


@pytest.fixture(scope="module")
def door(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(environ, tmp_path_factory.mktemp("gateway")) as one:
        yield one


def test_only_who_shows_a_certificate_that_is_known_here_may_send(
    door: Gateway, environ: dict[str, str], hospital: Hospital, tmp_path: Path
) -> None:
    with contextlib.closing(Told(environ["WARD_KAFKA"])) as told:
        one = scan(tmp_path)
        assert "Response" not in door.store(one)
        assert "Response" not in door.store(one, options=["+tla", "-ic"])
        assert "Response" not in door.store(one, options=hospital.stranger.dcmtk(hospital.authority))
        assert told.all() == []
        assert "Received Store Response (Success)" in door.store(
            one, options=hospital.scanner.dcmtk(hospital.authority)
        )
        assert len(told.all()) == 1
    assert door.process.poll() is None


def test_the_sender_sees_who_takes_its_images(door: Gateway, hospital: Hospital, tmp_path: Path) -> None:
    said = door.store(scan(tmp_path), options=hospital.scanner.dcmtk(hospital.stranger.cert))
    assert "Response" not in said
    assert "certificate verify failed" in said.lower() or "certificate" in said.lower()


def test_who_connects_and_says_nothing_keeps_nobody_waiting(door: Gateway, hospital: Hospital, tmp_path: Path) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(SILENT):
            silent.enter_context(socket.create_connection(("127.0.0.1", door.dicom_port), timeout=10))
        options = hospital.scanner.dcmtk(hospital.authority)
        one = scan(tmp_path)
        # who was turned away before holds a place for some seconds
        assert wait_until(lambda: "Received Store Response (Success)" in door.store(one, options=options), 40)


def test_results_go_by_tls_to_who_is_known_and_is_who_was_asked_for(hospital: Hospital, tmp_path: Path) -> None:
    settings = Settings(
        return_tls_ca=str(hospital.authority),
        dicom_tls_cert=str(hospital.gateway.cert),
        dicom_tls_key=str(hospital.gateway.key),
    )
    _, stored = image()
    told = result(stored, **FINDING)
    finding = read_back(report(told, source_of(stored, told)))
    for name, peer in (("pacs", hospital.gateway), ("elsewhere", hospital.scanner), ("strange", hospital.stranger)):
        with receiver(tmp_path / name, "PACS", peer.dcmtk(hospital.authority)) as one:
            one.start()
            assert wait_until(partial(listens, one.port), 10)
            to = target(f"PACS@127.0.0.1:{one.port}", "WARDSTREAM", of_the_return(settings))
            if peer is hospital.gateway:
                to.send([finding])
                assert [taken.Modality for taken in one.taken()] == ["SR"]
                continue
            with pytest.raises(Transient, match="does not answer by TLS with a certificate that is trusted here"):
                to.send([finding])
            assert one.taken() == []


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
