"""De-identification: what is planted is gone from every byte, what is needed stays, the rest is refused."""

from __future__ import annotations

import os
import random
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Poison
from contracts.pseudonyms import Pseudonyms
from producers import confidentiality, deidentify
from producers.confidentiality import Action
from producers.planted import KEPT, Study, score, study, written
from producers.vocabulary import WORDS, cleaned

KEY = Pseudonyms(bytes(range(32)))
Reader = Callable[[Path], Any]


def test_three_hundred_studies_keep_no_planted_identifier_and_lose_nothing_needed() -> None:
    found = score(300, KEY)
    assert found.left == []
    assert found.planted > 15_000
    assert found.right == found.required
    assert found.kept_right == found.kept == 300 * len(KEPT)


@pytest.mark.parametrize("spared", ["AccessionNumber", "OtherPatientIDs", "InstitutionName", "StationName"])
def test_a_rule_that_is_missing_is_found_out_by_the_score(spared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = confidentiality.action_for
    monkeypatch.setattr(
        deidentify, "action_for", lambda element: Action.KEEP if element.keyword == spared else right(element)
    )
    assert score(3, KEY).left, "the score must be able to fail"


def test_an_identifier_in_an_element_that_would_be_kept_is_taken_out_of_it() -> None:
    one = study(1).dataset
    one.ManufacturerModelName = f"Plate of {str(one.PatientName).split('^')[0]}"
    deidentify.deidentify(one, KEY)
    assert not one.ManufacturerModelName


def test_what_was_taken_out_and_still_stands_somewhere_refuses_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    one = study(2).dataset
    one.SeriesDescription = f"hand {one.AccessionNumber}"
    monkeypatch.setattr(deidentify, "cleaned", lambda text: text if " " in text else "")
    with pytest.raises(Poison, match="identifier_left at SeriesDescription"):
        deidentify.deidentify(one, KEY)


def test_files_of_one_patient_stay_together_and_their_intervals_stay() -> None:
    first, second = study(3).dataset, study(4).dataset
    second.PatientID, second.StudyInstanceUID = first.PatientID, first.StudyInstanceUID
    first.StudyDate, second.StudyDate = "20260101", "20260131"
    made = [deidentify.deidentify(one, KEY) for one in (first, second)]
    assert made[0].patient == made[1].patient == first.PatientID == str(first.PatientName)
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    days = [deidentify.shifted(one.StudyDate, 0) for one in (first, second)]
    assert deidentify.shifted(days[0], 30) == days[1] != "20260131"


def test_the_file_says_what_was_done_and_its_preamble_and_private_elements_are_gone() -> None:
    one = study(5).dataset
    done = deidentify.deidentify(one, KEY)
    assert one.preamble == bytes(128)
    assert not [element for element in one.iterall() if element.tag.is_private]
    assert one.PatientIdentityRemoved == "YES"
    assert one.LongitudinalTemporalInformationModified == "MODIFIED"
    assert [code.CodeValue for code in one.DeidentificationMethodCodeSequence] == [
        "113100",
        "113101",
        "113105",
        "113107",
        "113108",
    ]
    assert done.done[Action.REMOVE] > 5
    assert done.by_tag["PatientID"] is Action.PSEUDONYM


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("BurnedInAnnotation", "YES", "burned_in_text"),
        ("RecognizableVisualFeatures", "YES", "recognisable"),
        ("EncapsulatedDocument", b"%PDF", "no_image"),
        ("PixelData", None, "no_pixels"),
        ("SOPInstanceUID", None, "missing_attribute"),
        ("StudyInstanceUID", "", "missing_attribute"),
    ],
)
def test_what_cannot_be_cleaned_is_refused_with_the_reason(attribute: str, value: Any, reason: str) -> None:
    one = study(6).dataset
    if value is None:
        delattr(one, attribute)
    else:
        setattr(one, attribute, value)
    with pytest.raises(Poison) as refused:
        deidentify.deidentify(one, KEY)
    assert (refused.value.reason, refused.value.field) == (reason, attribute)


@pytest.mark.parametrize("age", ["", "  ", "034", "34Y", "X34Y", "034Q"])
def test_an_age_that_is_none_is_not_passed_on(age: str) -> None:
    assert deidentify.capped(age) == ""


@given(st.integers(0, 999), st.sampled_from("DWMY"))
def test_an_age_is_told_as_it_is_up_to_ninety_years(number: int, unit: str) -> None:
    years = number * {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1}[unit]
    assert deidentify.capped(f"{number:03d}{unit}") == ("090Y" if years > 90 else f"{number:03d}{unit}")


@given(st.dates(), st.integers(-365, 365), st.sampled_from(["", "12", "101500", "101500.123456", "101500+0100"]))
def test_a_moved_moment_moves_back(day: Any, days: int, rest: str) -> None:
    text = f"{day:%Y%m%d}"
    text = f"{day.year:04d}{text[-4:]}{rest}"
    moved = deidentify.shifted(text, days)
    if moved and day.year >= 1000:
        assert deidentify.shifted(moved, -days) == text
        assert moved[8:] == rest


@given(st.text(max_size=40))
def test_of_free_text_only_words_of_anatomy_and_technique_and_short_numbers_stay(text: str) -> None:
    for word in cleaned(text).split():
        assert all(part in WORDS for part in word.lower().split("-") if part) or re.match(r"\d{1,3}(\.\d)?", word)


def test_cleaning_twice_is_cleaning_once() -> None:
    rng = random.Random(7)
    for _ in range(200):
        text = " ".join(rng.choice([*WORDS, "Miller", "ward 7", "0043-1-555"]) for _ in range(6))
        assert cleaned(cleaned(text)) == cleaned(text)


def samples() -> Iterator[Path]:
    folder = Path(os.environ.get("WARD_DATA_DIR", "nowhere")) / "dicom"
    yield from (p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in (".md", ".csv", ".txt"))


def test_real_files_of_every_kind_come_out_clean_or_are_refused_with_a_reason() -> None:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    clean, refused = 0, dict[str, int]()
    for path in samples():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # many of them are damaged on purpose
            try:
                dataset = dcmread(path, force=True)
                made = deidentify.deidentify(dataset, KEY)
                header = written(dataset).lower().replace(bytes(dataset.get("PixelData", b"")).lower(), b"")
            except Poison as why:
                refused[why.reason] = refused.get(why.reason, 0) + 1
                continue
            except (InvalidDicomError, EOFError):
                continue
        clean += 1
        long = [word for word in made.originals if len(word) >= 8 and not word.isdigit()]
        assert not [word for word in long if word.encode("latin-1", "replace") in header], path.name
    if not clean:
        pytest.skip("no DICOM samples: set WARD_DATA_DIR")
    assert clean > 70
    assert set(refused) == {"missing_attribute", "no_pixels", "burned_in_text"}


def test_a_study_is_the_same_for_the_same_seed() -> None:
    def told(one: Study) -> tuple[Any, ...]:
        return one.planted, one.dates, written(one.dataset)

    assert told(study(9)) == told(study(9))
    assert told(study(9)) != told(study(10))
