"""What the routes of a replay do: how far it is, and pause, go on, seek, stop."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contracts import replays
from contracts.errors import Transient
from streams.feed.access import Identity
from streams.feed.asking import known
from streams.feed.live import Live, now_ms
from streams.feed.replay_live import ReplayLive
from streams.feed.replies import ApiError, bad_field, body_as, reply


class SteerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/replay. ``to_ms`` belongs to a seek: a moment ahead, in the source log's time."""

    what: replays.Want
    to_ms: int | None = None


class ReplayApi:
    """The handlers, by the names that the route table uses."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def replay(self, _request: Request, _who: Identity | None) -> Response:
        """How far the replay is, and what it led to."""
        return reply(await asyncio.to_thread(self._shown().state))

    async def steer_replay(self, request: Request, who: Identity | None) -> Response:
        """Wish something of the replay: 202 with the number that its ``heeded`` reaches once it is answered."""
        live, identity = self._shown(), known(who)
        asked = await body_as(request, SteerRequest)
        request.state.detail = asked.what.value if asked.to_ms is None else f"{asked.what.value} {asked.to_ms}"
        _check(asked, replays.progress(live.folder))
        try:
            number = await asyncio.to_thread(replays.wish, live.folder, asked.what, identity.actor, asked.to_ms)
        except Transient as unwritable:
            hint = "make room on the disk, or steer it from its own terminal"
            raise ApiError(503, "not_written", str(unwritable), hint) from unwritable
        return reply({"number": number}, 202)

    def _shown(self) -> ReplayLive:
        if not isinstance(self._live, ReplayLive):
            raise ApiError(404, "no_replay", "this feed shows the ward, live", "ward replay show NAME opens a replay")
        return self._live


async def not_in_a_replay(_request: Request, _who: Identity | None) -> Response:
    """In place of everything that needs the ward itself: its alarms, its images."""
    hint = "act on the feed of the ward; a replay can be looked at, and paused, moved on and stopped"
    raise ApiError(409, "replay", "this feed shows a replay, not the ward", hint)


def _check(asked: SteerRequest, progress: replays.ReplayProgress | None) -> None:
    """Raises ApiError for what cannot be wished of the replay as it stands."""
    if progress is None:
        hint = "start it with this version of ward, then reload"
        raise ApiError(409, "no_progress", "the replay does not say how far it is, so it cannot be steered", hint)
    if not progress.runs(now_ms()):
        on = (
            "nothing is left to steer"
            if progress.state == "finished"
            else f"ward replay --to {progress.replay} --resume"
        )
        raise ApiError(409, "replay_over", f"the replay does not run ({progress.state})", on)
    if (asked.what is replays.Want.SEEK) != (asked.to_ms is not None):
        raise bad_field("to_ms", "belongs to a seek, and a seek needs it")
    if asked.to_ms is not None and not progress.at_ms < asked.to_ms <= progress.to_ms:
        raise bad_field("to_ms", f"is after {progress.at_ms}, where the replay is, and not after {progress.to_ms}")
