"""What training and judging show on a terminal: bars and chatter on stderr, figures in columns."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from models.training import cards
from models.training.evaluation import Evaluation, Table
from models.training.recipes import Progress, Say


def lines(found: Evaluation) -> list[str]:
    """An evaluation in columns: the tables made for readers, remarks, then every figure."""
    result = [f"{found.model} {found.version} on {found.split}: {found.n:,} cases; 95 % intervals over patients"]
    for table in found.tables:
        result += _columns(table)
    result += ["", *(f"- {note}" for note in found.notes)] if found.notes else []
    for table in cards.figures(found.metrics):
        result += _columns(table)
    return [*result, "", cards.WARNING]


def _columns(table: Table) -> list[str]:
    cells = [table.columns, *(tuple(cards.number(cell) for cell in row) for row in table.rows)]
    forms = [
        f"{'>' if right else '<'}{max(len(row[i]) for row in cells)}" for i, right in enumerate(cards.numeric(table))
    ]
    rows = ["  ".join(format(cell, form) for cell, form in zip(row, forms, strict=True)) for row in cells]
    return ["", table.title, *(f"  {row}".rstrip() for row in rows)]


@contextlib.contextmanager
def working() -> Iterator[tuple[Say, Progress]]:
    """Where training may talk: lines and bars on stderr; what a library prints goes there too, stdout stays clean."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=Console(stderr=True, highlight=False, markup=False))
    steps: dict[str, Any] = {}

    def progress(step: str, done: int, total: int | None = None, /) -> None:
        if step not in steps:
            steps[step] = bars.add_task(step, total=total)
        bars.update(steps[step], completed=done, total=total)

    with contextlib.redirect_stdout(sys.stderr), bars:
        yield (lambda line: bars.console.print(line, soft_wrap=True)), progress
        for step in steps.values():
            bars.update(step, completed=bars.tasks[step].total)
