"""A client of the feed, as a screen on the wall is: signs in, reads ``/api/stream``, notes when what was parsed."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Final, NamedTuple

import msgspec

from contracts.errors import Transient

READ_S: Final = 10.0
READY_S: Final = 60.0


class Arrival(NamedTuple):
    """One frame's tiles on the screen. Times in epoch ms; ``at_ms`` is the frame's own, ``now_ms`` the log's."""

    ward: str
    at_ms: int
    now_ms: int
    seen_ms: float
    beds: int


class Raised(NamedTuple):
    """One alarm on the screen; ``reading_ms`` is when the reading behind it was taken."""

    alert_id: str
    reading_ms: int
    seen_ms: float


class _Tiles(msgspec.Struct):
    ward: str
    at_ms: int
    now_ms: int
    beds: list[dict[str, object]]


class _Transition(msgspec.Struct):
    alert_id: str
    event: str
    category: str
    reading_ms: int | None = None


class Listener:
    """Reads the stream in a thread of its own. ``cpu_s`` is what parsing took; ``fault`` why it ended early."""

    def __init__(self, port: int) -> None:
        self.arrivals: list[Arrival] = []
        self.raised: list[Raised] = []
        self.cpu_s = 0.0
        self.fault: str | None = None
        self._port = port
        self._ending = False
        self._live = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Listen; returns once the stream is live. Raises Transient when it does not come to that."""
        self._thread.start()
        if not self._live.wait(READY_S):
            raise Transient(f"the feed sends nothing: {self.fault or 'no event in time'}")

    def stop(self) -> None:
        """Listen no more. Raises Transient when the stream had ended by itself."""
        self._ending = True
        self._thread.join(READ_S + 1)
        if self.fault is not None:
            raise Transient(f"the feed's stream ended: {self.fault}")

    def _run(self) -> None:
        try:
            self._listen()
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as failure:
            self.fault = repr(failure)
            self._live.set()

    def _listen(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=READ_S)
        connection.request("GET", "/")
        page = connection.getresponse()
        page.read()
        cookie = (page.getheader("set-cookie") or "").partition(";")[0]
        connection.request("GET", "/api/stream", headers={"Cookie": cookie, "Accept": "text/event-stream"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            self.fault = f"HTTP {answer.status}: {answer.read(300)!r}"
            return
        tiles = msgspec.json.Decoder(_Tiles)
        transition = msgspec.json.Decoder(_Transition)
        event, data = b"", b""
        while not self._ending:
            read = answer.readline()
            line = read.rstrip(b"\r\n")
            if line.startswith(b"event: "):
                event = line[7:]
            elif line.startswith(b"data: "):
                data = line[6:]
            elif not read:
                self.fault = "the server closed it"
                return
            elif not line and event:
                self._take(event, data, tiles, transition)
                self.cpu_s = time.thread_time()
                event, data = b"", b""
                self._live.set()
        connection.close()

    def _take(
        self,
        event: bytes,
        data: bytes,
        tiles: msgspec.json.Decoder[_Tiles],
        transition: msgspec.json.Decoder[_Transition],
    ) -> None:
        if event == b"tiles":
            frame = tiles.decode(data)
            self.arrivals.append(Arrival(frame.ward, frame.at_ms, frame.now_ms, time.time() * 1000, len(frame.beds)))
        elif event == b"alarm":
            said = transition.decode(data)
            if said.event == "raised" and said.category == "physiological" and said.reading_ms is not None:
                self.raised.append(Raised(said.alert_id, said.reading_ms, time.time() * 1000))
        elif event == b"cut":
            self.fault = f"cut: {data[:200]!r}"
            self._ending = True
