"""Images by HTTP, for submit and upload: one file a request, answered when it is durable. Loopback is where it belongs.

POST /images?patient=&study=&modality=&body_part=&view=&sex=&age=&source=   the file as body or as one multipart part
GET /healthz, /readyz, /metrics
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import Poison, Transient
from producers.intake import LARGEST, Intake, Receipt
from producers.intake_wrap import Given

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Bodies that are in memory at a time; the other senders are not read from until there is room."""
BODY_S: Final = 60.0
"""For one body to come in."""
FORM_BYTES: Final = 64 * 1024
"""What a multipart body may have besides its file."""
SOURCES: Final = ("submit", "upload")
STATUS: Final = {"stored": 201, "known": 200, "refused": 422}
RETRY_S: Final = "5"


class _TooLarge(Exception):
    """More bytes than a body may have."""


class _InMemory(MultiPartParser):
    """Files of a form are never written to a disk: they hold names."""

    spool_max_size = LARGEST + FORM_BYTES


def build(intake: Intake, hosts: frozenset[str], largest: int = LARGEST) -> Starlette:
    """The application. ``hosts`` are the names by which it may be called: a page of a stranger must not reach it by
    one of its own."""
    room = asyncio.Semaphore(AT_ONCE)

    async def images(request: Request) -> Response:
        if trouble := _stranger(request, hosts):
            return _said(403, "forbidden", trouble)
        try:
            source, given = _told(request.query_params)
            async with room:
                async with asyncio.timeout(BODY_S):
                    content = await _body(request, largest)
                receipt = await run_in_threadpool(intake.take, content, source, given)
        except (_TooLarge, TimeoutError, ClientDisconnect, MultiPartException, Poison, Transient) as wrong:
            return _failure(wrong, largest)
        return _json(STATUS[receipt.outcome], receipt)

    async def healthz(_request: Request) -> Response:
        return _json(200, {"status": "ok"})

    async def readyz(_request: Request) -> Response:
        trouble = await run_in_threadpool(intake.wrong)
        return _json(503 if trouble else 200, {"status": "not ready" if trouble else "ok", "detail": trouble})

    async def metrics(_request: Request) -> Response:
        return Response(intake.gauges.exposition(), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            Route("/images", images, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def _failure(wrong: Exception, largest: int) -> Response:
    """What a sender is told whose image was neither stored nor refused."""
    if isinstance(wrong, Poison):
        return _said(400, wrong.reason, wrong.detail, wrong.field)
    if isinstance(wrong, Transient):
        detail = "nothing was stored: HDFS or Kafka does not take it now"
        return _said(503, "away", detail, headers={"Retry-After": RETRY_S})
    if isinstance(wrong, _TooLarge):
        return _said(413, "too_large", f"at most {largest} bytes a file")
    if isinstance(wrong, MultiPartException):
        return _said(400, "bad_request", "the form cannot be read: one file in it", "body")
    return _said(408, "slow", f"the file was not here after {BODY_S:g} s")


def _stranger(request: Request, hosts: frozenset[str]) -> str | None:
    host = request.headers.get("host", "").rsplit(":", 1)[0].strip("[]").lower()
    if host not in hosts:
        return "not by that name of the host"
    return "no page of a browser sends images here" if "origin" in request.headers else None


def _told(query: Mapping[str, str]) -> tuple[str, Given]:
    told = dict(query)
    source = told.pop("source", "submit")
    if source not in SOURCES:
        raise Poison("bad_request", f"one of {' '.join(SOURCES)}", "source")
    return source, Given.checked(told)


async def _body(request: Request, largest: int) -> bytes:
    """The file, from a form or as it is. Raises _TooLarge, MultiPartException and Poison."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return b"".join([part async for part in _limited(request, largest)])
    form = await _InMemory(request.headers, _limited(request, largest + FORM_BYTES), max_files=1, max_fields=8).parse()
    files = [part for part in form.values() if isinstance(part, UploadFile)]
    if len(files) != 1:
        raise Poison("bad_request", "one file in the form", "body")
    content = await files[0].read()
    await form.close()
    if len(content) > largest:
        raise _TooLarge
    return content


async def _limited(request: Request, largest: int) -> AsyncGenerator[bytes, None]:
    if int(request.headers.get("content-length") or 0) > largest:
        raise _TooLarge
    came = 0
    async for part in request.stream():
        came += len(part)
        if came > largest:
            raise _TooLarge
        yield part


def _json(status: int, told: Receipt | dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(told), status, headers, "application/json")


def _said(
    status: int, reason: str, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    told = {"outcome": "failed", "reason": reason, "detail": detail} | ({"field": field} if field else {})
    return _json(status, told, headers)
