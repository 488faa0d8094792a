"""Files on their way from the page to the gateway's intake: passed on as they come, never parsed, never kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final, Literal

import httpx
import msgspec
from starlette.requests import ClientDisconnect, Request

from models.imaging.headers import BODY_PARTS, MODALITIES, VIEWS
from streams.feed.replies import ApiError, bad_field, field_of

MOST_BYTES: Final = 64 << 20
LIMITS: Final = httpx.Timeout(60.0, connect=3.0)

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f\\]+\Z")]


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the sender says of a picture that cannot say it itself; a DICOM file is believed before it."""

    patient: _Text | None = None
    study: _Text | None = None
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    sex: Literal["F", "M", "O"] | None = None
    age: Annotated[float, msgspec.Meta(ge=0, le=120)] | None = None


class Receipt(msgspec.Struct, frozen=True):
    """What the intake answers: ``outcome`` is stored, known (the same bytes again), refused, or failed."""

    outcome: str
    instance: str | None = None
    study: str | None = None
    reason: str | None = None
    detail: str | None = None
    field: str | None = None


def given(query: dict[str, str]) -> Given:
    """The query of an upload, checked. Raises ApiError naming the field."""
    filled = {name: value.strip() for name, value in query.items() if value.strip()}
    try:
        said = msgspec.convert(filled, Given, strict=False)
    except msgspec.ValidationError as wrong:
        raise bad_field(field_of(wrong), str(wrong).partition(" - at `")[0]) from wrong
    for name, known in (("modality", MODALITIES), ("body_part", BODY_PARTS), ("view", VIEWS)):
        value = getattr(said, name)
        if value is not None and value not in known:
            raise bad_field(name, f"is none of DICOM's terms; {', '.join(_near(value, known))}, for example")
    return said


def _near(value: str, known: tuple[str, ...]) -> list[str]:
    import difflib

    return difflib.get_close_matches(value.upper(), known, n=3, cutoff=0.3) or list(known[:3])


class Uploads:
    """The way to the intake. ``url`` None: there is none."""

    def __init__(self, url: str | None) -> None:
        self.url = url.rstrip("/") if url else None
        self._client: httpx.AsyncClient | None = None

    async def forward(self, request: Request) -> Receipt:
        """Stream the request's body to the intake; what it answers. Raises ApiError."""
        said = given(dict(request.query_params))
        if self.url is None:
            raise ApiError(
                503,
                "no_intake",
                "no gateway takes images in here",
                "./ward up gateway, or set WARD_INTAKE to its address",
            )
        _check_head(request)
        query = {name: str(value) for name, value in msgspec.structs.asdict(said).items() if value is not None}
        query["source"] = "upload"
        self._client = self._client or httpx.AsyncClient(timeout=LIMITS, trust_env=False)
        headers = {"Content-Type": "application/octet-stream"}
        if "content-length" in request.headers:
            headers["Content-Length"] = request.headers["content-length"]
        try:
            answer = await self._client.post(
                f"{self.url}/images", params=query, content=_counted(request), headers=headers
            )
        except ClientDisconnect as gone:
            raise ApiError(400, "bad_request", "the file did not arrive whole", "send it again") from gone
        except httpx.HTTPError as away:
            raise _away("the gateway that takes images in does not answer") from away
        return _receipt(answer)

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()


def _check_head(request: Request) -> None:
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("multipart/") or kind.startswith("application/json"):
        raise ApiError(415, "not_a_file", "the body is not the file itself", "send the file's bytes as the body")
    size = request.headers.get("content-length", "")
    if size == "0":
        raise ApiError(400, "empty", "the file is empty", "choose a file that holds an image")
    if size.isascii() and size.isdecimal() and int(size[:18]) > MOST_BYTES:
        raise _too_large()


async def _counted(request: Request) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > MOST_BYTES:
            raise _too_large()
        yield chunk


def _receipt(answer: httpx.Response) -> Receipt:
    try:
        receipt = msgspec.json.decode(answer.content, type=Receipt)
    except msgspec.DecodeError:
        receipt = Receipt("failed")
    said = receipt.detail or receipt.reason
    if receipt.outcome in ("stored", "known"):
        return receipt
    if receipt.outcome == "refused":
        details = {"reason": receipt.reason or "refused"}
        raise ApiError(422, "refused", said or "the image was refused", "the page of images lists it too", details)
    if answer.status_code == 413:
        raise _too_large()
    if answer.status_code == 400 and receipt.field is not None:
        raise bad_field(receipt.field, said or "is wrong")
    if answer.status_code in (408, 503):
        raise _away(said or "the image could not be stored just now")
    what = f"the gateway answered {answer.status_code}: {said or 'in words that we do not know'}"
    raise ApiError(502, "bad_intake", what, "its log says more: ./ward logs gateway")


def _too_large() -> ApiError:
    return ApiError(413, "too_large", f"the file has more than {MOST_BYTES >> 20} MiB", "send a smaller one")


def _away(what: str) -> ApiError:
    return ApiError(
        503,
        "intake_away",
        what,
        "nothing was taken in; try again, `ward doctor` if it lasts",
        headers={"Retry-After": "3"},
    )
