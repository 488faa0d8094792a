"""The memory of a feed that shows a replay: what was decided over it, in its own time, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec
import structlog

from contracts import replays
from contracts.errors import Misconfigured
from contracts.records import ScoreFrame
from contracts.settings import Settings
from models.registry import Registry
from models.ward.policy import Policy, load_policy
from streams.feed.board import tiles_event
from streams.feed.gauges import Gauges
from streams.feed.live import Live, now_ms
from streams.feed.places import models_dir
from streams.feed.taps import LIVE, Read, Where, newest

log = structlog.get_logger(__name__)

BEAT_S: Final = 0.5
SHOW_S: Final = 0.1
"""However fast a replay runs, a page is told of a bed no more often than this, and then the newest."""
KEPT: Final = 10_000
"""Scores of a partition that are read when a feed begins: the last hours, and all of a short replay. Its alarms are
read from their start."""


def topics_of(replay: str) -> Read:
    """Where the decisions over that replay are."""
    return Read(
        replace(LIVE.alerts, name=replays.decided(replay, LIVE.alerts)),
        replace(LIVE.scores, name=replays.decided(replay, LIVE.scores)),
        replace(LIVE.forecasts, name=replays.decided(replay, LIVE.forecasts)),
    )


class ReplayLive(Live):
    """As ``Live``, over what a replay led to. It knows no images, and no clock but the replay's."""

    def __init__(self, settings: Settings, policy: Policy, gauges: Gauges, replay: str, *, keep_events: int) -> None:
        self.replay = replay
        self.folder = replays.folder(settings.state_dir, replay)
        if not self.folder.is_dir():
            raise Misconfigured(f"WARD_FEED_REPLAY={replay}: no such replay; `ward replay list` shows them")
        self._in_force = policy
        self._registry = Registry(models_dir(settings))
        self._told = b""
        self._shown = 0
        super().__init__(settings, policy, gauges, keep_events=keep_events, read=topics_of(replay))

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        taps = (self.alerts, self.scores, self.forecasts)
        return [*(tap.run() for tap in taps), self._follow(), self._show(), self._sweep(), self._start()]

    def _since(self) -> Where:
        return newest(KEPT)

    async def _look_further_back(self) -> None:
        """What is shown has been read at the start."""

    def _came(self, record: Any) -> None:
        """Records of a replay have the times of its source: how old they are says nothing of the feed."""

    def _tell(self, record: Any, frame: ScoreFrame, outlook: bytes | None, tiles: list[bytes]) -> None:
        """Left to ``_show``."""

    async def _show(self) -> None:
        await self.started.wait()
        while True:
            position, self._shown = self._shown, self.hub.seq
            for ward, keys in self.board.changed_after(position, None).items():
                placed = [self.board.tiles[key] for key in keys]
                at_ms = max(tile.at_ms for tile in placed)
                event = tiles_event(ward, at_ms, self.board.wards[ward], [tile.data for tile in placed])
                self.hub.publish_tiles(ward, event)
                for told in self.outlooks.events_after(position, ward):
                    self.hub.publish_outlook(ward, told)
            await asyncio.sleep(SHOW_S)

    async def _follow(self) -> None:
        """Twice a second: how far the replay is, and a heartbeat that tells it."""
        while True:
            self._told = b"event: replay\ndata: %s\n\n" % msgspec.json.encode(await asyncio.to_thread(self.state))
            self.hub.publish_heartbeat(self._heartbeat())
            await asyncio.sleep(BEAT_S)

    def _heartbeat(self, cursor: str | None = None) -> bytes:
        return super()._heartbeat(cursor) + self._told

    def state(self) -> dict[str, Any]:
        """All that is known of the replay, as clients are told it; None where nothing is known."""
        progress, decisions = replays.progress(self.folder), replays.decisions(self.folder)
        return {
            "replay": self.replay,
            "clock_ms": self.board.clock_ms or None,
            "ready": self.started.is_set(),
            "behind": self.scores.lag,
            "trouble": self.trouble(),
            "progress": None if progress is None else _progress_shown(progress),
            "decisions": None if decisions is None else self._decisions_shown(decisions),
        }

    def _decisions_shown(self, decisions: replays.Decisions) -> dict[str, Any]:
        if decisions.policy_hash != self.policy.hash:
            self.policy = self._policy_of(decisions)
        told = msgspec.structs.asdict(decisions) | {"policy_in_force": self._in_force.hash}
        other = [model for model in decisions.models if not self._is_champion(model)]
        return told | {"other_policy": decisions.policy_hash != self._in_force.hash, "other_models": other}

    def _is_champion(self, model: str) -> bool:
        name, _, version = model.partition("@")
        return self._registry.aliases(name).champion == version

    def _policy_of(self, decisions: replays.Decisions) -> Policy:
        """The policy that the replay was decided under; one without limits where its words are not there, for the
        limits of another would be wrong."""
        for policy in (self._in_force, *self._kept()):
            if policy.hash == decisions.policy_hash:
                return policy
        return msgspec.structs.replace(self._in_force, name=decisions.policy, limits={}, wards={}, patients={})

    def _kept(self) -> Iterator[Policy]:
        try:
            yield load_policy(self.folder / replays.POLICY)
        except Misconfigured:
            return


def _progress_shown(progress: replays.ReplayProgress) -> dict[str, Any]:
    """As it was told, with the share of the span that is past and whether it can still be steered."""
    span_ms = progress.to_ms - progress.from_ms
    share = min(max((progress.at_ms - progress.from_ms) / span_ms, 0.0), 1.0) if span_ms > 0 else None
    runs = progress.runs(now_ms())
    state = "lost" if progress.state == "running" and not runs else progress.state
    return msgspec.structs.asdict(progress) | {"state": state, "share": share, "runs": runs}
