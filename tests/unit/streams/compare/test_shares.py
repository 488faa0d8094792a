"""What two processes decide, put together, is what one would have decided."""

from __future__ import annotations

from streams.compare.shares import dealt, together, worth_sharing
from streams.compare.sides import Side, decided
from tests.unit.streams.compare.logs import POLICY, hospital, log_of, span_of


def test_shares_put_together_are_the_whole_to_the_byte() -> None:
    log = log_of(hospital(), 120)
    span, side = span_of(log), Side("one", POLICY)
    (whole,) = decided(log, span, [side], None)
    shares = dealt(span)
    assert len(shares) == 2
    found = [decided((r for r in log if r.partition in share.parts), share, [side], None)[0] for share in shares]
    joined = together(side, found)
    assert joined.book.hash() == whole.book.hash()
    assert len(joined.book.alerts) > 3
    for name in ("heard", "records", "readings", "late", "duplicates", "unreadable", "first_ms", "last_ms"):
        assert getattr(joined, name) == getattr(whole, name), name


def test_each_partition_is_dealt_once_and_a_short_span_is_not_shared() -> None:
    span = span_of(log_of(hospital(), 5))
    parts = [p for share in dealt(span) for p in share.parts]
    assert sorted(parts) == sorted(span.parts)
    assert not worth_sharing(span)
