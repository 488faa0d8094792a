"""Which record of a partition comes next: the rule that makes skipped, repeated and late deliveries harmless."""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """What a delivered offset means."""

    NEXT = "next"
    SEEN = "seen"
    GAP = "gap"


class Sequence:
    """The next offset that one partition's state expects; every record counts once, in order."""

    __slots__ = ("expected",)

    def __init__(self, expected: int = 0) -> None:
        self.expected = expected

    def judge(self, offset: int) -> Verdict:
        """NEXT: take it. SEEN: it was taken before, skip it. GAP: records before it were not delivered, read them."""
        if offset == self.expected:
            return Verdict.NEXT
        return Verdict.SEEN if offset < self.expected else Verdict.GAP

    def took(self, offset: int) -> None:
        """The record at ``offset`` is in the state now. Raises ValueError when that would go back."""
        if offset < self.expected:
            raise ValueError(f"offset {offset} was taken already; expected is {self.expected}")
        self.expected = offset + 1

    def pass_over(self, offset: int) -> None:
        """Nothing lies between the expected record and ``offset`` (removed by retention, or control records)."""
        self.expected = max(self.expected, offset)
