"""A replay at work: from the merge to the target, each record at its moment; resumable from the target alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from contracts.errors import Misconfigured, Transient, WardError
from producers.replay import shift, source, target, topics
from producers.replay.from_broker import Broker
from producers.replay.from_lake import Lake
from producers.replay.journal import Deciding, Entry, Journal, Run, Seek, State
from producers.replay.merge import Merging, Message
from producers.replay.pacing import Anchor, Control, Lateness
from producers.replay.plan import Origin, Plan, Wish
from producers.replay.source import Filling, Log
from producers.replay.target import Disturbed, Writer

PACED_LINGER_MS: Final = 1.0
UNPACED_LINGER_MS: Final = 20.0
_FILL_EVERY_S: Final = 0.05
_SLACK_S: Final = 0.01
_PROGRESS_S: Final = 1.0
_LONGEST_WAIT_S: Final = 0.5
_MOST_SAMPLES: Final = 400
_UNPACED_TURN: Final = 500


class Progress(NamedTuple):
    """How far it is. ``at_ms`` is the log's time of the next record, ``late_ms`` how late the last one was."""

    sent: int
    of: int
    at_ms: int
    late_ms: float | None
    seconds: float
    paused: bool


def origin_of(wish: Wish, bootstrap: str) -> Origin:
    """Where a replay's records come from."""
    return Lake(wish.window) if wish.from_lake else Broker(bootstrap)


def begin(plan: Plan, journal: Journal, deciding: Deciding | None = None) -> Entry:
    """Make the fresh topics and write down the replay; nothing is left of either when one fails.

    Raises Misconfigured when the name or a topic is taken, Transient when the broker does not answer.
    """
    if journal.has(plan.wish.to):
        raise Misconfigured(
            f"--to {plan.wish.to}: a replay of that name is known; go on with it by --resume, or `ward replay clean`"
        )
    entry = Entry(
        plan=plan,
        state=State.MAKING,
        spans=[(log.start, log.end) for log in plan.logs],
        before=[0] * len(plan.logs),
        deciding=deciding,
    )
    journal.save(entry)
    try:
        entry.idents = topics.make(plan.bootstrap, _likes(entry))
    except WardError:
        journal.forget(entry.name)
        raise
    journal.save(entry)
    return entry


def complete(entry: Entry, journal: Journal) -> None:
    """After a kill while the topics were being made: make those that are missing, take over those that are empty.

    Raises Misconfigured when a topic of the replay is not the one it made.
    """
    bootstrap, wanted = entry.plan.bootstrap, {*entry.plan.targets, *entry.decided}
    there = topics.find(bootstrap, sorted(wanted))
    for name, ident in entry.idents.items():
        if name not in there or there[name].ident != ident:
            raise Misconfigured(f"topic {name} is not the one that the replay made: `ward replay clean`, begin anew")
    if open_ := wanted - entry.idents.keys():
        missing = {name: like for name, like in _likes(entry).items() if name in open_ - there.keys()}
        made = topics.make(bootstrap, missing) if missing else {}
        entry.idents |= {name: there[name].ident for name in open_ & there.keys()} | made
        journal.save(entry)


def _likes(entry: Entry) -> dict[str, topics.Found]:
    """By name the topics of the replay, and what each is like."""
    found = origin_of(entry.plan.wish, entry.plan.bootstrap).find(entry.plan.wish)
    return {name: found[of] for name, of in entry.plan.targets.items()} | entry.decided


def made(entry: Entry) -> dict[str, str]:
    """The idents of the topics that a replay made; of those it was killed while making, the ones that hold nothing."""
    bootstrap, unknown = entry.plan.bootstrap, {*entry.plan.targets, *entry.decided} - entry.idents.keys()
    if not unknown:
        return entry.idents
    there = topics.find(bootstrap, sorted(unknown))
    logs = {one.name: [Log(one.name, p) for p in range(one.partitions)] for one in there.values()}
    return entry.idents | {
        name: there[name].ident
        for name, of in logs.items()
        if not any(end for _, end in source.spans(bootstrap, of, None, None).values())
    }


