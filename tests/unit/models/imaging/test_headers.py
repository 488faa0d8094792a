"""Headers: only what is on the list, and of that nothing that leads back to a person."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.errors import Misconfigured, Poison
from contracts.pseudonyms import Pseudonyms
from contracts.settings import Settings
from models.imaging import keyfile
from models.imaging.guarded import examined
from models.imaging.headers import Told, told
from tests.unit.models.imaging import made

NAMES = Pseudonyms(bytes(range(32)))


def header(names: Pseudonyms | None = NAMES, **attributes: Any) -> Told:
    import pydicom

    return told(pydicom.dcmread(io.BytesIO(made.dicom(**attributes))), names)


def test_a_header_tells_what_is_on_the_list_and_no_more() -> None:
    found = header()
    assert found == Told(
        modality="DX",
        patient=NAMES.patient("MRN-PLANTED-77"),
        study=NAMES.uid("1.2.826.0.1.77.1"),
        series=NAMES.uid("1.2.826.0.1.77.2"),
        instance=NAMES.uid("1.2.826.0.1.77.3"),
        body_part="KNEE",
        view="AP",
        laterality="L",
        study_date=NAMES.shifted(datetime.date(2024, 2, 29), "MRN-PLANTED-77").isoformat(),
        sex="F",
        age_years=74.0,
        manufacturer="Siemens",
    )


def test_nothing_planted_is_in_what_is_made_of_a_file() -> None:
    words = ("BodyPartExamined", "ViewPosition", "Laterality", "Modality", "Manufacturer", "PatientSex", "PatientAge")
    planted: dict[str, Any] = dict.fromkeys(words, "PLANTED^WORD")
    for attributes in ({}, planted):
        raw = msgspec.json.encode(examined(made.dicom(**attributes), NAMES, (8,))).lower()
        for identity in (b"planted", b"1.2.826.0.1.77", b"20240229", b"2024-02-29", b"19500203", b"1950"):
            assert identity not in raw


def test_words_that_the_standard_does_not_know_are_not_told() -> None:
    found = header(Modality="JOHN", BodyPartExamined="DOE", Manufacturer="J. Doe Ltd", PatientSex="DOE")
    assert (found.modality, found.body_part, found.manufacturer, found.sex) == ("unknown", None, "other", None)


@pytest.mark.parametrize(
    ("age", "born", "years"),
    [("074Y", "", 74.0), ("090Y", "", 90.0), ("101Y", "", 90.0), ("018M", "", 1.5), (None, "19640229", 60.0)],
)
def test_an_age_of_ninety_or_more_is_told_as_ninety(age: str | None, born: str, years: float) -> None:
    assert header(PatientAge=age, PatientBirthDate=born).age_years == years
    assert header(PatientAge=None, PatientBirthDate="19200101").age_years == 90.0


def test_a_date_of_nobody_is_not_told() -> None:
    assert header(PatientID=None, StudyInstanceUID=None).study_date is None
    moved = header(PatientID="").study_date
    assert moved is not None
    assert moved < "2024-02-29"  # by the study's own shift


def test_the_plane_stands_in_for_a_view() -> None:
    assert header(ViewPosition=None, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]).view == "axial"
    assert header(ViewPosition=None, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]).view == "sagittal"


def test_a_file_that_was_deidentified_is_taken_as_it_is_and_only_such_a_file() -> None:
    mine = NAMES.patient("MRN-PLANTED-77")
    found = header(None, PatientID=mine)
    assert (found.patient, found.study_date, found.study) == (mine, "2024-02-29", "1.2.826.0.1.77.1")
    with pytest.raises(Poison, match="not_deidentified"):
        header(None)


def test_a_picture_tells_nothing_of_anybody() -> None:
    assert told(None, NAMES) == Told()


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path / "state"))
    made_once = keyfile.pseudonyms(settings).patient("MRN 1")
    path = tmp_path / "state" / keyfile.NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == [keyfile.NAME]
    assert keyfile.pseudonyms(Settings(pseudonym_key_file=str(path))).patient("MRN 1") == made_once
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="others may read"):
        keyfile.pseudonyms(settings)
    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(Misconfigured, match="64 hex digits"):
        keyfile.pseudonyms(settings)
    with pytest.raises(Misconfigured, match="WARD_PSEUDONYM_KEY_FILE"):
        keyfile.pseudonyms(Settings())
