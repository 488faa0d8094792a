"""The scanner's objects: real pixels as they were, an invented identity of the ward's own patients, and odd ones."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from importlib import resources
from itertools import islice
from typing import Any

import numpy as np
import pytest

from contracts.errors import Misconfigured, Poison
from contracts.pseudonyms import Pseudonyms
from models.imaging.pixels import read
from producers.burned_in import lines
from producers.deidentify import deidentify
from producers.scanner import exams, wrapped
from producers.scanner_list import ODDITIES, Exam, ward_patients
from producers.scanner_objects import CLASSES, Facts

START_MS = 1_767_225_600_000
SEED = 20260102
NAMES = Pseudonyms(bytes(range(32)))
ROUND = 14
ODD = {shows for shows, _ in ODDITIES}


def picture(name: str) -> bytes:
    return resources.files("producers").joinpath("samples", "images", name).read_bytes()


def facts(modality: str, body_part: str, **told: Any) -> Facts:
    taken = datetime.fromtimestamp(START_MS / 1000, UTC)
    return Facts(
        patient="sim-1", name="Qua^Zor", modality=modality, body_part=body_part, taken=taken, run="r", number=1, **told
    )


def written(dataset: Any) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def round_of(count: int = ROUND, data_dir: str | None = None) -> list[Exam]:
    return list(islice(exams(24, SEED, START_MS, 15.0, data_dir), count))


@pytest.mark.parametrize(
    ("name", "modality", "part"),
    [("bm00069.jpg", "MR", "BRAIN"), ("ko00050.jpg", "DX", "KNEE"), ("ko00070.jpg", "CR", "KNEE")],
)
def test_what_is_wrapped_reads_as_the_picture_did(name: str, modality: str, part: str) -> None:
    content = picture(name)
    dataset = wrapped(content, facts(modality, part, sex="F", age_years=61.5))
    seen = read(written(dataset))
    assert np.abs(seen.pixels - read(content).pixels).max() < 1e-6
    assert seen.sop_class == CLASSES[modality]
    assert (dataset.PatientSex, dataset.PatientAge) == ("F", "061Y")


def test_the_same_arguments_give_the_same_bytes_and_another_run_other_instances() -> None:
    once, again = (list(map(written, (one.dataset for one in round_of()))) for _ in range(2))
    assert once == again
    other = islice(exams(24, SEED, START_MS + 1000, 15.0), ROUND)
    met = {one.dataset.SOPInstanceUID for one in other} & {one.dataset.SOPInstanceUID for one in round_of()}
    assert not met


def test_every_patient_is_one_of_the_simulated_ward_so_that_images_and_vitals_meet() -> None:
    ward = {one.id: one for one in ward_patients(24, SEED, START_MS)}
    for exam in round_of(40):
        who = ward[str(exam.dataset.PatientID)]
        assert exam.dataset.PatientSex == who.sex
        assert exam.dataset.PatientName == who.name


def test_who_falls_ill_in_the_ward_has_images_first() -> None:
    first = ward_patients(24, SEED, START_MS)[0].id
    assert round_of(1)[0].dataset.PatientID == first
    assert first in {"sim-76637000a"}


def test_what_a_scanner_sends_can_be_de_identified_under_the_name_of_the_vitals_patient() -> None:
    for exam in round_of():
        if exam.shows in ODD:
            continue
        original = str(exam.dataset.PatientID)
        made = deidentify(exam.dataset, NAMES)
        assert made.patient == NAMES.patient(original)
        assert original.encode() not in written(exam.dataset)
        assert exam.dataset.BodyPartExamined in ("BRAIN", "KNEE")


def test_a_round_has_one_of_each_thing_that_must_be_refused() -> None:
    odd = {one.shows: one.dataset for one in round_of(60) if one.shows in ODD}
    assert set(odd) == ODD
    with pytest.raises(Poison):
        read(written(odd["damaged knee"]))
    assert lines(read(written(odd["knee with a name on it"])).pixels)
    assert odd["CT phantom"].Modality == "CT"
    assert read(written(odd["phantom that says brain"])).pixels.std() > 0.1


def test_hands_are_played_from_a_folder_only_and_belong_to_children_from_outside(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bone_age"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "ba1.jpg").write_bytes(picture("ko00070.jpg"))
    (folder / "labels.csv").write_text(
        "image,bone_age_months,sex,split\nimages/ba1.jpg,130,female,test\nimages/ba2.jpg,99,male,train\n"
    )
    hands = [one.dataset for one in round_of(ROUND, str(tmp_path)) if one.dataset.BodyPartExamined == "HAND"]
    assert [(one.PatientID, one.PatientSex, one.PatientAge) for one in hands] == [("out-ba1", "F", "010Y")]
    assert not [one for one in round_of(40) if one.dataset.BodyPartExamined == "HAND"]
    with pytest.raises(Misconfigured, match="bone_age"):
        round_of(1, str(tmp_path / "nowhere"))
