"""Pseudonyms: the same for the same, never two alike, nothing of what they stand for, nothing of the key."""

from __future__ import annotations

import copy
import pickle
import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Misconfigured
from contracts.pseudonyms import FURTHEST_DAYS, Pseudonyms

KEY = bytes(range(32))
IDENTIFIERS = st.text(min_size=1, max_size=64).filter(lambda text: text.strip("\0 \t\r\n") != "").map(str)
UIDS = st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,8})){2,6}", fullmatch=True)
KEYS = st.binary(min_size=16, max_size=64)


@given(KEYS, IDENTIFIERS, st.text(max_size=16))
def test_a_pseudonym_is_stable_plain_and_tells_nothing(key: bytes, identifier: str, issuer: str) -> None:
    made = Pseudonyms(key).patient(identifier, issuer)
    assert made == Pseudonyms(bytes(key)).patient(f" {identifier} \0", issuer)
    assert re.fullmatch(r"p-[0-9a-f]{16}", made)
    assert key.hex()[:16] not in made


@given(KEYS, UIDS)
def test_a_uid_becomes_a_valid_uid_that_is_another_one(key: bytes, uid: str) -> None:
    made = Pseudonyms(key).uid(uid)
    assert made == Pseudonyms(key).uid(uid + "\0")
    if not uid.startswith("1.2.840.10008."):
        assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]*)", made)
        assert len(made) <= 64
        assert int(made.removeprefix("2.25.")) < 2**128
        assert made != uid


@given(KEYS, IDENTIFIERS, st.dates(), st.dates())
def test_dates_of_a_patient_go_back_by_the_same_days_and_never_stay(
    key: bytes, identifier: str, one: date, other: date
) -> None:
    names = Pseudonyms(key)
    assert -FURTHEST_DAYS <= names.shift_days(identifier) <= -1
    if min(one, other) > date.min + timedelta(days=FURTHEST_DAYS):
        assert names.shifted(one, identifier) - names.shifted(other, identifier) == one - other
        assert names.shifted(one, identifier) < one


def test_ten_thousand_patients_have_ten_thousand_pseudonyms_and_every_shift_occurs() -> None:
    names = Pseudonyms(KEY)
    patients = [f"MRN {number}" for number in range(10_000)]
    assert len({names.patient(one) for one in patients}) == len(patients)
    assert len({names.uid(f"1.2.{number}") for number in range(10_000)}) == 10_000
    assert {names.shift_days(one) for one in patients} == set(range(-FURTHEST_DAYS, 0))


def test_issuer_kind_and_key_each_make_another_pseudonym() -> None:
    names = Pseudonyms(KEY)
    made = [
        names.patient("4711"),
        names.patient("4711", "hospital A"),
        names.patient("4711h", "ospital A"),
        names.token("acc", "4711"),
        Pseudonyms(KEY[::-1]).patient("4711"),
    ]
    assert len({one.partition("-")[2] for one in made}) == len(made)


def test_a_blank_identifier_and_a_short_key_are_refused() -> None:
    with pytest.raises(ValueError, match="blank"):
        Pseudonyms(KEY).patient(" \0")
    with pytest.raises(Misconfigured, match="15 bytes"):
        Pseudonyms(bytes(15))


def test_the_key_is_neither_shown_nor_written_down() -> None:
    names = Pseudonyms(KEY)
    assert KEY.hex() not in repr(names)
    assert repr(KEY) not in repr(names)
    with pytest.raises(TypeError, match="not to be serialised"):
        pickle.dumps(names)
    with pytest.raises(TypeError, match="not to be serialised"):
        copy.deepcopy(names)


def test_a_date_at_the_beginning_of_the_calendar_stays_in_it() -> None:
    assert Pseudonyms(KEY).shifted(date.min, "4711") == date.min
