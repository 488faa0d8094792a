"""The page stands alone, says what the document says, and shows every bed's alarms on both sides."""

from __future__ import annotations

import re

import msgspec
import pytest

from contracts.records import Vital
from streams.compare.page import page
from streams.compare.report import Comparison, document
from streams.compare.sides import Side
from streams.compare.truth import Event
from tests.unit.streams.compare.logs import POLICY, decide, hospital, log_of, span_of


@pytest.fixture(scope="module")
def told() -> str:
    """The page of a candidate that wants more saturation."""
    beds = hospital()
    records = log_of(beds, 120)
    spo2 = msgspec.structs.replace(POLICY.limits[Vital.SPO2], low=94.0, extreme_low=90.0)
    named = msgspec.structs.replace(POLICY, name="<b>&", limits={**POLICY.limits, Vital.SPO2: spo2})
    events = [msgspec.convert(msgspec.to_builtins(one), Event) for one in beds.truth(120)]
    both = decide(records, Side("champion", POLICY), Side("candidate", named))
    found = Comparison.of(span_of(records), both, 1.0, False, events=events)
    assert not found.equal
    return page(document(found), found)


def test_the_page_needs_nothing_from_elsewhere(told: str) -> None:
    assert "<script" not in told
    assert not re.search(r"""(src|href|url\()\s*=?\s*["']?(https?:)?//""", told)
    assert "prefers-color-scheme: dark" in told


def test_the_page_shows_both_sides_of_each_bed_and_what_happened(told: str) -> None:
    assert told.count('class="alarm ') >= 8
    assert 'class="truth episode"' in told
    assert "W1-01" in told
    assert "McNemar" in told


def test_what_comes_from_elsewhere_is_text_and_no_markup(told: str) -> None:
    assert "&lt;b&gt;&amp;" in told
    assert "<b>&" not in told


def test_two_alike_sides_of_a_quiet_ward_make_a_page_too() -> None:
    from producers.scenario import load_script
    from producers.ward import Hospital
    from tests.unit.streams.compare.logs import T0

    quiet = log_of(Hospital(2, seed=1, script=load_script("calm"), start_ms=T0), 30)
    both = decide(quiet, Side("champion", POLICY), Side("candidate", POLICY))
    found = Comparison.of(span_of(quiet), both, 1.0, False)
    assert found.pairs == []
    assert "to the byte" in page(document(found), found)
