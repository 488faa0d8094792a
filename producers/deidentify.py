"""DICOM without identity: every element at every depth is decided (producers/confidentiality.py), and then searched.

Nothing that was taken out may still stand anywhere in what is kept, else the file is refused.
"""

from __future__ import annotations

import functools
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.errors import Poison
from contracts.pseudonyms import STANDARD_UIDS, Pseudonyms
from producers.confidentiality import CODES, METHOD, OLDEST, SHORTEST, STRINGS, TEXT, Action, action_for
from producers.vocabulary import cleaned

CHANCE: Final = frozenset({"DA", "DT", "TM", "AS", "DS", "IS", "CS", "UI"})
READABLE: Final = re.compile(r"[\x20-\x7e\x80-\uffff]+")


@dataclass
class Deidentified:
    """A dataset without identity. ``done`` counts actions; ``by_tag`` says which was done to which element.

    ``originals`` are the identifying values that were taken out: only the identified zone may keep them.
    """

    dataset: Any
    patient: str
    done: Counter[Action] = field(default_factory=Counter)
    by_tag: dict[str, Action] = field(default_factory=dict)
    originals: frozenset[str] = frozenset()


def deidentify(dataset: Any, pseudonyms: Pseudonyms) -> Deidentified:
    """Take the identity out of a pydicom dataset, in place.

    Raises Poison when the file is of a kind that cannot be cleaned (a document, a structured report), when it tells no
    patient or instance, or when an identifier of it still stands somewhere in what would be kept.
    """
    refuse_what_cannot_be_cleaned(dataset)
    known = frozenset(identifiers(dataset))
    original = str(dataset.get("PatientID") or "").strip() or f"instance {dataset.SOPInstanceUID}"
    made = Deidentified(dataset, pseudonyms.patient(original), originals=known)
    _Walk(pseudonyms, pseudonyms.shift_days(original), made).over(dataset, "")
    _declare(dataset, made.patient)
    _new_meta(dataset)
    left = next(still_there(dataset, known), None)
    if left is not None:
        raise Poison("identifier_left", "an identifier of this file stands in what would be kept", left)
    return made


def refuse_what_cannot_be_cleaned(dataset: Any) -> None:
    """Raise Poison for what is no image, or says that names are written on it."""
    for wanted in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"):
        if not str(dataset.get(wanted) or "").strip():
            raise Poison("missing_attribute", f"the file has no {wanted}, so it cannot be told from others", wanted)
    if "EncapsulatedDocument" in dataset:
        raise Poison("no_image", "a document inside DICOM cannot be cleaned of names", "EncapsulatedDocument")
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise Poison("no_pixels", "there is no image in this file", "PixelData")
    if str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES":
        raise Poison("burned_in_text", "the file says that text is burned into its pixels", "BurnedInAnnotation")
    if str(dataset.get("RecognizableVisualFeatures") or "").strip().upper() == "YES":
        raise Poison("recognisable", "the file says that a face can be recognised", "RecognizableVisualFeatures")


class _Walk:
    """Every element at every depth, with one patient's pseudonym and shift."""

    def __init__(self, pseudonyms: Pseudonyms, days: int, made: Deidentified) -> None:
        self._pseudonyms, self._days, self._made = pseudonyms, days, made

    def over(self, dataset: Any, path: str) -> None:
        for tag in sorted(dataset.keys()):
            try:
                element = dataset[tag]
            except _unreadable():
                del dataset[tag]  # what cannot even be read is not passed on
                self._note(f"{path}({tag})", Action.REMOVE)
                continue
            action = action_for(element)
            where = f"{path}{element.keyword or element.tag}"
            self._note(where, action)
            if action is Action.DESCEND:
                for number, item in enumerate(element.value or ()):
                    self.over(item, f"{where}[{number}].")
            else:
                self._do(action, dataset, element)

    def _note(self, where: str, action: Action) -> None:
        self._made.done[action] += 1
        self._made.by_tag[where] = action

    def _do(self, action: Action, dataset: Any, element: Any) -> None:
        if action is Action.REMOVE:
            del dataset[element.tag]
        elif action is Action.EMPTY:
            element.value = None
        elif action is Action.DUMMY:
            _dummy(dataset, element)
        elif action is Action.PSEUDONYM:
            element.value = self._made.patient
        elif action is Action.UID:
            element.value = _each(element.value, self._uid)
        elif action is Action.SHIFT:
            element.value = _each(element.value, lambda text: shifted(text, self._days))
        elif action is Action.CLEAN:
            element.value = _each(element.value, cleaned)
        elif element.keyword == "PatientAge":
            element.value = capped(str(element.value or ""))
        elif element.VR in STRINGS and any(hit(self._made.originals, text) for text in _texts(element.value)):
            element.value = None

    def _uid(self, original: str) -> str:
        from pydicom.uid import UID_dictionary

        plain = original.strip("\0 ")
        if plain in UID_dictionary or not plain:
            return plain
        # one that only begins like those of the standard may end in anything
        return self._pseudonyms.uid(f"urn:oid:{plain}" if plain.startswith(STANDARD_UIDS) else plain)


