"""What training and judging show on a terminal: bars and chatter on stderr, figures in columns."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from models.training import cards
from models.training.evaluation import Evaluation
from models.training.recipes import Progress, Say


def lines(found: Evaluation) -> list[str]:
    """An evaluation in columns."""
    result = [f"{found.model} {found.version} on {found.split}: {found.n:,} cases; 95 % intervals over patients"]
    for table in (*cards.figures(found.metrics), *found.tables):
        cells = [table.columns, *(tuple(cards.number(cell) for cell in row) for row in table.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
        result += ["", table.title]
        for first, *rest in cells:
            right = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
            result.append("  ".join(["", f"{first:{widths[0]}}", *right]).rstrip())
    return [*result, "", *(f"- {note}" for note in found.notes), cards.WARNING]


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
