"""A sweep weighs what was told, takes by its rule, and writes a policy that is read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.errors import Misconfigured, Poison
from contracts.records import Vital
from models.policy.decided import decided
from models.policy.family import Family
from models.policy.grid import Axes, Grid, policies
from models.policy.weighing import Event, Scales, Weighed
from models.ward.policy import load_policy
from streams.compare.policy_cli import app
from streams.compare.policy_page import delay_curve, page
from streams.compare.policy_report import Rule, Sweep, document, lines
from streams.compare.policy_span import Share, Weight, case_records, weigh, witnessed
from streams.compare.sides import Side
from streams.compare.sides import decided as decided_by_the_core

CASES = Path(__file__).resolve().parents[3] / "cases"
FALL = CASES / "desaturation.case"
BASE = load_policy()
TRIED = policies(BASE, Grid(all=Axes(delay_s=(0.0, 5.0, 30.0), limits_percent=(0.0, 10.0), latch=((),))))


def a_sweep(event_s: float = 20.0, rule: Rule | None = None) -> Sweep:
    weight = weigh(Share(tuple(TRIED), case=FALL, event_s=event_s))
    found = weight.scales.weighed(weight.heard_s)
    return Sweep(TRIED, found, weight, rule or Rule(), "a case", "a proxy", 1.0)


def test_the_policy_in_force_is_weighed_as_the_core_decides_it() -> None:
    records, span = case_records(FALL)
    (side,) = decided_by_the_core(records, span, [Side("in force", BASE)], None)
    raised = [a for a in side.book.alerts.values() if a.raised_ms is not None and a.episode.condition == "spo2_low"]
    weight = weigh(Share((BASE,), case=FALL))
    assert weight.scales.by_condition()["spo2_low"] == [len(raised)]
    assert weight.heard_s == side.heard_s
    assert (weight.readings, weight.records) == (side.readings, side.records)


def test_a_longer_delay_tells_later_and_a_wider_limit_misses_the_fall() -> None:
    found = {policy.name.partition(": ")[2]: one for policy, one in zip(TRIED, a_sweep().weighed, strict=True)}
    assert found["limits +0 %, delay 30 s, latch none"].delay_s_p50 == 14.0  # a severe alarm keeps its own delay
    assert found["limits +0 %, delay 0 s, latch none"].delay_s_p50 == 0.0
    assert found["limits +10 %, delay 30 s, latch none"].missed == 1
    assert found["limits +0 %, delay 0 s, latch none"].added_s_p95 == -14.0


def test_an_event_known_from_elsewhere_is_told_by_any_limit_of_its_patient() -> None:
    records, span = case_records(FALL)
    family = Family([BASE])
    notes, seen = witnessed(records, span, family, False)
    first_ms = seen.first_ms or 0
    patients = sorted(patient for _, patient in notes.beds)
    known = [Event("W1", patient, None, first_ms, first_ms + 150_000, True) for patient in patients]
    scales = Scales(1, 0, known)
    for condition in decided(notes):
        scales.take(condition, None, seen.last_ms or 0)
    (one,) = scales.weighed(seen.heard_s)
    assert one.missed == one.missed_severe == len(patients) - 1


def test_shares_add_up() -> None:
    one, two = (weigh(Share(tuple(TRIED), case=CASES / f"{n}.case")) for n in ("desaturation", "arrhythmia"))
    alone = [w.scales.weighed(w.heard_s) for w in (one, two)]
    events = len(one.scales.events) + len(two.scales.events)
    one.add(two)
    both = one.scales.weighed(one.heard_s)
    assert [b.alarms for b in both] == [a.alarms + b.alarms for a, b in zip(*alone, strict=True)]
    assert len(one.scales.events) == events


def weighed(alarms: int, missed: int = 0, severe: int = 0, added: float | None = 0.0) -> Weighed:
    return Weighed(
        alarms, float(alarms), 0.0, 0, 0.0, None, missed + severe, severe, missed, severe, 1.0, added, added, added
    )


@pytest.mark.parametrize(
    ("others", "rule", "picked"),
    [
        ([weighed(5), weighed(3, severe=1), weighed(4, added=20.0)], Rule(), 1),
        ([weighed(5), weighed(3, severe=1), weighed(4, added=20.0)], Rule(added_s=20.0), 3),
        ([weighed(10), weighed(12)], Rule(), 0),
        ([weighed(9, missed=1)], Rule(), 0),
        ([weighed(9, missed=1)], Rule(missed=1), 1),
    ],
)
def test_the_rule_takes_the_fewest_alarms_that_miss_and_delay_no_more(
    others: list[Weighed], rule: Rule, picked: int
) -> None:
    every = [weighed(10), *others]
    sweep = Sweep([BASE] * len(every), every, Weight(Scales(len(every))), rule, "", "", 0.0)
    assert sweep.picked == picked


def test_nothing_on_the_front_is_beaten() -> None:
    every = [weighed(10), weighed(5, missed=1), weighed(5, missed=2), weighed(12), weighed(9, added=-3.0)]
    sweep = Sweep([BASE] * 5, every, Weight(Scales(5)), Rule(), "", "", 0.0)
    assert sorted(sweep.front) == [1, 4]


def test_the_report_has_its_plots_and_says_what_is_synthetic_or_a_proxy() -> None:
    told = document(a_sweep())
    whole = page(told)
    assert whole.count("<svg") == 2
    assert "a proxy" in whole
    assert "not a medical device" in whole
    assert "<script" not in whole
    assert any("in force" in line for line in lines(told))
    assert told["policies"][0]["hash"] == BASE.hash


def test_the_curve_of_delays_begins_at_all_alarms() -> None:
    tried = policies(BASE, Grid(all=Axes(delay_s=(0.0, 5.0, 30.0))))
    weight = weigh(Share(tuple(tried), case=FALL))
    sweep = Sweep(tried, weight.scales.weighed(weight.heard_s), weight, Rule(), "", "", 0.0)
    curve = delay_curve(document(sweep))
    assert curve[0] == (0.0, 100.0)
    assert [delay for delay, _ in curve] == [0.0, 5.0, 15.0, 30.0]
    assert [share for _, share in curve] == sorted((share for _, share in curve), reverse=True)


def test_the_command_writes_a_policy_that_is_read_back(tmp_path: Path) -> None:
    out, html = tmp_path / "next.toml", tmp_path / "sweep.html"
    asked = ["sweep", "--case", str(FALL), "--delays", "0,5,20", "--limits", "-5%..+5%", "--latch", "none"]
    done = CliRunner().invoke(app, [*asked, "--event", "20", "--write", str(out), "--html", str(html), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert load_policy(out).hash == told["written"]["hash"] == told["policies"][told["picked"]]["hash"]
    assert html.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        (["--delays", "soon"], "at --delays"),
        (["--limits", "5%..1%"], "at --limits"),
        (["--limits", "+60%"], "could never be crossed"),
        (["--latch", "loud"], "at --latch"),
        (["--vital", "colour", "--delays", "1"], "at --vital"),
        ([], "nothing is varied"),
    ],
)
def test_a_bad_grid_is_refused_naming_its_field(more: list[str], refused: str) -> None:
    done = CliRunner().invoke(app, ["sweep", "--case", str(FALL), *more])
    assert isinstance(done.exception, Poison)
    assert refused in str(done.exception)


def test_recordings_that_are_not_there_are_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["sweep", "--data", f"{tmp_path}:eicu", "--beds", "1", "--delays", "1"])
    assert isinstance(done.exception, Misconfigured)
    assert "producers.span" in str(done.exception)


def test_a_spell_beyond_the_limit_is_an_event_when_it_lasts() -> None:
    weight = weigh(Share((BASE,), case=FALL, event_s=20.0))
    (event,) = weight.scales.events
    assert (event.condition, event.severe) == ("spo2_low", True)
    assert not weigh(Share((BASE,), case=FALL, event_s=600.0)).scales.events
    assert BASE.limits[Vital.SPO2].low == 90.0
