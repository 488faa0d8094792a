"""The gateway's parts without servers: sizes held to, paths that stay below, a killed child that is no verdict."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import Transient
from contracts.settings import Settings
from producers.image_store import Zone
from producers.intake import Intake
from producers.intake_child import Task
from producers.intake_scp import LONGEST_PDU, _Measured
from tests.unit.models.imaging import made


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    """Its servers are not asked."""
    settings = Settings(state_dir=str(tmp_path), hdfs_url="http://127.0.0.1:9", kafka="127.0.0.1:9")
    with contextlib.closing(Intake(settings, children=1)) as one:
        yield one


def test_an_association_reads_no_pdu_and_no_object_that_is_larger_than_it_may_be() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(bytes(3000))
        measured = _Measured(ours, largest=2500)
        assert measured.recv(2000) == bytes(2000)
        measured.came = 0  # as after each whole message
        assert measured.recv(1000) == bytes(1000)
        with pytest.raises(ConnectionAbortedError):
            measured.recv(1501)
        with pytest.raises(ConnectionAbortedError):
            _Measured(ours, largest=1 << 40).recv(LONGEST_PDU + 1)
        theirs.shutdown(socket.SHUT_WR)
        assert _Measured(ours, largest=10).recv(5) == b""


@pytest.mark.parametrize(
    "path", ["/images/../x", "/images//x", "/image", "/images", "images/x", "/identified/x", "/images/x/"]
)
def test_a_path_that_leads_out_of_its_zone_is_never_asked_for(path: str) -> None:
    with pytest.raises(ValueError, match="below /images"):
        Zone("http://127.0.0.1:9", "ward", "/images").status(path)


def test_a_child_that_somebody_else_killed_is_no_verdict_on_the_file(intake: Intake) -> None:
    intake._all[0].start()
    child = intake._all[0]._child
    assert child is not None
    threading.Timer(0.3, os.kill, (child.pid, signal.SIGKILL)).start()
    os.kill(child.pid, signal.SIGSTOP)
    assert intake._cleaned(Task(made.dicom())).told.modality == "DX"
    assert intake._all[0]._child is not child


def test_a_gateway_that_ends_judges_nothing_any_more(intake: Intake) -> None:
    intake.close()
    with pytest.raises(Transient, match="ends"):
        intake.take(made.dicom(), "submit")
    assert b'ward_images_taken_total{outcome="failed",source="submit"} 1.0' in intake.gauges.exposition()
