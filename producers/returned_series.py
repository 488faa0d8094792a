"""What all objects of a result share: which image they are of, their UIDs, when they were made, what made them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from contracts.records import ImageResult
from producers import returned_codes as codes
from producers.uids import uid_of

MAKER: Final = "Wardstream"
WARNING: Final = "Research use only. Not for diagnosis."
NOBODY: Final = "none"
"""Stands for the model where no rule asked one."""
NEEDED: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
)
EMPTY: Final = (*NEEDED, "StudyTime", "ReferringPhysicianName")
DEIDENTIFIED: Final = (
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)
ORIGINAL_DATES: Final = ("Content", "Acquisition", "Series", "Study")
SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"


def source_of(header: Any, result: ImageResult) -> Any:
    """The header of the image that was read, with every attribute that is copied from it there; empty where unknown.

    ``header`` None: the image is not to be had any more, and only what the result says is known.
    """
    from pydicom.dataset import Dataset

    made = copy.deepcopy(header) if header is not None else Dataset()
    known = {
        "SOPInstanceUID": result.instance,
        "StudyInstanceUID": result.study,
        "SeriesInstanceUID": result.series or uid_of("unknown series", result.study),
        "SOPClassUID": SECONDARY_CAPTURE,
        "PatientID": result.patient or "",
        "Modality": result.modality or "OT",
    }
    for keyword, value in known.items():
        if not made.get(keyword):
            setattr(made, keyword, value)
    for keyword in EMPTY:
        if keyword not in made:
            setattr(made, keyword, "")
    return _named(made)


def restored(source: Any, originals: Mapping[str, str]) -> Any:
    """What is copied from the header, as the hospital knows it; other dates in it stay moved.

    ``originals`` are attributes by keyword, from the identified zone.
    """
    made = copy.deepcopy(source)
    for keyword, value in originals.items():
        setattr(made, keyword, value)
    for keyword in DEIDENTIFIED:
        if keyword in made:
            delattr(made, keyword)
    return _named(made)


def _named(made: Any) -> Any:
    """A name of one part gets the ``^`` that highdicom asks for; ``finish`` takes it away."""
    name = str(made.PatientName)
    if name and "^" not in name:
        made.PatientName = f"{name}^"
    return made


def uid(kind: str, result: ImageResult, source: Any) -> str:
    """An instance's UID: the same result of the same model about the same image has the same one."""
    told = (result.label, result.value, result.refusal)
    return uid_of(kind, result.job_id, result.model_sha256, result.input_sha256, *told, source.SOPInstanceUID)


def series_uid(kind: str, result: ImageResult, source: Any) -> str:
    """One series a study, model and kind of object."""
    return uid_of("series", kind, source.StudyInstanceUID, result.model)


def moment(result: ImageResult, source: Any) -> tuple[str, str]:
    """DICOM date and time of the reading.

    Beside moved dates the true one would give the shift away, so that it is told as the image's own then.
    """
    if str(source.get("PatientIdentityRemoved") or "").upper() == "YES":
        for which in ORIGINAL_DATES:
            if day := str(source.get(f"{which}Date") or ""):
                return day, str(source.get(f"{which}Time") or "000000")
    at = datetime.fromtimestamp(result.at_ms / 1000, UTC)
    return f"{at:%Y%m%d}", f"{at:%H%M%S}"


def finish(made: Any, result: ImageResult, source: Any) -> Any:
    """Dates, equipment and what says of identity, on an object that highdicom made; it is changed and given back."""
    from pydicom.sequence import Sequence

    day, time = moment(result, source)
    for which in ("InstanceCreation", "Series"):  # the clock's
        for keyword in (f"{which}Date", f"{which}Time"):
            if keyword in made:
                delattr(made, keyword)
    made.ContentDate, made.ContentTime = day, time
    del made.PatientName  # the element is the source's own
    made.PatientName = str(source.PatientName).rstrip("^")
    for keyword in DEIDENTIFIED:
        if keyword in source:
            made[keyword] = copy.deepcopy(source[keyword])
    made.ContributingEquipmentSequence = Sequence([_equipment(result)])
    made.file_meta.ImplementationVersionName = "WARDSTREAM"
    return made


def version(result: ImageResult) -> str:
    """The model's version, as everywhere: 12 hex digits of its manifest's sha256."""
    return result.model_sha256[:12] or NOBODY


def model(result: ImageResult) -> str:
    """The model's name."""
    return result.model or NOBODY


def instance_number(source: Any) -> int:
    """That of the image, so that both are found beside each other; 1 where it has none."""
    try:
        return max(1, int(source.get("InstanceNumber") or 1))
    except (TypeError, ValueError):
        return 1


def sentences(result: ImageResult) -> list[str]:
    """What is said in words, the warning first."""
    said = [WARNING]
    if result.refusal:
        said.append(f"Not read ({result.refusal}): {result.detail or 'the model declined'}")
    elif result.value is not None:
        band = "" if result.low is None or result.high is None else f" (90 % band {result.low:g} to {result.high:g})"
        said.append(f"{codes.measure(result)[2]}: {result.value:g} {result.unit or ''}".rstrip() + band)
    elif result.label is not None:
        name = codes.of_label(result.model, result.label)[2]
        sure = "" if result.probability is None else f", probability {result.probability:.2f}"
        held = ""
        if result.positive is not None and result.threshold is not None:
            held = f"; {'a finding' if result.positive else 'no finding'} at threshold {result.threshold:.2f}"
        said.append(f"{name}{sure}{held}")
    return [*said, *result.caveats]


def _equipment(result: ImageResult) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    made = Dataset()
    made.PurposeOfReferenceCodeSequence = Sequence([codes.item(codes.PROCESSING)])
    made.Manufacturer, made.ManufacturerModelName = MAKER, model(result)[:64]
    made.SoftwareVersions = [version(result), result.code[:64]] if result.code else version(result)
    made.DeviceUID = device_uid(result)
    made.ContributionDescription = WARNING
    return made


def device_uid(result: ImageResult) -> str:
    """The model as a device: one UID a version."""
    return uid_of("device", result.model, result.model_sha256)
