"""Which element of a DICOM file is kept, removed or changed: PS3.15 table E.1-1 (2024b) and the options in force.

dicom-anonymizer holds the table. Options: 113100 basic profile, 113101 clean pixel data, 113105 clean descriptors,
113107 longitudinal dates modified, 113108 retain patient characteristics. What the table does not name stays when it is
a number, a code or a standard UID; text stays only where it speaks of the device, or as words of anatomy and technique.
"""

from __future__ import annotations

import functools
from enum import StrEnum
from typing import Any, Final

EDITION: Final = "dicomfields_2024b"
METHOD: Final = "Wardstream PS3.15 basic profile"
CODES: Final = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113101", "Clean Pixel Data Option"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
OLDEST: Final = 90
"""Ages above are told as this one: few are so old, so that the number itself would point at somebody."""
SHORTEST: Final = 4
"""Identifiers shorter than this are not searched for in what is kept: they stand in half of all words."""

CHARACTERISTICS: Final = frozenset(
    {"PatientSex", "PatientAge", "PatientSize", "PatientWeight", "SmokingStatus", "PregnancyStatus"}
)
PLAIN: Final = frozenset(
    {
        "Manufacturer",
        "ManufacturerModelName",
        "SoftwareVersions",
        "CodeValue",
        "LongCodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
        "ConvolutionKernel",
        "SequenceName",
        "ScanOptions",
        "TransmitCoilName",
        "ReceiveCoilName",
        "FilterType",
        "Grid",
        "LUTExplanation",
        "WindowCenterWidthExplanation",
        "RescaleType",
        "MagneticFieldStrength",
        "LossyImageCompressionMethod",
    }
)
"""Text that speaks of the device or the technique; it stays unless an identifier of this file stands in it."""
DESCRIPTORS: Final = frozenset(
    {
        "StudyDescription",
        "SeriesDescription",
        "ProtocolName",
        "RequestedProcedureDescription",
        "PerformedProcedureStepDescription",
        "AcquisitionDeviceProcessingDescription",
        "ImageComments",
        "DerivationDescription",
        "ContrastBolusAgent",
        "BodyPartExamined",
    }
)
"""Text that routes an image: of it only words of anatomy and technique stay (producers/vocabulary.py)."""
BINARY: Final = frozenset(
    {
        "PixelData",
        "FloatPixelData",
        "DoubleFloatPixelData",
        "RedPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData",
        "LUTData",
        "ICCProfile",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
    }
)
TEXT: Final = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
STRINGS: Final = TEXT | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "PN", "TM", "UI", "UR"}
MOMENTS: Final = frozenset({"DA", "DT"})
BYTES: Final = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "UN", "OB or OW"})
NO_IMAGE: Final = frozenset({0x0000, 0x0002, 0x0004})
"""Groups of messages, file meta and directories: no part of an image."""
OVERLAYS_AND_CURVES: Final = frozenset(range(0x5000, 0x50FF, 2)) | frozenset(range(0x6000, 0x60FF, 2))


class Action(StrEnum):
    """What is done with an element: the words of PS3.15 where it has one."""

    KEEP = "keep"
    REMOVE = "remove"
    EMPTY = "empty"
    DUMMY = "dummy"
    UID = "uid"
    SHIFT = "shift"
    CLEAN = "clean"
    PSEUDONYM = "pseudonym"
    DESCEND = "descend"


@functools.cache
def table() -> dict[tuple[int, int], str]:
    """PS3.15 table E.1-1: (group, element) -> the letters of its action, like X/Z/D."""
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    letters = {
        "D_TAGS": "D",
        "Z_TAGS": "Z",
        "X_TAGS": "X",
        "U_TAGS": "U",
        "Z_D_TAGS": "Z/D",
        "X_Z_TAGS": "X/Z",
        "X_D_TAGS": "X/D",
        "X_Z_D_TAGS": "X/Z/D",
        "X_Z_U_STAR_TAGS": "X/Z/U*",
    }
    found = dicom_anonymization_database_selector(EDITION)
    return {(tag[0], tag[1]): word for name, word in letters.items() for tag in found[name] if len(tag) == 2}


def action_for(element: Any) -> Action:
    """What is to be done with one element, by its tag and value representation."""
    tag, vr, keyword = element.tag, element.VR, element.keyword
    if tag.is_private or not keyword or tag.group in OVERLAYS_AND_CURVES or tag.group in NO_IMAGE:
        return Action.REMOVE
    if keyword == "PatientID":
        return Action.PSEUDONYM
    if keyword in CHARACTERISTICS:
        return Action.KEEP
    if keyword in DESCRIPTORS:
        return Action.CLEAN
    letters = table().get((tag.group, tag.element))
    return _unlisted(vr, keyword) if letters is None else _listed(letters, vr, keyword)


def _listed(letters: str, vr: str, keyword: str) -> Action:
    if vr in MOMENTS and "Birth" not in keyword and letters != "X":
        return Action.SHIFT
    if letters in ("U", "X/Z/U*"):
        return Action.DESCEND if vr == "SQ" else Action.UID
    if vr == "SQ":
        return Action.REMOVE
    if vr == "TM" and letters != "X":
        return Action.KEEP  # days are shifted by whole days, so that the time of day tells no more than before
    return {"X": Action.REMOVE, "Z": Action.EMPTY, "X/Z": Action.EMPTY}.get(letters, Action.DUMMY)


def _unlisted(vr: str, keyword: str) -> Action:
    if vr == "SQ":
        return Action.DESCEND
    if vr in MOMENTS:
        return Action.SHIFT
    if vr in TEXT:
        return Action.KEEP if keyword in PLAIN else Action.CLEAN
    if vr == "UI":
        return Action.UID
    if vr in BYTES:
        return Action.KEEP if keyword in BINARY else Action.REMOVE
    return Action.REMOVE if vr in ("PN", "AE", "UR", "AT") and keyword != "FrameIncrementPointer" else Action.KEEP
