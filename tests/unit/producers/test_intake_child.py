"""What the gateway's child makes of one file: an image that reads as before, with nothing of anybody left in it."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import numpy as np
import pytest

from contracts.errors import Poison
from contracts.pseudonyms import Pseudonyms
from models.imaging.headers import PATIENT
from models.imaging.pixels import read
from producers.intake_child import Cleaned, Task, cleaned
from producers.intake_reasons import REASONS
from producers.intake_wrap import Given, age_string
from tests.unit.models.imaging import made
from tests.unit.producers.test_burned_in import anatomy, written

NAMES = Pseudonyms(bytes(range(32)))


def take(content: bytes, mask: bool = False, **given: Any) -> Cleaned:
    return cleaned(Task(content, Given(**given)), NAMES, mask)


def stored(one: Cleaned) -> Any:
    from pydicom import dcmread

    return dcmread(io.BytesIO(one.content))


def smooth(rows: int = 96, cols: int = 128) -> Any:
    return (anatomy(4)[:rows, :cols] * 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_a_picture_is_read_after_it_was_wrapped_as_it_was_before(kind: str) -> None:
    content = made.picture(smooth(), kind)
    one = take(content, patient="W1-01", modality="DX", body_part="KNEE", view="AP", sex="F", age=61.0)
    assert np.array_equal(read(one.content).pixels, read(content).pixels)
    told = one.told
    assert (told.modality, told.body_part, told.view, told.sex, told.age_years) == ("DX", "KNEE", "AP", "F", 61.0)
    assert told.patient == NAMES.patient("W1-01"), "the vitals of this patient have the same pseudonym"
    assert (one.came_as, one.rows, one.cols) == (kind, 96, 128)
    assert one.originals["PatientID"] == "W1-01"


def test_colour_stays_colour_and_sixteen_bits_stay_sixteen() -> None:
    colours = np.stack([smooth(), smooth()[::-1], 255 - smooth()], axis=-1)
    in_colour = stored(take(made.picture(colours, "png")))
    assert in_colour.PhotometricInterpretation == "RGB"
    assert np.array_equal(in_colour.pixel_array, colours)
    wide = smooth().astype(np.uint16) * 200
    assert np.array_equal(stored(take(made.picture(wide, "png"))).pixel_array, wide)


def test_what_stands_in_a_picture_beside_its_samples_stays_out() -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    words, exif = PngInfo(), Image.Exif()
    words.add_text("Patient", "Planted^Name")
    exif[0x010E] = "Planted^Name"
    pictures = [
        made.picture(smooth(), "png", pnginfo=words),
        made.picture(smooth(), "jpeg", exif=exif, comment=b"Planted"),
    ]
    for content in pictures:
        assert b"Planted" in content
        assert b"Planted" not in take(content).content


def test_a_picture_of_nobody_is_a_patient_of_its_own_and_the_same_picture_is_the_same_instance() -> None:
    one, again, other = (take(made.picture(smooth(rows), "png")) for rows in (96, 96, 90))
    assert one.told.patient is not None
    assert PATIENT.fullmatch(one.told.patient)
    assert one.content == again.content
    assert {one.told.patient, one.told.study, one.told.instance}.isdisjoint(
        {other.told.patient, other.told.study, other.told.instance}
    )
    same_study = [take(made.picture(smooth(rows), "png"), patient="7", study="s").told for rows in (96, 90)]
    assert same_study[0].study == same_study[1].study
    assert same_study[0].instance != same_study[1].instance


def test_compressed_frames_are_stored_plain_so_that_no_comment_in_them_stays() -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    frame = made.picture(smooth(40, 60), "jpeg", quality=95, comment=b"Planted^Comment", subsampling=0)
    content = made.dicom(smooth(40, 60), JPEGBaseline8Bit, PixelData=encapsulate([frame + b"\0" * (len(frame) % 2)]))
    assert b"Planted^Comment" in content
    one = take(content)
    assert b"Planted" not in one.content
    dataset = stored(one)
    assert not dataset.file_meta.TransferSyntaxUID.is_compressed
    assert np.abs(dataset.pixel_array.astype(int) - smooth(40, 60)).mean() < 3


def test_bits_beside_the_stored_ones_and_bytes_behind_the_last_pixel_are_gone() -> None:
    array = made.gradient()
    hidden = array | np.uint16(0xA000)
    behind = made.dicom(PixelData=hidden.tobytes() + b"Planted behind!!")
    dataset = stored(take(behind))
    assert len(dataset.PixelData) == array.nbytes
    assert np.array_equal(np.frombuffer(dataset.PixelData, "<u2").reshape(array.shape), array)


def test_a_negative_pixel_stays_negative() -> None:
    array = made.gradient(top=2000).astype(np.int16) - 1000
    assert np.array_equal(stored(take(made.dicom(array))).pixel_array, array)


def test_letters_refuse_an_image_or_are_blanked_and_a_lone_marker_does_neither() -> None:
    image = written(anatomy(1), "ZORVEX QUAX 1971", (20, 200), 20, 255)
    content = made.picture((image * 255).astype(np.uint8), "png")
    with pytest.raises(Poison, match="burned_in_text"):
        take(content)
    blanked = take(content, mask=True)
    assert blanked.masked >= 1
    box = stored(blanked).pixel_array[200:224, 20:180]
    assert float((box > 200).mean()) < 0.02
    with pytest.raises(Poison, match="burned_in_text"):
        take(made.dicom((image * 255).astype(np.uint8)))
    marked = written(anatomy(3), "L", (20, 20), 28, 255)
    assert take(made.picture((marked * 255).astype(np.uint8), "png")).masked == 0


def test_letters_on_one_frame_of_several_and_outside_the_window_are_seen() -> None:
    plain, image = anatomy(1), written(anatomy(1), "ZORVEX QUAX 1971", (20, 200), 20, 255)
    several = np.stack([(one * 255).astype(np.uint8) for one in (image, plain, plain, plain)])
    with pytest.raises(Poison, match="burned_in_text"):
        take(made.dicom(several))
    assert take(made.dicom(several), mask=True).masked >= 1
    dim = np.where(image > 0.9, 4000, plain * 300).astype(np.uint16)
    with pytest.raises(Poison, match="burned_in_text"):
        take(made.dicom(dim, WindowCenter="80", WindowWidth="60"))


def test_an_age_is_reckoned_from_the_birth_date_which_goes() -> None:
    one = take(made.dicom(PatientAge=None, PatientBirthDate="20140115", StudyDate="20240229"))
    assert one.told.age_years == pytest.approx(10.1, abs=0.1)
    assert "PatientBirthDate" not in stored(one) or not stored(one).PatientBirthDate
    assert one.originals["PatientBirthDate"] == "20140115"
    assert one.told.study_date == NAMES.shifted(date(2024, 2, 29), "MRN-PLANTED-77").isoformat()


def test_a_uid_that_only_begins_like_the_standards_is_replaced() -> None:
    one = take(made.dicom(FrameOfReferenceUID="1.2.840.10008.4711.19500203"))
    assert b"4711" not in one.content


def test_an_instance_that_is_not_the_announced_one_is_refused() -> None:
    held = ("1.2.840.10008.5.1.4.1.1.1.1", made.IDENTITY["SOPInstanceUID"])
    assert cleaned(Task(made.dicom(), Given(), held), NAMES, False).told.instance
    with pytest.raises(Poison, match="mismatch"):
        cleaned(Task(made.dicom(), Given(), (held[0], "1.2.3")), NAMES, False)


def test_the_same_file_gives_the_same_bytes() -> None:
    assert take(made.dicom()).content == take(made.dicom()).content


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"modality": "XX"}, "modality"),
        ({"body_part": "../KNEE"}, "body_part"),
        ({"view": "UPSIDE"}, "view"),
        ({"sex": "X"}, "sex"),
        ({"age": "-1"}, "age"),
        ({"age": "nan"}, "age"),
        ({"age": "old"}, "age"),
        ({"patient": "a\\b"}, "patient"),
        ({"patient": "a\0b"}, "patient"),
        ({"study": "x" * 65}, "study"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_said_of_a_picture_is_checked(said: dict[str, str], field: str) -> None:
    with pytest.raises(Poison) as wrong:
        Given.checked(said)
    assert (wrong.value.reason, wrong.value.field) == ("bad_request", field)


def test_what_is_said_in_small_letters_or_not_at_all_is_understood() -> None:
    assert Given.checked({"modality": "dx", "sex": " f ", "view": "", "age": "11.5"}) == Given(
        modality="DX", sex="F", age=11.5
    )


def test_ages_are_told_as_dicom_tells_them() -> None:
    assert [age_string(years) for years in (34, 11.5, 0.02, 90.5, 150)] == ["034Y", "138M", "007D", "090Y", "150Y"]


def test_no_sentence_of_a_reason_has_room_for_something_of_a_file() -> None:
    assert not [one for one in REASONS.values() if "{" in one or "%" in one]
