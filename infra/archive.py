"""A demo's lake at its end: waits until what stands in the log is readable, then asks whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from contracts.errors import Transient
from contracts.lake import LANDED
from contracts.settings import Settings
from infra.stack import wait_until
from infra.topics import Offsets, end_offsets

CATCH_UP_S: Final = 60.0
"""The stream publishes every few seconds; on a busy machine it takes longer."""


class Lake(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``rows`` in the tables of topics; ``reconciled``: they are those of the ``records`` landed, and nothing is twice.

    ``pending`` records came after the last look or, where ``caught_up`` is False, were too much for the time given;
    they are no fault. ``trouble`` tells why nothing could be asked.
    """

    rows: int
    records: int
    pending: int
    reconciled: bool
    caught_up: bool
    trouble: str | None = None


def has_landed(settings: Settings, until: Offsets) -> bool:
    """Whether everything up to these offsets is published; False also while HDFS does not tell."""
    from batch.storage import Storage
    from batch.view import landed, view

    try:
        reached = {(span.topic, span.partition): span.until for span in landed(view(Storage.of(settings)).spans())}
    except Transient:
        return False
    return all(reached.get(where, 0) >= end for where, end in until.items())


def reckoned(environ: Mapping[str, str], within_s: float = CATCH_UP_S) -> Lake:
    """The lake once it has what stands in the log now, or when the time is over."""
    from batch.verify import summary

    settings = Settings.from_env(environ)
    try:
        until = end_offsets(settings.kafka, LANDED)
        caught_up = wait_until(lambda: has_landed(settings, until), within_s)
        found = summary(settings)
    except Transient as away:
        return Lake(rows=0, records=0, pending=0, reconciled=False, caught_up=False, trouble=str(away))
    return Lake(
        rows=found.rows,
        records=found.records,
        pending=found.pending,
        reconciled=found.reconciled,
        caught_up=caught_up,
    )
