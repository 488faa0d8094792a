"""Image files are read in a child process: what hangs, crashes or eats memory there is one bad file, nothing more.

The child (``python -m models.imaging.guarded``) reads requests from its standard input and answers in a pipe of its
own; messages are msgpack behind four bytes of length. What decoders print goes nowhere: it may quote a header.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import msgspec

from contracts.errors import Poison, Transient
from contracts.pseudonyms import Pseudonyms
from models.imaging.headers import Told

SECONDS: Final = 20.0
"""Of CPU for one file: a busy machine makes no good file bad."""
PATIENCE: Final = 10
"""So many times that by the clock: for what hangs without computing."""
MEMORY_BYTES: Final = 3 * 1024**3
START_SECONDS: Final = 300.0


class Order(msgspec.Struct, frozen=True, array_like=True):
    """First of all: how the child is to work. No ``key``: all files were de-identified before."""

    key: bytes | None
    sizes: tuple[int, ...]
    memory_bytes: int
    seconds: float


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


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A file that could not be."""

    reason: str
    detail: str


class Read(msgspec.Struct, frozen=True, tag=True):
    """A file that could."""

    examined: Examined


Answer = Refused | Read


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


class Guarded:
    """A child that reads files, one at a time; started when first asked, again after it was lost.

    ``seconds`` are of CPU for one file, ten times as many by the clock; ``memory_bytes`` is its address space.
    """

    def __init__(
        self,
        key: bytes | None,
        sizes: tuple[int, ...] = (),
        *,
        seconds: float = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._order = Order(key, sizes, memory_bytes, seconds)
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None

    def examine(self, content: bytes, deidentified: bool = False) -> Examined:
        """As ``examined``. Raises Poison, also ``timeout`` and ``crashed`` for files that took the child with them.

        Raises Transient when no child can be started.
        """
        gone = self._child is None or self._child.poll() is not None
        child = self._started() if gone or self._child is None else self._child
        assert child.stdin is not None  # noqa: S101
        assert child.stdout is not None  # noqa: S101
        try:
            _send(child.stdin, Task(content, deidentified))
            raw = _received(child.stdout, self._seconds * PATIENCE)
        except TimeoutError:
            self.close()
            raise Poison("timeout", f"reading it took more than {self._seconds * PATIENCE:g} s") from None
        except (EOFError, BrokenPipeError):
            code = child.wait()
            self.close()
            if code == -signal.SIGPROF:
                raise Poison("timeout", f"reading it took more than {self._seconds:g} s of CPU") from None
            raise Poison("crashed", f"the reading process ended with {code}") from None
        answer: Answer = msgspec.msgpack.decode(raw, type=Answer)
        if isinstance(answer, Refused):
            raise Poison(answer.reason, answer.detail)
        return answer.examined

    def close(self) -> None:
        """End the child; ``examine`` starts another one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    _closed(pipe)

    def __enter__(self) -> Guarded:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends the child."""
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        self.close()
        top = Path(__file__).resolve().parents[2]
        # one thread for each library: they would reserve memory for more, and a worker has one core
        lean = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "models.imaging.guarded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PYTHONPATH": str(top), "PYTHONDONTWRITEBYTECODE": "1"} | lean,
        )
        assert self._child.stdin is not None  # noqa: S101
        assert self._child.stdout is not None  # noqa: S101
        try:
            _send(self._child.stdin, self._order)
            _received(self._child.stdout, START_SECONDS)
        except (TimeoutError, EOFError, BrokenPipeError) as wrong:
            self.close()
            raise Transient("the process that reads images does not start") from wrong
        return self._child


def _closed(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:  # what was left in the buffer goes nowhere: its reader is gone
        return


def _send(pipe: IO[bytes], message: Any) -> None:
    raw = msgspec.msgpack.encode(message)
    pipe.write(len(raw).to_bytes(4, "big") + raw)
    pipe.flush()


def _received(pipe: IO[bytes], seconds: float) -> bytes:
    """One message. Raises TimeoutError when it is not there in time, EOFError when nobody is left to send it."""
    until = time.monotonic() + seconds
    handle = pipe.fileno()

    def exactly(count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            left = until - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise TimeoutError
            found = os.read(handle, min(count - len(parts), 1 << 20))
            if not found:
                raise EOFError
            parts += found
        return bytes(parts)

    return exactly(int.from_bytes(exactly(4), "big"))


def _serve() -> None:
    """The child: one order, then tasks until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    order = msgspec.msgpack.decode(_taken(sys.stdin.buffer) or b"", type=Order)
    _prepare()
    _confine(order.memory_bytes)
    _send(answers, "ready")
    names = Pseudonyms(order.key) if order.key else None
    while (raw := _taken(sys.stdin.buffer)) is not None:
        task = msgspec.msgpack.decode(raw, type=Task)
        answer: Answer
        signal.setitimer(signal.ITIMER_PROF, order.seconds)  # nobody handles its signal: it ends us
        try:
            answer = Read(examined(task.content, None if task.deidentified else names, order.sizes))
        except Poison as poison:
            answer = Refused(poison.reason, poison.detail)
        except MemoryError:
            answer = Refused("too_large", "reading it takes more memory than it may have")
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, answer)


def _taken(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(4)
    return pipe.read(int.from_bytes(head, "big")) if len(head) == 4 else None


def _prepare() -> None:
    """Import what reading takes, so that no file pays for it."""
    for name in ("PIL.ImageOps", "pydicom.pixels", "models.imaging.dicom", "models.imaging.pictures"):
        importlib.import_module(name)


def _confine(memory_bytes: int) -> None:
    """No more memory than told, no files written, no core dumps with a patient in them."""
    import resource

    for what, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    _serve()
