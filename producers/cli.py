"""``ward simulate`` and ``ward play``: the producers by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from producers.pace import Played, Source
    from producers.publish import Publisher

FAILURE, NOT_FOUND, INTERRUPTED = 1, 3, 130
CONNECT_S = 5.0

app = typer.Typer(add_completion=False, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Ticks = Annotated[int | None, typer.Option(min=1, help="Stop after so many seconds of the run.", show_default="never")]
StartMs = Annotated[
    int | None,
    typer.Option(
        min=631_152_000_000,
        max=4_102_444_800_000,
        help="Event time of second 0 in epoch ms; the same anchor gives the same bytes.",
        show_default="now",
    ),
]
Unpaced = Annotated[bool, typer.Option("--unpaced", help="As fast as possible instead of a tick a second.")]


@app.command()
def simulate(
    beds: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="How many beds.", show_default="WARD_BEDS or 24")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed, other patients.", show_default="WARD_SEED")] = None,
    script: Annotated[
        str | None,
        typer.Option(
            help="demo, calm, faults, hospital, or a TOML file.", show_default="demo; hospital above 150 beds"
        ),
    ] = None,
    beds_per_ward: Annotated[int, typer.Option(min=1, max=1000, help="Beds in a ward.")] = 50,
    frame_beds: Annotated[int, typer.Option(min=1, max=1000, help="Beds in a message; 1 gives frames of one.")] = 50,
    ticks: Ticks = None,
    start_ms: StartMs = None,
    unpaced: Unpaced = False,
    truth: Annotated[
        Path | None, typer.Option(help="Write what really happens to this file, a JSON line an event, as it begins.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Examples: ward simulate · ward simulate --beds 1000 --truth truth.ndjson · ward simulate --script calm --ticks 60

    Plays the simulated hospital into patient_vitals, a tick a second, until Ctrl-C. The broker is WARD_KAFKA. Scripts
    say what befalls whom and when; --truth writes it down, so that alarms can be held against what happened.
    """
    from contextlib import ExitStack

    import msgspec

    from contracts.settings import Settings
    from producers import pace
    from producers.scenario import load_script
    from producers.ward import Hospital, script_for

    given = {name: value for name, value in (("beds", beds), ("seed", seed)) if value is not None}
    settings = Settings.from_env(os.environ, **given)
    hospital = Hospital(
        settings.beds,
        seed=settings.seed,
        script=load_script(script or script_for(settings.beds)),
        start_ms=pace.now_ms() if start_ms is None else start_ms,
        beds_per_ward=beds_per_ward,
        frame_beds=frame_beds,
        past=True,
    )
    written = 0
    with ExitStack() as open_files:
        lines = open_files.enter_context(_created(truth)) if truth is not None else None

        def note_truth() -> None:
            nonlocal written
            for one in hospital.starting():
                written += 1
                if lines is not None:
                    lines.write(msgspec.json.encode(one) + b"\n")
                    lines.flush()

        say(f"{settings.beds} beds in {len(hospital.roster.wards)} wards, script {hospital.scenario.script.name}")
        played, code = _play(hospital, settings, ticks, unpaced, note_truth)
    _report(
        {
            "beds": settings.beds,
            "wards": len(hospital.roster.wards),
            "seed": settings.seed,
            "script": hospital.scenario.script.name,
            "start_ms": hospital.start_ms,
            "truth_events": written,
        },
        played,
        as_json,
    )
    raise typer.Exit(code)


