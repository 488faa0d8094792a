"""Work on strangers' files in a child process: what hangs, crashes or eats memory there is one bad file, nothing more.

A module that is such a child calls ``serve`` when it is run; its parent holds a ``Child`` of it. The child takes orders
from its standard input and answers in a pipe of its own; messages are msgpack behind four bytes of length. What
decoders print goes nowhere: it may quote a header.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Generic, TypeVar

import msgspec

from contracts.errors import Poison, Transient

SECONDS: Final = 20.0
"""Of CPU for one file: a busy machine makes no good file bad."""
PATIENCE: Final = 10
"""So many times that by the clock: for what hangs without computing."""
MEMORY_BYTES: Final = 3 * 1024**3
START_SECONDS: Final = 300.0

Order = TypeVar("Order")
Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Orders(msgspec.Struct, frozen=True, array_like=True):
    """First of all: what the child may use, and how it is to work."""

    memory_bytes: int
    seconds: float
    order: msgspec.Raw


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A file that the work could not be done on."""

    reason: str
    detail: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """One that it was."""

    answer: msgspec.Raw


class Child(Generic[Task, Answer]):
    """A child that works on one file at a time; started when first asked, again after it was lost.

    ``seconds`` are of CPU for one file, ten times as many by the clock; ``memory_bytes`` is its address space. Not for
    several threads at once.
    """

    def __init__(
        self,
        module: str,
        order: Any,
        answer: type[Answer],
        *,
        seconds: float = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._module = module
        self._orders = Orders(memory_bytes, seconds, msgspec.Raw(msgspec.msgpack.encode(order)))
        self._answer = answer
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, task: Task) -> Answer:
        """What the child makes of it. Raises Poison, also ``timeout`` and ``crashed`` for what took the child with it.

        Raises Transient when no child can be started.
        """
        gone = self._child is None or self._child.poll() is not None
        child = self._started() if gone or self._child is None else self._child
        assert child.stdin is not None  # noqa: S101
        assert child.stdout is not None  # noqa: S101
        try:
            _send(child.stdin, task)
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
        told: Refused | Done = msgspec.msgpack.decode(raw, type=Refused | Done)
        if isinstance(told, Refused):
            raise Poison(told.reason, told.detail)
        return msgspec.msgpack.decode(told.answer, type=self._answer)

    def start(self) -> None:
        """Have the child ready before the first file. Raises Transient when it cannot be started."""
        if self._child is None or self._child.poll() is not None:
            self._started()

    def close(self) -> None:
        """End the child; ``ask`` starts another one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    _closed(pipe)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends the child."""
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        self.close()
        top = Path(__file__).resolve().parents[2]
        # one thread for each library: they would reserve memory for more, and a worker has one core
        lean = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
        self._child = subprocess.Popen(  # noqa: S603  # a module of ours
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PYTHONPATH": str(top), "PYTHONDONTWRITEBYTECODE": "1"} | lean,
        )
        assert self._child.stdin is not None  # noqa: S101
        assert self._child.stdout is not None  # noqa: S101
        try:
            _send(self._child.stdin, self._orders)
            _received(self._child.stdout, START_SECONDS)
        except (TimeoutError, EOFError, BrokenPipeError) as wrong:
            self.close()
            raise Transient("the process that reads images does not start") from wrong
        return self._child


def serve(
    order: type[Order],
    task: type[Task],
    prepared: Callable[[Order], Callable[[Task], Any]],
) -> None:
    """Be the child: one order, then tasks until the input ends.

    ``prepared`` imports what the work takes, so that no file pays for it, and gives the work on one task, which may
    raise Poison. Whatever else it raises ends the child: that file is ``crashed``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent: this file is no worse for it
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    orders = msgspec.msgpack.decode(_taken(sys.stdin.buffer) or b"", type=Orders)
    work = prepared(msgspec.msgpack.decode(orders.order, type=order))
    _confine(orders.memory_bytes)
    _send(answers, "ready")
    while (raw := _taken(sys.stdin.buffer)) is not None:
        told: Refused | Done
        signal.setitimer(signal.ITIMER_PROF, orders.seconds)  # nobody handles its signal: it ends us
        try:
            made = work(msgspec.msgpack.decode(raw, type=task))
            told = Done(msgspec.Raw(msgspec.msgpack.encode(made)))
        except Poison as poison:
            told = Refused(poison.reason, poison.detail)
        except MemoryError:
            told = Refused("too_large", "reading it takes more memory than it may have")
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, told)


def _closed(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:  # what was left in the buffer goes nowhere: its reader is gone
        return


def _send(pipe: IO[bytes], message: Any) -> None:
    raw = msgspec.msgpack.encode(message)
    pipe.write(len(raw).to_bytes(4, "big"))
    pipe.write(raw)
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


def _taken(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(4)
    return pipe.read(int.from_bytes(head, "big")) if len(head) == 4 else None


def _confine(memory_bytes: int) -> None:
    """No more memory than told, no files written, no core dumps with a patient in them."""
    import resource

    for what, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
