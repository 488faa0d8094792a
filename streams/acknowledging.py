"""A person's acknowledgement from the terminal: find the alarm, write the action."""

from __future__ import annotations

import time
import uuid
from typing import Final

from contracts import codec
from contracts.errors import Transient
from contracts.records import SCHEMA_VERSION, ActionKind, AlertAction, AlertTransition
from contracts.topology import ALERT_ACTIONS, ALERTS
from streams import ledger

ROLE: Final = "nurse"


def latest(bootstrap: str, alert_id: str) -> AlertTransition | None:
    """The alarm as it stands, None when there is no such id. Raises Transient without a broker."""
    key = alert_id.encode()
    found: AlertTransition | None = None
    for record in ledger.read(bootstrap, ALERTS.name):
        if record.key == key:
            transition = codec.decode(record.value, AlertTransition)
            if found is None or transition.seq >= found.seq:
                found = transition
    return found


def acknowledgement(alarm: AlertTransition, actor: str, note: str | None = None) -> AlertAction:
    """The action that acknowledges this alarm, now."""
    return AlertAction(
        version=SCHEMA_VERSION,
        action_id=uuid.uuid4().hex,
        ward=alarm.ward,
        bed=alarm.bed,
        kind=ActionKind.ACKNOWLEDGE,
        actor=actor,
        role=ROLE,
        at_ms=int(time.time() * 1000),
        alert_id=alarm.alert_id,
        text=note,
    )


def send(bootstrap: str, action: AlertAction) -> None:
    """Write the action and wait until the broker has it. Raises Transient when it does not take it."""
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    try:
        producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", bootstrap_timeout_ms=5_000)
    except KafkaError as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    try:
        producer.send(ALERT_ACTIONS.name, value=codec.encode(action), key=action.ward.encode()).get(timeout=10)
    except KafkaError as failure:
        raise Transient(f"{bootstrap}: {failure}") from failure
    finally:
        producer.close()
