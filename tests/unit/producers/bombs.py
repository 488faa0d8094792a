"""Files that want to break, fill or leave the house: made by code, each with whether it may be cleaned and stored."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from tests.unit.models.imaging import made

LONG_FORMS: Final = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC")
JPEG, J2K, JLS, RLE = (f"1.2.840.10008.1.2.{tail}" for tail in ("4.50", "4.90", "4.80", "5"))
DEFLATED, LITTLE, MPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.102"
UNDEFINED: Final = 0xFFFFFFFF
LARGE: Final = 260 * 1024 * 1024


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """One element of explicit VR little endian; its length may lie."""
    told = len(value) if length is None else length
    if vr in LONG_FORMS:
        return struct.pack("<HH2sHI", group, number, vr, 0, told) + value
    return struct.pack("<HH2sH", group, number, vr, told & 0xFFFF) + value


def item(value: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value) if length is None else length) + value


ITEM_END: Final = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END: Final = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def text(value: str) -> bytes:
    return value.encode() + b" " * (len(value) % 2)


def uid(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)


def file(body: bytes, syntax: str = LITTLE, preamble: bytes = bytes(128), group_length: int | None = None) -> bytes:
    """A DICOM file by hand: meta group, then the body as it is."""
    meta = element(2, 0x10, b"UI", uid(syntax))
    length = len(meta) if group_length is None else group_length
    return preamble + b"DICM" + element(2, 0, b"UL", struct.pack("<I", length)) + meta + body


def head(**changed: bytes) -> bytes:
    """The elements of an image before its pixels; a keyword like x00280010 replaces a value."""
    rows: dict[str, tuple[bytes, bytes]] = {
        "x00080016": (b"UI", uid("1.2.840.10008.5.1.4.1.1.7")),
        "x00080018": (b"UI", uid("1.2.826.0.1.1")),
        "x00080060": (b"CS", text("OT")),
        "x00100020": (b"LO", text("BOMB-1")),
        "x0020000d": (b"UI", uid("1.2.826.0.1.2")),
        "x0020000e": (b"UI", uid("1.2.826.0.1.3")),
        "x00280002": (b"US", struct.pack("<H", 1)),
        "x00280004": (b"CS", text("MONOCHROME2")),
        "x00280008": (b"IS", text("1")),
        "x00280010": (b"US", struct.pack("<H", 16)),
        "x00280011": (b"US", struct.pack("<H", 16)),
        "x00280100": (b"US", struct.pack("<H", 8)),
        "x00280101": (b"US", struct.pack("<H", 8)),
        "x00280102": (b"US", struct.pack("<H", 7)),
        "x00280103": (b"US", struct.pack("<H", 0)),
    }
    out = b""
    for name, (vr, value) in rows.items():
        told = changed.get(name, value)
        out += element(int(name[1:5], 16), int(name[5:], 16), vr, told)
    return out


def pixels(value: bytes | None = None, length: int | None = None) -> bytes:
    return element(0x7FE0, 0x10, b"OB", bytes(range(256)) if value is None else value, length)


def frames(*parts: bytes, offsets: bytes = b"") -> bytes:
    """Encapsulated pixel data."""
    held = b"".join(item(part + b"\0" * (len(part) % 2)) for part in parts)
    return pixels(item(offsets) + held + SEQUENCE_END, UNDEFINED)


def deep(levels: int, undefined: bool) -> bytes:
    body = b""
    for _ in range(levels):
        if undefined:
            body = element(8, 0x1140, b"SQ", item(body + ITEM_END, UNDEFINED) + SEQUENCE_END, UNDEFINED)
        else:
            body = element(8, 0x1140, b"SQ", item(body))
    return body


def deflated(size: int) -> bytes:
    """So many zeros inside a text, as some hundred kilobytes."""
    packing = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    block, out = bytes(1 << 20), [packing.compress(head()[:60] + element(8, 0x9999, b"UT", b"", size))]
    out += [packing.compress(block) for _ in range(size >> 20)]
    return file(b"".join([*out, packing.flush()]), DEFLATED)


def chunk(kind: bytes, value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + kind + value + struct.pack(">I", zlib.crc32(kind + value))


def png(width: int, height: int, *extra: bytes, idat: bytes = b"\0" * 64, depth: int = 8) -> bytes:
    signature, ihdr = b"\x89PNG\r\n\x1a\n", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return (
        signature + chunk(b"IHDR", ihdr) + b"".join(extra) + chunk(b"IDAT", zlib.compress(idat)) + chunk(b"IEND", b"")
    )


def tiff(width: int, height: int, next_ifd: int = 0, strips: int = 1, packed: int = 1) -> bytes:
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, packed),
        (262, 3, 1, 1),
        (273, 4, strips, 8),
        (277, 3, 1, 1),
        (278, 4, 1, 1),
        (279, 4, strips, UNDEFINED),
    ]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *one) for one in entries)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", next_ifd)


def jpeg_head(rows: int, cols: int) -> bytes:
    start = b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    return start + b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", rows, cols) + b"\x01\x01\x11\0" + b"\xff\xd9"


def j2k_head(size: int) -> bytes:
    siz = struct.pack(">HHIIIIIIIIH", 41, 0, size, size, 0, 0, size, size, 0, 0, 1) + b"\x07\x01\x01"
    return b"\xff\x4f\xff\x51" + siz + b"\xff\x52\x00\x0c\0\0\0\x01\0\x05\x04\x04\0\0" + b"\xff\xd9"


def jls_head(rows: int, cols: int) -> bytes:
    return b"\xff\xd8\xff\xf7\x00\x0b\x08" + struct.pack(">HH", rows, cols) + b"\x01\x01\x11\0\xff\xd9"


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../etc/cron.d/x", "* * * * * root true")
    return out.getvalue()


def dicomdir() -> bytes:
    record = element(4, 0x1430, b"CS", text("IMAGE")) + element(4, 0x1500, b"CS", text("..\\..\\..\\ETC\\PASSWD"))
    body = element(4, 0x1130, b"CS", text("../../etc/passwd")) + element(4, 0x1220, b"SQ", item(record))
    return file(element(8, 0x16, b"UI", uid("1.2.840.10008.1.3.10")) + body)


Maker = Callable[[], bytes]

DOS: Final[dict[str, Maker]] = {
    "deflate bomb": lambda: deflated(LARGE),
    "65535 by 65535": lambda: file(head(x00280010=b"\xff\xff", x00280011=b"\xff\xff") + pixels()),
    "frames without end": lambda: file(head(x00280008=text("2147483647")) + pixels()),
    "a hundred thousand frames": lambda: file(head(x00280008=text("99999")) + frames(b"\0" * 8)),
    "no rows": lambda: file(head(x00280010=b"\0\0") + pixels()),
    "60,000 samples": lambda: file(head(x00280002=b"\x60\xea") + pixels()),
    "64,000 bits": lambda: file(head(x00280100=b"\0\xfa") + pixels()),
    "pixels told beyond the end": lambda: file(head() + pixels(b"\0" * 8, 0x7FFFFFF0)),
    "a text told beyond the end": lambda: file(head() + element(8, 0x9998, b"UT", b"x", 0xFFFFFFF0) + pixels()),
    "pixels without an end": lambda: file(head() + pixels(item() + item(b"\0" * 8), UNDEFINED), JPEG),
    "a fragment beyond the end": lambda: file(head() + pixels(item() + item(b"\0" * 8, 0x7FFFFFF0), UNDEFINED), JPEG),
    "offsets beyond the end": lambda: file(
        head(x00280008=text("2")) + frames(b"\0" * 8, offsets=struct.pack("<II", 0, 0x7FFFFFF0)), JPEG
    ),
    "2,000 sequences in one another": lambda: file(head()[:60] + deep(2000, True) + head()[60:] + pixels()),
    "2,000 sequences with lengths": lambda: file(head()[:60] + deep(2000, False) + head()[60:] + pixels()),
    "a meta group without end": lambda: file(head() + pixels(b"", 0), group_length=0xFFFFFFF0),
    "J2K of 2^31 pixels a side": lambda: file(head() + frames(j2k_head(0x7FFFFFFF)), J2K),
    "JPEG of 65,500 a side in DICOM": lambda: file(head() + frames(jpeg_head(65500, 65500)), JPEG),
    "JPEG-LS of 65,535 a side": lambda: file(head() + frames(jls_head(65535, 65535)), JLS),
    "RLE without end": lambda: file(head() + frames(struct.pack("<16I", 15, *([64] * 15)) + b"\x81\0" * 100_000), RLE),
    "JPEG of noise in DICOM": lambda: file(head() + frames(random.Random(1).randbytes(4096)), JPEG),
    "video in DICOM": lambda: file(head() + frames(b"\0\0\0\x01" * 64), MPEG),
    "pixels that are a sequence": lambda: file(head() + element(0x7FE0, 0x10, b"SQ", item(b"\0" * 16))),
    "a palette of nothing": lambda: file(
        head(x00280004=text("PALETTE COLOR")) + element(0x28, 0x1101, b"US", b"\xff\xff\0\0\x10\0") + pixels()
    ),
    "PNG of 100,000 a side": lambda: png(100_000, 100_000),
    "PNG that is cut": lambda: made.picture(made.gradient(), "png")[:-40],
    "PNG text bomb": lambda: png(9000, 9000, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20), 1))),
    "PNG profile bomb": lambda: png(9000, 9000, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80 << 20), 1))),
    "TIFF of 2^31 a side": lambda: tiff(0x7FFFFFFF, 0x7FFFFFFF),
    "TIFF that follows itself": lambda: tiff(16, 16, next_ifd=8, packed=7),
    "TIFF of a million strips": lambda: tiff(16, 16, strips=1_000_000),
    "JPEG of 65,535 a side": lambda: jpeg_head(65535, 65535),
    "JPEG that is cut": lambda: made.picture(made.gradient().astype(np.uint8), "jpeg")[:200],
    "JP2": lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + j2k_head(0x7FFFFFFF),
    "FITS": lambda: b"SIMPLE  =                    T".ljust(80) + b"NAXIS1  =           2147483647".ljust(80),
    "GIF of 65,535 a side": lambda: b"GIF89a\xff\xff\xff\xff\0\0\0;",
    "nothing": lambda: b"",
    "only its mark": lambda: bytes(128) + b"DICM",
    "cut in its meta group": lambda: made.dicom()[:150],
    "cut in its header": lambda: made.dicom()[:500],
    "cut in its pixels": lambda: made.dicom()[:-100],
}
"""Denial of service, damage, other formats: none may be stored."""

TRAVERSAL: Final[dict[str, Maker]] = {
    "DICOMDIR upwards": dicomdir,
    "instance upwards": lambda: file(head(x00080018=uid("1.2/../../../../tmp/owned")) + pixels()),
    "instance of dots": lambda: file(head(x00080018=b"..") + pixels()),
    "instance with a NUL": lambda: file(head(x00080018=b"1.2\0/../../tmp/x ") + pixels()),
    "study as UNC": lambda: file(head(x0020000d=uid("\\\\host\\share\\x")) + pixels()),
    "series from the root": lambda: file(head(x0020000e=uid("/etc/passwd")) + pixels()),
    "instance like the standard's": lambda: file(head(x00080018=uid("1.2.840.10008.5/../../x")) + pixels()),
    "instance that is the standard's": lambda: file(head(x00080018=uid("1.2.840.10008.1.2.1")) + pixels()),
    "instance of 10,000 digits": lambda: file(head(x00080018=uid("1." + "2" * 9998)) + pixels()),
    "a syntax that is a path": lambda: file(head() + pixels(), "../../etc/passwd"),
    "SVG that reads files": lambda: (
        b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>'
    ),
    "ZIP upwards": zipped,
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n(/etc/passwd) (r) file\n",
}
"""Paths where names should be: none may be stored."""

HARMLESS: Final[dict[str, Maker]] = {
    "TIFF in the preamble": lambda: file(head() + pixels(), preamble=tiff(16, 16)[:128].ljust(128, b"\0")),
    "a program in the preamble": lambda: file(head() + pixels(), preamble=b"MZ\x90\0EVIL".ljust(128, b"\0")),
    "a script in the preamble": lambda: file(head() + pixels(), preamble=b"#!/bin/sh\ntouch EVIL\n".ljust(128, b"\0")),
    "patient upwards": lambda: file(head(x00100020=text("../../EVIL/tmp")) + pixels()),
    "patient with a NUL": lambda: file(head(x00100020=b"EVIL\0../../x") + pixels()),
    "EVIL behind the last pixel": lambda: file(head() + pixels(bytes(range(256)) + b"EVIL" * 64)),
    "a ZIP behind the last element": lambda: file(
        head() + pixels() + element(0xFFFC, 0xFFFC, b"OB", b"EVIL" + zipped() + b"\0" * (len(zipped()) % 2))
    ),
    "private EVIL": lambda: file(head()[:60] + head()[60:] + element(0x0029, 0x10, b"LO", b"EVIL") + pixels()),
}
"""What is an image all the same: it may be stored, cleaned of all that is EVIL."""


def fuzzed(count: int) -> Iterator[tuple[str, bytes]]:
    """Good files with some bytes changed, and noise: stored or refused, never more than that."""
    good = [made.dicom(), made.picture(made.gradient().astype(np.uint8), "png"), file(head() + pixels())]
    for number in range(count):
        rng = random.Random(number)
        raw = bytearray(good[number % len(good)])
        for _ in range(rng.randrange(1, 12)):
            raw[rng.randrange(132 if number % 2 else 0, len(raw)) % len(raw)] = rng.randrange(256)
        yield f"fuzz {number}", bytes(raw)
    for number in range(5):
        yield f"noise {number}", bytes(128) + b"DICM" + random.Random(number).randbytes(3000)


def evil(content: bytes) -> Any:
    """Whether something of what must go is in there."""
    return b"EVIL" in content or b"/etc/" in content or b"#!/" in content
