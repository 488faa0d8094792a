"""Pixels: every kind of file becomes grey in [0, 1]; what is damaged has a reason; nothing hangs, nothing is decoded
that is too large."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Poison
from models.imaging.pixels import REASONS, Picture, packed, read, resized, statistics, stretched
from tests.unit.models.imaging import made

SAMPLES = Path(os.environ.get("WARD_DATA_DIR", ".")) / "dicom"
has_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the DICOM samples are not in WARD_DATA_DIR")


def reason_of(content: bytes) -> str:
    with pytest.raises(Poison) as caught:
        read(content)
    return caught.value.reason


def is_ramp(picture: Picture, falls: bool = False) -> None:
    row = picture.pixels[picture.pixels.shape[0] // 2]
    assert picture.pixels.dtype == np.float32
    assert (row.min(), row.max()) == (0.0, 1.0)
    assert np.all((np.diff(row) <= 0) if falls else (np.diff(row) >= 0))


def test_a_plain_dicom_file_becomes_a_ramp_with_its_facts() -> None:
    found = read(made.dicom(PixelSpacing=[0.5, 0.25]))
    is_ramp(found)
    assert (found.format, found.frames, found.bits, found.photometric) == ("dicom", 1, 12, "MONOCHROME2")
    assert (found.transfer_syntax, found.spacing_mm) == ("1.2.840.10008.1.2.1", (0.5, 0.25))


def test_monochrome1_is_turned_over() -> None:
    is_ramp(read(made.dicom(PhotometricInterpretation="MONOCHROME1")), falls=True)


def test_a_window_cuts_and_the_slope_goes_first() -> None:
    windowed = read(made.dicom(WindowCenter=1000, WindowWidth=1001, RescaleSlope=0.5, RescaleIntercept=0))
    values = made.gradient()[0] * 0.5
    assert np.allclose(windowed.pixels[0], np.clip((values - 999.5) / 1000 + 0.5, 0, 1), atol=1e-6)


@pytest.mark.parametrize("shape", ["LINEAR_EXACT", "SIGMOID"])
def test_the_other_shapes_of_a_window_rise_too(shape: str) -> None:
    row = read(made.dicom(WindowCenter=2000, WindowWidth=1000, VOILUTFunction=shape)).pixels[0]
    assert np.all(np.diff(row) >= 0)
    assert row[len(row) // 2] == pytest.approx(0.5, abs=0.06)


def test_a_window_beside_the_values_is_passed_over() -> None:
    is_ramp(read(made.dicom(WindowCenter=-5000, WindowWidth=10)))


def test_overlays_in_the_upper_bits_are_not_seen() -> None:
    drawn = made.gradient()
    drawn[::2, ::2] |= 0x8000
    assert np.array_equal(read(made.dicom(drawn)).pixels, read(made.dicom()).pixels)


def test_padding_is_black_and_counts_for_nothing() -> None:
    framed = made.gradient().astype(np.int16)
    framed[:, :10] = -2000
    found = read(made.dicom(framed, BitsStored=16, PixelPaddingValue=-2000))
    assert np.all(found.pixels[:, :10] == 0)
    assert found.pixels[0, 11] < 0.05


def test_of_several_frames_the_middle_one_is_taken() -> None:
    frames = np.stack([made.gradient()[:, ::-1], made.gradient(), made.gradient()[:, ::-1]])
    found = read(made.dicom(frames))
    is_ramp(found)
    assert found.frames == 3


def test_colours_become_grey_by_luma() -> None:
    array = np.zeros((4, 6, 3), np.uint8)
    array[..., 1] = 255
    array[0] = 0
    assert np.allclose(read(made.dicom(array)).pixels[1], 0.587, atol=1e-6)
    assert np.allclose(read(made.picture(array, "png")).pixels[1], 0.587, atol=1e-6)


def test_a_file_without_preamble_or_transfer_syntax_is_read() -> None:
    whole = made.dicom()
    start = whole.index(b"\x08\0\x16\0")
    is_ramp(read(whole[start:]))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_stretched(kind: str) -> None:
    found = read(made.picture(made.gradient(), kind))
    is_ramp(found)
    assert (found.format, found.bits) == (kind, 16)


def test_eight_bits_are_divided_only() -> None:
    array = np.full((8, 8), 51, np.uint8)
    array[0] = 102
    for kind in ("png", "tiff"):
        assert np.unique(read(made.picture(array, kind)).pixels).tolist() == pytest.approx([0.2, 0.4])
    assert read(made.picture(array, "jpeg", quality=95)).pixels[7, 7] == pytest.approx(0.2, abs=0.02)


def test_a_stack_of_pages_is_its_middle_page() -> None:
    from PIL import Image

    pages = [np.full((8, 8), level, np.uint8) for level in (10, 100, 200)]
    for page in pages:
        page[0] = 0
    rest = [Image.fromarray(page) for page in pages[1:]]
    found = read(made.picture(pages[0], "tiff", save_all=True, append_images=rest))
    assert found.frames == 3
    assert found.pixels[4, 4] == pytest.approx(100 / 255)


def test_a_turned_photograph_is_turned_back() -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: rows become columns
    found = read(made.picture((made.gradient() / 16).astype(np.uint8), "jpeg", exif=exif))
    assert found.pixels.shape == (60, 40)


def png(rows: int, cols: int) -> bytes:
    """The header of a PNG that claims so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", cols, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"image,label\n1,2\n", "not_an_image"),
        (b"GIF89a" + bytes(64), "not_an_image"),
        (png(60_000, 60_000), "too_large"),
        (png(9_000, 9_000), "too_large"),
        (made.dicom(Rows=65_000, Columns=65_000), "too_large"),
        (made.dicom(PixelData=made.gradient().tobytes()[:-9]), "truncated"),
        (made.dicom()[:-999], "truncated"),
        (made.dicom()[:300], "truncated"),
        (made.dicom(PixelData=None), "no_pixels"),
        (made.dicom(Rows=0), "no_pixels"),
        (made.dicom(Rows=None), "unreadable"),
        (made.dicom(np.full((8, 8), 7, np.uint16)), "blank"),
        (made.picture(np.full((8, 8), 255, np.uint8), "png"), "blank"),
        (made.picture(made.gradient().astype(np.uint8), "png")[:90], "truncated"),
        (made.picture(made.gradient().astype(np.uint8), "jpeg")[:-400], "truncated"),
        (b"\xff\xd8\xff\xe0" + bytes(range(256)), "truncated"),
        (b"II*\0" + b"\xff" * 60, "undecodable"),
    ],
)
def test_what_cannot_be_used_has_a_reason(content: bytes, reason: str) -> None:
    assert reason_of(content) == reason
    assert reason in REASONS


