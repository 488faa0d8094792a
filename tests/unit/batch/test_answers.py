"""Answers are shown the same whichever engine gave them."""

from __future__ import annotations

import datetime
import decimal

import pytest

from batch.answers import Answer, plain, show_csv, show_table


def test_values_are_what_json_can_say() -> None:
    assert plain(datetime.date(2026, 1, 2)) == "2026-01-02"
    assert plain(decimal.Decimal("1.50")) == 1.5
    assert plain(decimal.Decimal(10**20)) == 10**20
    assert plain(b"\x00\xff") == "00ff"
    assert plain(float("nan")) is None
    assert plain([{"a": (1, b"\x01")}]) == [{"a": [1, "01"]}]


def test_a_table_for_the_eye_and_csv_for_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    rows: tuple[tuple[object, ...], ...] = (("W1", 12, None), ('it\'s, "so"\nhere', 3, [{"a": 1}]))
    show_table(("ward", "n", "x"), rows)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["ward", "n", "x"]
    assert shown[1].split() == ["W1", "12"]
    assert len(shown) == 3, "a line of the value is no line of the table"
    show_csv(Answer(("ward", "n", "x"), rows, 0.1))
    assert capsys.readouterr().out == 'ward,n,x\nW1,12,\n"it\'s, ""so""\nhere",3,"[{""a"": 1}]"\n'
    show_table(("a",), ())
    assert capsys.readouterr().out == "a\n"
