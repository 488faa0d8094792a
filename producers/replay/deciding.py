"""What a replay leads to: decided beside it by a program of the streams, into topics of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any, Final

from contracts.errors import Misconfigured, Poison, Transient, WardError
from contracts.replays import COPY, DECISIONS, POLICY, START, Copy, decisions, put
from contracts.settings import Settings
from producers.replay import topics
from producers.replay.journal import Deciding, Entry, Journal
from producers.replay.plan import Plan
from producers.replay.run import made

PROGRAM: Final = ("-m", "streams.replayed")
LOG: Final = "decider.log"
LEAVE_S: Final = 10.0
SAY_S: Final = 10.0
MISCONFIGURED, UNREACHABLE, BAD_INPUT = 2, 4, 5


def asked_for(policy: str | None, models: Sequence[str], settings: Settings) -> Deciding:
    """How to decide, as it was asked for: the policy's words and the models' versions as they are now.

    Raises Misconfigured for a policy that is none, or a model or version that is not there.
    """
    from models.registry import Registry, own_folder
    from models.vitals.asked import versions_of
    from models.ward.policy import load_policy

    path = policy or settings.policy
    load_policy(path)
    versions = versions_of(models, "--model", Registry(own_folder(settings)))
    text = None
    if path is not None:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    return Deciding(policy=text, models=tuple(f"{name}@{version}" for name, version in versions.items()))


def frames_of(plan: Plan) -> str:
    """The target that holds frames, without which nothing can be decided. Raises Misconfigured where none does."""
    target = plan.frames
    if target is None:
        raise Misconfigured(f"--decide: {', '.join(plan.wish.sources)} holds no frames of vitals to decide by")
    return target


def remade(entry: Entry, journal: Journal, deciding: Deciding) -> None:
    """Have the replay decided anew, in that way: what it led to before is gone. Raises Transient without a broker."""
    entry.deciding = deciding
    old = {name: ident for name, ident in made(entry).items() if name in entry.decided}
    gone = topics.remove(entry.plan.bootstrap, old)
    entry.idents = {name: ident for name, ident in entry.idents.items() if name not in old}
    journal.save(entry)
    for file in (START, DECISIONS):
        (journal.place(entry.name) / file).unlink(missing_ok=True)
    topics.await_gone(entry.plan.bootstrap, gone)
    entry.idents |= topics.make(entry.plan.bootstrap, entry.decided)
    journal.save(entry)


def copy_of(entry: Entry) -> Copy:
    """What the target that holds frames is a copy of."""
    plan, target = entry.plan, frames_of(entry.plan)
    logs = sorted((log for log in plan.logs if log.target == target), key=lambda log: log.partition)
    return Copy(
        replay=entry.name,
        bootstrap=plan.bootstrap,
        source=plan.targets[target],
        target=target,
        first_ms=min((log.first_ms for log in logs if log.first_ms is not None), default=plan.first_ms),
        starts=tuple(log.start for log in logs),
        ends=tuple(log.end for log in logs),
        plain=not plan.wish.keys and plan.shift_ms is None and all(log.records == log.end - log.start for log in logs),
    )


class Decider:
    """The program, once ``begin`` has started it; nothing where nothing is to be decided. It ends with who began it."""

    def __init__(self, entry: Entry, journal: Journal) -> None:
        self._entry, self._place = entry, journal.place(entry.name)
        self._child: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it. Raises Transient when the disk takes nothing more."""
        deciding = self._entry.deciding
        if deciding is None:
            return
        put(self._place / COPY, copy_of(self._entry))
        words = [word for model in deciding.models for word in ("--model", model)]
        try:
            if deciding.policy is not None:
                (self._place / POLICY).write_text(deciding.policy, encoding="utf-8")
                words += ["--policy", str(self._place / POLICY)]
            log: IO[bytes] = (self._place / LOG).open("ab")
        except OSError as full:
            raise Transient(f"cannot write into {self._place}: {full.strerror}") from full
        with log:
            # a session of its own: Ctrl-C is the replay's, which then waits for what is still to be decided
            self._child = subprocess.Popen(  # noqa: S603 our own module
                [sys.executable, *PROGRAM, self._entry.name, "--tied", *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self, say: Callable[[str], None]) -> None:
        """Wait until all is decided. Raises what the program ended with."""
        child = self._child
        if child is None:
            return
        said_s = time.monotonic()
        while True:
            try:
                child.wait(1.0)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() - said_s >= SAY_S:
                    said_s = time.monotonic()
                    told = decisions(self._place)
                    say(f"  deciding: {0 if told is None else told.records:,} records so far")
        self._close()
        self._check(child.returncode)

    def leave(self) -> None:
        """Let it end where it is: begun again, it goes on from there."""
        if self._child is None:
            return
        self._close()
        try:
            self._child.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _close(self) -> None:
        stdin: Any = None if self._child is None else self._child.stdin
        if stdin is not None:
            stdin.close()

    def _check(self, code: int) -> None:
        if code == 0:
            return
        said = (self._place / LOG).read_text(errors="replace").strip().splitlines()
        why = said[-1].removeprefix("ward replay: ") if said else f"it ended with {code}"
        why = f"deciding: {why}; see {self._place / LOG}, `ward replay decide {self._entry.name}` decides anew"
        kinds: dict[int, Callable[[str], WardError]] = {
            MISCONFIGURED: Misconfigured,
            UNREACHABLE: Transient,
            BAD_INPUT: lambda words: Poison("replay", words),
        }
        raise kinds.get(code, WardError)(why)
