"""``ward lake report`` over a real HDFS: a shift of the simulated hospital through the real core, on one page each."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from batch.storage import Storage
from contracts import codec
from contracts.lake import ALERTS_TABLE, FORECASTS_TABLE, SCORES_TABLE, VITALS_TABLE
from contracts.records import Access, AlarmEvent, Category
from contracts.topology import ACCESS_LOG
from infra.stack import Stack
from models.ward.core import WardCore
from models.ward.policy import load_policy
from producers.scenario import load_script
from producers.ward import Hospital
from streams import ledger
from tests.integration.batch.conftest import empty_roots
from tests.integration.batch.small_lake import Rows, played, written

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs, pytest.mark.timeout(900)]

START_MS = 1_767_333_600_000
"""2026-01-02T07:00+01:00."""
SECONDS = 150
BEDS = 8
A4 = 297 / 210


@dataclasses.dataclass(frozen=True)
class Shift:
    """What lies in the lake, and how the command line reaches it."""

    rows: Rows
    environ: dict[str, str]
    kafka: str

    def patient(self, bed: str) -> str:
        return next(str(row["patient"]) for row in self.rows[SCORES_TABLE.name] if row["bed"] == bed)

    def report(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", "lake", "report", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def shift(session_stack: Stack, storage: Storage, superuser: Storage, kafka_with_topics: str) -> Iterator[Shift]:
    """A lake that holds the first minutes of a shift of one ward, with an empty day after it."""
    empty_roots(superuser)
    hospital = Hospital(BEDS, seed=20260102, script=load_script("demo"), start_ms=START_MS, past=True)
    rows = played(hospital, SECONDS, WardCore(load_policy()))
    written(rows, storage.write)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")}
    yield Shift(rows, environ | session_stack.environment(), kafka_with_topics)
    empty_roots(superuser)


def words_of(pdf: bytes) -> str:
    """The text of a page: matplotlib writes two bytes a letter, in the order of drawing."""
    found = []
    for stream in re.finditer(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            content = zlib.decompress(stream[1])
        except zlib.error:
            continue
        for text in re.findall(rb"BT\n(.*?)ET", content, re.DOTALL):
            letters = b"".join(re.findall(rb"\(((?:\\.|[^\\()])*)\)", text, re.DOTALL))
            plain = re.sub(rb"\\(.)", lambda escaped: {b"n": b"\n", b"r": b"\r"}.get(escaped[1], escaped[1]), letters)
            found.append(plain.decode("utf-16-be", "replace"))
    return "\n".join(found)


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b(?!s)", pdf))


def ink_of(png: bytes) -> tuple[float, float]:
    """How much of the picture is not white, and how much higher than wide it is."""
    grey = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    return float((grey < 200).mean()), grey.shape[0] / grey.shape[1]


def test_a_shift_is_one_page_with_its_figures_and_the_read_was_told(shift: Shift, tmp_path: Path) -> None:
    patient = shift.patient("W1-01")
    asked = ["--shift", "2026-01-02T07:00", "--for", "150s", "--zone", "Europe/Berlin", "--to", str(tmp_path), "--json"]
    done = shift.report("shift", patient, *asked)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    pdf, png = (Path(name).read_bytes() for name in told["files"])
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pdf", ".png"], "no draft is left"
    assert pages_of(pdf) == 1
    words = words_of(pdf)
    for word in (patient, "W1-01", "NEWS2", "SpO2", "/min", "Europe/Berlin, UTC+01:00", load_policy().hash, "07:00:00"):
        assert word in words, word
    for word in ("Research software, not a medical device.", "lake snapshot", "rows of", "page made"):
        assert word in words, word
    ink, shape = ink_of(png)
    assert 0.02 < ink < 0.4
    assert shape == pytest.approx(A4, rel=0.01)

    page = told["page"]
    assert figures_by_hand(shift.rows, patient) == {
        "alarms": page["burden"]["alarms"],
        "advisories": page["burden"]["advisories"],
        "readings": {vital: trend["readings"] for vital, trend in page["trends"].items()},
    }
    assert page["trends"]["spo2"]["beyond_ms"] > 30_000, "the demo's first patient desaturates"
    assert page["bands"], "the models spoke"
    assert page["news2"]
    accesses = [codec.decode(record.value, Access) for record in ledger.read(shift.kafka, ACCESS_LOG.name)]
    assert any(one.action == "report" and patient in one.target and one.outcome == "granted" for one in accesses)


def figures_by_hand(rows: Rows, patient: str) -> dict[str, Any]:
    raised = {
        row["alert_id"]: row["category"]
        for row in rows[ALERTS_TABLE.name]
        if row["patient"] == patient and row["event"] == AlarmEvent.RAISED
    }
    taken = {
        (row["vital"], row["event_ms"])
        for row in rows[VITALS_TABLE.name]
        if row["patient"] == patient and row["value"] is not None and row["event_ms"] >= START_MS
    }
    counts = Counter(vital for vital, at_ms in taken if at_ms < START_MS + SECONDS * 1000)
    shown = ("heart_rate", "respiration", "spo2", "systolic", "mean_pressure", "diastolic", "temperature")
    return {
        "alarms": sum(category != Category.ADVISORY for category in raised.values()),
        "advisories": sum(category == Category.ADVISORY for category in raised.values()),
        "readings": {vital: counts[vital] for vital in shown},
    }


def test_a_day_is_one_page_with_every_bed_and_every_alarm(shift: Shift, tmp_path: Path) -> None:
    done = shift.report("day", "W1", "2026-01-02", "--zone", "Europe/Berlin", "--to", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    page = told["page"]
    pdf, png = (Path(name).read_bytes() for name in told["files"])
    assert pages_of(pdf) == 1
    words = words_of(pdf)
    beds = [bed["bed"] for bed in page["beds"]]
    assert beds == [f"W1-{n:02}" for n in range(1, BEDS + 1)]
    for word in ("Ward-day: W1, 2026-01-02", "EEMUA 191", "Acknowledged after", "Longest without an answer", *beds):
        assert word in words, word
    assert ink_of(png)[0] > 0.02
    raised = [row for row in shift.rows[ALERTS_TABLE.name] if row["event"] == AlarmEvent.RAISED]
    loud = [row for row in raised if row["category"] != Category.ADVISORY]
    assert page["burden"]["alarms"] == len(loud) == sum(sum(filter(None, bed["alarms"])) for bed in page["beds"])
    by_hour = Counter(row["bed"] for row in loud)
    assert {bed["bed"]: bed["alarms"][7] for bed in page["beds"]} == {bed: by_hour[bed] for bed in beds}
    assert all(n is None for bed in page["beds"] for n in (*bed["alarms"][:7], *bed["alarms"][8:])), (
        "not heard is not 0"
    )
    assert page["burden"]["bed_days"] == pytest.approx(BEDS * SECONDS / 86_400, rel=0.1)
    silent = next(bed for bed in page["beds"] if bed["bed"] == "W1-06")
    assert silent["whole"] < max(bed["whole"] for bed in page["beds"]), "the demo's sixth bed falls silent"


def test_a_day_without_data_says_so(shift: Shift, tmp_path: Path) -> None:
    done = shift.report("day", "W1", "2026-01-03", "--to", str(tmp_path), "--format", "pdf")
    assert done.returncode == 0, done.stderr
    assert "no data" in done.stderr
    (file,) = tmp_path.iterdir()
    assert "nothing was heard" in words_of(file.read_bytes())


def test_who_is_not_there_is_told_with_who_is_and_nothing_is_written(shift: Shift, tmp_path: Path) -> None:
    patient = shift.patient("W1-01")
    span = ("--from", "2026-01-02T07:00+01:00", "--for", "5m", "--to", str(tmp_path))
    gone = shift.report("shift", patient[:-1], *span)
    assert gone.returncode == 3
    assert patient in gone.stderr
    nowhere = shift.report("day", "W7", "2026-01-02", "--to", str(tmp_path))
    assert (nowhere.returncode, "W1" in nowhere.stderr) == (3, True)
    bad = shift.report("shift", patient, "--from", "yesterday evening", "--for", "5m", "--to", str(tmp_path))
    assert (bad.returncode, "no moment" in bad.stderr) == (5, True)
    assert shift.report("day", "W1", "2026-01-02", "--format", "svg").returncode == 2
    assert not list(tmp_path.iterdir())


def test_without_hdfs_the_command_ends_at_once_and_says_so(shift: Shift, tmp_path: Path) -> None:
    away = {"WARD_HDFS_URL": "http://127.0.0.1:9", "WARD_HDFS_RPC": "hdfs://127.0.0.1:9"}
    done = dataclasses.replace(shift, environ=shift.environ | away).report(
        "day", "W1", "2026-01-02", "--to", str(tmp_path)
    )
    assert (done.returncode, "does not answer" in done.stderr) == (4, True)
    assert not list(tmp_path.iterdir())


def test_forecasts_that_were_in_force_lie_within_what_was_forecast(shift: Shift, tmp_path: Path) -> None:
    patient = shift.patient("W1-02")
    asked = ["--from", "2026-01-02T06:00Z", "--for", "150s", "--to", str(tmp_path), "--format", "png", "--json"]
    page = json.loads(shift.report("shift", patient, *asked).stdout)["page"]
    made = {row["event_ms"] for row in shift.rows[FORECASTS_TABLE.name] if row["patient"] == patient}
    assert {band["made_ms"] for band in page["bands"]} <= made
    for band in page["bands"]:
        assert all(
            low <= middle <= high for low, middle, high in zip(band["low"], band["middle"], band["high"], strict=True)
        )
        assert band["at_ms"] == sorted(band["at_ms"])
        assert band["at_ms"][-1] <= page["ends_ms"]
