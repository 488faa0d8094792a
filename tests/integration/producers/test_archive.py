"""The full sets, where ``WARD_DATA_DIR`` says they are."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import pytest

from contracts.records import Quality, Vital
from producers.archive import Origin, load
from producers.recordings import Playback
from producers.samples import pick

DATA = os.environ.get("WARD_DATA_DIR")
pytestmark = pytest.mark.skipif(DATA is None, reason="needs the recordings: set WARD_DATA_DIR")
START_MS = 1_767_340_800_000


def test_the_shipped_sample_is_what_the_rule_picks_byte_for_byte(tmp_path: Path) -> None:
    pick.write(tmp_path, Path(str(DATA)))
    shipped = resources.files("producers").joinpath("samples")
    for name in (*Origin, "stays"):
        assert (tmp_path / f"{name}.csv").read_bytes() == shipped.joinpath(f"{name}.csv").read_bytes()


@pytest.mark.parametrize(("origin", "stays"), [(Origin.EICU, 1900), (Origin.MIMIC, 2), (Origin.CHALLENGE2012, 6700)])
def test_every_stay_of_a_full_set_can_be_read(origin: Origin, stays: int) -> None:
    recordings = load(origin, DATA)
    assert len(recordings) >= stays
    assert len({one.id for one in recordings}) == len(recordings)
    for one in recordings:
        for track in one.tracks:
            assert list(track.at_s) == sorted(set(track.at_s))
            assert track.at_s[0] >= 0


def test_artefacts_of_the_full_set_are_left_in() -> None:
    values = {
        (track.vital, value)
        for one in load(Origin.CHALLENGE2012, DATA)
        for track in one.tracks
        for value in track.values
    }
    assert {(Vital.HEART_RATE, 300.0), (Vital.HEART_RATE, 0.0), (Vital.TEMPERATURE, -17.8)} <= values


def test_one_stay_plays_hour_by_hour() -> None:
    (stay,) = load(Origin.EICU, DATA, "eicu-141765")
    playback = Playback([stay], start_ms=START_MS, beds=1)
    measured = [
        ((frame.at_ms - START_MS) // 1000, r.value)
        for _ in range(181)
        for frame in playback.tick() or []
        for r in frame.beds[0].readings
        if r.vital is Vital.HEART_RATE and r.quality is Quality.MEASURED
    ]
    assert measured[:3] == [(0, 83.0), (60, 80.0), (120, 77.0)]
