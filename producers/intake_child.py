"""The gateway's child, ``python -m producers.intake_child``: one file in, a de-identified DICOM file out, or a reason.

Only here is a stranger's file parsed. What comes out is always plain: no compressed streams, no bits beside the stored
ones, nothing behind the last pixel, for all of these can hold what nobody looks at.
"""

from __future__ import annotations

import importlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.pseudonyms import Pseudonyms
from models.imaging.child import serve
from models.imaging.dicom import ODD
from models.imaging.headers import Told, told
from models.imaging.pixels import MAX_BYTES, Grey, kind_of, read
from producers import confidentiality
from producers.burned_in import Line, lines, masked
from producers.deidentify import deidentify, refuse_what_cannot_be_cleaned
from producers.intake_wrap import Given, age_string, wrapped

UID: Final = re.compile(r"(?=.{1,64}$)\d+(\.\d+)*")
PSEUDONYM: Final = re.compile(r"2\.25\.\d{1,39}")
MOST_FRAMES: Final = 16
"""So many frames of one object are searched for letters: what a device writes, it writes on all of them."""
REMEMBERED: Final = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
)
"""What the identified zone keeps of an image, so that its result can be sent home."""
LONGEST: Final = 1024


class Order(msgspec.Struct, frozen=True, array_like=True):
    """The key of all pseudonyms, and whether letters are masked; else an image with some is refused."""

    key: bytes
    mask: bool


class Task(msgspec.Struct, frozen=True, array_like=True):
    """A file, what its sender said of it, and which class and instance the message that brought it named."""

    content: bytes
    given: Given = Given()
    claimed: tuple[str, str] | None = None


class Cleaned(msgspec.Struct, frozen=True, array_like=True):
    """A de-identified DICOM file and what may be told of it; ``originals`` are for the identified zone only.

    ``came_as`` is dicom, jpeg, png or tiff; ``masked`` counts lines of letters that were blanked.
    """

    content: bytes
    told: Told
    came_as: str
    rows: int
    cols: int
    originals: dict[str, str]
    shift_days: int
    masked: int


