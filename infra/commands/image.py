"""image: files into the gateway by hand, and what the rules say of one; each part lives with whoever does it."""

from __future__ import annotations

import typer

from producers.image_cli import app as by_hand
from streams.image_cli import app as by_rules

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
app.registered_commands += [*by_hand.registered_commands, *by_rules.registered_commands]


@app.callback(epilog="Examples: ward image submit knee.jpg --patient 4711 --body-part KNEE · ward image route scan.dcm")
def image() -> None:
    """Images by hand. Every command has --help and --json."""
