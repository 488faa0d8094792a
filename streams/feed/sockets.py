"""The feed's HTTP connections: small send buffers, no waiting for idle ones, a way to end one that will not drain."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final, Protocol

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from streams.feed.fanout import RESTARTING

SEND_BUFFER_BYTES: Final = 96 * 1024
"""What the kernel may hold for one client; with the transport's 64 KiB it stays below 256 KiB a client."""

FIRST_REQUEST_S: Final = 15.0
ABORT: Final = "ward.abort"


class FeedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with the connection's ``abort`` in the scope; a plain close waits for a stalled reader."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Prepare a new connection."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        app: Any = self.app

        async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[ABORT] = transport.abort
            await app(scope, receive, send)

        self.app = with_abort
        self.loop.call_later(FIRST_REQUEST_S, self._end_if_silent)

    def _end_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.abort()


class Streams(Protocol):
    """Whoever holds open streams."""

    def cut(self, reason: str) -> int:
        """End all of them; how many."""


class FeedServer(uvicorn.Server):
    """Tells open streams that the feed goes away before it closes their connections."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams
        self.interrupted = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """TERM and INT end the server in order, and the process then ends by itself rather than by the signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self, number: signal.Signals) -> None:
        self.should_exit = True
        self.interrupted = number is signal.SIGINT

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams with ``cut``, then everything else."""
        self._streams.cut(RESTARTING)
        await super().shutdown(sockets)


def server_for(app: ASGIApp, streams: Streams, host: str, port: int) -> FeedServer:
    """A server for the feed's app."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=FeedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=1024,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=3,
    )
    return FeedServer(config, streams)
