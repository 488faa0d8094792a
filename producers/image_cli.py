"""``ward image submit``: files by hand into the gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    import httpx

    from producers.intake_wrap import Given

NOT_FOUND, BAD_INPUT = 3, 5
PATIENCE_S: Final = 180.0
TRIES: Final = 5
PAUSE_S: Final = 2.0

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def image() -> None:
    """Images: submit, route, list, show."""


@app.command()
def submit(
    paths: Annotated[
        list[Path], typer.Argument(help="Files, or folders with everything below them.", metavar="PATH...")
    ],
    patient: Annotated[str | None, typer.Option(help="The hospital's patient id; it becomes a pseudonym.")] = None,
    study: Annotated[str | None, typer.Option(help="Pictures of one study id belong together.")] = None,
    modality: Annotated[str | None, typer.Option(help="Of pictures: DX, MR, CR ...")] = None,
    body_part: Annotated[str | None, typer.Option(help="Of pictures: KNEE, BRAIN, HAND ...")] = None,
    view: Annotated[str | None, typer.Option(help="Of pictures: AP, PA, LAT ...")] = None,
    sex: Annotated[str | None, typer.Option(help="Of pictures: F, M or O.")] = None,
    age: Annotated[str | None, typer.Option(help="Of pictures: years at the study.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward image submit scan.dcm · ward image submit folder/ · ward image submit knee.jpg --patient 4711
    --modality DX --body-part KNEE --view AP --sex F --age 61

    Sends DICOM, JPEG, PNG and TIFF files to the gateway (WARD_INTAKE). Each is stored, known already, or refused with a
    reason; sending again is harmless. Exit codes: 3 no such file, 4 the gateway is away, 5 some were refused.
    """
    import httpx
    import msgspec

    from contracts.errors import Misconfigured, Poison
    from contracts.settings import Settings
    from producers.intake_wrap import Given

    settings = Settings.from_env(os.environ)
    if not settings.intake:
        raise Misconfigured("WARD_INTAKE says where the gateway's HTTP intake is; `./ward up gateway` starts one")
    said = {"patient": patient, "study": study, "modality": modality, "body_part": body_part, "view": view}
    told = {name: text for name, text in (said | {"sex": sex, "age": age}).items() if text}
    try:
        given = Given.checked(told)
    except Poison as wrong:
        raise Misconfigured(f"--{wrong.field.replace('_', '-')}: {wrong.detail}") from wrong
    files = list(_files(paths))
    rows: list[dict[str, Any]] = []
    with httpx.Client(base_url=settings.intake, timeout=PATIENCE_S) as client:
        for number, path in enumerate(files, 1):
            rows.append(_sent(client, path, given, TRIES if rows else 1))
            _say(f"{number}/{len(files)} {path}: {_in_words(rows[-1])}")
    counts = {word: sum(row["outcome"] == word for row in rows) for word in ("stored", "known", "refused")}
    if as_json:
        print(msgspec.json.format(msgspec.json.encode({**counts, "files": rows}), indent=2).decode())
    else:
        print(f"{counts['stored']} stored, {counts['known']} known already, {counts['refused']} refused")
    raise typer.Exit(BAD_INPUT if counts["refused"] else 0)


def _files(paths: list[Path]) -> Iterator[Path]:
    """Every file, in order; exit code 3 for a path that is not there, before anything is sent."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        _say(f"ward image submit: {missing[0]} is not there")
        raise typer.Exit(NOT_FOUND)
    found: list[Path] = []
    for path in paths:
        below = (one for one in sorted(path.rglob("*")) if one.is_file() and not one.name.startswith("."))
        found += below if path.is_dir() else [path]
    if not found:
        _say("ward image submit: no file in there")
        raise typer.Exit(NOT_FOUND)
    yield from found


def _sent(client: httpx.Client, path: Path, given: Given, tries: int) -> dict[str, Any]:
    """What the gateway says of one file, asked again when it goes away meanwhile. Raises as ``_asked``."""
    import threading

    from contracts.errors import Transient

    for attempt in range(tries):
        try:
            return _asked(client, path, given)
        except Transient:
            if attempt == tries - 1:
                raise
            threading.Event().wait(PAUSE_S)
    return {}


def _asked(client: httpx.Client, path: Path, given: Given) -> dict[str, Any]:
    """Raises Transient when the gateway is away or cannot store, Poison for an answer that makes no sense."""
    import httpx
    import msgspec

    from contracts.errors import Poison, Transient

    query = {name: str(value) for name, value in msgspec.structs.asdict(given).items() if value is not None}
    try:
        answer = client.post("/images", params=query, content=path.read_bytes())
    except httpx.TransportError as away:
        raise Transient(
            f"no gateway at {client.base_url} ({type(away).__name__}); `./ward up gateway` starts one"
        ) from away
    if answer.status_code in (200, 201, 422):
        return {"path": str(path), **answer.json()}
    if answer.status_code == 413:
        return {"path": str(path), **answer.json(), "outcome": "refused"}
    if answer.status_code == 503:
        raise Transient("the gateway cannot store now: HDFS or Kafka does not take it; `./ward status` says more")
    raise Poison("not_taken", f"the gateway answers {answer.status_code}: {answer.text[:200]}", str(path))


def _in_words(row: dict[str, Any]) -> str:
    why = f" ({row['reason']}: {row['detail']})" if row["outcome"] == "refused" else ""
    return f"{row['outcome']}{why}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
