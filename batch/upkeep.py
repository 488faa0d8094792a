"""``ward lake verify``, ``compact`` and ``retain``: the commands that keep the lake whole, small and young."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from batch.cli import FINDINGS, document, say, settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def verify(
    table: Annotated[list[str] | None, typer.Option(help="Only this table; may be given again.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Only rows of this UTC date and later.")] = None,
    to: Annotated[str | None, typer.Option(help="Only rows of this UTC date and earlier.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Hold every record against Kafka's bytes, no sample.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Without Kafka: manifests and data alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward lake verify · ward lake verify --full --json · ward lake verify --table vitals --from 2026-01-02

    Proves that every record of every landed offset stands in the tables exactly once. Exit 6 when something is missing,
    doubled, strange or altered: each is named, with the way out. May run beside the stream.
    """
    from batch.evidence import Dates
    from batch.storage import Storage
    from batch.verify import Wish
    from batch.verify import verify as verified

    known = settings()
    dates = Dates(_date(from_, "--from"), _date(to, "--to"))
    wish = Wish(None if offline else known.kafka, tuple(table or ()), dates, full)
    report = verified(Storage.of(known), wish, say)
    if as_json:
        document(report)
    else:
        for one in report.findings:
            print(f"{one.word:16} {one.table:12} {one.where}  {one.detail}")
            print(f"{'':16} fix: {one.fix}")
        rows = ", ".join(f"{count} {name}" for name, count in report.rows.items()) or "none"
        print(f"{report.records} records in {report.files} files, {report.compared} held against Kafka; rows: {rows}")
        more = ", ".join(f"{count} {word}" for word, count in sorted(report.counts.items()))
        print(f"reconciled; {report.pending} pending" if report.reconciled else f"NOT reconciled: {more}")
    raise typer.Exit(0 if report.reconciled else FINDINGS)


def compact(
    table: Annotated[list[str] | None, typer.Option(help="Only this table; may be given again.")] = None,
    min_files: Annotated[int, typer.Option(min=2, help="Leave partitions of fewer small files alone.")] = 2,
    target_mb: Annotated[int, typer.Option(min=1, max=48, help="A file of so many MB is no small one.")] = 16,
    grace_s: Annotated[
        float, typer.Option(min=0, help="So long readers may hold an old file open; its bytes stay until then.")
    ] = 600.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be joined.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward lake compact · ward lake compact --dry-run · ward lake compact --table vitals --grace-s 0

    Joins the small files of each partition into files of at least --target-mb, or one where there is less. May run
    beside the stream and readers, and be killed at any moment: no row is missing or doubled at any step. Right after a
    join a file still holds its parts as they were; the next run after the grace takes them away. Exit 6 when a file is
    damaged: its partition is left alone.
    """
    from batch import compact as compaction
    from batch.storage import Storage

    storage, tables = Storage.of(settings()), tuple(table or ())
    if dry_run:
        groups = compaction.planned(storage, tables, target_mb, min_files)
        if as_json:
            document(groups)
        else:
            for group in groups:
                size = sum(file.size for file in group.files)
                print(f"{len(group.files):5} files {size / compaction.MB:8.1f} MB  {group.folder}")
            print(f"{len(groups)} groups would be joined")
        return
    done = compaction.compact(
        storage, tables=tables, target_mb=target_mb, min_files=min_files, grace_s=grace_s, say=say
    )
    if as_json:
        document(done)
    else:
        print(f"{done.files} files with {done.rows} rows became {done.groups}; {done.cleaned} joined ones were cleaned")
        print(f"{done.bytes_before} bytes before, {done.bytes_after} after")
    for why in done.damaged:
        say(f"ward lake compact: left as it is: {why}")
    raise typer.Exit(FINDINGS if done.damaged else 0)


def retain(
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it nothing is.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed; the default.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward lake retain --dry-run · WARD_LAKE_KEEP=vitals=90,records=30 ward lake retain --yes

    Removes whole dates that are older than their table's days, by contracts/lake.py or WARD_LAKE_KEEP (0: for ever).
    There is no way back but `records`, or Kafka while it has them. `ward lake verify` knows what was removed.
    """
    from contracts.errors import Misconfigured

    if yes and dry_run:
        raise Misconfigured("ward lake retain: --yes or --dry-run, not both")
    from batch import retention
    from batch.storage import Storage

    known = settings()
    report = retention.retain(Storage.of(known), retention.days(known.lake_keep), remove=yes)
    if as_json:
        document(report)
        return
    for one in report.dates:
        print(f"{one.table:12} {one.date}  {one.files} files, {one.rows} rows, {one.bytes} bytes")
    verb = "removed" if yes else "would be removed; --yes does it"
    print(f"{len(report.dates)} dates with {sum(one.rows for one in report.dates)} rows {verb}")


def _date(text: str | None, option: str) -> date | None:
    from contracts.errors import Misconfigured

    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as wrong:
        raise Misconfigured(f"{option} {text}: a date like 2026-01-02") from wrong
