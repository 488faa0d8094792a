"""``ward image route``: which model would read a file, and why."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from models.imaging.rules import Decision, Subject

NOT_FOUND: Final = 3

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def image() -> None:
    """Images: which model reads them."""


@app.command()
def route(
    file: Annotated[Path, typer.Argument(help="A DICOM file, or a JPEG, PNG or TIFF.")],
    rules: Annotated[Path | None, typer.Option(help="Another file of rules than WARD_IMAGE_RULES.")] = None,
    modality: Annotated[str | None, typer.Option(help="In place of the header's: DX, MR, CR ...")] = None,
    body_part: Annotated[str | None, typer.Option(help="In place of the header's: KNEE, BRAIN, HAND ...")] = None,
    view: Annotated[str | None, typer.Option(help="In place of the header's: AP, PA, LAT ...")] = None,
    sex: Annotated[str | None, typer.Option(help="In place of the header's: F, M or O.")] = None,
    age: Annotated[float | None, typer.Option(min=0, max=130, help="In place of the header's, in years.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward image route scan.dcm · ward image route knee.jpg --modality DX --body-part KNEE --json

    Reads the header in a child process, sends nothing anywhere, and says which rule takes the file, which models it
    names, and what did not fit the rules before. Exit codes: 3 no such file, 5 a file that cannot be read.
    """
    import msgspec

    from contracts.settings import Settings
    from models.imaging.rules import load_rules

    if not file.is_file():
        print(f"ward image route: {file} is not there", file=sys.stderr)
        raise typer.Exit(NOT_FOUND)
    settings = Settings.from_env(os.environ)
    chosen = load_rules(rules or settings.image_rules)
    given: dict[str, Any] = {"modality": modality, "body_part": body_part, "view": view, "sex": sex, "age_years": age}
    subject = _told(file.read_bytes())._replace(**{name: one for name, one in given.items() if one is not None})
    decision = chosen.decide(subject)
    if as_json:
        row = {"file": str(file), "rules": {"name": chosen.name, "hash": chosen.hash}, **_row(subject, decision)}
        print(msgspec.json.format(msgspec.json.encode(row), indent=2).decode())
    else:
        _show(subject, decision, f"{chosen.name} {chosen.hash}")


def _told(content: bytes) -> Subject:
    """What the header tells, read where it can do no harm. The key is thrown away: no identifier is shown."""
    import secrets
    from importlib.util import find_spec

    from contracts.errors import Misconfigured
    from models.imaging.guarded import Guarded
    from models.imaging.rules import Subject

    if find_spec("pydicom") is None:
        raise Misconfigured("reading images takes the packages of the images extra: `./ward fetch images` brings them")
    with Guarded(secrets.token_bytes(32)) as child:
        told = child.examine(content).told
    return Subject(told.modality, told.body_part, told.view, told.laterality, told.sex, told.age_years)


def _row(subject: Subject, decision: Decision) -> dict[str, Any]:
    return {
        "image": subject._asdict(),
        "rule": decision.rule,
        "models": list(decision.models),
        "urgency": decision.urgency,
        "refusal": decision.refusal,
        "why": decision.detail,
        "passed": [{"rule": rule, "misfit": misfit} for rule, misfit in decision.passed],
    }


def _show(subject: Subject, decision: Decision, rules: str) -> None:
    print("image   ", ", ".join(f"{name} {one}" for name, one in subject._asdict().items() if one is not None))
    print("rules   ", rules)
    print("rule    ", decision.rule or "none fits")
    print("models  ", ", ".join(decision.models) or f"none: {decision.detail} ({decision.refusal})")
    for rule, misfit in decision.passed:
        print(f"  not    {rule}: {misfit}")
