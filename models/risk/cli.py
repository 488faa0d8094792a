"""``ward risk``: what is asked of a patient, and what the answers say."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.risk.asked_files import Asked
    from models.risk.knee import Assessment, KneeRisk
    from models.risk.knee_fields import Problem

NOT_FOUND, BAD_INPUT = 3, 5

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    ward risk knee --input patient.json      how likely osteoporosis is, and which answers say so
    ward risk knee --input ward.csv --json   many patients, a row each
    echo '{"sex": "female", "age": 61}' | ward risk knee --input -
    ward risk fields                         the 21 questions: names, units, ranges, words

    Research software, not a medical device: an estimate of whom to measure, no diagnosis.
    """,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.callback()
def main() -> None:
    """Risk from what is asked and measured."""


@app.command(short_help="Osteoporosis of a knee patient from 21 answers.")
def knee(
    given: Annotated[
        str, typer.Option("--input", help="JSON or CSV file of answers, - for standard input.", show_default=False)
    ],
    model: Annotated[str, typer.Option(help="Version, champion or candidate.")] = "champion",
    as_json: AsJson = False,
) -> None:
    """Examples: ward risk knee --input patient.json · ward risk knee --input ward.csv --json · … --input - < p.json

    Says how likely normal bone, osteopenia and osteoporosis are, against the usual, and which answers say so. Only sex
    and age must be there. Every wrong field is named with its fix (exit code 5; the other patients are still told).
    """
    from models.registry import NotThere, Registry, own_folder
    from models.risk import asked_files
    from models.risk.knee import TABULAR, KneeRisk

    asked = asked_files.read(_content(given))
    try:
        risk = KneeRisk(Registry(own_folder(_settings())).load(TABULAR, model))
    except NotThere as absent:
        _say(f"ward risk knee: {absent}")
        raise typer.Exit(NOT_FOUND) from None
    answers = [_assessed(risk, one) for one in asked]
    if as_json:
        _print(_document(risk, asked, answers))
    else:
        print("\n\n".join("\n".join(_told(one, answer)) for one, answer in zip(asked, answers, strict=True)))
    raise typer.Exit(BAD_INPUT if any(isinstance(answer, tuple) for answer in answers) else 0)


@app.command(short_help="The questions: names, units, ranges, words.")
def fields(as_json: AsJson = False) -> None:
    """Examples: ward risk fields · ward risk fields --json

    Prints the 21 fields that `ward risk knee` reads, what each may be, and which of them carry nothing.
    """
    from models.risk.knee_fields import FIELDS, expected

    if as_json:
        _print({"fields": [{**_plain(field), "expected": expected(field)} for field in FIELDS]})
        return
    for field in FIELDS:
        notes = [note for note in (field.required and "needed", field.women_only and "women", field.hint) if note]
        notes += [f"counts for nothing: {field.idle}"] if field.idle else []
        print(f"{field.name:17} {field.label}: {expected(field)}" + (f"  ({'; '.join(notes)})" if notes else ""))


def _assessed(risk: KneeRisk, one: Asked) -> Assessment | tuple[Problem, ...]:
    from models.risk.knee_fields import problems

    wrong = problems(one.fields)
    return wrong or risk.assess(one.fields)


def _document(risk: KneeRisk, asked: list[Asked], answers: list[Any]) -> dict[str, Any]:
    patients = [
        {"patient": one.name, "problems": _plain(answer)}
        if isinstance(answer, tuple)
        else {"patient": one.name, **_plain(answer)}
        for one, answer in zip(asked, answers, strict=True)
    ]
    return {"model": risk.bundle.name, "version": risk.bundle.version, "patients": patients}


def _told(one: Asked, answer: Assessment | tuple[Problem, ...]) -> list[str]:
    """One patient's lines."""
    if isinstance(answer, tuple):
        return [f"{one.name}: not told", *(f"  {wrong.field}: {wrong.message}" for wrong in answer)]
    lines = [f"{one.name}: {answer.label}"]
    for label, probability in answer.probabilities.items():
        lines.append(f"  {label:13} {probability:5.1%}  (usual {answer.usual[label]:.1%})")
    verb = "reaches" if answer.raised else "does not reach"
    lines.append(f"  {answer.positive} {verb} {answer.threshold:.1%}, from which measuring is worth it")
    for driver in answer.drivers[:5]:
        said = driver.given or "not told"
        lines.append(f"  {driver.adds[answer.positive]:+6.2f}  {driver.label}: {said}")
    if answer.imputed:
        lines.append(f"  not told, taken as usual: {', '.join(answer.imputed)}")
    return [*lines, *(f"  {remark}" for remark in (*answer.remarks, *answer.caveats))]


def _content(given: str) -> bytes:
    """The bytes of the file. Exit code 3 where there is none."""
    from models.risk.asked_files import MAX_BYTES

    if given == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        return Path(given).read_bytes()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as wrong:
        _say(f"ward risk knee: --input {given}: {wrong.strerror}")
        raise typer.Exit(NOT_FOUND) from None


def _settings() -> Any:
    from contracts.settings import Settings

    return Settings.from_env(os.environ)


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _print(document: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
