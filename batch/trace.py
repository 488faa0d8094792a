"""``ward lake trace``: any id back to raw bytes, model, policy and code, each step held against what it came from."""

from __future__ import annotations

import sys
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from contracts.errors import Transient

if TYPE_CHECKING:
    from batch.storage import Storage
    from batch.trail import Link
    from contracts.settings import Settings

WAITING: Final = "/lake/_access"
"""Reads that were told to HDFS because Kafka was away; the next one that finds it brings them there."""
MARKS: Final = {"verified": ("✓", "green"), "missing": ("–", "yellow"), "mismatch": ("✗", "red")}
LONGEST: Final = 100
WIDE: Final = 2000
"""Columns where no terminal says how many: nothing is cut in a file or a pipe."""


def trace(
    ident: Annotated[
        str, typer.Argument(metavar="ID", help="Alarm, image job, image, cohort, or topic/partition/offset[/row].")
    ],
    offline: Annotated[bool, typer.Option("--offline", help="From the lake alone: do not ask Kafka.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward lake trace a4374bd3d66af412 · ward lake trace vitals_forecasts/3/1200/0 --json

    Walks it back step by step; each is verified, missing (and why) or a mismatch (exit 6). Works while Kafka is away.
    """
    from batch.cli import FINDINGS, NOT_FOUND, document, settings
    from batch.lineage import NotThere, traced
    from batch.storage import Storage
    from batch.trail import Trail

    known = settings()
    storage = Storage.of(known)
    there = recorded(known, storage, ident)
    trail = Trail(storage, known, known.kafka if there and not offline else None)
    try:
        tree = traced(trail, ident)
    except NotThere as missed:
        print(f"ward lake trace: {missed}", file=sys.stderr)
        raise typer.Exit(NOT_FOUND) from None
    counts = {status: sum(link.status == status for link in tree.every()) for status in MARKS}
    if as_json:
        import msgspec

        document({"id": ident, **counts, "trace": msgspec.to_builtins(tree)})
    else:
        _print(tree)
        print(", ".join(f"{count} {status}" for status, count in counts.items()), file=sys.stderr)
    raise typer.Exit(FINDINGS if counts["mismatch"] else 0)


def recorded(settings: Settings, storage: Storage, ident: str) -> bool:
    """Tell of this read; whether Kafka is there.

    A trace must work from the lake alone, and no read goes untold: while Kafka is away the row is written to HDFS.
    Raises Misconfigured for a role that may not, Transient when neither takes it.
    """
    from batch.access import GRANTED, ROLES, actor, told
    from contracts import codec
    from contracts.errors import Misconfigured
    from contracts.records import SCHEMA_VERSION, Access

    try:
        told(settings, "trace", ident)
    except Transient as away:
        if settings.role not in ROLES:
            raise Misconfigured(f"WARD_ROLE is {settings.role}; roles are {', '.join(ROLES)}") from away
        row = Access(
            version=SCHEMA_VERSION,
            access_id=uuid.uuid4().hex,
            actor=actor(settings),
            role=settings.role,
            action="trace",
            target=ident,
            at_ms=time.time_ns() // 1_000_000,
            outcome=GRANTED,
        )
        storage.write(f"{WAITING}/{row.access_id}.json", codec.encode(row))
        print("ward lake trace: no Kafka; this read was told to HDFS", file=sys.stderr)
        return False
    _bring(settings, storage)
    return True


def _bring(settings: Settings, storage: Storage) -> None:
    """Bring what waits on HDFS to the topic. Sent twice after a crash, it has the same id."""
    from batch.access import send
    from contracts import codec
    from contracts.records import Access

    for entry in list(storage.entries(WAITING)):
        send(settings.kafka, codec.decode(storage.read(entry.path), Access))
        storage.remove(entry.path)


def _print(tree: Link) -> None:
    from rich.console import Console
    from rich.tree import Tree

    def grown(link: Link, into: Tree | None) -> Tree:
        label = _label(link)
        branch = Tree(label) if into is None else into.add(label)
        for each in link.links:
            grown(each, branch)
        return branch

    width = None if sys.stdout.isatty() else WIDE
    Console(highlight=False, width=width).print(grown(tree, None))


def _label(link: Link) -> Any:
    from rich.text import Text

    mark, style = MARKS[link.status]
    text = Text(f"{mark} ", style=style)
    text.append(f"{link.what} ", style="bold")
    text.append(link.id)
    if link.why:
        text.append(f"  {link.status}: {link.why}", style=style)
    shown = ", ".join(f"{name} {_short(value)}" for name, value in link.told.items() if value is not None)
    if shown:
        text.append(f"  {shown}", style="dim")
    return text


def _short(value: Any) -> str:
    text = str(value)
    if isinstance(value, float):
        text = f"{value:.4g}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
