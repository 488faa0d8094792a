"""What a person asks for at the feed, checked and written to ``alert_actions``; only the broker's word counts."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Final

import msgspec

from contracts.errors import Transient
from contracts.records import SCHEMA_VERSION, ActionKind, AlertAction
from contracts.topology import ALERT_ACTIONS
from streams.feed.access import Identity
from streams.feed.live import Live, now_ms
from streams.feed.producer import Writer
from streams.feed.replies import ApiError, bad_field

REMEMBERED: Final = 10_000

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
Ident = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_.:-]{1,64}\Z")]


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /api/actions. Without ``alert_id`` it concerns every alarm of the bed."""

    action_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_-]{8,64}\Z")]
    kind: ActionKind
    ward: Name
    bed: Name
    alert_id: Ident | None = None
    pause_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] | None = None
    text: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+\Z")] | None
    ) = None


def check(live: Live, asked: ActionRequest) -> None:
    """Raises ApiError when it makes no sense for that bed or alarm."""
    if asked.pause_s is not None and asked.kind is not ActionKind.PAUSE_AUDIO:
        raise bad_field("pause_s", f"belongs to {ActionKind.PAUSE_AUDIO.value} only")
    if asked.kind is ActionKind.NOTE and asked.text is None:
        raise bad_field("text", "a note needs words")
    if asked.alert_id is None:
        beds = any(a.latest.ward == asked.ward and a.latest.bed == asked.bed for a in live.ledger.open.values())
        if not beds and live.board.find(asked.bed, asked.ward) is None:
            raise ApiError(404, "unknown_bed", "no such bed in that ward", "take ward and bed from /api/wall")
        return
    if asked.kind is ActionKind.STANDBY:
        raise bad_field("alert_id", "standby concerns the whole bed")
    alert = live.ledger.alert(asked.alert_id)
    if alert is None:
        raise ApiError(
            404, "unknown_alert", "no such alarm", "take alert_id from /api/wall; it may have ended long ago"
        )
    if alert.latest.ward != asked.ward:
        raise bad_field("ward", "the alarm is of another ward")
    if alert.latest.bed != asked.bed:
        raise bad_field("bed", "the alarm is of another bed")
    if asked.alert_id not in live.ledger.open:
        raise ApiError(409, "alarm_over", "the alarm has ended", "there is nothing left to do about it")


class ActionDesk:
    """Writes actions, each once: the same ``action_id`` again is answered as the first time."""

    def __init__(self, bootstrap: str) -> None:
        self._writer = Writer(bootstrap)
        self._done: OrderedDict[str, ActionRequest] = OrderedDict()

    async def submit(self, asked: ActionRequest, who: Identity) -> None:
        """Write the action and return after the broker's acknowledgement.

        Raises ApiError: 409 when the id was used for something else, 503 when the broker does not answer in time.
        """
        before = self._done.get(asked.action_id)
        if before is not None:
            if before != asked:
                raise ApiError(409, "action_id_used", "that action_id was another action", "use a new action_id")
            return
        action = AlertAction(
            version=SCHEMA_VERSION,
            action_id=asked.action_id,
            ward=asked.ward,
            bed=asked.bed,
            kind=asked.kind,
            actor=who.actor,
            role=who.role.value,
            at_ms=now_ms(),
            alert_id=asked.alert_id,
            pause_s=asked.pause_s,
            text=asked.text,
        )
        try:
            await self._writer.write(ALERT_ACTIONS, asked.ward, action)
        except Transient as away:
            raise ApiError(
                503,
                "broker_away",
                "the action was not acknowledged by the log",
                "the wall shows what was done; try again with the same action_id, and act at the bedside",
                headers={"Retry-After": "2"},
            ) from away
        self._done[asked.action_id] = asked
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)

    async def close(self) -> None:
        """Stop the producer without waiting for a broker that does not answer."""
        await self._writer.close()
