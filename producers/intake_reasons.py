"""Why an image is not let in: a short stable word, and what it means in a sentence that quotes nothing of the file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "empty": "there are no bytes",
        "not_an_image": "its first bytes are those of no DICOM, JPEG, PNG or TIFF file",
        "too_large": "it has or inflates to more bytes, pixels or memory than it may",
        "truncated": "it ends before its pixels do",
        "unreadable": "it begins as DICOM, but its elements cannot be read",
        "too_deep": "its sequences are nested too deeply",
        "no_pixels": "there is no image in it",
        "no_image": "a document inside DICOM cannot be cleaned of names",
        "unsupported_transfer_syntax": "no decoder here knows its transfer syntax",
        "undecodable": "its pixels cannot be decoded",
        "blank": "all its pixels have one value",
        "missing_attribute": "a UID is missing without which it cannot be told from others",
        "bad_uid": "its study, series or instance UID is no UID",
        "mismatch": "it is another instance, or of another class, than the message said",
        "burned_in_text": "letters stand in its pixels, or it says so itself",
        "recognisable": "it says itself that a face can be recognised in it",
        "identifier_left": "an identifier of it would stand in what is kept",
        "timeout": "reading it took longer than it may",
        "crashed": "the process that read it crashed",
        "no_file": "a link, a folder or a device, which is not followed",
    }
)


def said(reason: str) -> str:
    """The sentence for a reason; one that stands for those not in the table."""
    return REASONS.get(reason, "it cannot be read")
