"""What the feed knows of the alerts log: open alarms, recent transitions in order, and which records to pass over.

Delivery upstream is at least once, so a transition may stand in the log twice; (alert_id, seq) decides, and the
offsets of repeats are remembered so that a client that resumes far back is not told twice either.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from contracts import codec
from contracts.errors import Poison
from contracts.records import AlarmState, AlertTransition

KEEP_FIRST: Final = 20
KEEP_LAST: Final = 180
KEEP_SEQ: Final = 100_000


class Event(NamedTuple):
    """One transition as it goes to clients: where it stood, whose ward, its bytes."""

    partition: int
    offset: int
    ward: str
    data: bytes


class Alert:
    """One alarm episode: its latest transition and its history, shortened in the middle when it is very long."""

    __slots__ = ("count", "first", "last", "latest", "news2", "partition")

    def __init__(self, latest: AlertTransition, partition: int) -> None:
        self.partition = partition
        self.latest = latest
        self.count = 0
        self.first: list[bytes] = []
        self.last: deque[bytes] = deque(maxlen=KEEP_LAST)
        self.news2: bytes | None = None

    def add(self, transition: AlertTransition, data: bytes) -> None:
        """Take the next transition."""
        self.latest = transition
        self.count += 1
        if len(self.first) < KEEP_FIRST:
            self.first.append(data)
        else:
            self.last.append(data)

    def transitions(self) -> list[bytes]:
        """Encoded transitions, oldest first."""
        return [*self.first, *self.last]

    def as_json(self) -> bytes:
        """The latest transition with the number of transitions in it."""
        tail = self.last[-1] if self.last else self.first[-1]
        return b'%s,"transitions":%d}' % (tail[:-1], self.count)


class _Partition:
    __slots__ = ("begin", "events", "floor", "next", "skip")

    def __init__(self, start: int, keep: int) -> None:
        self.begin = start
        self.next = start
        self.floor = start
        self.events: deque[Event] = deque(maxlen=keep)
        self.skip: set[int] = set()


class Ledger:
    """The alerts log in bounded memory: ``keep_events`` transitions a partition, ``keep_closed`` ended alarms."""

    def __init__(self, *, keep_events: int = 4096, keep_closed: int = 5000) -> None:
        self._keep_events = keep_events
        self._keep_closed = keep_closed
        self._partitions: dict[int, _Partition] = {}
        self.open: dict[str, Alert] = {}
        self.closed: OrderedDict[str, Alert] = OrderedDict()
        self._gone_seq: OrderedDict[str, int] = OrderedDict()
        self.repeats = 0
        self.unreadable = 0

    def begin(self, partition: int, offset: int) -> None:
        """Say where reading of a partition starts; again with the same partition: its log was made anew."""
        self._partitions[partition] = _Partition(offset, self._keep_events)
        for alerts in (self.open, self.closed):
            for alert_id in [alert_id for alert_id, alert in alerts.items() if alert.partition == partition]:
                del alerts[alert_id]

    def take(self, partition: int, offset: int, raw: bytes | None) -> tuple[AlertTransition, Event] | None:
        """Take the record at that place. None when it repeats what is known or cannot be read."""
        log = self._partitions[partition]
        if offset < log.next:
            return None
        log.next = offset + 1
        try:
            transition = codec.decode(raw, AlertTransition)
        except Poison:
            self.unreadable += 1
            log.skip.add(offset)
            return None
        alert = self.alert(transition.alert_id)
        known_seq = alert.latest.seq if alert is not None else self._gone_seq.get(transition.alert_id)
        if known_seq is not None and transition.seq <= known_seq:
            self.repeats += 1
            log.skip.add(offset)
            return None
        data = codec.encode(transition)
        if alert is None:
            alert = Alert(transition, partition)
        alert.add(transition, data)
        self._file(alert)
        if len(log.events) == self._keep_events:
            log.floor = log.events[0].offset + 1
        event = Event(partition, offset, transition.ward, data)
        log.events.append(event)
        return transition, event

    def alert(self, alert_id: str) -> Alert | None:
        """An open or recently ended alarm."""
        return self.open.get(alert_id) or self.closed.get(alert_id)

    def offsets(self) -> dict[int, int]:
        """The next offset of each partition: the cursor of a client that knows everything taken so far."""
        return {partition: log.next for partition, log in self._partitions.items()}

    def begins(self) -> dict[int, int]:
        """The first offset that was there when reading began; nothing before it can be told."""
        return {partition: log.begin for partition, log in self._partitions.items()}

    def floors(self) -> dict[int, int]:
        """From which offset on each partition is still in memory."""
        return {partition: log.floor for partition, log in self._partitions.items()}

    def passes_over(self, partition: int, offset: int) -> bool:
        """Whether the record there is a repeat or unreadable and must not be told to anyone."""
        return offset in self._partitions[partition].skip

    def since(self, cursor: dict[int, int]) -> Iterator[Event]:
        """Transitions in memory at or after the cursor, in order within a partition."""
        for partition, log in self._partitions.items():
            after = cursor.get(partition, 0)
            if after < log.next:
                yield from [event for event in log.events if event.offset >= after]

    def _file(self, alert: Alert) -> None:
        alert_id = alert.latest.alert_id
        if alert.latest.state is not AlarmState.INACTIVE:
            self.closed.pop(alert_id, None)
            self.open[alert_id] = alert
            return
        self.open.pop(alert_id, None)
        self.closed[alert_id] = alert
        self.closed.move_to_end(alert_id)
        self._gone_seq.pop(alert_id, None)
        while len(self.closed) > self._keep_closed:
            gone_id, gone = self.closed.popitem(last=False)
            self._gone_seq[gone_id] = gone.latest.seq
            while len(self._gone_seq) > KEEP_SEQ:
                self._gone_seq.popitem(last=False)
