"""The work that every rival does on every record: decode, step the core, encode. What differs is who carries it."""

from __future__ import annotations

from typing import NamedTuple

from contracts import codec
from contracts.errors import Poison
from contracts.records import SourceOffset
from contracts.topology import ALERTS, CLOCK_KEY, SCORES
from models.ward.core import WardCore, WardState


class Output(NamedTuple):
    """A record to be written."""

    topic: str
    key: bytes
    value: bytes


class Partition:
    """The wards of one partition of patient_vitals, as the worker keeps them.

    ``own`` says from which offset on a ward read back from a snapshot takes part again.
    """

    def __init__(self, core: WardCore, number: int) -> None:
        self.core = core
        self.number = number
        self.wards: dict[str, WardState] = {}
        self.own: dict[str, int] = {}

    def take(self, topic: str, offset: int, at_ms: int, value: bytes | None) -> list[Output]:
        """Apply one record; what has to be written for it. Raises Poison: a backlog of a bench has no bad records."""
        decoded = codec.decode_frame(value)
        if decoded.faults:
            raise Poison(decoded.faults[0].reason, decoded.faults[0].detail, decoded.faults[0].field)
        frame = decoded.frame
        source = SourceOffset(topic=topic, partition=self.number, offset=offset)
        outputs: list[Output] = []
        for ward in sorted(self.wards) if frame.ward == CLOCK_KEY else (frame.ward,):
            if offset < self.own.get(ward, 0):
                continue
            state = self.wards.get(ward)
            if state is None:
                state = self.core.fresh(ward)
            self.wards[ward], out = self.core.step(state, frame, at_ms, source)
            outputs += [Output(ALERTS.name, t.alert_id.encode(), codec.encode(t)) for t in out.transitions]
            if out.scores is not None:
                outputs.append(Output(SCORES.name, ward.encode(), codec.encode(out.scores)))
        return outputs
