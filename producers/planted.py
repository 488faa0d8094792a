"""Synthetic DICOM studies full of invented identifiers, and the score of de-identifying them (as MIDI-B scores).

Everything here is made up: no name, number or address is anybody's. A study says for each planted value what has to
become of it, so that what is removed and what is kept are both counted.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.pseudonyms import Pseudonyms
from producers.confidentiality import NO_IMAGE, OVERLAYS_AND_CURVES, TEXT, table
from producers.deidentify import deidentify, shifted

SYLLABLES: Final = "qua zor vex bli dru fny gol hax jip kru lom myv nox pry quil rax syv tho uzz wiv xan yol zeb"
NESTED_IN: Final = ("AnatomicRegionSequence", "ProcedureCodeSequence", "ViewCodeSequence", "PixelMeasuresSequence")
"""Sequences that the profile keeps: what hides in them must still be found."""
ALWAYS: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "AccessionNumber",
    "ReferringPhysicianName",
    "InstitutionName",
    "InstitutionAddress",
    "OperatorsName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "OtherPatientIDs",
    "PatientComments",
    "StudyID",
    "StationName",
    "DeviceSerialNumber",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDateTime",
    "ContentDate",
)
KEPT: Final[dict[str, Any]] = {
    "PatientSex": "F",
    "PatientAge": "011Y",
    "PatientWeight": "41.5",
    "Modality": "CR",
    "BodyPartExamined": "HAND",
    "ViewPosition": "PA",
    "SeriesDescription": "Left hand PA",
    "Manufacturer": "ACME Imaging",
    "ManufacturerModelName": "Plate 9",
    "KVP": "55",
    "ExposureTime": "12",
    "PixelSpacing": ["0.2", "0.2"],
    "PhotometricInterpretation": "MONOCHROME2",
    "WindowCenter": "128",
    "WindowWidth": "256",
    "RescaleSlope": "1",
    "ImageLaterality": "L",
}
DAY: Final = "20260%d%02d"
HOUSE: Final = "2.25.9999"
"""Root of the synthetic UIDs, which must all be gone afterwards."""


@dataclass
class Study:
    """A dataset, the identifiers that no byte of the result may hold, and what each date has to become."""

    dataset: Any
    planted: list[str] = field(default_factory=list)
    dates: dict[str, str] = field(default_factory=dict)


@dataclass
class Score:
    """``right`` of ``required`` actions and ``kept_right`` of ``kept`` elements; ``left`` is what went wrong, where."""

    studies: int = 0
    planted: int = 0
    required: int = 0
    right: int = 0
    kept: int = 0
    kept_right: int = 0
    left: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of required actions, how many were right."""
        return self.right / self.required if self.required else 1.0


def name(rng: random.Random) -> str:
    """A word that is nobody's name and stands in no header by chance."""
    return "".join(rng.choice(SYLLABLES.split()) for _ in range(3)) + str(rng.randrange(10, 99))


def study(seed: int) -> Study:
    """One image with identifiers at every depth, in private elements, overlays, free text and the preamble."""
    from pydicom.datadict import dictionary_VR, keyword_for_tag

    rng = random.Random(seed)  # noqa: S311  # made up, and the same again for the same seed
    made = Study(_image(rng))
    listed = [keyword_for_tag(tag) for tag in table() if tag[0] not in NO_IMAGE]
    plantable = [k for k in listed if k and k not in KEPT and dictionary_VR(k) in _MAKERS and k not in _OWN]
    for keyword in (*ALWAYS, *rng.sample(plantable, 25)):
        _plant(made, made.dataset, keyword, rng, "")
    _nest(made, made.dataset, rng, plantable, depth=rng.randrange(1, 4), path="")
    block = made.dataset.private_block(0x0019, name(rng), create=True)
    made.planted.append(block.private_creator)
    for element, vr in ((1, "LO"), (2, "UT"), (3, "PN")):
        block.add_new(element, vr, _said(made, name(rng)))
    block.add_new(4, "UN", _said(made, name(rng)).encode())
    _overlay(made, rng)
    made.dataset.ImageComments = f"Left hand of {_said(made, name(rng))}"
    made.dataset.preamble = _said(made, name(rng)).encode().ljust(128, b"\0")
    return made


