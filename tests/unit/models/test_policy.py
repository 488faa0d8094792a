"""The alarm policy: what is wrong in a file is named, what is the same has the same hash, overrides add up."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from contracts.records import Vital
from models.ward.policy import load_policy, parse_policy

ADULT = resources.files("models.ward").joinpath("policies", "adult.toml").read_text(encoding="utf-8")


def replaced(old: str, new: str) -> str:
    assert old in ADULT, old
    return ADULT.replace(old, new, 1)


def with_more(text: str) -> str:
    return ADULT + "\n" + text + "\n"


BAD: dict[str, tuple[str, tuple[str, ...]]] = {
    "not TOML": ("limits = [", ()),
    "not UTF-8": ("\udcff", ()),
    "a key twice": (with_more("[limits.heart_rate]\nlow = 1.0"), ()),
    "an unknown version": (replaced("version = 1", "version = 7"), ("version 7", "[1]")),
    "no name": (replaced('name = "adult-general"', ""), ("name",)),
    "an unknown table": (with_more("[sounds]\nloud = true"), ("sounds",)),
    "an unknown field": (replaced("hysteresis = 2.0", "hysterisis = 2.0"), ("hysterisis", "limits")),
    "an unknown vital": (with_more("[limits.mood]\nlow = 1.0"), ("mood",)),
    "a limit in words": (replaced("low = 50.0", 'low = "fifty"'), ("limits", "str")),
    "a limit that is no number": (replaced("low = 50.0", "low = nan"), ("limits.heart_rate.low", "nan")),
    "a limit without end": (replaced("high = 120.0", "high = inf"), ("limits.heart_rate.high", "inf")),
    "limits out of order": (replaced("low = 50.0", "low = 30.0"), ("limits.heart_rate", "extreme_low < low")),
    "low above high": (replaced("low = 50.0", "low = 130.0"), ("limits.heart_rate", "low < high")),
    "an extreme limit alone": (
        replaced("low = 90.0\nhysteresis = 1.0", "hysteresis = 1.0"),
        ("limits.spo2", "extreme"),
    ),
    "a limit that nothing crosses": (replaced("extreme_low = 85.0", "extreme_low = 40.0"), ("limits.spo2", "never")),
    "a hysteresis wider than its range": (replaced("hysteresis = 2.0", "hysteresis = 40.0"), ("hysteresis",)),
    "a negative delay": (replaced("delay_s = 10.0", "delay_s = -1.0"), ("limits.heart_rate", "negative")),
    "a delay of an hour": (replaced("delay_s = 10.0", "delay_s = 3600.0"), ("limits.heart_rate", "delay")),
    "limits of consciousness": (with_more("[limits.consciousness]\nlow = 1.0"), ("limits.consciousness",)),
    "a stale time missing": (replaced("spo2 = 60.0", ""), ("stale_after_s.spo2",)),
    "a stale time of nothing": (replaced("spo2 = 60.0", "spo2 = 0.0"), ("stale_after_s.spo2",)),
    "frozen at once": (
        replaced("[technical.frozen_after_s]\nheart_rate = 120.0", "[technical.frozen_after_s]\nheart_rate = 0.0"),
        ("frozen_after_s.heart_rate",),
    ),
    "silence never found": (replaced("silence_after_s = 10.0 ", "silence_after_s = 86400.0 "), ("silence_after_s",)),
    "no re-alarm": (replaced("realarm_after_s = 120.0", "realarm_after_s = 1e12"), ("alarm.realarm_after_s", "600")),
    "re-alarm at once": (replaced("realarm_after_s = 120.0", "realarm_after_s = 0.0"), ("alarm.realarm_after_s",)),
    "a pause of an hour": (replaced("audio_pause_max_s = 120.0", "audio_pause_max_s = 3600.0"), ("audio_pause_max_s",)),
    "a usual pause beyond the longest": (replaced("audio_pause_s = 60.0", "audio_pause_s = 200.0"), ("audio_pause_s",)),
    "negative levels": (replaced("escalation_levels = 2", "escalation_levels = -1"), ("escalation_levels",)),
    "an unknown priority": (replaced('latch = ["high"]', 'latch = ["huge"]'), ("latch", "huge")),
    "NEWS2 thresholds crossed": (replaced("medium_from = 5", "medium_from = 9"), ("news2", "medium_from")),
    "SpO2 scale 3": (replaced("spo2_scale = 1", "spo2_scale = 3"), ("news2.spo2_scale", "3")),
    "a patient's scale 0": (with_more("[patients.p-1]\nspo2_scale = 0"), ("patients.p-1.spo2_scale",)),
    "an advisory as loud as an alarm": (replaced('priority = "low" ', 'priority = "high" '), ("models.priority",)),
    "an advisory in an unknown field": (replaced("risk_sustained_s", "risk_lasted_s"), ("risk_lasted_s",)),
    "models asked all the time": (replaced("ask_every_s = 10.0", "ask_every_s = 0.1"), ("models.ask_every_s", "60")),
    "risks asked about once a day": (
        replaced("risks_every_s = 60.0", "risks_every_s = 86400.0"),
        ("models.risks_every_s",),
    ),
    "any pattern is unusual": (replaced("anomaly_from = 0.99", "anomaly_from = 0.1"), ("models.anomaly_from",)),
    "a score above all scores": (replaced("anomaly_until = 0.9", "anomaly_until = 1.9"), ("models.anomaly_until",)),
    "over before it began": (replaced("anomaly_until = 0.9", "anomaly_until = 0.995"), ("models.anomaly", "until")),
    "a warning for next week": (
        replaced("early_warning_horizon_s = 14400.0", "early_warning_horizon_s = 604800.0"),
        ("models.early_warning_horizon_s",),
    ),
    "a risk that never ends": (
        replaced("[models.risk_until]\nhypotension", "[models.risk_until]\nboredom"),
        ("models.risk_until.hypotension is missing",),
    ),
    "a risk that is always there": (
        replaced("[models.risk_from]\nhypotension = 0.38", "[models.risk_from]\nhypotension = 0.0"),
        ("models.risk_from.hypotension",),
    ),
    "a ward's limit out of order": (with_more("[wards.W1.limits.spo2]\nlow = 80.0"), ("wards.W1.limits.spo2",)),
    "a patient's limit out of order": (with_more("[patients.p-1.limits.spo2]\nlow = 80.0"), ("patients.p-1.limits",)),
    "a ward and a patient who do not go together": (
        with_more(
            "[wards.W1.limits.heart_rate]\nlow = 70.0\n[patients.p-1.limits.heart_rate]\nhigh = 65.0\nextreme_high = 68"
        ),
        ("patients.p-1.limits in ward W1.heart_rate",),
    ),
}


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.replace(" ", "_"))
def test_a_bad_policy_is_refused_in_one_line_that_names_file_and_field(case: str, tmp_path: Path) -> None:
    text, named = BAD[case]
    path = tmp_path / "night.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Misconfigured) as refused:
        load_policy(path)
    line = str(refused.value)
    assert "night.toml" in line
    assert "\n" not in line
    for word in named:
        assert word in line, line


def test_a_policy_that_is_not_there_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere\.toml cannot be read: .*WARD_POLICY"):
        load_policy(tmp_path / "nowhere.toml")
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_policy(tmp_path)


def test_the_built_in_policy_is_sound_and_speaks_of_every_vital() -> None:
    policy = load_policy()
    assert policy.name == "adult-general"
    assert set(policy.stale_after_s) == set(Vital)
    assert len(policy.hash) == 12


def without_comments(text: str) -> str:
    return "\n".join(line.split("#")[0] for line in text.splitlines())


def with_spaces(text: str) -> str:
    return text.replace(" = ", "   =\t").replace("\n", "\n\n")


def other_order(text: str) -> str:
    head, *tables = without_comments(text).split("\n[")
    random.Random(5).shuffle(tables)
    return "\n[".join([head, *tables])


def whole_numbers(text: str) -> str:
    return text.replace(".0\n", "\n")


@pytest.mark.parametrize("change", [without_comments, with_spaces, other_order, whole_numbers])
def test_the_hash_is_that_of_the_content_whatever_the_file_looks_like(change: Callable[[str], str]) -> None:
    assert change(ADULT) != ADULT
    assert parse_policy(change(ADULT).encode()).hash == load_policy().hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("low = 50.0", "low = 50.5"),
        ("anomaly_from = 0.99", "anomaly_from = 0.98"),
        ("delay_s = 30.0", "delay_s = 31.0"),
        ('latch = ["high"]', "latch = []"),
    ],
)
def test_another_rule_is_another_hash(old: str, new: str) -> None:
    assert parse_policy(replaced(old, new).encode()).hash != load_policy().hash


def test_the_wards_limits_replace_the_policys_and_the_patients_replace_both() -> None:
    policy = parse_policy(
        with_more(
            "[wards.CARDIO]\nspo2_scale = 1\n[wards.CARDIO.limits.heart_rate]\nhigh = 130.0\nlow = 45.0\n"
            "[patients.p-7]\nspo2_scale = 2\n[patients.p-7.limits.heart_rate]\nhigh = 135.0\n"
            "[patients.p-7.limits.spo2]\nlow = 86.0\nextreme_low = 80.0\n[patients.p-8.limits.temperature]\nhigh = 38.5"
        ).encode()
    )

    def limits(ward: str, patient: str, vital: Vital) -> tuple[float | None, ...]:
        one = policy.limits_for(ward, patient)[vital]
        return one.extreme_low, one.low, one.high, one.extreme_high

    heart_rate, spo2 = Vital.HEART_RATE, Vital.SPO2
    assert limits("W1", "p-1", heart_rate) == (40.0, 50.0, 120.0, 140.0)
    assert limits("CARDIO", "p-1", heart_rate) == (40.0, 45.0, 130.0, 140.0)
    assert limits("CARDIO", "p-7", heart_rate) == (40.0, 45.0, 135.0, 140.0)
    assert limits("W1", "p-7", heart_rate) == (40.0, 50.0, 135.0, 140.0)
    assert limits("W1", "p-7", spo2) == (80.0, 86.0, None, None)
    assert policy.limits_for("W1", "p-7")[spo2].delay_s == 15.0
    assert [policy.spo2_scale_for("CARDIO", p) for p in ("p-1", "p-7")] == [1, 2]
    assert policy.limits_for("W1", "p-8")[Vital.TEMPERATURE].high == 38.5


def test_a_patients_own_limit_is_the_one_that_alarms() -> None:
    from tests.unit.models.bedside import Bedside

    ward = Bedside(policy=with_more("[patients.p-2.limits.spo2]\nlow = 86.0\nextreme_low = 80.0"))
    ward.live(0, 30, spo2=88.0)
    ward.live(30, 60, bed="B2", patient="p-2", spo2=88.0)
    assert {t.patient for t in ward.told if t.condition == "spo2_low"} == {"p-1"}
