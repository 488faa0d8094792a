"""Settings: what is not known is refused with a hint, what is of the wrong type is named, secrets are not shown."""

from __future__ import annotations

import os

import pytest

from contracts.errors import Misconfigured, Poison, Transient, WardError
from contracts.settings import Settings

SECRET = "not-to-be-seen-9c1"


def test_without_variables_the_defaults_hold_and_stay_on_this_machine() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.kafka == "127.0.0.1:9092"
    assert settings.feed_host == "127.0.0.1"
    assert settings.feed_demo is False
    assert settings.influx_token is None


def test_variables_are_typed_and_foreign_ones_are_left_alone() -> None:
    environ = {"WARD_FEED_PORT": "9000", "WARD_FEED_DEMO": "true", "WARD_SNAPSHOT_EVERY_S": "2.5", "PATH": "/bin"}
    settings = Settings.from_env(environ)
    assert (settings.feed_port, settings.feed_demo, settings.snapshot_every_s) == (9000, True, 2.5)


def test_what_is_handed_in_wins() -> None:
    assert Settings.from_env({"WARD_BEDS": "5"}, beds=7).beds == 7


@pytest.mark.parametrize(
    ("name", "hint"),
    [("WARD_KAFKAA", "WARD_KAFKA"), ("WARD_FEED_PROT", "WARD_FEED_PORT"), ("WARD_ZZZZ", "unset it")],
)
def test_an_unknown_variable_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.from_env({name: "1"})
    assert name in str(refused.value)
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("WARD_FEED_PORT", "eighty"), ("WARD_FEED_DEMO", "perhaps"), ("WARD_TICK_EVERY_S", "soon"), ("WARD_BEDS", "1.5")],
)
def test_a_value_of_the_wrong_type_is_named(name: str, value: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.from_env({name: value})
    line = str(refused.value)
    assert name.removeprefix("WARD_").lower() in line
    assert "\n" not in line


def test_the_token_is_never_shown() -> None:
    settings = Settings.from_env({"WARD_INFLUX_TOKEN": SECRET})
    assert settings.influx_token == SECRET
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert SECRET not in f"{settings}"
    assert "influx_token='***'" in repr(settings)
    with pytest.raises(Misconfigured) as refused:
        Settings.from_env({"WARD_INFLUX_TOKEN": SECRET, "WARD_BEDS": "many"})
    assert SECRET not in str(refused.value)


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().beds = 3  # type: ignore[misc]  # that is the point


def test_settings_do_not_look_at_the_environment_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "WARD_BEDS", "99")
    assert Settings.from_env({}).beds == Settings().beds


def test_a_failure_has_one_of_three_meanings() -> None:
    kinds = (Poison, Transient, Misconfigured)
    assert all(issubclass(kind, WardError) for kind in kinds)
    assert not any(issubclass(a, b) for a in kinds for b in kinds if a is not b)
    poison = Poison("wrong_type", "Expected `int`", "$.seq")
    assert (poison.reason, poison.detail, poison.field) == ("wrong_type", "Expected `int`", "$.seq")
    assert str(poison) == "wrong_type at $.seq: Expected `int`"
