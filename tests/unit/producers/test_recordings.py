"""Recordings as they are: values, times, gaps and artefacts; and what stands between them says so."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib import resources

import pytest

from contracts.codec import decode_frame, encode
from contracts.errors import Misconfigured
from contracts.records import Quality, Reading, Source, Vital, VitalsFrame
from producers.archive import COLUMNS, SAMPLES, NotFound, Origin, Recording, Track, load
from producers.recordings import Between, Playback

START_MS = 1_767_340_800_000
HOUR = 3600.0
NOTHING = Recording("nothing", Origin.EICU, 0.0, (Track(Vital.SPO2, Source.PLETH, (0.0,), (97.0,)),))


def recording(
    *values: tuple[float, float], vital: Vital = Vital.HEART_RATE, source: Source = Source.MONITOR
) -> Recording:
    at_s, numbers = zip(*values, strict=True)
    return Recording("rec-1", Origin.EICU, at_s[-1], (Track(vital, source, at_s, numbers),))


def played(playback: Playback) -> Iterator[VitalsFrame]:
    while (frames := playback.tick()) is not None:
        yield from frames


def said(one: Recording, speed: float = 60.0, between: Between = Between.HOLD) -> list[tuple[int, Reading]]:
    """(event second, reading) of a recording played alone."""
    playback = Playback([one], start_ms=START_MS, beds=1, speed=speed, between=between)
    return [
        (((r.at_ms or frame.at_ms) - START_MS) // 1000, r) for frame in played(playback) for r in frame.beds[0].readings
    ]


def test_recorded_values_are_measured_at_their_instant_and_held_in_between() -> None:
    readings = said(recording((0, 80), (HOUR, 95)))
    assert [(t, r.value) for t, r in readings if r.quality is Quality.MEASURED] == [(0, 80), (60, 95)]
    assert [(t, r.value) for t, r in readings if r.quality is Quality.HELD] == [(t, 80) for t in range(1, 60)]
    assert len(readings) == 61


def test_interpolated_values_lie_on_the_line_and_say_what_they_are() -> None:
    readings = said(recording((0, 80), (HOUR, 140)), between=Between.INTERPOLATE)
    assert [r.value for t, r in readings if r.quality is Quality.INTERPOLATED] == [80 + t for t in range(1, 60)]
    assert [(t, r.value) for t, r in readings if r.quality is Quality.MEASURED] == [(0, 80), (60, 140)]


def test_nothing_is_interpolated_towards_or_from_an_artefact() -> None:
    readings = said(recording((0, 80), (HOUR, 0), (2 * HOUR, 82)), between=Between.INTERPOLATE)
    assert Quality.INTERPOLATED not in {r.quality for _, r in readings}
    assert {r.value for _, r in readings} == {80, 0, 82}


def test_a_value_stands_for_two_hours_at_most_then_nothing_is_said() -> None:
    readings = said(recording((0, 80), (6 * HOUR, 82)))
    assert [t for t, r in readings] == [*range(121), 360]


def test_temperature_stands_longer() -> None:
    readings = said(recording((0, 36.5), (6 * HOUR, 37), vital=Vital.TEMPERATURE))
    assert len(readings) == 361


def test_a_cuff_speaks_when_it_has_measured_and_only_then() -> None:
    readings = said(recording((0, 120), (HOUR, 110), vital=Vital.SYSTOLIC, source=Source.CUFF))
    assert [(t, r.value, r.quality) for t, r in readings] == [(0, 120, Quality.MEASURED), (60, 110, Quality.MEASURED)]


def test_a_value_between_two_ticks_keeps_its_own_instant() -> None:
    playback = Playback([recording((0, 80), (90, 95), (180, 99))], start_ms=START_MS, beds=1, speed=60.0)
    at = {r.value: r.at_ms for f in played(playback) for r in f.beds[0].readings if r.quality is Quality.MEASURED}
    assert at == {80: None, 95: START_MS + 1500, 99: None}


def test_no_value_is_lost_however_fast_it_is_played() -> None:
    values = [(n * 60.0, float(n)) for n in range(100)]
    for speed in (1.0, 7.0, 60.0, 1000.0):
        measured = [r.value for _, r in said(recording(*values), speed) if r.quality is Quality.MEASURED]
        assert measured == [value for at_s, value in values if at_s <= values[-1][0] // speed * speed]


def test_a_bed_goes_to_the_next_recording_when_one_ends() -> None:
    first, second = recording((0, 80), (60, 81)), NOTHING
    playback = Playback([first, second], start_ms=START_MS, beds=1, speed=60.0)
    assert [frame.beds[0].patient for frame in played(playback)] == ["rec-1", "rec-1", "nothing"]


def test_looping_begins_again() -> None:
    playback = Playback([recording((0, 80), (60, 81)), NOTHING], start_ms=START_MS, beds=1, speed=60.0, loop=True)
    patients = [frame.beds[0].patient for _ in range(7) for frame in playback.tick() or []]
    assert patients == ["rec-1", "rec-1", "nothing"] * 2 + ["rec-1"]


def test_playing_again_gives_the_same_bytes() -> None:
    def raw() -> list[bytes]:
        playback = Playback(load(SAMPLES), start_ms=START_MS, loop=True)
        return [encode(frame) for _ in range(200) for frame in playback.tick() or []]

    assert raw() == raw()


@pytest.mark.parametrize("speed", [0.0, -1.0, 1e9])
def test_an_impossible_speed_is_refused(speed: float) -> None:
    with pytest.raises(Misconfigured, match="speed"):
        Playback([NOTHING], start_ms=START_MS, speed=speed)


# -- the sample that ships -------------------------------------------------------------------------------------------


def rows() -> list[tuple[Origin, dict[str, str]]]:
    folder = resources.files("producers").joinpath("samples")
    return [
        (origin, row)
        for origin in Origin
        for row in csv.DictReader(folder.joinpath(f"{origin}.csv").read_text().splitlines())
    ]


def test_the_sample_has_stays_of_every_source_enough_for_a_ward_of_eight() -> None:
    samples = load(SAMPLES)
    assert len(samples) >= 8
    assert {one.origin for one in samples[:8]} == set(Origin)


def test_every_number_in_the_sample_is_played_and_no_other_is_measured() -> None:
    written = sorted(
        (row["stay"], *COLUMNS[origin][column], float(text))
        for origin, row in rows()
        for column, text in row.items()
        if column in COLUMNS[origin] and text and int(row["minute"]) >= 0
    )
    played_back = sorted(
        (one.id, track.vital, track.source, value)
        for one in load(SAMPLES)
        for track in one.tracks
        for value in track.values
    )
    assert played_back == written
    ward = Playback(load(SAMPLES), start_ms=START_MS, beds=len(load(SAMPLES)), speed=60.0)
    measured = sorted(
        (bed.patient, r.vital, r.source, r.value)
        for frame in played(ward)
        for bed in frame.beds
        for r in bed.readings
        if r.quality is Quality.MEASURED
    )
    assert measured == written


def test_a_bed_never_says_a_vital_that_its_recording_lacks() -> None:
    samples = {one.id: set(one.vitals) for one in load(SAMPLES)}
    ward = Playback(load(SAMPLES), start_ms=START_MS, beds=len(samples), between=Between.INTERPOLATE)
    for frame in played(ward):
        for bed in frame.beds:
            assert {r.vital.value for r in bed.readings} <= samples[bed.patient]


def test_artefacts_are_left_in_the_sample() -> None:
    values = {(v, value) for one in load(SAMPLES) for v, value in ((t.vital, x) for t in one.tracks for x in t.values)}
    assert (Vital.HEART_RATE, 0.0) in values
    assert (Vital.SPO2, 0.0) in values
    assert any(vital is Vital.SYSTOLIC and value < 25 for vital, value in values)


def test_frames_of_the_sample_are_ones_that_the_codec_takes_whole() -> None:
    ward = Playback(load(SAMPLES), start_ms=START_MS, loop=True)
    for _ in range(120):
        for frame in ward.tick() or []:
            assert decode_frame(encode(frame)).faults == ()


def test_the_sample_says_where_it_comes_from_and_under_which_licence() -> None:
    readme = resources.files("producers").joinpath("samples", "README.md").read_text()
    for word in ("ODbL 1.0", "ODC-By 1.0", "eICU", "MIMIC", "Challenge 2012", "PhysioNet", "Attribution"):
        assert word in readme
    for name in (*Origin, "stays"):
        assert f"{name}.csv" in readme


def test_the_sample_is_small() -> None:
    folder = resources.files("producers").joinpath("samples")
    assert sum(len(folder.joinpath(f"{origin}.csv").read_bytes()) for origin in Origin) < 300_000


# -- the full sets ---------------------------------------------------------------------------------------------------


def test_full_sets_need_to_be_told_where_they_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(Misconfigured, match="WARD_DATA_DIR"):
        load("eicu")
    with pytest.raises(Misconfigured, match=r"vitals/eicu_hourly\.parquet"):
        load("eicu", str(tmp_path_factory.mktemp("empty")))
    with pytest.raises(Misconfigured, match="samples, eicu, mimic"):
        load("nowhere")


def test_a_stay_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="--list"):
        load(SAMPLES, stay="eicu-99")
