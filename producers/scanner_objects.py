"""Pictures as a modality sends them: MR, CT, DX and CR objects with an invented identity around real pixels.

Attributes are those that PS3.3 asks of each object (A.2, A.3, A.4, A.26). What nobody knows of the picture any more,
such as its spacing, is made up, as names and dates are: nothing here is to be measured.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers.uids import uid_of

MAKER: Final = "ACME Imaging"
STATION: Final = "SIMULATED"
CLASSES: Final = {
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
}
"""Modality -> SOP class: MR, CT, Digital X-Ray for presentation, Computed Radiography Image Storage."""
NATIVE: Final = "1.2.840.10008.1.2.1"
"""Explicit VR Little Endian."""
JPEG: Final = "1.2.840.10008.1.2.4.50"
"""JPEG Baseline."""
REGIONS: Final = {
    "BRAIN": ("12738006", "Brain"),
    "KNEE": ("72696002", "Knee"),
    "HAND": ("85562004", "Hand"),
    "ABDOMEN": ("818981001", "Abdomen"),
}
"""SNOMED CT, of context group 4 of PS3.16."""
_VIEWS: Final = {"AP": ("399348003", "antero-posterior"), "PA": ("399067008", "postero-anterior")}
_TITLES: Final = {"MR": "MR Brain T1 post Gd", "CT": "CT abdomen", "DX": "XR {part} AP standing", "CR": "XR {part}"}
_AIR: Final = -1024


@dataclass(frozen=True)
class Facts:
    """What the header says. ``number`` tells one image of a run from the others, ``run`` one run from another.

    ``sex`` is F, M or O; ``taken`` has a time zone. ``view`` and ``laterality`` (L, R or B) where there is one.
    """

    patient: str
    name: str
    modality: str
    body_part: str
    taken: datetime
    run: str
    number: int
    sex: str | None = None
    age_years: float | None = None
    view: str | None = None
    laterality: str | None = None

    def uid(self, kind: str) -> str:
        """The study's, series' or instance's UID."""
        return uid_of("scanner", self.run, self.number, kind)


