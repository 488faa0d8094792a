"""The topics of a replay: which may be read, which must never be written, making and removing the fresh ones."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from contracts.errors import Misconfigured, Transient, WardError
from contracts.topology import TOPICS

LIVE: Final = frozenset(topic.name for topic in TOPICS)
KEPT_FOR_EVER: Final = {
    # records carry the times of the source: by them the broker would think fresh records old, or from the future
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str(2**63 - 1),
    "message.timestamp.before.max.ms": str(2**63 - 1),
    "retention.ms": "-1",
    "cleanup.policy": "delete",
}
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,200}")
_CONNECT_MS: Final = 8000
_NEWS_S: Final = 10.0
_LARGEST: Final = "max.message.bytes"


class NotFound(WardError):
    """No such topic, replay, or record."""


@dataclass(frozen=True)
class Found:
    """A topic as the broker has it. ``ident`` tells it from another of the same name, made later."""

    name: str
    ident: str
    partitions: int
    config: Mapping[str, str]

    @property
    def is_compacted(self) -> bool:
        """Whether offsets promise more records than there are."""
        return "compact" in self.config.get("cleanup.policy", "")


def targets(sources: Sequence[str], to: str) -> tuple[str, ...]:
    """The fresh topics: ``to`` itself for one source, ``to_SOURCE`` for each of several.

    Raises Misconfigured for a live topic, a name that no topic may have, a source named twice or as its own target.
    """
    if len(set(sources)) < len(sources):
        raise Misconfigured(f"a topic stands twice among {', '.join(sources)}: name each once")
    names = (to,) if len(sources) == 1 else tuple(f"{to}_{source}" for source in sources)
    for name in names:
        if name in LIVE:
            raise Misconfigured(
                f"--to {to}: {name} is a live topic, and a replay never writes into one; name a fresh one"
            )
        if not _NAME.fullmatch(name) or name.startswith("__"):
            raise Misconfigured(
                f"--to {to!r}: a topic has 1 to 200 letters, digits, _ and -, and __ is the broker's own"
            )
        if name in sources:
            raise Misconfigured(f"--to {to}: {name} is what is read; name a fresh one")
    return names


def find(bootstrap: str, names: Sequence[str]) -> dict[str, Found]:
    """Those of these topics that are there. Raises Transient when the broker does not answer."""
    from kafka.admin import ConfigResource, ConfigResourceType

    with _admin(bootstrap) as admin:
        there = {row["name"]: row for row in admin.describe_topics(list(names)) if row["error_code"] == 0}
        if not there:
            return {}
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
        configs = admin.describe_configs(asked)["topic"]
    return {
        name: Found(
            name,
            str(row["topic_id"]),
            len(row["partitions"]),
            {key: str(entry["value"]) for key, entry in configs.get(name, {}).items()},
        )
        for name, row in there.items()
    }


def names_like(bootstrap: str, name: str) -> str:
    """A hint for somebody who named a topic that is not there."""
    import difflib

    with _admin(bootstrap) as admin:
        there = sorted(one for one in admin.list_topics() if not one.startswith("__"))
    near = difflib.get_close_matches(name, there, n=1)
    return (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(there) or 'none; `ward up topics` makes them'}"
    )


def make(bootstrap: str, fresh: Mapping[str, Found]) -> dict[str, str]:
    """Make each fresh topic like its source; the ident of each. All are made, or none.

    Raises Misconfigured when one is there already, Transient when the broker does not answer.
    """
    taken = find(bootstrap, list(fresh))
    if taken:
        raise Misconfigured(
            f"--to: topic {', '.join(taken)} is there already; name a fresh one, or go on with a replay by --resume, "
            "or remove it with `ward replay clean`"
        )
    from kafka.errors import KafkaError

    with _admin(bootstrap) as admin:
        try:
            admin.create_topics({name: _like(source) for name, source in fresh.items()})
        except KafkaError as failure:
            made = [row["name"] for row in admin.describe_topics(list(fresh)) if row["error_code"] == 0]
            if made:
                admin.delete_topics(made)
            raise Transient(f"the broker at {bootstrap} made no topic {', '.join(fresh)}: {failure}") from failure
    return {name: found.ident for name, found in _awaited(bootstrap, fresh.keys()).items()}


def remove(bootstrap: str, idents: Mapping[str, str]) -> list[str]:
    """Remove those of these topics that still are the ones made; their names. A live topic is never removed."""
    there = find(bootstrap, list(idents))
    ours = [name for name, ident in idents.items() if name in there and there[name].ident == ident and name not in LIVE]
    if ours:
        with _admin(bootstrap) as admin:
            admin.delete_topics(ours)
    return ours


def await_gone(bootstrap: str, names: Sequence[str]) -> None:
    """Wait until the broker has forgotten topics that were removed, so that others may have their names.

    Raises Transient when it does not.
    """
    until_s = time.monotonic() + _NEWS_S
    while left := find(bootstrap, names) if names else {}:
        if time.monotonic() > until_s:
            raise Transient(f"the broker at {bootstrap} still has {', '.join(left)}, which were removed")


def _awaited(bootstrap: str, fresh: AbstractSet[str]) -> dict[str, Found]:
    """Topics that were made a moment ago, once the broker tells of all of them: it makes first and tells later."""
    until_s = time.monotonic() + _NEWS_S
    while missing := fresh - (there := find(bootstrap, list(fresh))).keys():
        if time.monotonic() > until_s:
            raise Transient(f"the broker at {bootstrap} does not tell of {', '.join(sorted(missing))}, which were made")
    return there


def _like(source: Found) -> dict[str, Any]:
    largest = {_LARGEST: source.config[_LARGEST]} if _LARGEST in source.config else {}
    return {"num_partitions": source.partitions, "replication_factor": 1, "configs": KEPT_FOR_EVER | largest}


@contextmanager
def _admin(bootstrap: str) -> Iterator[Any]:
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, client_id="ward-replay", bootstrap_timeout_ms=_CONNECT_MS)
    except (KafkaError, ValueError) as failure:
        raise Transient(
            f"no Kafka broker at {bootstrap} ({failure}): start one with `ward up kafka` or set WARD_KAFKA"
        ) from failure
    try:
        yield admin
    except KafkaError as failure:
        raise Transient(f"the broker at {bootstrap} refuses: {failure}") from failure
    finally:
        admin.close()
