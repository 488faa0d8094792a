"""Faust's monitor without its books: our own metrics say more, and each of its notes costs CPU per record."""

from __future__ import annotations

from typing import Any

import faust


class Quiet(faust.Monitor):  # type: ignore[misc]  # Faust's types are not checked here, so its classes count as Any
    """Keeps no account of single messages, events and sends; offsets and commits are still followed."""

    def on_message_in(self, tp: Any, offset: int, message: Any) -> None:
        """A record came from the consumer."""

    def on_message_out(self, tp: Any, offset: int, message: Any) -> None:
        """A record was acknowledged."""

    def on_stream_event_in(self, tp: Any, offset: int, stream: Any, event: Any) -> None:
        """An event goes into the agent."""

    def on_stream_event_out(self, tp: Any, offset: int, stream: Any, event: Any, state: Any = None) -> None:
        """The agent is done with an event."""

    def on_send_initiated(self, *_: Any, **__: Any) -> None:
        """A record is handed to the producer."""

    def on_send_completed(self, *_: Any, **__: Any) -> None:
        """A record was acknowledged by the broker."""
