"""DICOM to grey in [0, 1]: stored bits, modality LUT, window, polarity, in the order of PS3.3, C.7.6.3 and C.11."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.pseudonyms import STANDARD_UIDS
from models.imaging.pixels import FLAT, MAX_BYTES, Grey, Picture, grey, not_blank, stretched, within_bounds

PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
PHOTOMETRIC: Final = (
    "MONOCHROME1",
    "MONOCHROME2",
    "PALETTE COLOR",
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_420",
    "YBR_ICT",
    "YBR_RCT",
)
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
JPEG_12_BIT: Final = "1.2.840.10008.1.2.4.51"
PREAMBLE: Final = 132
UNDEFINED: Final = 0xFFFFFFFF
MAX_FRAMES: Final = 100_000
ODD: Final = (
    ValueError,
    AttributeError,
    LookupError,
    TypeError,
    ArithmeticError,
    NotImplementedError,
    RuntimeError,
    AssertionError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
)
"""What the parser raises for files that are not as they should be."""


def picture(content: bytes, told: Iterable[warnings.WarningMessage] = ()) -> Picture:
    """The picture of a DICOM file, of several frames the middle one. ``told`` gathers the parser's warnings.

    Grey is windowed by the first VOI LUT or window of the file, else stretched between its percentiles; MONOCHROME1 is
    turned over, padding becomes black, bits that are not stored (overlays of old) are not seen. Raises Poison.
    """
    dataset = opened(content, told)
    facts = _Facts(dataset)
    try:
        pixels = _decoded(dataset, facts)
        spacing = _spacing(dataset, facts)
    except ODD as wrong:
        raise _undecodable(dataset, facts, wrong) from wrong
    return Picture(
        not_blank(pixels),
        "dicom",
        facts.frames,
        facts.bits,
        facts.photometric if facts.photometric in PHOTOMETRIC else "other",
        _standard(value(dataset.file_meta, "TransferSyntaxUID")),
        _standard(value(dataset, "SOPClassUID")),
        spacing,
        dataset,
    )


def opened(content: bytes, told: Iterable[warnings.WarningMessage] = ()) -> Any:
    """The parsed file (pydicom's FileDataset) with a transfer syntax, its meta group there or not. Raises Poison."""
    import pydicom

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote headers
    pydicom.config.convert_wrong_length_to_UN = True  # else it raises what is no ValueError, wherever one looks
    try:
        _small_when_inflated(content)
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        _name_syntax(dataset)
    except ODD as wrong:
        if isinstance(wrong, (EOFError, struct.error)) or "end of file" in str(wrong).lower():
            raise Poison("truncated", "the file ends inside an element") from wrong
        raise Poison("unreadable", f"it begins as DICOM, but its elements do not ({type(wrong).__name__})") from wrong
    if not any(name in dataset for name in PIXELS):
        if _cut(dataset) or any(_of_an_end(str(one.message)) for one in told):
            raise Poison("truncated", "the file ends before its pixels")
        raise Poison("no_pixels", "a DICOM object without pixel data")
    return dataset


def value(dataset: Any, keyword: str) -> Any:
    """An attribute's value; None for one that is absent or cannot be parsed."""
    try:
        return dataset.get(keyword)
    except ODD:
        return None


def _cut(dataset: Any) -> bool:
    """Whether the last element is shorter than it says, or there is none."""
    if not len(dataset):
        return True
    last = dataset.get_item(max(dataset.keys()))
    length, held = getattr(last, "length", None), getattr(last, "value", None)
    return isinstance(held, bytes) and length not in (None, UNDEFINED) and len(held) < int(length or 0)


def _of_an_end(message: str) -> bool:
    text = message.lower()
    return "end of file" in text or "eof" in text or "no delimiter" in text or "unexpected end" in text


class _Facts:
    """What must be known of a frame before it is decoded. Raises Poison where it cannot be."""

    def __init__(self, dataset: Any) -> None:
        try:
            self.rows, self.cols = int(dataset.Rows), int(dataset.Columns)
            self.samples = int(dataset.get("SamplesPerPixel") or 1)
            self.allocated = int(dataset.get("BitsAllocated") or 0)
            self.bits = int(dataset.get("BitsStored") or self.allocated)
            self.high = int(dataset.get("HighBit") or self.bits - 1)
            self.signed = int(dataset.get("PixelRepresentation") or 0) == 1
            self.photometric = str(dataset.get("PhotometricInterpretation") or "")
            self.frames = int(dataset.get("NumberOfFrames") or 1)
        except ODD as wrong:
            raise Poison("unreadable", "rows, columns, frames or bits are missing or no numbers") from wrong
        within_bounds(self.rows, self.cols)
        if not 1 <= self.frames <= MAX_FRAMES or not 1 <= self.samples <= 4:
            raise Poison("unreadable", f"{self.frames} frames of {self.samples} samples a pixel")
        self.middle = self.frames // 2
        self._whole(dataset)

    def _whole(self, dataset: Any) -> None:
        """Uncompressed pixels must all be there."""
        held = dataset.get("PixelData")
        try:
            compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
        except ValueError as wrong:
            raise Poison("unsupported_transfer_syntax", "its UID names no transfer syntax of the standard") from wrong
        if held is None or compressed:
            return
        bits = self.rows * self.cols * self.samples * self.frames * self.allocated
        if self.photometric == "YBR_FULL_422":
            bits = bits * 2 // 3
        if len(held) < (bits + 7) // 8:
            raise Poison("truncated", f"{len(held)} bytes of pixels; {(bits + 7) // 8} are told")


def _decoded(dataset: Any, facts: _Facts) -> Grey:
    from pydicom.pixels import apply_color_lut, pixel_array

    # `index` is for several frames only: a lone one may be told as none
    stored = pixel_array(dataset, index=facts.middle if facts.frames > 1 else None)
    if facts.photometric == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return grey(colours, float(np.iinfo(colours.dtype).max))
    if stored.ndim == 3:
        return grey(stored, float(2**facts.bits - 1) if stored.dtype.kind in "ui" else float(stored.max() or 1))
    if stored.ndim != 2:
        raise Poison("undecodable", f"a frame has {stored.ndim} dimensions")
    values = _stored_bits(stored, facts)
    valid = _not_padding(values, dataset, facts)
    made = _windowed(_modality(values, dataset, facts), dataset, facts)
    made = stretched(_modality(values, dataset, facts), valid) if made is None else made
    if facts.photometric == "MONOCHROME1":
        made = np.float32(1) - made
    return np.where(valid, made, np.float32(0)).astype(np.float32)


def _stored_bits(array: NDArray[Any], facts: _Facts) -> NDArray[Any]:
    """Only the bits that are stored: old files keep overlays in those above, or beside."""
    width = array.dtype.itemsize * 8
    native = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind not in "iu" or facts.bits >= facts.allocated or width != facts.allocated:
        return native
    shifted: NDArray[Any] = (native << (width - 1 - facts.high)) >> (width - facts.bits)
    return shifted


def _not_padding(values: NDArray[Any], dataset: Any, facts: _Facts) -> NDArray[np.bool_]:
    padding = dataset.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return np.ones(values.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [_as_stored(one, facts) for one in (padding, limit) if isinstance(one, int)]
    return (values < min(ends)) | (values > max(ends))


def _as_stored(value: int, facts: _Facts) -> int:
    """A value told without sign for pixels with one."""
    return value - 2**facts.allocated if facts.signed and value >= 2 ** (facts.allocated - 1) else value


def _modality(values: NDArray[Any], dataset: Any, facts: _Facts) -> NDArray[Any]:
    from pydicom.pixels import apply_modality_lut

    if dataset.get("ModalityLUTSequence"):
        mapped: NDArray[Any] = apply_modality_lut(values, dataset)
        return mapped
    slope = _number(_of_frame(dataset, facts, "PixelValueTransformationSequence", "RescaleSlope"))
    intercept = _number(_of_frame(dataset, facts, "PixelValueTransformationSequence", "RescaleIntercept"))
    return values.astype(np.float64) * (slope or 1.0) + (intercept or 0.0)


def _windowed(values: NDArray[Any], dataset: Any, facts: _Facts) -> Grey | None:
    """By the file's first VOI LUT or window (PS3.3, C.11.2); None without one, or when it leaves nothing to be seen."""
    from pydicom.pixels import apply_voi

    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        mapped = apply_voi(np.rint(values).astype(np.int64), dataset, index=0).astype(np.float64)
        made = mapped / float(2 ** int(table.LUTDescriptor[2]) - 1)
    else:
        centre = _number(_of_frame(dataset, facts, "FrameVOILUTSequence", "WindowCenter"))
        width = _number(_of_frame(dataset, facts, "FrameVOILUTSequence", "WindowWidth"))
        shape = str(_of_frame(dataset, facts, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR")
        if centre is None or width is None or width <= 0:
            return None
        made = _curve(values, centre, width, shape)
    made = np.clip(made, 0.0, 1.0)
    return made.astype(np.float32) if float(np.ptp(made)) > FLAT else None


def _curve(values: NDArray[Any], centre: float, width: float, shape: str) -> NDArray[np.float64]:
    if shape == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -60, 60))))
    if shape == "LINEAR_EXACT":
        return np.asarray((values - centre) / width + 0.5)
    if width <= 1:
        return np.asarray(values > centre - 0.5, np.float64)
    return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5)


