"""Retention on a real HDFS: whole dates go, what went is told first, and verify takes none of it for a loss."""

from __future__ import annotations

from datetime import date

import pytest

from batch.compact import compact
from batch.retention import days, retain
from batch.storage import Storage
from batch.verify import Wish, verify
from batch.view import view
from contracts.errors import Misconfigured
from contracts.lake import RECORDS, VITALS_TABLE
from tests.integration.batch.conftest import empty_roots
from tests.integration.batch.handmade import START_MS, Lake, frame, sent

pytestmark = [pytest.mark.hdfs]

DAY_MS = 86_400_000
TODAY = date(2026, 1, 5)


class Killed(BaseException):
    """The process ends here."""


class Dying(Storage):
    """An HDFS whose user is killed at the n-th removal of a file of a table."""

    lives = 1

    def remove(self, path: str) -> None:
        """Remove it, or die."""
        if path.endswith(".parquet"):
            self.lives -= 1
            if self.lives < 0:
                raise Killed
        super().remove(path)


@pytest.fixture
def week(storage: Storage, superuser: Storage) -> Storage:
    """Two batches on each of three days, the second ones with a reading of the day before."""
    empty_roots(superuser)
    one = Lake(storage)
    for day in range(3):
        start_ms = START_MS + day * DAY_MS
        values = [frame("W1", second, 2, start_ms) for second in range(2)]
        one.land(sent(values, "W1", 4 * day, start_ms))
        late = [frame("W1", 9, 2, start_ms - DAY_MS), frame("W1", 3, 2, start_ms)]
        one.land(sent(late, "W1", 4 * day + 2, start_ms + 9000))
    return storage


def dates(storage: Storage, table: str) -> set[str]:
    return {entry.path.split("date=")[1][:10] for entry in storage.entries(f"/lake/tables/{table}")}


def is_clean(storage: Storage) -> bool:
    report = verify(storage, Wish(None))
    assert report.findings == []
    return report.reconciled


def test_days_come_from_the_contract_and_the_setting() -> None:
    assert days("vitals=90, records=30,scores=0") == {"vitals": 90, "records": 30}
    for wrong in ("vitals", "vitals=x", "nothing=1", "vitals=-1"):
        with pytest.raises(Misconfigured, match="WARD_LAKE_KEEP"):
            days(wrong)


def test_without_yes_nothing_is_removed(week: Storage) -> None:
    before = [entry.path for entry in week.entries("/lake")]
    report = retain(week, {"vitals": 3}, remove=False, today=TODAY)
    assert [(one.table, one.date, one.files, one.rows) for one in report.dates] == [("vitals", "2026-01-01", 1, 6)]
    assert [entry.path for entry in week.entries("/lake")] == before


def test_whole_dates_go_and_verify_knows(week: Storage) -> None:
    rows = verify(week, Wish(None)).rows["vitals"]
    report = retain(week, {"vitals": 2}, remove=True, today=TODAY)
    assert {one.date for one in report.dates} == {"2026-01-01", "2026-01-02"}
    assert dates(week, "vitals") == {"2026-01-03", "2026-01-04"}
    assert not week.exists(f"{VITALS_TABLE.path}/date=2026-01-01")
    assert is_clean(week)
    assert verify(week, Wish(None)).rows["vitals"] == rows - sum(one.rows for one in report.dates)
    assert retain(week, {"vitals": 2}, remove=True, today=TODAY).dates == []


def test_records_may_go_before_the_rows_that_they_became(week: Storage) -> None:
    report = retain(week, {"records": 2}, remove=True, today=TODAY)
    assert [one.rows for one in report.dates] == [4]
    assert dates(week, "records") == {"2026-01-03", "2026-01-04"}
    proved = verify(week, Wish(None))
    assert proved.findings == []
    assert proved.unproven == 24
    gone = next(file for file in view(week).of(RECORDS.name))
    week.remove(gone.path)
    assert "missing_file" in verify(week, Wish(None)).counts, "what nobody told is a loss"


def test_a_late_row_of_a_removed_date_is_landed_and_kept(week: Storage) -> None:
    retain(week, {"vitals": 2}, remove=True, today=TODAY)
    one = Lake(week, batches=6)
    one.land(sent([frame("W1", 7, 2, START_MS)], "W1", 12, START_MS + 2 * DAY_MS))
    assert "2026-01-02" in dates(week, "vitals")
    assert is_clean(week)
    week.remove(one.files[-1].path)
    assert set(verify(week, Wish(None)).counts) == {"missing_file", "missing_row"}


def test_a_kill_amid_the_removal_is_told_and_finished(week: Storage) -> None:
    dying = Dying(week.url, week.rpc, week.user)
    with pytest.raises(Killed):
        retain(dying, {"vitals": 1}, remove=True, today=TODAY)
    assert set(verify(week, Wish(None)).counts) == {"unfinished"}
    assert retain(week, {"vitals": 1}, remove=True, today=TODAY).leftovers > 0
    assert is_clean(week)


def test_compacted_dates_go_too(week: Storage) -> None:
    compact(week, grace_s=0)
    assert is_clean(week)
    retain(week, {"vitals": 1, "records": 1}, remove=True, today=TODAY)
    assert dates(week, "vitals") == {"2026-01-04"}
    assert is_clean(week)