class Replay:
    """One go at a replay. ``go`` raises what ended it, after it has been written down."""

    def __init__(
        self,
        entry: Entry,
        journal: Journal,
        control: Control,
        tell: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
        ahead_bytes: int = source.AHEAD_BYTES,
    ) -> None:
        self.entry, self.plan = entry, entry.plan
        self.run = Run(began_ms=int(time.time() * 1000))
        self._journal, self._control, self._tell, self._clock = journal, control, tell, clock
        self._ahead = ahead_bytes
        self._origin = origin_of(self.plan.wish, self.plan.bootstrap)
        self._sources = [Log(log.topic, log.partition) for log in self.plan.logs]
        self._targets = [Log(log.target, log.partition) for log in self.plan.logs]
        self._sent = [0] * len(self.plan.logs)
        self._next = [start for start, _ in entry.spans]
        self._anchor = Anchor(self.plan.wish.speed, clock)
        self._lateness = Lateness()
        self._late_ms: float | None = None
        self._at_ms = self.plan.first_ms
        self._first_ms: int | None = None
        self._held_before = 0
        self._lost_bytes = 0
        self._samples: list[tuple[float, int]] = []
        self._sample_every, self._samples_due = 1, 0
        self._writer = self._new_writer()
        self._began_s = self._told_s = self._filled_s = clock()

    def go(self) -> Run:
        """Send what is still to be sent; how it went."""
        entry, run = self.entry, self.run
        try:
            leave = self._resumed(settle=bool(entry.runs))
            self._held_before = sum(self._sent)
            entry.state = State.RUNNING
            entry.runs.append(run)
            self._journal.save(entry)
            self._began_s = self._told_s = self._clock()
            over = self._through(leave)
            if over:
                self._check_whole()
        except WardError as failure:
            self._close(State.FAILED, str(failure))
            raise
        self._close(State.FINISHED if over else State.STOPPED, None)
        return run

    def _through(self, leave: dict[int, int]) -> bool:
        """Leg after leg to the end (True) or a stop; a broken connection costs a leg, which the target tells."""
        while True:
            try:
                over = self._leg(leave)
                if over or self._control.stopped:
                    self._writer.flush()
                    return over
                leave = {}
            except Disturbed as away:
                self._writer.drop()
                leave = self._back(away)

    def _back(self, away: Disturbed) -> dict[int, int]:
        """Wait for the broker; from where to go on. Raises Transient when it stays away."""
        self._lost_bytes += self._writer.sent_bytes
        until_s = self._clock() + source.SILENCE_S
        while True:
            try:
                leave = self._resumed(settle=True)
            except Transient as failure:
                if self._control.stopped or self._clock() > until_s:
                    raise Transient(f"{away}, and is not back ({failure})") from failure
                self._control.wait(_PROGRESS_S)
            else:
                self._next = [start for start, _ in self.entry.spans]
                self._writer = self._new_writer()
                return leave

    def _new_writer(self) -> Writer:
        paced = self.plan.wish.speed is not None
        return Writer(self.plan.bootstrap, PACED_LINGER_MS if paced else UNPACED_LINGER_MS)

    def _resumed(self, settle: bool) -> dict[int, int]:
        """How many records of each log's leg are in the target already. Raises Misconfigured if they are not ours."""
        ends = target.held(self.plan.bootstrap, self._targets, settle)
        self._sent = [ends[log] for log in self._targets]
        leave = {n: self._sent[n] - before for n, before in enumerate(self.entry.before)}
        for number, there in leave.items():
            if there < 0:
                raise Misconfigured(
                    f"{self._targets[number].topic} holds {self._sent[number]} records in partition "
                    f"{self._targets[number].partition}, fewer than were acknowledged: make the replay anew"
                )
        self._last = target.last_records(self.plan.bootstrap, ends)
        return leave

    def _leg(self, leave: dict[int, int]) -> bool:
        """Send from the spans' starts on until all is sent (True), or a stop or a seek (False)."""
        merge, reader = self._origin.reading(
            self._sources,
            dict(enumerate(self.entry.spans)),
            self.plan.keeps if self.plan.wish.keys else None,
            leave,
            self._ahead,
        )
        fresh = not any(leave.values())
        try:
            while not merge.over:
                if self._control.stopped:
                    return False
                # what a resume leaves out must be passed first, else it would be sent again
                if fresh and self._control.seeks and (to_ms := self._control.sought_ms(self._at_ms)) is not None:
                    self._seek(to_ms)
                    return False
                if self._control.paused and not self._control.seeks:
                    self._pause()
                due_ms = merge.due_ms()
                if due_ms is None:
                    reader.fill(0.2)
                    self._breathe()
                    continue
                if not fresh:
                    self._check_left(reader)
                    fresh, self._at_ms = True, due_ms
                    continue
                if self._first_ms is None:
                    self._first_ms = due_ms
                self._turn(merge, reader, due_ms)
            if not fresh:
                self._check_left(reader)
        finally:
            reader.close()
        return True

    def _turn(self, merge: Merging, reader: Filling, due_ms: int) -> None:
        """Wait for the moment of the next message, or send what is due."""
        self._at_ms = due_ms
        if self.plan.wish.speed is None:
            for _ in range(_UNPACED_TURN):
                self._send(merge.take())
                if merge.due_ms() is None:
                    break
            self._breathe()
            return
        wait_s = self._anchor.wait_s(due_ms)
        if wait_s <= 0:
            self._send(merge.take())
            self._late_ms = -self._anchor.wait_s(due_ms) * 1000
            self._lateness.note(self._late_ms)
            self._breathe()
            return
        now_s = self._clock()
        if wait_s > _SLACK_S and now_s - self._filled_s > _FILL_EVERY_S:
            self._filled_s = now_s
            reader.fill(0)
            self._breathe()
        else:
            self._control.wait(min(wait_s, _LONGEST_WAIT_S))

    def _send(self, message: Message) -> None:
        value, at_ms = message.value, message.at_ms
        if self.plan.shift_ms is not None:
            value, moved = shift.shifted(value, self.plan.shift_ms)
            at_ms += self.plan.shift_ms
            self.run.unshifted += not moved
        where = self._targets[message.log]
        self._writer.send(where.topic, where.partition, message, value, at_ms)
        self._next[message.log] = message.offset + 1
        self._sent[message.log] += 1

    def _pause(self) -> None:
        began_s = self._clock()
        while self._control.paused and not self._control.seeks:
            self._control.wait(_LONGEST_WAIT_S)
            self._breathe()
        away_s = self._clock() - began_s
        self.run.paused_s += away_s
        self._anchor.put_off(away_s)

    def _seek(self, to_ms: int) -> None:
        """Leave out the log up to that moment: written down before anything after it is sent."""
        self._writer.flush()
        entry = self.entry
        there = self._origin.spans(self._sources, to_ms, None)
        entry.spans = [
            (max(self._next[n], min(there[log][0], entry.spans[n][1])), entry.spans[n][1])
            for n, log in enumerate(self._sources)
        ]
        entry.before = list(self._sent)
        entry.seeks.append(Seek(from_ms=self._at_ms, to_ms=to_ms))
        self._next = [start for start, _ in entry.spans]
        self._journal.save(entry)
        self._at_ms = min(to_ms, self.plan.last_ms)
        self._anchor.lift()

    def _check_left(self, reader: Filling) -> None:
        """The last record of the target is the last one left out, or somebody else has written there."""
        if reader.leaving:
            raise Misconfigured(f"{', '.join(self.plan.targets)}: more records than this replay sent; make it anew")
        for number, message in reader.left.items():
            where = self._targets[number]
            at_ms, key = message.at_ms + (self.plan.shift_ms or 0), message.key
            if self._last.get(where) != (at_ms, key):
                raise Misconfigured(f"topic {where.topic} holds records that are not this replay's: make it anew")
            self._next[number] = max(self._next[number], message.offset + 1)

    def _check_whole(self) -> None:
        """Everything sent is there, and nothing else."""
        ends = source.spans(self.plan.bootstrap, self._targets, None, None)
        for number, log in enumerate(self._targets):
            if ends[log][1] != self._sent[number]:
                there = f"{log.topic} partition {log.partition} holds {ends[log][1]} records"
                raise Transient(f"{there}, {self._sent[number]} were sent: somebody else writes there")

    def _breathe(self) -> None:
        """Now and then: see whether the broker still takes records, and tell how far it is."""
        now_s = self._clock()
        if now_s - self._told_s < _PROGRESS_S:
            return
        self._told_s = now_s
        self._writer.watch()
        self._sample(now_s)
        self._tell(self.progress())

    def progress(self) -> Progress:
        """How far it is; may be asked from another thread."""
        return Progress(
            sent=self._held_before + self._acknowledged,
            of=self.plan.records,
            at_ms=self._at_ms,
            late_ms=self._late_ms,
            seconds=self._clock() - self._began_s,
            paused=self._control.paused,
        )

    @property
    def _acknowledged(self) -> int:
        """Records that the broker has taken in this go."""
        return sum(self._sent) - self._held_before - (self._writer.sent - self._writer.acknowledged)

    def _sample(self, now_s: float) -> None:
        self._samples_due += 1
        if self._samples_due % self._sample_every:
            return
        self._samples.append((round(now_s - self._began_s, 1), self._acknowledged))
        if len(self._samples) > _MOST_SAMPLES:
            self._samples = self._samples[1::2]
            self._sample_every *= 2

    def _close(self, state: State, why: str | None) -> None:
        run, entry = self.run, self.entry
        run.state, run.why = state, why
        run.ended_ms = int(time.time() * 1000)
        run.seconds = round(self._clock() - self._began_s, 3)
        run.records, run.sent_bytes = self._acknowledged, self._lost_bytes + self._writer.sent_bytes
        run.span_ms = 0 if self._first_ms is None else self._at_ms - self._first_ms
        run.lateness = self._lateness.figures()
        run.pace = (*self._samples, (run.seconds, run.records))
        entry.state = state
        if run not in entry.runs:
            entry.runs.append(run)
        self._journal.save(entry)