@app.command()
def play(
    source: Annotated[str, typer.Argument(help="samples, eicu, mimic or challenge2012.")] = "samples",
    list_them: Annotated[bool, typer.Option("--list", help="List the stays and stop.")] = False,
    stay: Annotated[str | None, typer.Option(help="Only this stay.", show_default="all")] = None,
    beds: Annotated[int, typer.Option(min=1, max=1000, help="Beds; further stays wait for a free one.")] = 8,
    ward: Annotated[str, typer.Option(help="Name of the ward.")] = "ICU",
    speed: Annotated[
        float | None,
        typer.Option(
            help="Recorded seconds a second.", show_default="60: an hour a minute; 10 for recordings by the minute"
        ),
    ] = None,
    between: Annotated[
        str, typer.Option(help="Between two recorded values: hold or interpolate; either is said in each reading.")
    ] = "hold",
    from_hour: Annotated[
        float, typer.Option(min=0, max=1000, help="Play from this hour on; the hours before are told as the past.")
    ] = 0.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again when all have ended.")] = False,
    ticks: Ticks = None,
    start_ms: StartMs = None,
    unpaced: Unpaced = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward play · ward play --list · ward play mimic --speed 1 · ward play eicu --from-hour 12

    Plays real ICU recordings into patient_vitals at one frame a second, artefacts and gaps as they are. The samples
    come with the project; the other sources are read from WARD_DATA_DIR. The broker is WARD_KAFKA.
    """
    from contracts.errors import Misconfigured
    from contracts.settings import Settings
    from producers import pace
    from producers.archive import NotFound, load
    from producers.recordings import Between, Playback

    settings = Settings.from_env(os.environ)
    if between not in Between.__members__.values():
        raise Misconfigured(f"--between {between!r}: it is hold or interpolate")
    try:
        recordings = load(source, settings.data_dir, stay)
    except NotFound as failure:
        say(f"ward play: {failure}")
        raise typer.Exit(NOT_FOUND) from failure
    if list_them:
        _list(recordings, as_json)
        return
    recordings = [late for one in recordings if (late := one.begun_at(from_hour * 3600)).tracks]
    playback = Playback(
        recordings,
        start_ms=pace.now_ms() if start_ms is None else start_ms,
        ward=ward,
        beds=min(beds, len(recordings)),
        speed=speed,
        between=Between(between),
        loop=loop,
    )
    say(f"{len(recordings)} stays of {source} on {min(beds, len(recordings))} beds of ward {ward}")
    played, code = _play(playback, settings, ticks, unpaced, None)
    _report({"source": source, "stays": len(recordings), "ward": ward, "start_ms": playback.start_ms}, played, as_json)
    raise typer.Exit(code)


def say(line: str) -> None:
    """A line of chatter."""
    print(line, file=sys.stderr, flush=True)


def _created(path: Path) -> Any:
    from contracts.errors import Misconfigured

    try:
        return path.open("wb")
    except OSError as failure:
        raise Misconfigured(f"--truth {path}: {failure.strerror}") from failure


def _play(source: Source, settings: Any, ticks: int | None, unpaced: bool, before_tick: Any) -> tuple[Played, int]:
    """Connect, play, and the exit code."""
    import signal

    from producers import pace
    from producers.publish import Publisher

    pace.speak(settings)
    with pace.stopping_on_signals() as (stop, came):
        publisher: Publisher = Publisher(settings.kafka, client_id="ward-by-hand", stop=stop)
        publisher.connect(CONNECT_S)
        say("playing; Ctrl-C ends it")
        played = pace.play(source, publisher, stop, ticks=ticks, paced=not unpaced, before_tick=before_tick)
    if not played.complete:
        return played, FAILURE
    return played, INTERRUPTED if signal.SIGINT in came else 0


def _report(about: dict[str, Any], played: Played, as_json: bool) -> None:
    import msgspec

    document = about | msgspec.structs.asdict(played)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), flush=True)
        return
    print(
        f"{played.ticks} ticks, {played.frames} frames, {played.readings} readings; {played.delivered} delivered, "
        f"{played.failed} failed, {played.undelivered} undelivered; {played.cpu_ms_per_tick} ms CPU a tick"
    )


def _list(recordings: Any, as_json: bool) -> None:
    import msgspec

    rows = [
        {"stay": one.id, "origin": one.origin, "hours": round(one.length_s / 3600, 1), "vitals": one.vitals}
        for one in recordings
    ]
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    for row in rows:
        print(f"{row['stay']:22} {row['hours']:6.1f} h  {', '.join(row['vitals'])}")
