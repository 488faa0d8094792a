"""Image files are read in a child process (models/imaging/child.py), ``python -m models.imaging.guarded``."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import msgspec

from contracts.pseudonyms import Pseudonyms
from models.imaging.child import MEMORY_BYTES, SECONDS, Child, serve
from models.imaging.headers import Told


class Order(msgspec.Struct, frozen=True, array_like=True):
    """How the child is to read. No ``key``: all files were de-identified before."""

    key: bytes | None
    sizes: tuple[int, ...]


class Task(msgspec.Struct, frozen=True, array_like=True):
    """A file to read. ``deidentified``: its identifiers are pseudonyms already."""

    content: bytes
    deidentified: bool = False


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """A file that could be read: header, facts, statistics of the normalised image, and it in each size asked for.

    ``shards`` are float32 little-endian, see ``models.imaging.pixels.packed``.
    """

    told: Told
    format: str
    rows: int
    cols: int
    frames: int
    bits: int
    photometric: str
    transfer_syntax: str | None
    sop_class: str | None
    spacing_mm: tuple[float, float] | None
    mean: float
    std: float
    p01: float
    p99: float
    entropy: float
    shards: dict[int, bytes]


def examined(content: bytes, names: Pseudonyms | None, sizes: tuple[int, ...]) -> Examined:
    """Everything that is made of one file, in this process. Raises Poison."""
    from models.imaging.headers import told
    from models.imaging.pixels import packed, read, resized, statistics

    picture = read(content)
    seen = statistics(picture.pixels)
    rows, cols = picture.pixels.shape
    return Examined(
        told=told(picture.dataset, names),
        format=picture.format,
        rows=rows,
        cols=cols,
        frames=picture.frames,
        bits=picture.bits,
        photometric=picture.photometric,
        transfer_syntax=picture.transfer_syntax,
        sop_class=picture.sop_class,
        spacing_mm=picture.spacing_mm,
        mean=seen.mean,
        std=seen.std,
        p01=seen.p01,
        p99=seen.p99,
        entropy=seen.entropy,
        shards={size: packed(resized(picture.pixels, size)) for size in sizes},
    )


class Guarded(Child[Task, Examined]):
    """A child that reads files, one at a time; limits as ``Child``."""

    def __init__(
        self,
        key: bytes | None,
        sizes: tuple[int, ...] = (),
        *,
        seconds: float = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        super().__init__(
            "models.imaging.guarded", Order(key, sizes), Examined, seconds=seconds, memory_bytes=memory_bytes
        )

    def examine(self, content: bytes, deidentified: bool = False) -> Examined:
        """As ``examined``. Raises as ``ask``."""
        return self.ask(Task(content, deidentified))

    def __enter__(self) -> Guarded:
        """Itself."""
        return self


def _prepared(order: Order) -> Callable[[Task], Examined]:
    for name in ("PIL.ImageOps", "pydicom.pixels", "models.imaging.dicom", "models.imaging.pictures"):
        importlib.import_module(name)
    names = Pseudonyms(order.key) if order.key else None
    return lambda task: examined(task.content, None if task.deidentified else names, order.sizes)


if __name__ == "__main__":
    serve(Order, Task, _prepared)