def wrapped(content: bytes, facts: Facts) -> Any:
    """A pydicom dataset with its file meta: a JPEG, PNG or TIFF picture as an image of ``facts.modality``.

    A grey JPEG goes into CR as it is (JPEG Baseline); everything else is Explicit VR Little Endian of 8 bits. The same
    content and facts give the same bytes. Raises KeyError for a modality that is not in CLASSES.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        as_it_is = facts.modality == "CR" and image.format == "JPEG" and image.mode == "L"
        lossy, (width, height) = image.format == "JPEG", image.size
        pixels = None if as_it_is else np.asarray(image.convert("L"))
    dataset = _header(facts, JPEG if as_it_is else NATIVE)
    if pixels is not None:
        _put(dataset, pixels)
    else:
        _shape(dataset, height, width, 8, 8)
        encapsulated(dataset, content)
    if lossy:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = round(height * width / len(content), 2)
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
    return dataset


def drawn(pixels: NDArray[Any], facts: Facts) -> Any:
    """A dataset around an array: 8 bits, or Hounsfield units of int16, stored as CT does (12 bits and an intercept)."""
    dataset = _header(facts, NATIVE)
    if pixels.dtype == np.int16:
        _put(dataset, (pixels - _AIR).astype(np.uint16))
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = _AIR, 1, "HU"
        dataset.WindowCenter, dataset.WindowWidth = 40, 400
    else:
        _put(dataset, pixels)
    return dataset


def _header(facts: Facts, syntax: str) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(CLASSES[facts.modality])
    dataset.SOPInstanceUID = facts.uid("instance")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.ImplementationVersionName = "WARDSTREAM"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = facts.uid("study"), facts.uid("series")
    dataset.PatientID, dataset.PatientName = facts.patient, facts.name
    dataset.PatientBirthDate = ""
    dataset.PatientSex = facts.sex or ""
    if facts.age_years is not None:
        dataset.PatientAge = f"{min(int(facts.age_years), 120):03d}Y"
    _events(dataset, facts)
    dataset.Modality, dataset.BodyPartExamined = facts.modality, facts.body_part
    if facts.view:
        dataset.ViewPosition = facts.view
    _OBJECT[facts.modality](dataset, facts)
    return dataset


def _events(dataset: Any, facts: Facts) -> None:
    """The study, the series and the device: all invented."""
    for which in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{which}Date", f"{facts.taken:%Y%m%d}")
        setattr(dataset, f"{which}Time", f"{facts.taken:%H%M%S}")
    dataset.AccessionNumber = f"A{facts.taken:%H%M%S}{facts.number:06d}"
    dataset.StudyID = f"S{facts.number:08d}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = _TITLES[facts.modality].format(part=facts.body_part.lower())
    dataset.SeriesNumber = dataset.InstanceNumber = dataset.AcquisitionNumber = 1
    dataset.Manufacturer, dataset.ManufacturerModelName = MAKER, "Plate 9"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = f"sn-{facts.number % 7:06d}", "1.0"
    dataset.StationName, dataset.InstitutionName = STATION, "Simulated Hospital"
    dataset.TimezoneOffsetFromUTC = "+0000"
    dataset.PatientOrientation = ["L", "F"] if facts.modality in ("DX", "CR") else ["L", "P"]


def _slice(dataset: Any, facts: Facts) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if facts.modality == "CT" else ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = facts.uid("frame"), ""
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 5
    dataset.PatientPosition = "HFS"


def _mr(dataset: Any, facts: Facts) -> None:
    _slice(dataset, facts)
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "SE", "NONE", ""
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.RepetitionTime = "2D", 12, 550
    dataset.EchoTrainLength = 1


def _ct(dataset: Any, facts: Facts) -> None:
    _slice(dataset, facts)
    dataset.KVP = 120


def _region(dataset: Any, facts: Facts) -> None:
    from pydicom.sequence import Sequence

    dataset.AnatomicRegionSequence = Sequence([_code(*REGIONS[facts.body_part])])


def _cr(dataset: Any, facts: Facts) -> None:
    _region(dataset, facts)
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.Laterality = facts.laterality if facts.laterality in ("L", "R") else ""
    dataset.KVP, dataset.PlateID = 55, ""


def _dx(dataset: Any, facts: Facts) -> None:
    from pydicom.sequence import Sequence

    _region(dataset, facts)
    dataset.ImageType, dataset.PresentationIntentType = ["ORIGINAL", "PRIMARY", ""], "FOR PRESENTATION"
    dataset.ImageLaterality = facts.laterality or "U"
    if facts.view in _VIEWS:
        view = _code(*_VIEWS[facts.view])
        view.ViewModifierCodeSequence = Sequence([])
        dataset.ViewCodeSequence = Sequence([view])
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"
    dataset.DetectorType, dataset.ImagerPixelSpacing = "DIRECT", [1, 1]
    dataset.AcquisitionContextSequence = Sequence([])
    dataset.KVP, dataset.PositionerType = 60, "NONE"


_OBJECT: Final = {"MR": _mr, "CT": _ct, "DX": _dx, "CR": _cr}


def _code(value: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code


def _put(dataset: Any, pixels: NDArray[Any]) -> None:
    wide = dataset.Modality in ("MR", "CT")  # must have 16 bits, of which 12 may be used
    stored = pixels.astype("<u2" if wide else np.uint8)
    rows, cols = stored.shape
    _shape(dataset, rows, cols, 16 if wide else 8, 12 if wide else 8)
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)


def encapsulated(dataset: Any, content: bytes) -> None:
    """Make a compressed frame the pixels of the dataset."""
    from pydicom.encaps import encapsulate

    dataset.PixelData = encapsulate([content])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True  # what is sent is refused without it


def _shape(dataset: Any, rows: int, cols: int, allocated: int, stored: int) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, cols
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, stored - 1
    dataset.PixelRepresentation = 0
    # 0 to 255 is all of it (PS3.3, C.11.2.1.2): who looks sees the picture as it was
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
