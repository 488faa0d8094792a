"""Makes the cases of this folder anew: ``python -m tests.cases.make [NAME ...]``. Only for a change that is meant.

Each is a ward of its own: a script of what befalls its patients and its equipment, or a stretch of real recordings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from contracts.records import SCHEMA_VERSION, ActionKind, AlertAction, VitalsFrame
from contracts.topology import VITALS, partition_for
from models.ward.policy import load_policy
from producers.archive import load
from producers.pace import Source
from producers.recordings import Playback
from producers.scenario import parse_script
from producers.ward import Hospital
from streams.compare.case import SUFFIX, packed, recorded
from streams.wardlog import LogRecord
from tests.unit.streams.compare.logs import T0, Log, span_of, tick

HERE = Path(__file__).parent
BEDS = 4

SCRIPTED = {
    "desaturation": ("a fall in saturation that is treated, a second one too short to alarm", 150),
    "arrhythmia": ("a fast irregular pulse that comes and goes", 120),
    "bleed": ("pressure falls, pulse and NEWS2 climb", 240),
    "sensors": ("leads off, a frozen pulse, a thermometer in Fahrenheit, a cuff on the finger's arm", 240),
    "transport": ("readings late, told twice, in another order; a clock that is 30 s ahead", 180),
    "silence": ("a bed falls silent, then its whole gateway", 120),
}
SCRIPTS: dict[str, list[tuple[str, str | int, int, int, str]]] = {
    "desaturation": [("desaturation", 1, 15, 70, ""), ("desaturation", 2, 40, 4, "strength = 0.7")],
    "arrhythmia": [("arrhythmia", 1, 10, 40, ""), ("arrhythmia", 3, 50, 8, ""), ("bradycardia", 4, 30, 60, "")],
    "bleed": [("bleed", 2, 10, 180, "")],
    "sensors": [
        ("lead_off", 1, 10, 60, ""),
        ("frozen", 2, 5, 200, 'vital = "heart_rate"'),
        ("fahrenheit", 3, 5, 200, ""),
        ("cuff_on_spo2_limb", 4, 5, 200, ""),
        ("no_signal", 3, 20, 60, 'vital = "spo2"'),
    ],
    "transport": [
        ("late", 1, 10, 60, "seconds = 20"),
        ("duplicate", 2, 10, 100, ""),
        ("shuffled", 3, 10, 100, ""),
        ("clock_skew", 4, 10, 120, "seconds = 30"),
        ("desaturation", 3, 30, 60, ""),
    ],
    "silence": [("silent_bed", 1, 10, 30, ""), ("silent_gateway", 'ward = "W1"', 60, 25, "")],
}
REAL = {
    "real-mimic": ("a real ICU stay, ten recorded seconds a second", ("mimic-03",), 10.0, 240),
    "real-eicu": ("three real ICU stays, half a minute a second", ("eicu-01", "eicu-04", "eicu-08"), 30.0, 240),
    "real-challenge": ("a real stay with few pressures, ten minutes a second", ("challenge2012-12",), 600.0, 200),
}


def script(name: str) -> bytes:
    """The script of a case as TOML."""
    events = [
        f'[[event]]\nkind = "{kind}"\n{place if isinstance(place, str) else f"bed = {place}"}\n'
        f"at_s = {at_s}\nfor_s = {for_s}\n{more}\n"
        for kind, place, at_s, for_s, more in SCRIPTS[name]
    ]
    return f'name = "{name}"\n{"".join(events)}'.encode()


def source_of(name: str) -> tuple[Source, str, int, str]:
    """What plays the case, its ward, for how many seconds, and what it is."""
    if name in SCRIPTED:
        about, seconds = SCRIPTED[name]
        return Hospital(BEDS, seed=11, script=parse_script(script(name)), start_ms=T0), "W1", seconds, about
    about, stays, speed, seconds = REAL[name]
    recordings = [one for stay in stays for one in load("samples", stay=stay)]
    return Playback(recordings, start_ms=T0, ward="ICU", beds=len(stays), speed=speed), "ICU", seconds, about


def log_of(source: Source, ward: str, seconds: int) -> list[LogRecord]:
    """The ward's log: frames, a tick a second, and somebody who pauses the sound of the first bed every minute."""
    log, partition = Log(), partition_for(ward, VITALS.partitions)
    for second in range(seconds):
        at_ms = T0 + second * 1000
        for frame in source.tick() or ():
            log.append(partition, at_ms + 200, frame)
        if second % 60 == 59:
            log.append(partition, at_ms + 300, paused(ward, second, at_ms))
        log.append(partition, at_ms + 500, tick(at_ms))
    return log.records


def paused(ward: str, second: int, at_ms: int) -> VitalsFrame:
    """Somebody pauses the sound of the ward's first bed."""
    action = AlertAction(
        version=SCHEMA_VERSION,
        action_id=f"pause-{second}",
        ward=ward,
        bed=f"{ward}-01",
        kind=ActionKind.PAUSE_AUDIO,
        actor="nurse.kim",
        role="nurse",
        at_ms=at_ms,
        pause_s=30,
    )
    return VitalsFrame(version=SCHEMA_VERSION, ward=ward, gateway="actions", seq=second, at_ms=at_ms, actions=(action,))


def main(names: Sequence[str]) -> None:
    """Write the cases of these names, or all."""
    for name in names or (*SCRIPTED, *REAL):
        source, ward, seconds, about = source_of(name)
        records = log_of(source, ward, seconds)
        case, found = recorded(records, span_of(records), load_policy(None), about)
        raw = packed(case)
        (HERE / f"{name}{SUFFIX}").write_bytes(raw)
        conditions = sorted({alert.episode.condition for alert in found.book.alerts.values()})
        print(f"{name}: {len(records)} records, {found.book.transitions} transitions, {len(raw)} bytes, {conditions}")


if __name__ == "__main__":
    main(sys.argv[1:])
