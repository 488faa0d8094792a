"""One bounded log of encoded events for all clients; each client is only a position in it.

Nothing is queued for anyone: a client that keeps up is handed the same bytes as everybody else, one that lags gets
every alarm it missed and the newest tiles and outlooks instead of all of them, and one that lags by more alarms than
the log keeps, or whose socket does not drain, is cut. So the memory for a slow client is one chunk and its socket's
buffers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import msgspec

from streams.feed.board import Board, tiles_event
from streams.feed.outlooks import Outlooks

CHUNK_BYTES: Final = 64 * 1024
KEEP_FLUSHES: Final = 16
FASTEST_FLUSH_S: Final = 0.004
FLUSH_S_PER_CLIENT: Final = 0.00025
"""With many clients, events are gathered a little longer, so that the cost of writing to sockets stays bounded."""

SIGNED_OUT: Final = "signed_out"
TOO_SLOW: Final = "too_slow"
RESTARTING: Final = "restarting"


def cut_event(reason: str) -> bytes:
    """The last event of a stream."""
    return b'event: cut\ndata: {"reason":"%s"}\n\n' % reason.encode()


class Client:
    """One open stream: who, which ward, where it stands. ``cut`` ends it from outside."""

    __slots__ = ("abort", "actor", "position", "reason", "session", "wake", "ward")

    def __init__(self, actor: str, session: str | None, ward: str | None, abort: Callable[[], None]) -> None:
        self.actor = actor
        self.session = session
        self.ward = ward
        self.abort = abort
        self.position = 0
        self.reason: str | None = None
        self.wake = asyncio.Event()

    def cut(self, reason: str, grace_s: float = 1.0) -> None:
        """End the stream: a last ``cut`` event where the socket still takes it, then the connection goes."""
        if self.reason is None:
            self.reason = reason
            self.wake.set()
            asyncio.get_running_loop().call_later(grace_s, self.abort)


class Flush:
    """The events of one instant. The chunk for a ward filter is joined once, whoever asks first."""

    __slots__ = ("_chunks", "alarms", "heartbeat", "outlooks", "seq", "tiles")

    def __init__(self, seq: int, tiles: Events, alarms: Events, outlooks: Events, heartbeat: bytes | None) -> None:
        self.seq = seq
        self.tiles = tiles
        self.alarms = alarms
        self.outlooks = outlooks
        self.heartbeat = heartbeat
        self._chunks: dict[str | None, bytes] = {}

    def chunk(self, ward: str | None) -> bytes:
        """Alarms first, then tiles, then outlooks, then the heartbeat."""
        made = self._chunks.get(ward)
        if made is None:
            parts = [data for of, data in (*self.alarms, *self.tiles, *self.outlooks) if ward in (None, of)]
            if self.heartbeat is not None:
                parts.append(self.heartbeat)
            made = self._chunks[ward] = b"".join(parts)
        return made


class Hub:
    """Takes events from the log readers and hands them to every client."""

    def __init__(
        self,
        board: Board,
        outlooks: Outlooks,
        *,
        keep_alarms: int = 4096,
        keep_alarm_bytes: int = 8 << 20,
        on_flush: OnFlush | None = None,
    ) -> None:
        self.board = board
        self.outlooks = outlooks
        self.clients: set[Client] = set()
        self.seq = 0
        self._keep_alarms = keep_alarms
        self._keep_alarm_bytes = keep_alarm_bytes
        self._flushes: deque[Flush] = deque(maxlen=KEEP_FLUSHES)
        self._alarms: deque[tuple[int, str, bytes]] = deque()
        self._alarm_bytes = 0
        self._alarm_floor = 0
        self._pending_tiles: Events = []
        self._pending_alarms: Events = []
        self._pending_outlooks: Events = []
        self._heartbeat: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_flush_s = 0.0
        self._on_flush = on_flush

    @property
    def next_seq(self) -> int:
        """The count that events published now will carry."""
        return self.seq + 1

    def publish_tiles(self, ward: str, event: bytes) -> None:
        """Send a ``tiles`` event to whoever watches that ward."""
        self._pending_tiles.append((ward, event))
        self._soon()

    def publish_alarm(self, ward: str, event: bytes) -> None:
        """Send an ``alarm`` event to whoever watches that ward."""
        self._pending_alarms.append((ward, event))
        self._soon()

    def publish_outlook(self, ward: str, event: bytes) -> None:
        """Send an ``outlook`` event to whoever watches that ward."""
        self._pending_outlooks.append((ward, event))
        self._soon()

    def publish_heartbeat(self, event: bytes) -> None:
        """Send a heartbeat to everyone."""
        self._heartbeat = event
        self._soon()

    def flush(self) -> None:
        """Make what is pending visible to all clients at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tiles, alarms, outlooks = self._pending_tiles, self._pending_alarms, self._pending_outlooks
        if not (tiles or alarms or outlooks or self._heartbeat):
            return
        self.seq += 1
        flush = Flush(self.seq, tiles, alarms, outlooks, self._heartbeat)
        self._pending_tiles, self._pending_alarms, self._pending_outlooks, self._heartbeat = [], [], [], None
        self._flushes.append(flush)
        for ward, data in flush.alarms:
            self._alarms.append((self.seq, ward, data))
            self._alarm_bytes += len(data)
        while len(self._alarms) > self._keep_alarms or self._alarm_bytes > self._keep_alarm_bytes:
            self._alarm_floor, _, gone = self._alarms.popleft()
            self._alarm_bytes -= len(gone)
        self._last_flush_s = asyncio.get_running_loop().time()
        for client in self.clients:
            client.wake.set()
        if self._on_flush is not None:
            self._on_flush(flush, len(self.clients))

    def cut(self, reason: str, which: Callable[[Client], bool] = lambda _: True) -> int:
        """End the streams of the clients that ``which`` picks; how many."""
        chosen = [client for client in self.clients if which(client)]
        for client in chosen:
            client.cut(reason)
        return len(chosen)

    async def follow(self, client: Client) -> AsyncIterator[bytes]:
        """Chunks for a client from its position on, until it is cut. The last chunk is the ``cut`` event."""
        while True:
            if client.reason is not None:
                yield cut_event(client.reason)
                return
            if client.position == self.seq:
                client.wake.clear()
                await client.wake.wait()
                continue
            if client.position < self._alarm_floor:
                client.cut(TOO_SLOW)
                continue
            for chunk in self._chunks_after(client):
                for start in range(0, len(chunk), CHUNK_BYTES):
                    yield chunk[start : start + CHUNK_BYTES] if len(chunk) > CHUNK_BYTES else chunk
                if client.reason is not None:
                    break

    def newest(self, position: int, ward: str | None) -> Iterator[bytes]:
        """The tiles and outlooks that changed after ``position``, an event of each a ward, made only when asked for."""
        for of, keys in self.board.changed_after(position, ward).items():
            placed = [self.board.tiles[key] for key in keys if key in self.board.tiles]
            if placed:
                at_ms = max(tile.at_ms for tile in placed)
                yield tiles_event(of, at_ms, self.board.wards[of], [tile.data for tile in placed])
        yield from self.outlooks.events_after(position, ward)

    def _chunks_after(self, client: Client) -> Iterator[bytes]:
        position, client.position = client.position, self.seq
        missed = [flush for flush in self._flushes if flush.seq > position]
        if len(missed) == self.seq - position and len(missed) <= KEEP_FLUSHES // 2:
            yield from (chunk for flush in missed if (chunk := flush.chunk(client.ward)))
            return
        alarms = [data for seq, of, data in self._alarms if seq > position and client.ward in (None, of)]
        if alarms:
            yield b"".join(alarms)
        yield from self.newest(position, client.ward)
        heartbeats = [flush.heartbeat for flush in missed if flush.heartbeat]
        if heartbeats:
            yield heartbeats[-1]

    def _soon(self) -> None:
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        gather_s = max(FASTEST_FLUSH_S, FLUSH_S_PER_CLIENT * len(self.clients))
        wait_s = max(0.0, self._last_flush_s + gather_s - loop.time())
        self._timer = loop.call_later(wait_s, self.flush)


OnFlush = Callable[[Flush, int], None]
Events = list[tuple[str, bytes]]


def heartbeat_event(cursor: str, server_ms: int, wards: dict[str, int], clock_ms: int, *, ready: bool) -> bytes:
    """The heartbeat; its id lets a client that saw no alarm for days resume cheaply."""
    data = msgspec.json.encode({"server_ms": server_ms, "wards": wards, "clock_ms": clock_ms, "ready": ready})
    head = b"id: %s\n" % cursor.encode() if cursor else b""
    return b"%sevent: heartbeat\ndata: %s\n\n" % (head, data)
