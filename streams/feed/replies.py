"""JSON answers and the one form that errors have."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

T = TypeVar("T", bound=msgspec.Struct)

MOST_BODY_BYTES: Final = 16 * 1024


class ApiError(Exception):
    """A refusal: a stable code, a sentence, what to do about it; ``details`` names the field where one is bad."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details
        self.headers = headers or {}

    def response(self) -> Response:
        """The answer to send."""
        body: dict[str, Any] = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.details is not None:
            body["details"] = self.details
        return reply(body, self.status, self.headers)


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer; bytes are taken as JSON already encoded."""
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(encoded, status, headers, media_type="application/json")


async def body_as(request: Request, kind: type[T]) -> T:
    """The request's JSON body. Raises ApiError naming the field that is wrong."""
    kind_of = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind_of != "application/json":
        raise ApiError(415, "not_json", "the body is not application/json", "send Content-Type: application/json")
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MOST_BODY_BYTES:
                raise ApiError(413, "too_large", f"the body has more than {MOST_BODY_BYTES} bytes", "send less")
    except ClientDisconnect as gone:
        raise ApiError(400, "bad_request", "the body did not arrive", "send it again") from gone
    try:
        return msgspec.json.decode(bytes(raw), type=kind)
    except msgspec.ValidationError as wrong:
        raise bad_field(field_of(wrong), str(wrong).partition(" - at `")[0]) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise ApiError(400, "not_json", "the body is not JSON", "send a JSON object") from wrong


def field_of(wrong: msgspec.ValidationError) -> str:
    """The field that a failed validation speaks of."""
    message, _, path = str(wrong).partition(" - at `")
    if "field `" in message:
        return message.rsplit("`", 2)[-2]
    return path.rstrip("`").removeprefix("$").removeprefix(".")


def bad_field(field: str, message: str) -> ApiError:
    """The refusal of one field."""
    shown = field or "body"
    return ApiError(400, "bad_field", f"{shown}: {message}", f"correct {shown} and send again", {"field": shown})
