"""Manifests: which count, in which order, and what they make up together."""

from __future__ import annotations

from typing import Any

import pytest

from batch.manifests import BATCH, COMPACTION, FOLD, RETENTION, File, Manifest, current, decoded, standing
from contracts.errors import Poison


def file(path: str, rows: int = 1) -> File:
    return File(table="t", path=path, rows=rows, size=rows)


def told(name: str, kind: str, made_ms: int = 0, **more: Any) -> Manifest:
    return Manifest(version=1, kind=kind, name=name, made_ms=made_ms, code="-", **more)


def test_a_manifest_is_read_as_it_was_written_and_a_damaged_one_is_named() -> None:
    one = told("b1", BATCH, batch=1, files=(file("a"),))
    assert decoded(one.encoded(), "x") == one
    with pytest.raises(Poison, match=r"/lake/x\.json"):
        decoded(b"{", "/lake/x.json")


def test_a_compaction_counts_after_its_batches_and_a_retention_last_whatever_the_clocks_said() -> None:
    one, two = (told(f"b{n}", BATCH, made_ms=90 + n, batch=n, files=(file(f"f{n}"),)) for n in (1, 2))
    joined = told("c1", COMPACTION, made_ms=5, files=(file("f1", 2),), replaces=("f2",))
    gone = told("r1", RETENTION, made_ms=1, replaces=("f1",))
    assert [manifest.name for manifest in standing([gone, joined, two, one])] == ["b1", "b2", "c1", "r1"]
    assert current(standing([joined, two, one])) == {"f1": file("f1", 2)}
    assert current(standing([gone, joined, two, one])) == {}


def test_a_fold_speaks_for_what_it_holds_and_for_nothing_else() -> None:
    old = told("f1", FOLD, batch=1, files=(file("f1"),))
    fold = told("f3", FOLD, batch=3, folds=("c1",), files=(file("f1"), file("f2"), file("f3")))
    held = [told(f"b{n}", BATCH, batch=n, files=(file(f"f{n}"),)) for n in (2, 3)]
    newer = told("b4", BATCH, batch=4, files=(file("f4"),))
    more = told("c2", COMPACTION, files=(file("f1", 2),), replaces=("f2",))
    counted = standing([*held, old, told("c1", COMPACTION), more, newer, fold])
    assert [manifest.name for manifest in counted] == ["f3", "b4", "c2"]
    assert current(counted) == {"f1": file("f1", 2), "f3": file("f3"), "f4": file("f4")}
