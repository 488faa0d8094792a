"""The scanner against dcmtk's storescp: paced, patient, and honest about what came of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Receiver = Callable[..., Path]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """Starts dcmtk's storage SCP; the folder into which it writes."""
    if shutil.which("storescp") is None:
        pytest.skip("dcmtk is not here: `apt-get install dcmtk`")
    running: list[subprocess.Popen[bytes]] = []
    folder = tmp_path / "received"
    folder.mkdir()

    def start(port: int) -> Path:
        command = ["storescp", "-aet", "WARDSTREAM", "-od", str(folder), "+xa", str(port)]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return folder

    yield start
    for one in running:
        one.terminate()
        one.wait(10)


def scanner(port: int, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")}
    return subprocess.Popen(
        [sys.executable, "-m", "producers.scanner", *arguments],
        env=environment | {"WARD_DICOM_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_scanner_waits_for_a_gateway_that_is_away_and_loses_none(
    port: int, receiver: Receiver
) -> None:
    process = scanner(port, "--rate", "50", "--count", "9")
    assert process.stderr is not None
    said = next(line for line in process.stderr if "the image waits" in line)
    assert "does not answer" in said
    folder = receiver(port)
    out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert process.returncode == 0
    assert (told["stored"], told["refused"], told["failed"]) == (9, 0, 0)
    assert told["retries"] >= 1
    assert len(list(folder.iterdir())) == 9
    for path in folder.iterdir():
        dumped = subprocess.run(["dcmdump", "-q", str(path)], capture_output=True, text=True, check=False)
        assert dumped.returncode == 0, dumped.stderr
        assert "ACME Imaging" in dumped.stdout


def test_nobody_there_is_told_as_failed_once_patience_ends(port: int) -> None:
    process = scanner(port, "--rate", "50", "--count", "1", "--patience", "200ms")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(out)["failed"] == 1


def test_no_gateway_in_the_settings_is_misconfigured(port: int) -> None:
    process = scanner(0)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "WARD_DICOM_PORT" in err
