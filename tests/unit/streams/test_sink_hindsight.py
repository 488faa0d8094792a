"""What forecasts were worth becomes points that can be summed, and outlives a restart where there is a place for it."""

from __future__ import annotations

import stat
from pathlib import Path

from contracts import records as r
from models.vitals.hindsight import Outcome, Worth
from streams.sink.hindsight import FILE, Keeper, of_outcome, of_worth

START = 29_455_200 * 60_000
SOURCE = r.SourceOffset(topic="t", partition=0, offset=1)
WORTH = Worth(
    "W 1", "spo2", 300, "lstm", START, 4, (0.05, 0.25, 0.5, 0.75, 0.95), (0.0, 1.0, 1.5, 3.0, 4.0), (3, 2),
    (16.0, 4.0), 2.5, 3.0, 0.75,
)  # fmt: skip


def seen(second: int) -> r.ScoreFrame:
    now = START + second * 1000
    value = r.ScoredVital(vital=r.Vital.SPO2, value=95.0, at_ms=now)
    bed = r.BedScore(bed="1", patient="pseudonym-7", heard_ms=now, values=(value,))
    return r.ScoreFrame(version=1, ward="W 1", at_ms=now, now_ms=now, source=SOURCE, policy="p", beds=(bed,))


def ahead(second: int) -> r.VitalsForecast:
    now = START + second * 1000
    vital = r.VitalForecast(
        vital=r.Vital.SPO2, engine=r.Engine.LSTM, horizons_s=(300,), quantiles=((90.0, 94.0, 95.0, 96.0, 97.0),)
    )
    bed = r.BedForecast(bed="1", patient="pseudonym-7", at_ms=now, vitals=(vital,))
    return r.VitalsForecast(
        version=1, ward="W 1", at_ms=now, now_ms=now, source=SOURCE, levels=WORTH.levels, beds=(bed,)
    )


def lived(keeper: Keeper, seconds: range) -> list[str]:
    lines = []
    for second in seconds:
        lines += keeper.of_scores(seen(second))
        if second == 65:
            keeper.forecast(ahead(second))
    return lines


def test_points_name_ward_vital_horizon_band_and_level_and_hold_sums() -> None:
    at = f"{START}000000"
    assert of_worth(WORTH) == [
        f"hindsight,engine=lstm,horizon=300,vital=spo2,ward=W\\ 1 n=4i,error=2.5,naive=3.0,pinball=0.75 {at}",
        f"coverage,band=90,engine=lstm,horizon=300,vital=spo2,ward=W\\ 1 n=4i,inside=3i,width=16.0,nominal=3.6 {at}",
        f"coverage,band=50,engine=lstm,horizon=300,vital=spo2,ward=W\\ 1 n=4i,inside=2i,width=4.0,nominal=2.0 {at}",
        *(
            f"calibration,engine=lstm,horizon=300,level={level},vital=spo2,ward=W\\ 1 n=4i,under={under} {at}"
            for level, under in zip(("05", "25", "50", "75", "95"), (0.0, 1.0, 1.5, 3.0, 4.0), strict=True)
        ),
    ]
    assert of_outcome(Outcome("W 1", "hypotension", "02-05 %", START, 3, 0.1, 1, 0.9)) == [
        f"reliability,chance=02-05\\ %,risk=hypotension,ward=W\\ 1 n=3i,told=0.1,came=1i,brier=0.9 {at}"
    ]


def test_what_waits_outlives_a_restart_and_names_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "sink"
    whole = lived(Keeper(None), range(0, 480, 5))
    assert [line.split(",")[0] for line in whole] == ["hindsight", "coverage", "coverage", *["calibration"] * 5]
    one = Keeper(folder)
    first = lived(one, range(0, 200, 5))
    one.keep()
    assert not folder.exists(), "it is not time yet"
    one.keep(now=True)
    assert b"pseudonym" not in (folder / FILE).read_bytes()
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert first + lived(Keeper(folder), range(200, 480, 5)) == whole
    assert lived(Keeper(None), range(200, 480, 5)) == [], "without it the pairs are missing, and nothing is made up"


def test_a_foreign_file_or_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"foreign")
    assert len(lived(Keeper(tmp_path), range(0, 480, 5))) == 8
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    keeper = Keeper(blocked / "sink")
    keeper.keep(now=True)
    assert len(lived(keeper, range(0, 480, 5))) == 8
