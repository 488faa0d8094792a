"""What a replayed log is decided from: the state that stood before the records of which it is a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from contracts.errors import Misconfigured
from contracts.replays import START, Copy, put
from contracts.topology import VITALS
from models.vitals.engine import VitalsModels
from streams.compare.episodes import Book
from streams.compare.sides import Decider, Side
from streams.compare.span import NEVER, Cut, Part, Span, before, records
from streams.compare.written import held_against, written_live

NOTHING: Final = "nothing: records were left out or their times moved, so no state from before fits"


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a side begins with. ``states`` by partition and ward as the core's bytes, ``own`` the wards whose state
    holds records of the copy already, up to before that offset of it; ``since`` says in words where both come from."""

    policy_hash: str
    models: dict[str, str]
    since: str
    states: dict[int, dict[str, bytes]] = {}
    own: dict[int, dict[str, int]] = {}

    def span(self, copy: Copy) -> Span:
        """The copy from its first record on, without an end."""
        parts = {
            p: Part(0, 0, NEVER, Cut(0, self.states.get(p, {}), self.own.get(p, {}))) for p in range(len(copy.starts))
        }
        return Span(copy.target, len(parts), copy.first_ms, None, parts, self.since)


async def started(folder: Path, copy: Copy, side: Side, models: VitalsModels | None) -> Start:
    """What the side begins with, the same whenever it begins again: it is kept in the folder.

    Raises Misconfigured when another side has begun there, Transient without a broker.
    """
    path = folder / START
    if path.exists():
        try:
            start = msgspec.json.decode(path.read_bytes(), type=Start)
        except msgspec.DecodeError as wrong:
            raise Misconfigured(f"{path} is damaged ({wrong}): {_anew(copy)}") from wrong
        if (start.policy_hash, start.models) != (side.policy.hash, dict(side.models)):
            raise Misconfigured(f"replay {copy.replay} is decided by policy {start.policy_hash}: {_anew(copy)}")
        return start
    start = await _found(copy, side, models)
    put(path, start)
    return start


async def _found(copy: Copy, side: Side, models: VitalsModels | None) -> Start:
    begun = Start(policy_hash=side.policy.hash, models=dict(side.models), since=NOTHING)
    if not copy.plain:
        return begun
    prior = before(copy.bootstrap, copy.source, dict(enumerate(copy.starts)), copy.first_ms)
    decider = Decider(side, prior, models)
    for record in records(copy.bootstrap, prior):
        await decider.watch(record)
    states = {p: {ward: log.core.dump(state) for ward, state in log.wards.items()} for p, log in decider.logs.items()}
    own = {
        p: {ward: offset - copy.starts[p] for ward, offset in log.own.items() if offset > copy.starts[p]}
        for p, log in decider.logs.items()
    }
    return msgspec.structs.replace(begun, since=prior.since, states=states, own=own)


def same_as_live(copy: Copy, ends: dict[int, int], book: Book) -> bool | None:
    """Whether the live worker told the same of the very same records; None where it never saw them so."""
    lengths = {p: end - start for p, (start, end) in enumerate(zip(copy.starts, copy.ends, strict=True))}
    if copy.source != VITALS.name or not copy.plain or ends != lengths:
        return None
    parts = {p: Part(s, s, e) for p, (s, e) in enumerate(zip(copy.starts, copy.ends, strict=True))}
    live = written_live(copy.bootstrap, Span(copy.source, len(parts), None, None, parts, ""))
    return bool(held_against(book, live)["same"])


def _anew(copy: Copy) -> str:
    return f"`ward replay decide {copy.replay}` decides anew"