def score(
    count: int,
    pseudonyms: Pseudonyms,
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
    way: Callable[[bytes], bytes] | None = None,
) -> Score:
    """De-identify ``count`` synthetic studies and count what was right. Bytes are searched, not only elements.

    ``way`` takes a file and gives what becomes of it; without one it is ``deidentify``.
    """
    from pydicom import dcmread

    total = Score()
    for number in range(seed, seed + count):
        one = study(number)
        before = {keyword: one.dataset[keyword].value for keyword in KEPT}
        original, gone = str(one.dataset.PatientID), identifying(one)
        made = way(written(one.dataset)) if way else _deidentified(one.dataset, pseudonyms)
        raw, after = made.lower(), dcmread(io.BytesIO(made))
        left = [value for value in gone if value.lower().encode() in raw]
        days = pseudonyms.shift_days(original)
        wrong = [path for path, day in one.dates.items() if _at(after, path) not in ("", shifted(day, days))]
        total.studies += 1
        total.planted += len(gone)
        total.required += len(gone) + len(one.dates)
        total.right += len(gone) - len(left) + len(one.dates) - len(wrong)
        total.left += [f"study {number}: {value}" for value in (*left, *wrong)]
        total.kept += len(before)
        total.kept_right += sum(after.get(keyword) == value for keyword, value in before.items())
        tick()
    return total


def identifying(one: Study) -> list[str]:
    """Every string of a study that may stand nowhere afterwards: what was planted, and its own UIDs."""
    return [*one.planted, *_uids(one.dataset)]


def written(dataset: Any) -> bytes:
    """As a file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _deidentified(dataset: Any, pseudonyms: Pseudonyms) -> bytes:
    deidentify(dataset, pseudonyms)
    return written(dataset)


def _image(rng: random.Random) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, f"{HOUSE}.{rng.randrange(10**12)}")
    for keyword, value in KEPT.items():
        setattr(dataset, keyword, value)
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = rng.randbytes(256)
    return dataset


def _said(made: Study, value: str) -> str:
    made.planted.append(value)
    return value


def _day(rng: random.Random) -> str:
    return DAY % (rng.randrange(1, 10), rng.randrange(1, 29))


_MAKERS: Final[dict[str, Callable[[random.Random], str]]] = {
    **dict.fromkeys(TEXT, name),
    "PN": lambda rng: f"{name(rng)}^{name(rng)}",
    "AE": lambda rng: name(rng)[:16],
    "DA": _day,
    "DT": lambda rng: _day(rng) + "101500",
    "UI": lambda rng: f"{HOUSE}.{rng.randrange(10**12)}",
}
_OWN: Final = frozenset({"ImageComments", "PatientID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"})


def _plant(made: Study, dataset: Any, keyword: str, rng: random.Random, path: str) -> None:
    from pydicom.datadict import dictionary_VR

    vr = dictionary_VR(keyword)
    value = _MAKERS[vr](rng)
    setattr(dataset, keyword, value)
    if vr in ("DA", "DT"):
        made.dates[path + keyword] = "" if keyword == "PatientBirthDate" else value
    elif vr != "UI":
        made.planted += value.split("^")


def _nest(made: Study, dataset: Any, rng: random.Random, plantable: list[str], depth: int, path: str) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item, parent = Dataset(), rng.choice(NESTED_IN)
    where = f"{path}{parent}/"
    for keyword in rng.sample(plantable, 3):
        _plant(made, item, keyword, rng, where)
    item.CodeMeaning = f"Hand {_said(made, name(rng))}"
    if depth > 1:
        _nest(made, item, rng, plantable, depth - 1, where)
    setattr(dataset, parent, Sequence([item]))


def _overlay(made: Study, rng: random.Random) -> None:
    group = min(OVERLAYS_AND_CURVES & frozenset(range(0x6000, 0x60FF)))
    made.dataset.add_new((group, 0x3000), "OB", _said(made, name(rng)).encode().ljust(32, b"\0"))
    made.dataset.add_new((group, 0x4000), "LT", _said(made, name(rng)))


def _at(dataset: Any, path: str) -> str:
    *parents, keyword = path.split("/")
    for parent in parents:
        if parent not in dataset or not dataset[parent].value:
            return ""
        dataset = dataset[parent].value[0]
    return str(dataset.get(keyword) or "")


def _uids(dataset: Any) -> list[str]:
    return sorted(set(_house_uids(dataset)))


def _house_uids(dataset: Any) -> Iterator[str]:
    for element in dataset.iterall():
        if element.VR == "UI" and str(element.value).startswith(HOUSE):
            yield str(element.value)