def test_a_deflated_bomb_is_not_inflated() -> None:
    whole = made.dicom()
    start = whole.index(b"\x08\0\x16\0")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(bytes(300 * 1024 * 1024)) + packer.flush()
    head = whole[:start].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    length = int.from_bytes(head[140:144], "little") + 2
    at = head.index(b"1.2.840.10008.1.2.1.99") - 2
    head = head[:140] + length.to_bytes(4, "little") + head[144:at] + b"\x16\0" + head[at + 2 :]
    assert reason_of(head + bomb) == "too_large"


def test_no_text_of_the_header_is_in_a_message() -> None:
    damaged = made.dicom().replace(b"US\x02\0\x28\0", b"LO\x07\0PLANTED")
    for content in (damaged, made.dicom()[:400], made.dicom(BitsStored=None, BitsAllocated=None)):
        with pytest.raises(Poison) as caught:
            read(content)
        assert "planted" not in str(caught.value).lower()


def refused_or_read(content: bytes) -> None:
    """Either a picture as promised, or a reason of the list: nothing else is ever raised."""
    try:
        pixels = read(content).pixels
    except Poison as poison:
        if poison.reason not in REASONS:
            raise
        return
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() <= pixels.max() <= 1


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_picture_or_have_a_reason(content: bytes) -> None:
    for prefix in (b"", bytes(128) + b"DICM", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0"):
        refused_or_read(prefix + content)


@given(st.integers(0, 1899), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_one_wrong_byte_is_a_picture_or_has_a_reason(at: int, value: int) -> None:
    for whole in (made.dicom(), made.picture(made.gradient().astype(np.uint8), "jpeg")):
        damaged = bytearray(whole)
        damaged[at % len(whole)] = value
        refused_or_read(bytes(damaged))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(4, 64))
@settings(max_examples=60, deadline=None)
def test_resizing_keeps_the_aspect_the_range_and_the_brightness(rows: int, cols: int, size: int) -> None:
    scaled = resized(np.full((rows, cols), 0.5, np.float32), size)
    assert scaled.shape == (size, size)
    inside = scaled > 0
    high, wide = inside.any(1).sum(), inside.any(0).sum()
    assert max(high, wide) == size
    assert abs(high / wide - rows / cols) <= 1.5 * max(1, rows / cols) ** 2 / wide
    assert np.allclose(scaled[inside], 0.5, atol=1e-6)


def test_an_image_of_that_size_stays_bit_for_bit_and_packs_to_the_same_bytes() -> None:
    array = np.random.default_rng(7).random((32, 32)).astype(np.float32)
    assert np.array_equal(resized(array, 32), array)
    assert packed(array) == packed(resized(array.copy(), 32))
    assert len(packed(array)) == 32 * 32 * 4


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((256, 256), np.float32)
    stripes[:, ::2] = 1
    inner = resized(stripes, 64)[4:-4, 4:-4]
    assert np.allclose(inner, 0.5, atol=0.02)


def test_statistics_are_of_the_normalised_image() -> None:
    seen = statistics(read(made.dicom()).pixels)
    assert seen.mean == pytest.approx(0.5, abs=0.01)
    assert (seen.p01, seen.p99) == pytest.approx((0.0, 1.0), abs=0.02)
    assert 5 < seen.entropy < 6  # sixty columns: log2(60)


def test_what_is_no_number_counts_for_nothing() -> None:
    array = made.gradient().astype(np.float64)
    array[0, 0] = np.nan
    array[0, 1] = np.inf
    assert np.isfinite(stretched(array)).all()


@has_samples
def test_every_sample_is_read_or_has_the_reason_that_it_was_made_for() -> None:
    refused: dict[str, set[str]] = {}
    counted = 0
    for path in sorted(SAMPLES.rglob("*.dcm")):
        try:
            pixels: Any = read(path.read_bytes()).pixels
            assert (pixels.min(), pixels.max()) >= (0.0, 0.1)
            counted += 1
        except Poison as poison:
            refused.setdefault(poison.reason, set()).add(path.stem)
    assert counted == 82
    assert refused["truncated"] == {"MR_truncated", "rtplan_truncated"}
    assert refused["unsupported_transfer_syntax"] == {"JPEG-lossy", "JPGExtended"}  # 12 bits: no free decoder
    assert refused["undecodable"] == {"JPEG2000-embedded-sequence-delimiter"}
    assert refused["not_an_image"] == {"no_meta"}  # its first byte is gone
    assert refused["unreadable"] == {"badVR", "meta_missing_tsyntax", "nested_priv_SQ"}
    assert len(refused["no_pixels"]) == 12