def cleaned(task: Task, names: Pseudonyms, mask: bool) -> Cleaned:
    """What is stored of a file. Raises Poison with one of producers.intake_reasons."""
    kind = kind_of(task.content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            if kind in ("jpeg", "png", "tiff"):
                return _made(wrapped(task.content, kind, task.given), None, kind, names, mask)
            picture = read(task.content)
            _well_named(picture.dataset, task.claimed)
            return _made(picture.dataset, picture.pixels, picture.format, names, mask)
    except RecursionError as deep:
        raise Poison("too_deep", "its sequences are nested too deeply") from deep
    except ODD as wrong:
        raise Poison("unreadable", f"its elements cannot be read ({type(wrong).__name__})") from wrong


def _made(dataset: Any, seen: Grey | None, kind: str, names: Pseudonyms, mask: bool) -> Cleaned:
    refuse_what_cannot_be_cleaned(dataset)
    found = sorted(
        {line for grey in _looks(dataset, seen) for line in lines(grey)}, key=lambda one: (one.top, one.left)
    )
    if found and not mask:
        raise Poison("burned_in_text", f"{len(found)} lines of letters stand in its pixels")
    originals = {name: str(dataset.get(name) or "").strip()[:LONGEST] for name in REMEMBERED}
    if not dataset.get("PatientAge") and (age := told(dataset, names).age_years) is not None:
        dataset.PatientAge = age_string(age)  # the birth date goes, the age at the study may stay
    plain(dataset, found)
    deidentify(dataset, names)
    seen_of = told(dataset, None)
    if not all(PSEUDONYM.fullmatch(uid or "") for uid in (seen_of.study, seen_of.series, seen_of.instance)):
        raise Poison("bad_uid", "a UID of the standard itself names no instance")
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return Cleaned(
        out.getvalue(),
        seen_of,
        kind,
        int(dataset.Rows),
        int(dataset.Columns),
        {name: text for name, text in originals.items() if text},
        names.shift_days(originals["PatientID"] or f"instance {originals['SOPInstanceUID']}"),
        len(found),
    )


def _well_named(dataset: Any, claimed: tuple[str, str] | None) -> None:
    """Raises Poison for UIDs that are none, and for an instance that is not the one that was announced."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        uid = str(dataset.get(keyword) or "").strip("\0 ")
        if uid and not UID.fullmatch(uid):
            raise Poison("bad_uid", "a UID has digits and dots, 64 at most", keyword)
    held = tuple(str(dataset.get(name) or "").strip("\0 ") for name in ("SOPClassUID", "SOPInstanceUID"))
    if claimed is not None and held != claimed:
        raise Poison("mismatch", "it is another instance, or of another class, than the message said")


def _looks(dataset: Any, seen: Grey | None) -> Iterator[Grey]:
    """The image in the ways in which letters could be seen: as it is shown, and the whole range of several frames."""
    from pydicom.pixels import apply_color_lut, pixel_array

    if seen is not None:
        yield seen
    frames = int(dataset.get("NumberOfFrames") or 1)
    several = np.unique(np.linspace(0, frames - 1, min(frames, MOST_FRAMES)).round().astype(int))
    for index in several:
        stored = pixel_array(dataset, index=int(index) if frames > 1 else None)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)
        values = stored.astype(np.float32)
        values = values.mean(axis=-1) if values.ndim == 3 else values
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if high > low:
            yield np.asarray((values - low) / (high - low), np.float32)


def plain(dataset: Any, found: list[Line]) -> None:
    """Pixels as they are, in place: not compressed, nothing beside or behind them, the lines of letters blanked.

    Raises Poison ``too_large``, ``undecodable``, and ``burned_in_text`` for pixels that cannot be written anew.
    """
    from pydicom.pixels import pixel_array
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

    samples, frames = int(dataset.get("SamplesPerPixel") or 1), int(dataset.get("NumberOfFrames") or 1)
    bits = int(dataset.Rows) * int(dataset.Columns) * samples * frames * int(dataset.BitsAllocated)
    if bits > MAX_BYTES * 8:
        raise Poison("too_large", "its pixels take more bytes than they may")
    if dataset.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in dataset:
        try:
            dataset.decompress(generate_instance_uid=False)
        except ODD as wrong:
            raise Poison("undecodable", f"its frames cannot all be decoded ({type(wrong).__name__})") from wrong
    if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if found:
        if dataset.BitsAllocated not in (8, 16) or "PixelData" not in dataset:
            raise Poison("burned_in_text", "letters stand in pixels that cannot be written anew")
        array = pixel_array(dataset)
        blank = np.stack([masked(one, found) for one in array]) if frames > 1 else masked(array, found)
        photometric = "RGB" if samples == 3 else str(dataset.PhotometricInterpretation)
        dataset.set_pixel_data(blank, photometric, int(dataset.BitsStored), generate_instance_uid=False)
    elif "PixelData" in dataset:
        bits = bits * 2 // 3 if dataset.PhotometricInterpretation == "YBR_FULL_422" else bits
        _only_the_stored(dataset, (bits + 7) // 8)


def _only_the_stored(dataset: Any, size: int) -> None:
    """Cut what follows the last pixel, and clear the bits that are not stored: overlays of old stand in them."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    held = dataset.PixelData[:size]
    if stored < allocated and allocated in (8, 16, 32) and int(dataset.get("HighBit") or stored - 1) == stored - 1:
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        kind = "i" if int(dataset.get("PixelRepresentation") or 0) else "u"
        array: NDArray[Any] = np.frombuffer(held, f"{order}{kind}{allocated // 8}")
        held = ((array << (allocated - stored)) >> (allocated - stored)).astype(array.dtype).tobytes()
    dataset.PixelData = held + b"\0" * (len(held) % 2)


def _prepared(order: Order) -> Callable[[Task], Cleaned]:
    for name in ("PIL.ImageOps", "pydicom.pixels", "scipy.ndimage", "models.imaging.dicom", "models.imaging.pictures"):
        importlib.import_module(name)
    confidentiality.table()
    names = Pseudonyms(order.key)
    return lambda task: cleaned(task, names, order.mask)


if __name__ == "__main__":
    serve(Order, Task, _prepared)
