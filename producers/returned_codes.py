"""What models say, as coded concepts: SNOMED CT where it has the very thing, our own scheme where it has not."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from contracts.records import ImageResult

SCHEME: Final = "99WARDSTREAM"
"""Ours, as PS3.16, section 8 lets everybody have one whose name begins with 99."""
SCHEME_NAME: Final = "Wardstream labels"
Code = tuple[str, str, str]

FINDINGS: Final[Mapping[tuple[str, str], Code]] = MappingProxyType(
    {
        ("brain_tumour", "glioma"): ("393564001", "SCT", "Glioma"),
        ("brain_tumour", "meningioma"): ("302820008", "SCT", "Intracranial meningioma"),
        ("brain_tumour", "pituitary"): ("127024001", "SCT", "Neoplasm of pituitary gland"),
        ("knee_osteoporosis", "osteoporosis"): ("64859006", "SCT", "Osteoporosis"),
        ("knee_osteoporosis", "osteopenia"): ("312894000", "SCT", "Osteopenia"),
        ("knee_osteoporosis", "normal"): ("17621005", "SCT", "Normal"),
    }
)
"""A model's label -> SNOMED CT. ``notumor`` is not among them: a tumour that is not told is no finding of health."""
MEASURES: Final[Mapping[str, Code]] = MappingProxyType({"bone_age": ("bone_age", SCHEME, "Bone age")})
UNITS: Final[Mapping[str, Code]] = MappingProxyType(
    {"months": ("mo", "UCUM", "month"), "years": ("a", "UCUM", "year"), "%": ("%", "UCUM", "Percent")}
)
REGIONS: Final[Mapping[str, Code]] = MappingProxyType(
    {
        "BRAIN": ("12738006", "SCT", "Brain"),
        "HEAD": ("69536005", "SCT", "Head"),
        "KNEE": ("72696002", "SCT", "Knee"),
        "HAND": ("85562004", "SCT", "Hand"),
    }
)
PAIRED: Final = frozenset({"KNEE", "HAND"})
"""Body parts of which there are two: what is of one of them says which, or that nobody knows."""
PROCEDURE: Final[Code] = ("image_reading", SCHEME, "Reading of an image by a model, for research")
DECLINED: Final[Code] = ("declined", SCHEME, "Reading declined")
CERTAINTY: Final[Code] = ("111012", "DCM", "Certainty of Finding")
LOW: Final[Code] = ("low", SCHEME, "Lower end of the 90 % band")
HIGH: Final[Code] = ("high", SCHEME, "Upper end of the 90 % band")
IS_FINDING: Final[Code] = ("told_as", SCHEME, "Told as")
POSITIVE: Final[Code] = ("finding", SCHEME, "A finding: the threshold is reached")
NEGATIVE: Final[Code] = ("no_finding", SCHEME, "No finding: the threshold is not reached")
AI: Final[Code] = ("123110", "DCM", "Artificial Intelligence")
COMMENT: Final[Code] = ("121106", "DCM", "Comment")
PROCESSING: Final[Code] = ("109102", "DCM", "Processing Equipment")
SOURCE: Final[Code] = ("121322", "DCM", "Source image for image processing operation")
DERIVED: Final[Code] = ("113085", "DCM", "Spatial resampling")


def finding(result: ImageResult) -> Code | None:
    """The label or the measure as a code; None for a result that tells neither."""
    if result.label is not None:
        return of_label(result.model, result.label)
    return measure(result) if result.value is not None else None


def of_label(model: str, label: str) -> Code:
    """A label of a model as a code."""
    return FINDINGS.get((model, label), (label, SCHEME, f"{label} ({model})"[:64]))


def measure(result: ImageResult) -> Code:
    """What a measure's value is of."""
    return MEASURES.get(result.model, (result.model, SCHEME, result.model[:64]))


def unit(name: str | None) -> Code:
    """A unit in UCUM; ``1`` for none, an annotation for one that is not known."""
    return UNITS.get(name or "", (f"{{{name}}}", "UCUM", name) if name else ("1", "UCUM", "no units"))


def concept(code: Code) -> Any:
    """As highdicom takes it."""
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def item(code: Code) -> Any:
    """As an item of a code sequence."""
    from pydicom.dataset import Dataset

    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = code
    return made
