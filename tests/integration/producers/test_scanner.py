"""The scanner against dcmtk's storescp: paced, patient, and honest about what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.producers.receiving import Receiver, receiver


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path / "received", "WARDSTREAM") as one:
        yield one


def scanner(port: int, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")}
    return subprocess.Popen(
        [sys.executable, "-m", "producers.scanner", *arguments],
        env=environment | {"WARD_DICOM_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_scanner_waits_for_a_gateway_that_is_away_and_loses_none(peer: Receiver) -> None:
    process = scanner(peer.port, "--rate", "50", "--count", "9")
    assert process.stderr is not None
    said = next(line for line in process.stderr if "the image waits" in line)
    assert "does not answer" in said
    peer.start()
    out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert process.returncode == 0
    assert (told["stored"], told["refused"], told["failed"]) == (9, 0, 0)
    assert told["retries"] >= 1
    assert len(list(peer.folder.iterdir())) == 9
    for path in peer.folder.iterdir():
        dumped = subprocess.run(["dcmdump", "-q", str(path)], capture_output=True, text=True, check=False)
        assert dumped.returncode == 0, dumped.stderr
        assert "ACME Imaging" in dumped.stdout


def test_nobody_there_is_told_as_failed_once_patience_ends(peer: Receiver) -> None:
    process = scanner(peer.port, "--rate", "50", "--count", "1", "--patience", "200ms")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(out)["failed"] == 1


def test_no_gateway_in_the_settings_is_misconfigured() -> None:
    process = scanner(0)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "WARD_DICOM_PORT" in err