def _of_frame(dataset: Any, facts: _Facts, sequence: str, keyword: str) -> Any:
    """An attribute of the dataset, else of the frame or of all frames in an enhanced object (PS3.3, C.7.6.16)."""
    if (found := dataset.get(keyword)) is not None:
        return found
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())[facts.middle : facts.middle + 1]
    for group in (*groups, *(dataset.get("SharedFunctionalGroupsSequence") or ())):
        for item in group.get(sequence) or ():
            if (found := item.get(keyword)) is not None:
                return found
    return None


def _number(value: Any) -> float | None:
    """The first of a DICOM number's values as a finite float."""
    from pydicom.multival import MultiValue

    first = (value[0] if len(value) else None) if isinstance(value, (MultiValue, list)) else value
    try:
        number = float(first) if first not in (None, "") else None
    except (TypeError, ValueError):
        return None
    return number if number is not None and np.isfinite(number) else None


def _spacing(dataset: Any, facts: _Facts) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = _of_frame(dataset, facts, "PixelMeasuresSequence", keyword)
        if found is not None and not isinstance(found, (str, int, float)) and len(found) == 2:
            rows, cols = _number(found[0]), _number(found[1])
            if rows and cols and rows > 0 and cols > 0:
                return rows, cols
    return None


def _standard(uid: Any) -> str | None:
    """A UID of the standard; any other could be made from a person's number."""
    text = str(uid or "").strip("\0 ")
    return text if text.startswith(STANDARD_UIDS) else None


