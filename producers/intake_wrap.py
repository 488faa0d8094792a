"""A JPEG, PNG or TIFF as DICOM: a Secondary Capture that says what whoever sent it said. Nothing of the file but its
samples gets in: what else stands in a picture (EXIF, comments, profiles) stays out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from contracts.errors import Poison
from models.imaging.headers import BODY_PARTS, MODALITIES, VIEWS
from producers.uids import uid_of

LONGEST_ID: Final = 64
SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
OTHER: Final = "OT"
OLDEST: Final = 150.0
_PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f\\]*")


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender of a picture says of it. ``patient`` and ``study`` are the hospital's identifiers: they become
    pseudonyms. ``age`` is in years. None: nothing is said; a picture of nobody is a patient of its own."""

    patient: str | None = None
    study: str | None = None
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    sex: str | None = None
    age: float | None = None

    @classmethod
    def checked(cls, told: Mapping[str, str]) -> Self:
        """From words. Raises Poison ``bad_request``, its ``field`` the parameter that is wrong."""
        if unknown := sorted(told.keys() - set(cls.__struct_fields__)):
            raise Poison(
                "bad_request", f"there is no such parameter; known are {', '.join(cls.__struct_fields__)}", unknown[0]
            )
        given = {name: text.strip() for name, text in told.items() if text.strip()}
        for name in ("patient", "study"):
            if name in given and (len(given[name]) > LONGEST_ID or not _PRINTABLE.fullmatch(given[name])):
                raise Poison("bad_request", f"at most {LONGEST_ID} printable characters, no backslash", name)
        for name, known in (
            ("modality", MODALITIES),
            ("body_part", BODY_PARTS),
            ("view", VIEWS),
            ("sex", ("F", "M", "O")),
        ):
            if name in given:
                given[name] = given[name].upper()
                if given[name] not in known:
                    raise Poison("bad_request", f"one of {' '.join(known)}", name)
        return cls(**{k: v for k, v in given.items() if k != "age"}, age=_years(given.get("age")))


def _years(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        years = float(text)
    except ValueError:
        years = -1.0
    if not 0 <= years <= OLDEST:
        raise Poison("bad_request", f"years from 0 to {OLDEST:g}", "age")
    return years


def age_string(years: float) -> str:
    """As DICOM tells ages: in months where years would lose something, and where three digits hold them.

    >>> age_string(34), age_string(11.5), age_string(0.02), age_string(90.5)
    ('034Y', '138M', '007D', '090Y')
    """
    if years < 0.25:
        return f"{round(years * 365.25):03d}D"
    if years == int(years) or years > 83:
        return f"{int(years):03d}Y"
    return f"{round(years * 12):03d}M"


def wrapped(content: bytes, kind: str, given: Given) -> Any:
    """A pydicom dataset with the samples of a picture. The same picture of the same patient is the same instance.

    Its window is the whole range of 8 bits, so that it is read as the picture itself would be. Raises Poison.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    from models.imaging.pictures import samples

    array = samples(content, kind)
    digest = hashlib.sha256(content).hexdigest()
    patient = given.patient or f"picture {digest}"
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = SECONDARY_CAPTURE
    made.SOPInstanceUID = uid_of("picture", digest, patient, given.study or "", msgspec.json.encode(given).decode())
    made.StudyInstanceUID = uid_of("study", patient, given.study or digest)
    made.SeriesInstanceUID = uid_of("series", patient, given.study or digest, given.modality, given.body_part)
    made.PatientID = patient
    made.Modality = given.modality or OTHER
    made.ConversionType = "WSD"
    made.SamplesPerPixel = 3 if array.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        made.PlanarConfiguration = 0
    made.Rows, made.Columns = array.shape[:2]
    made.BitsAllocated = made.BitsStored = array.dtype.itemsize * 8
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
    if array.ndim == 2 and array.dtype.itemsize == 1:
        made.WindowCenter, made.WindowWidth = "128", "256"
    made.PixelData = array.astype(array.dtype.newbyteorder("<")).tobytes()
    made["PixelData"].VR = "OW" if array.dtype.itemsize == 2 else "OB"
    for keyword, value in (
        ("BodyPartExamined", given.body_part),
        ("ViewPosition", given.view),
        ("PatientSex", given.sex),
        ("PatientAge", None if given.age is None else age_string(given.age)),
    ):
        if value is not None:
            setattr(made, keyword, value)
    return made
