"""``ward lake ...``: one table of commands; each lives in its owner's module and is imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from contracts.settings import Settings

FAILURE, MISCONFIGURED, NOT_FOUND, UNREACHABLE, BAD_INPUT, FINDINGS = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Command:
    """Where a command lives (``module:attribute``) and what it does, in a line.

    The attribute is a function with Typer's annotations, or a Typer app; of an app with a command of the same name,
    that one is meant.
    """

    where: str
    does: str


COMMANDS: Final[Mapping[str, Command]] = MappingProxyType(
    {
        "sql": Command("batch.sql:sql", "ask the tables in SQL"),
        "tables": Command("batch.sql:tables", "the tables: columns, rows, partitions, who may read them"),
        "report": Command("batch.report:report", "pages of a patient's shift or of a ward's day, as PDF and PNG"),
        "trace": Command("batch.trace:trace", "a prediction back to raw bytes, model and code"),
        "images": Command("batch.preprocess:images", "images of HDFS: metadata, shards to train on, quarantine"),
        "features": Command("batch.features:features", "images as vectors"),
        "clinical": Command("batch.clinical:clinical", "put clinical facts in: biomarkers, outcomes"),
        "feedback": Command("batch.feedback:feedback", "images with the labels that readers gave them, to train on"),
        "verify": Command("batch.upkeep:verify", "prove that every record stands in the tables exactly once"),
        "compact": Command("batch.upkeep:compact", "small files into larger ones; no reader notices"),
        "retain": Command("batch.upkeep:retain", "remove what is older than it may be"),
    }
)
EXAMPLES: Final = (
    ('ward lake sql "select ward, count(*) from vitals group by ward"', "ask; add --engine duckdb for a quick look"),
    ("ward lake verify", "prove that nothing is missing and nothing stands twice"),
    ("ward lake compact --dry-run", "what would be merged"),
)


class _Listed(TyperGroup):
    """Knows its commands by the table alone, so that ``--help`` imports none of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported now; None when the table has none."""
        found = COMMANDS.get(cmd_name)
        return None if found is None else loaded(cmd_name, found)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Examples first, then the table."""
        width = max(len(example) for example, _ in EXAMPLES)
        lines = ["The lake: every record of every topic as Parquet on HDFS.", ""]
        lines += [f"  {example:{width}}  {meaning}" for example, meaning in EXAMPLES] + [""]
        lines += [f"  {name:10} {command.does}" for name, command in COMMANDS.items()]
        lines += ["", "Every command has --help and --json. Data goes to stdout, chatter to stderr."]
        formatter.write("\n".join(lines) + "\n")


def loaded(name: str, command: Command) -> Any:
    """The click command behind a row of the table. Raises Misconfigured when this installation does not have it."""
    from contracts.errors import Misconfigured

    module, _, attribute = command.where.partition(":")
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is not None and not missing.name.startswith(module.partition(".")[0]):
            fix = f"it needs the package {missing.name!r}: install wardstream[lake]"
        else:
            fix = "it is not part of this installation"
        raise Misconfigured(f"ward lake {name}: {fix}") from missing
    found = getattr(home, attribute, None) or home.app
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(found)
        found = app
    made: Any = typer.main.get_command(found)
    return getattr(made, "commands", {}).get(name, made)


app = typer.Typer(cls=_Listed, add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def lake() -> None:
    """The lake: every record of every topic as Parquet on HDFS."""


def settings() -> Settings:
    """The settings of this process, for the commands of the table; the environment is read nowhere else."""
    from contracts.settings import Settings

    return Settings.from_env(os.environ)


def document(told: Any) -> None:
    """One JSON document on stdout."""
    import msgspec

    print(msgspec.json.encode(told).decode())


def say(line: str) -> None:
    """A line of chatter on stderr."""
    print(line, file=sys.stderr, flush=True)
