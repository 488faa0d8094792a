"""Which verdict counts, and how an export is told."""

from __future__ import annotations

from typing import Any

from batch.feedback import Conflict, Exported, chosen, lines
from contracts.records import ImageFeedback, Verdict

T0 = 1_767_340_800_000


def said(number: int, instance: str = "i", **fields: Any) -> ImageFeedback:
    given: dict[str, Any] = {"verdict": Verdict.ACCEPT, "label": "glioma", "at_ms": T0 + number} | fields
    common: dict[str, Any] = {"job_id": "j", "study": "s", "patient": "p", "model": "brain_tumour", "actor": "a"}
    return ImageFeedback(version=1, feedback_id=f"f{number}", instance=instance, **common, **given)


def test_the_last_verdict_on_an_image_counts_in_whatever_order_they_come() -> None:
    rows = [said(3, label="notumor", verdict=Verdict.REJECT), said(1), said(2, "other")]
    last, conflicts = chosen(rows)
    assert [(one.instance, one.label) for one in last] == [("i", "notumor"), ("other", "glioma")]
    assert conflicts == [Conflict(instance="i", said=("glioma", "notumor"))]


def test_readers_who_agree_are_no_conflict_and_one_who_says_not_so_is() -> None:
    assert chosen([said(1), said(2)])[1] == []
    assert chosen([said(1), said(2, label=None, verdict=Verdict.REJECT)])[1][0].said == (
        "glioma",
        "not as told (reject)",
    )
    ages = [said(1, label=None, value=100.0), said(2, label=None, value=112.5)]
    assert chosen(ages)[1][0].said == ("100.0", "112.5")


def test_an_export_is_told_with_what_was_left_out_and_where_readers_disagree() -> None:
    made = Exported(model="m", folder="m", images=2, corrected=1, labels={"a": 2}, left_out={"missing": 1})
    made.conflicts = (Conflict(instance="i", said=("a", "b")),)
    assert list(lines([made])) == [
        "m: 2 images in m (2 a); 1 corrected by a reader",
        "  left out: 1 missing",
        "  readers disagree on i: a then b; the last counts",
    ]
