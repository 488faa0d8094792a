"""What handlers share about a request: who asks, a bounded number, an open stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from streams.feed.access import Identity
from streams.feed.fanout import Client
from streams.feed.gauges import Gauges
from streams.feed.replies import ApiError, bad_field
from streams.feed.sockets import ABORT

MOST_STREAMS: Final = 1000


class Stream(EventSourceResponse):
    """A stream that is counted, and whose connection is torn down when the reader does not read."""

    def __init__(self, content: AsyncIterator[bytes], gauges: Gauges, client: Client, drain_s: float) -> None:
        super().__init__(content, ping=0, send_timeout=drain_s, sep="\n")
        self._client = client
        self._gauges = gauges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes, is cut, or stalls."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            self._client.abort()
            self._gauges.cut.inc()
        else:
            if self._client.reason is not None:
                self._gauges.cut.inc()


def new_client(request: Request, who: Identity, ward: str | None, streams: int) -> tuple[Client, str | None]:
    """Whoever opens a stream, and where they stood. Raises ApiError when too many are open."""
    if streams >= MOST_STREAMS:
        headers = {"Retry-After": "5"}
        raise ApiError(503, "too_many_streams", "too many open streams", "close one", headers=headers)
    cursor = request.headers.get("last-event-id") or request.query_params.get("cursor")
    abort = request.scope.get("extensions", {}).get(ABORT, lambda: None)
    return Client(who.actor, who.session, ward, abort), cursor


def known(who: Identity | None) -> Identity:
    """Who it is. Raises ApiError for nobody."""
    if who is None:
        raise ApiError(401, "not_signed_in", "this needs a sign-in", "sign in, or send a bearer token")
    return who


def number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query, brought into its range. Raises ApiError for what is none."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 18):
        raise bad_field(name, f"is a whole number from {low} to {high}")
    return min(max(int(text), low), high)
