"""Who may read what of the lake, and the row that tells of it: written before the read, or nothing is read."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from contracts import codec
from contracts.errors import Misconfigured, Poison, Transient
from contracts.lake import Zone
from contracts.records import SCHEMA_VERSION, Access
from contracts.settings import Settings
from contracts.topology import ACCESS_LOG

ROLES: Final[Mapping[str, frozenset[Zone]]] = MappingProxyType(
    {
        "researcher": frozenset[Zone](("deidentified",)),
        "clinician": frozenset[Zone](("deidentified", "restricted")),
        "engineer": frozenset[Zone](("deidentified", "restricted")),
        "steward": frozenset[Zone](("deidentified", "restricted", "identified")),
    }
)
"""Each role and the zones that it may read (contracts.lake.Zone)."""
MAX_QUERY: Final = 100_000
"""Characters of a query that are told; nobody types more."""
ANSWERS_MS: Final = 5_000
GRANTED: Final = "granted"
REFUSED: Final = "refused"


def told(
    settings: Settings,
    action: str,
    target: str,
    query: str | None = None,
    purpose: str | None = None,
    zone: Zone = "deidentified",
) -> None:
    """Tell that this person now reads ``target``, which lies in ``zone``; come back once the broker has it.

    ``action`` is a short stable word (sql, cohort_freeze, ...). A role that may not read that zone is told as refused.
    Raises Misconfigured, naming the fix, for such a role and an unknown one; Transient when Kafka is away: then nothing
    must be read.
    """
    if query is not None and len(query) > MAX_QUERY:
        raise Poison("query_too_long", f"{len(query)} characters; at most {MAX_QUERY}", "query")
    may = ROLES.get(settings.role, frozenset())
    refused = zone not in may
    send(
        settings.kafka,
        Access(
            version=SCHEMA_VERSION,
            access_id=uuid.uuid4().hex,
            actor=actor(settings),
            role=settings.role,
            action=action,
            target=target,
            at_ms=time.time_ns() // 1_000_000,
            outcome=REFUSED if refused else GRANTED,
            query=query,
            purpose=purpose,
        ),
    )
    if refused and settings.role not in ROLES:
        raise Misconfigured(f"WARD_ROLE is {settings.role}; roles are {', '.join(ROLES)}")
    if refused:
        able = ", ".join(role for role, zones in ROLES.items() if zone in zones)
        raise Misconfigured(
            f"a {settings.role} may not read {target} ({zone}): roles that may are {able} (WARD_ROLE); "
            "the refusal was recorded"
        )


def actor(settings: Settings) -> str:
    """Who acts: ``WARD_ACTOR``, else the user that the operating system knows, whatever the environment claims."""
    if settings.actor:
        return settings.actor
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def send(bootstrap: str, row: Access) -> None:
    """Write the row and wait until every replica has it. Raises Transient when the broker does not take it."""
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    if not any(_answers(one) for one in bootstrap.split(",")):
        # asked first, because the client that finds nobody leaves its sockets open
        raise Transient(f"no Kafka broker at {bootstrap}, so the read cannot be told and was not done")
    try:
        producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", bootstrap_timeout_ms=ANSWERS_MS, max_block_ms=ANSWERS_MS
        )
    except KafkaError as away:
        raise Transient(
            f"no Kafka broker at {bootstrap}, so the read cannot be told and was not done: {away}"
        ) from away
    try:
        sent = producer.send(ACCESS_LOG.name, value=codec.encode(row), key=row.actor.encode())
        sent.get(timeout=ANSWERS_MS / 1000)
    except KafkaError as away:
        raise Transient(f"{bootstrap} did not take the row of this read, which was not done: {away}") from away
    finally:
        producer.close(timeout=1)


def _answers(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWERS_MS / 1000).close()
    except (OSError, ValueError):
        return False
    return True
