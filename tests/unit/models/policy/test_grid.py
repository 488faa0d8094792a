"""A grid gives whole policies, and says which field is wrong."""

from __future__ import annotations

import pytest

from contracts.errors import Poison
from contracts.records import Priority, Vital
from models.policy.grid import Axes, Grid, parse_grid, parse_latches, parse_percents, policies
from models.policy.written import as_toml
from models.ward.policy import load_policy, parse_policy

BASE = load_policy()
OVERRIDDEN = parse_policy(
    as_toml(BASE).encode()
    + b'\n[patients."p 1".limits.spo2]\nlow = 86.0\nextreme_low = 80.0\n[wards.W1]\nspo2_scale = 2\n'
)


def test_a_written_policy_is_read_back_with_its_hash() -> None:
    for policy in (BASE, OVERRIDDEN):
        assert parse_policy(as_toml(policy, ["why"]).encode()).hash == policy.hash


def test_a_grid_is_every_combination_after_the_policy_in_force() -> None:
    axes = Axes(
        limits_percent=(0.0, 5.0), delay_s=(0.0, 5.0, 20.0), hysteresis_times=(0.0, 1.0), latch=((), (Priority.HIGH,))
    )
    found = policies(BASE, Grid(all=axes))
    assert found[0] == BASE
    assert len(found) == 1 + 2 * 3 * 2 * 2
    assert len({policy.hash for policy in found}) == len(found)
    wide = next(p for p in found if p.name == "adult-general: limits +5 %, hysteresis x0, delay 5 s, latch none")
    spo2, rate = wide.limits[Vital.SPO2], wide.limits[Vital.HEART_RATE]
    assert (spo2.low, spo2.extreme_low, spo2.hysteresis, spo2.delay_s, spo2.extreme_delay_s) == (85.5, 80.75, 0, 5, 5)
    assert (rate.low, rate.high, wide.alarm.latch) == (47.5, 126.0, ())


def test_a_combination_that_is_the_policy_in_force_is_not_tried_twice() -> None:
    assert len(policies(BASE, Grid(all=Axes(hysteresis_times=(1.0, 2.0))))) == 2


def test_a_grid_can_vary_single_fields_of_single_vitals() -> None:
    grid = parse_grid(b'vitals = ["spo2"]\n[all]\ndelay_s = [5, 15]\n[vital.spo2]\nlow = [86, 88, 90]\n')
    found = policies(BASE, grid)[1:]
    assert {(p.limits[Vital.SPO2].low, p.limits[Vital.SPO2].delay_s) for p in found} <= {
        (low, delay) for low in (86, 88, 90) for delay in (5, 15)
    }
    assert len(found) == 5  # one of the six is the policy in force
    assert all(p.limits[Vital.HEART_RATE] == BASE.limits[Vital.HEART_RATE] for p in found)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"[all]\ndelays = [1]\n", "$.all"),
        (b'[all]\ndelay_s = ["x"]\n', "$.all.delay_s"),
        (b"[vital.spo2]\nlower = [1]\n", "$.vital.spo2"),
        (b"[vital.spo2]\nlow = []\n", "$.vital.spo2.low"),
        (b"[vital.colour]\nlow = [1]\n", "$.vital"),
        (b"[all\n", "$"),
    ],
)
def test_a_bad_grid_names_its_field(raw: bytes, field: str) -> None:
    with pytest.raises(Poison, match="bad_grid") as refused:
        parse_grid(raw)
    assert refused.value.field.startswith(field)


def test_a_combination_that_can_be_no_policy_is_refused_by_name() -> None:
    with pytest.raises(Poison, match=r"limits \+60 %.*spo2.*could never be crossed"):
        policies(BASE, Grid(all=Axes(limits_percent=(60.0,))))
    with pytest.raises(Poison, match="at most 5000"):
        policies(
            BASE, Grid(all=Axes(delay_s=tuple(map(float, range(100))), limits_percent=tuple(n / 10 for n in range(99))))
        )
    with pytest.raises(Poison, match="nothing is varied"):
        policies(BASE, Grid())


def test_lists_and_ranges_are_read_from_options() -> None:
    assert parse_percents("-5%..+10%/2.5", "--limits") == (-5.0, -2.5, 0.0, 2.5, 5.0, 7.5, 10.0)
    assert parse_percents("-5%,0%,10%", "--limits") == (-5.0, 0.0, 10.0)
    assert parse_latches("high,none,high+medium", "--latch") == (
        (Priority.HIGH,),
        (),
        (Priority.HIGH, Priority.MEDIUM),
    )
    for text, parse in (("5%..1%", parse_percents), ("a,b", parse_percents), ("loud", parse_latches)):
        with pytest.raises(Poison, match="at --x"):
            parse(text, "--x")
