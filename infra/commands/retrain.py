"""retrain: what readers said since, into a new version of a model, held against the one in force."""

from __future__ import annotations

import getpass
import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.commands.output import AsJson, print_json, say

NOT_FOUND, FINDINGS = 3, 6

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def retrain(
    name: Annotated[str, typer.Argument(help="Which model, like brain_tumour.", show_default=False)],
    since: Annotated[str, typer.Option(help="From when on: a day, an RFC 3339 time, or -30d.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="The model's set, or a folder that holds it.", show_default="WARD_DATA_DIR"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 20260102,
    by: Annotated[str | None, typer.Option(help="Who.", show_default="you")] = None,
    as_json: AsJson = False,
) -> None:
    """Examples: ward retrain brain_tumour --since -30d · ward model retrain bone_age --since 2026-01-01 --json

    Trains a model on its set and on the images that readers accepted or corrected since, judges it and the champion on
    the set's test images, and makes it the candidate unless a figure is worse beyond its interval (exit 6).
    `ward model promote` puts it in force.
    """
    from datetime import UTC

    from batch.feedback import LAYOUTS, export, lines
    from batch.report_time import moment_ms
    from contracts.settings import Settings
    from models.registry import NotThere, Registry, own_folder
    from models.training.recipes import recipe
    from models.training.retraining import retrain as anew
    from models.training.terminal import working

    settings = Settings.from_env(os.environ)
    try:
        home = recipe(name).home
    except NotThere as absent:
        say(f"ward model retrain: {absent}")
        raise typer.Exit(NOT_FOUND) from None
    base = _base(data or settings.data_dir, LAYOUTS[name].dataset if name in LAYOUTS else home)
    since_ms = moment_ms(since, UTC, time.time_ns() // 1_000_000, "--since")
    with tempfile.TemporaryDirectory(prefix="ward-retrain-") as scratch:
        exported = export(settings, since_ms, Path(scratch) / "feedback", name)
        for line in lines(exported):
            say(line)
        if not any(one.images for one in exported):
            say(f"no reader has judged an image of {name} since {since}: nothing to learn from")
            raise typer.Exit(NOT_FOUND)
        with working() as (tell, progress):
            more = Path(scratch) / "feedback" / exported[0].folder
            to = Path(scratch) / "merged" / base.name
            registry = Registry(own_folder(settings))
            made = anew(registry, name, base, more, to, seed, by or getpass.getuser(), tell, progress)
    _tell(made, exported, as_json)
    raise typer.Exit(0 if made.nominated else FINDINGS)


def _base(given: Path | str | None, home: str) -> Path:
    from contracts.errors import Misconfigured

    if given is None:
        raise Misconfigured(f"which data? Name the model's set, like shared/data/{home}: --data DIR (or WARD_DATA_DIR)")
    folder = Path(given)
    inside = folder / home
    return inside if home and inside.is_dir() else folder


def _tell(made: Any, exported: Any, as_json: bool) -> None:
    if as_json:
        print_json({"feedback": exported, "retrained": made})
        return
    merged = made.merged
    left = ", ".join(f"{number} {why}" for why, number in merged.left_out.items()) or "none"
    print(f"{made.model} {made.version}: {merged.base} images of the set, {merged.added} of readers (left out: {left})")
    if made.nominated:
        print(f"it is the candidate; next: ward model promote {made.model} {made.version} --reason …")
    else:
        print("\n".join(["not nominated; the champion is better:", *made.worse]))
