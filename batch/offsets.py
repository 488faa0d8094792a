"""Which offsets a batch holds, as Spark's checkpoint tells it, and whether what is missing in them is truly gone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from batch.manifests import RETENTION, Manifest, Span
from batch.storage import Storage
from contracts.errors import Misconfigured, Poison

Ends = Mapping[tuple[str, int], int]
"""The next offset of each (topic, partition)."""

MOST_HOLES: Final = 20
"""Holes of a partition that are looked at one by one; where there are more, the log itself has them."""


def planned(storage: Storage, checkpoint: str, batch: int) -> Ends:
    """Where Spark's batch of that number ends. Raises Poison when the checkpoint does not tell."""
    return _told(storage, f"{checkpoint}/offsets/{batch}")


def began(storage: Storage, checkpoint: str) -> Ends:
    """Where the first batch of a checkpoint begins."""
    return _told(storage, f"{checkpoint}/sources/0/0")


def reached(manifests: Iterable[Manifest]) -> dict[tuple[str, int], int]:
    """Up to where the log is published."""
    ends: dict[tuple[str, int], int] = {}
    for manifest in manifests:
        for span in manifest.spans if manifest.kind != RETENTION else ():
            where = (span.topic, span.partition)
            ends[where] = max(ends.get(where, 0), span.until)
    return ends


def spans(
    start: Ends, end: Ends, records: Mapping[tuple[str, int], int], first: Mapping[tuple[str, int], int]
) -> tuple[Span, ...]:
    """The spans of a batch from ``start`` to ``end`` in which ``records`` were found; only those that are not empty.

    A partition that is new begins at the ``first`` record that was found there. Raises Misconfigured when a log went
    back: then it is another one.
    """
    found = []
    for (topic, partition), until in sorted(end.items()):
        where = (topic, partition)
        begin = start.get(where, first.get(where, until))
        if until < begin:
            raise Misconfigured(
                f"{topic}/{partition} ends at {until} and the lake holds it up to {begin}: this is another log than"
                " the one in the lake; give the lake a state folder of its own, or empty it"
            )
        if until > begin:
            found.append(
                Span(topic=topic, partition=partition, first=begin, until=until, records=records.get(where, 0))
            )
    return tuple(found)


def holes(span: Span, offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Runs [first, until) of offsets of a span that are not among those found."""
    missing, expected = [], span.first
    for offset in [*sorted(offsets), span.until]:
        if offset > expected:
            missing.append((expected, offset))
        expected = offset + 1
    return missing


def starting(ends: Ends, there: Mapping[tuple[str, int], tuple[int, int]]) -> str:
    """Spark's ``startingOffsets``: on from ``ends``; from the beginning where nothing was published."""
    if not ends:
        return "earliest"
    wanted: dict[str, dict[str, int]] = {}
    for (topic, partition), (first, _) in sorted(there.items()):
        wanted.setdefault(topic, {})[str(partition)] = max(ends.get((topic, partition), first), first)
    return json.dumps(wanted)


def _told(storage: Storage, path: str) -> Ends:
    try:
        text = storage.read(path).decode()
        found = json.loads(next(line for line in reversed(text.splitlines()) if "{" in line))
        return {(topic, int(number)): int(at) for topic, parts in found.items() for number, at in parts.items()}
    except (FileNotFoundError, StopIteration, ValueError, AttributeError) as wrong:
        raise Poison("bad_checkpoint", f"{path} tells no offsets: {wrong}") from wrong
