"""A result as a Secondary Capture: the picture, the picture under its heat map, and in words what was said."""

from __future__ import annotations

import io
import textwrap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.records import ImageResult
from producers import returned_codes as codes
from producers import returned_series as series

NUMBER: Final = 9002
SIDE: Final = 448
"""The longer side of each picture, in pixels."""
GAP: Final = 8
MARGIN: Final = 10
LETTERS: Final = 15
LINE: Final = 21
LARGEST: Final = 4_000_000
"""Bytes of a picture that is taken from HDFS."""
BLACK, WHITE, WARN = (0, 0, 0), (235, 235, 235), (255, 204, 92)


def capture(result: ImageResult, source: Any, preview: bytes, heat: bytes | None) -> Any:
    """The image, a pydicom dataset with file meta: RGB of 8 bits, Explicit VR Little Endian, text burned in.

    ``preview`` and ``heat`` are PNG files of one size, the heat see-through where there is none; None: the model
    declined, and there is only the picture. The same arguments give the same bytes. Raises Poison for no PNG.
    """
    from highdicom.sc import SCImage
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian

    made = SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=drawn(result, preview, heat, str(source.SOPInstanceUID)),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=series.series_uid("sc", result, source),
        series_number=NUMBER,
        sop_instance_uid=series.uid("sc", result, source),
        instance_number=series.instance_number(source),
        manufacturer=series.MAKER,
        patient_orientation=("L", "F"),  # asked for, and taken away below
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        manufacturer_model_name=series.model(result),
        software_versions=series.version(result),
        series_description=f"{series.model(result)}: heat map",
    )
    made.ConversionType = "WSD"
    made.Modality = "OT"
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    made.BurnedInAnnotation = "YES"
    made["PatientOrientation"].value = None
    what = "preview and heat map side by side" if heat else "preview"
    made.DerivationDescription = f"{what}, caption burned in; {series.model(result)} {series.version(result)}"[:1024]
    made.DerivationCodeSequence = Sequence([codes.item(codes.DERIVED)])
    made.SourceImageSequence = Sequence([_reference(source)])
    made.ImageComments = series.WARNING
    if source.get("BodyPartExamined"):
        made.BodyPartExamined = source.BodyPartExamined
        if made.BodyPartExamined in codes.PAIRED:
            side = str(source.get("ImageLaterality") or source.get("Laterality") or "")
            made.Laterality = side if side in ("L", "R") else ""
    series.finish(made, result, source)
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = made.ContentDate, made.ContentTime
    return made


def drawn(result: ImageResult, preview: bytes, heat: bytes | None, instance: str) -> NDArray[np.uint8]:
    """(rows, columns, 3): both pictures side by side above what is said of the image ``instance``.

    Raises Poison for what is no PNG.
    """
    from PIL import Image, ImageDraw, ImageFont

    plain = _opened(preview, "RGB")
    scale = SIDE / max(plain.size)
    size = (max(1, round(plain.width * scale)), max(1, round(plain.height * scale)))
    panels = [plain.resize(size, Image.Resampling.BILINEAR)]
    if heat is not None:
        layer = _opened(heat, "RGBA").resize(size, Image.Resampling.BILINEAR)
        panels.append(Image.alpha_composite(panels[0].convert("RGBA"), layer).convert("RGB"))
    width = max(2 * SIDE + GAP, size[0])
    font = ImageFont.load_default(LETTERS)
    lines = _lines(result, instance, width, font)
    sheet = Image.new("RGB", (width, size[1] + 2 * MARGIN + LINE * len(lines)), BLACK)
    for place, panel in enumerate(panels):
        left = (width - size[0] * len(panels) - GAP * (len(panels) - 1)) // 2 + place * (size[0] + GAP)
        sheet.paste(panel, (left, 0))
    pen = ImageDraw.Draw(sheet)
    for number, (text, colour) in enumerate(lines):
        pen.text((MARGIN, size[1] + MARGIN + number * LINE), text, fill=colour, font=font)
    return np.asarray(sheet, np.uint8)


def _lines(result: ImageResult, instance: str, width: int, font: Any) -> list[tuple[str, tuple[int, int, int]]]:
    """The caption, the warning first, broken into lines that fit."""
    said = series.sentences(result)
    said.insert(1, f"Model {series.model(result)} {series.version(result)}, image …{instance[-12:]}")
    letters = max(20, int((width - 2 * MARGIN) / font.getlength("n")))
    made: list[tuple[str, tuple[int, int, int]]] = []
    for number, sentence in enumerate(said):
        made += [(line, WARN if number == 0 else WHITE) for line in textwrap.wrap(sentence, letters)]
    return made


def _opened(content: bytes, mode: str) -> Any:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return image.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as wrong:
        raise Poison("no_png", f"a picture of the result cannot be read ({type(wrong).__name__})") from wrong


def _reference(source: Any) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    made.PurposeOfReferenceCodeSequence = Sequence([codes.item(codes.SOURCE)])
    return made