def shifted(text: str, days: int) -> str:
    """A DICOM date or date and time, moved by whole days; empty when it is none.

    >>> shifted("20260301", -1), shifted("20260301101500.5+0100", 1), shifted("1.3.2026", 1)
    ('20260228', '20260302101500.5+0100', '')
    """
    from datetime import datetime, timedelta

    found = re.fullmatch(r"(\d{8})(\d{0,6}(?:\.\d{1,6})?(?:[+-]\d{4})?)", text.strip())
    if found is None:
        return ""
    try:
        day = datetime.strptime(found[1], "%Y%m%d") + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{day:%Y%m%d}{found[2]}" if day.year >= 1000 else ""


def capped(age: str) -> str:
    """A DICOM age string, at most 90 years; empty when it is none.

    >>> capped("097Y"), capped("034Y"), capped("011M"), capped("old")
    ('090Y', '034Y', '011M', '')
    """
    found = re.fullmatch(r"(\d{3})([DWMY])", age.strip().upper())
    if found is None:
        return ""
    years = int(found[1]) * {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}[found[2]]
    return f"{OLDEST:03d}Y" if years > OLDEST else found[0]


def identifiers(dataset: Any) -> Iterator[str]:
    """Every string, at any depth, that leads to a person, an institution or an event, whole and in words."""
    for element in _elements(dataset):
        # numbers and codes stand in many places by chance; the birth date is looked for as text
        told = element.VR in STRINGS - CHANCE or element.VR == "UN"
        if told and action_for(element) in (Action.REMOVE, Action.EMPTY, Action.DUMMY, Action.PSEUDONYM):
            for text in _texts(element.value):
                yield from _words(text)
    if birth := str(dataset.get("PatientBirthDate") or "").strip():
        yield birth


def _words(text: str) -> Iterator[str]:
    whole = text.strip().lower()
    for part in {whole, *re.split(r"[\s^=,;/\\@]+", whole)}:
        if (
            len(part) >= SHORTEST
            and READABLE.fullmatch(part)
            and not part.startswith(STANDARD_UIDS)
            and cleaned(part) == ""
        ):
            yield part


def hit(known: frozenset[str], text: str) -> bool:
    """Whether one of the identifiers stands in the text."""
    lower = text.lower()
    return any(word in lower for word in known)


def still_there(dataset: Any, known: frozenset[str]) -> Iterator[str]:
    """Where an identifier still stands: keywords of elements, at any depth."""
    for element in _elements(dataset):
        if element.VR in STRINGS - {"UI", "DA", "DT"}:  # a shifted date may meet the birth date by chance
            for text in _texts(element.value):
                if hit(known, text) and element.keyword not in ("DeidentificationMethod", "CodeMeaning"):
                    yield element.keyword


def _elements(dataset: Any) -> Iterator[Any]:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except _unreadable():
            continue
        yield element
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _elements(item)


@functools.cache
def _unreadable() -> tuple[type[Exception], ...]:
    """What the parser raises for an element whose value is not as it should be."""
    from pydicom.errors import BytesLengthException

    return (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        NotImplementedError,
        OverflowError,
        struct.error,
        BytesLengthException,
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, bytes):
        yield value.decode("latin-1")
    elif _is_many(value):
        yield from map(str, value)
    elif value is not None:
        yield str(value)


def _is_many(value: Any) -> bool:
    """Whether an element has several values; a person's name can be iterated over too, letter by letter."""
    from pydicom.multival import MultiValue

    return isinstance(value, (MultiValue, list, tuple))


def _each(value: Any, change: Any) -> Any:
    return [change(str(part)) for part in value] if _is_many(value) else change(str(value or ""))


def _dummy(dataset: Any, element: Any) -> None:
    """A value that says nothing, where the element may have to be there."""
    if element.VR in ("PN", *TEXT, "AE", "CS"):
        element.value = "REMOVED"
    elif element.VR in ("TM", "DS", "IS", "US", "UL", "SS", "SL", "FL", "FD"):
        element.value = "000000" if element.VR == "TM" else 0
    else:
        del dataset[element.tag]


def _declare(dataset: Any, patient: str) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    codes = []
    for value, meaning in CODES:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    dataset.PatientID, dataset.PatientName = patient, patient
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    dataset.DeidentificationMethodCodeSequence = Sequence(codes)
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    dataset.BurnedInAnnotation = "NO"


def _new_meta(dataset: Any) -> None:
    """File meta made anew and an empty preamble: both can hide what nobody looks at."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian

    old = getattr(dataset, "file_meta", None)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = getattr(old, "TransferSyntaxUID", None) or ImplicitVRLittleEndian
    meta.ImplementationVersionName = "WARDSTREAM"
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