def _name_syntax(dataset: Any) -> None:
    """A file without a meta group, or without a syntax in it, is in the one that it was just parsed in."""
    import pydicom
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    implicit, little = dataset.original_encoding
    plain = (ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian) if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = UID(plain)


def _small_when_inflated(content: bytes) -> None:
    """Raises Poison for a deflated file that inflates to more than MAX_BYTES: the parser would inflate all of it."""
    if content[128:PREAMBLE] != b"DICM" or DEFLATED.encode() not in content[PREAMBLE : PREAMBLE + 4096]:
        return
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    inflating.decompress(content[_meta_end(content) :], MAX_BYTES)
    if inflating.unconsumed_tail:
        raise Poison("too_large", f"it inflates to more than {MAX_BYTES} bytes")


def _meta_end(content: bytes) -> int:
    """Where the meta group ends, by its group length (0002,0000)."""
    group, element, _, length, value = struct.unpack_from("<HH2sHI", content, PREAMBLE)
    if (group, element, length) != (2, 0, 4):
        raise ValueError("no group length")
    return PREAMBLE + 12 + int(value)


def _undecodable(dataset: Any, facts: _Facts, wrong: BaseException) -> Poison:
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        known = bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        known = False
    if not known or (syntax == JPEG_12_BIT and facts.bits > 8):
        return Poison("unsupported_transfer_syntax", f"no decoder for {syntax} with {facts.bits} bits")
    return Poison("undecodable", f"the pixels cannot be decoded as {syntax} ({type(wrong).__name__})")
