"""What stands before every route: allowed hosts, same-origin changes, who it is, what they may, and the audit row."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import Transient
from contracts.settings import Settings
from streams.feed.access import Access, Identity, Role
from streams.feed.audit import AuditLog, Entry
from streams.feed.replies import ApiError

COOKIE: Final = "ward_session"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
ANYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never listened on
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
REPLAYS: Final = "replay"
"""What stands in the audit log before the name of a replay: a bed of it is not the bed of today."""
KEPT_BY_BROWSERS: Final = ("/static", "/web")
"""What a browser may keep and ask about again; everything else comes with a session or speaks of patients."""
REFUSALS_A_MINUTE: Final = 60

_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "media-src 'self'; manifest-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": _CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

Handler = Callable[[Request, Identity | None], Awaitable[Response]]


@dataclass(frozen=True)
class Rule:
    """A row of the route table. ``needs`` None: open to all. ``what`` names it in the audit log, None: not audited
    when it succeeds (it says nothing of a patient); a refusal always is. ``live_only``: refused where a replay is
    shown."""

    method: str
    path: str
    needs: Role | None
    handler: str
    what: str | None = None
    live_only: bool = False


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """The Host names that the feed answers to: loopback, and the address it is set to listen on."""
    return LOOPBACK | ({settings.feed_host.lower()} - ANYWHERE)


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets; empty when it is not one."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


class Shell:
    """ASGI middleware: security headers on every answer, and nothing at all for a foreign Host (DNS rebinding)."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        no_store = not scope["path"].startswith(KEPT_BY_BROWSERS)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers["cache-control"] = "no-store" if no_store else "no-cache"
            await send(message)

        if host_name(Headers(scope=scope).get("host", "")) not in self._hosts:
            wrong = ApiError(
                421, "bad_host", "the feed does not answer to that host name", "use 127.0.0.1 or localhost"
            )
            await wrong.response()(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


def cookie_of(replay: str | None) -> str:
    """The cookie of a feed's sessions. A browser keeps no two ports of one host apart, and looking at a replay must
    not sign anyone out of the ward."""
    return COOKIE if replay is None else f"{COOKIE}_{replay}"


class Guard:
    """Wraps a rule's handler with everything that must hold before it runs. ``tell`` gets each row once it is written
    and must not wait. ``replay``: the one that the feed shows."""

    def __init__(
        self, access: Access, audit: AuditLog, tell: Callable[[Entry], None], replay: str | None = None
    ) -> None:
        self._cookie = cookie_of(replay)
        self._within = "" if replay is None else f"{REPLAYS} {replay} "
        self._access = access
        self._audit = audit
        self._tell = tell
        self._refusals: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def before(self, rule: Rule, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint for a rule."""

        async def endpoint(request: Request) -> Response:
            who: Identity | None = None
            try:
                who = self._who(request)
                self._permit(rule, request, who)
                answer = await handler(request, who)
                if rule.what is not None:
                    await self._note(rule, request, who, "ok")
                return answer
            except ApiError as refusal:
                try:
                    await self._note_refusal(rule, request, who, refusal)
                except Transient as unwritable:
                    return _audit_away(unwritable).response()
                return refusal.response()
            except Transient as unwritable:
                return _audit_away(unwritable).response()

        return endpoint

    def _who(self, request: Request) -> Identity | None:
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise ApiError(401, "bad_token", "only bearer tokens are known", "send Authorization: Bearer TOKEN")
            who = self._access.by_token(token.strip())
            if who is None:
                raise ApiError(401, "bad_token", "that token is not known", "ask an administrator for a token")
            return who
        cookie = request.cookies.get(self._cookie)
        return self._access.by_cookie(cookie) if cookie else None

    def _permit(self, rule: Rule, request: Request, who: Identity | None) -> None:
        if rule.method not in SAFE:
            _same_origin(request)
        if rule.needs is None:
            return
        if who is None:
            raise ApiError(401, "not_signed_in", "this needs a sign-in", "sign in, or send a bearer token")
        if not who.role.covers(rule.needs):
            raise ApiError(403, "not_allowed", f"this needs the role {rule.needs.value}", "ask an administrator")

    async def _note(self, rule: Rule, request: Request, who: Identity | None, outcome: str, detail: str = "") -> None:
        named = getattr(request.state, "actor", None) or who
        entry = Entry(
            who=named.actor if named is not None else "-",
            role=named.role.value if named is not None else "-",
            what=getattr(request.state, "what", rule.what or f"{rule.method} {rule.path}"),
            where=(self._within + getattr(request.state, "where", "")).rstrip() if outcome == "ok" else "",
            outcome=outcome,
            address=address_of(request),
            detail=detail or getattr(request.state, "detail", ""),
        )
        await self._audit.write(entry)
        self._tell(entry)

    async def _note_refusal(self, rule: Rule, request: Request, who: Identity | None, refusal: ApiError) -> None:
        """One row a refusal up to a rate; beyond it they are counted into the next minute's first row."""
        address, minute = address_of(request), int(time.time() // 60)
        seen_minute, count = self._refusals.pop(address, (minute, 0))
        unwritten = max(0, count - REFUSALS_A_MINUTE) if seen_minute != minute else 0
        count = 1 if seen_minute != minute else count + 1
        self._refusals[address] = (minute, count)
        while len(self._refusals) > 10_000:
            self._refusals.popitem(last=False)
        if count <= REFUSALS_A_MINUTE:
            await self._note(rule, request, who, refusal.code, f"and {unwritten} not written" if unwritten else "")


def address_of(request: Request) -> str:
    """The peer's address."""
    return request.client.host if request.client is not None else "-"


def _same_origin(request: Request) -> None:
    """A page of another site can neither add ``X-Ward`` nor hide where it comes from."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise ApiError(403, "cross_origin", "the request comes from another site", "use the feed's own page")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ApiError(403, "cross_origin", "the request comes from another site", "use the feed's own page")
    if request.headers.get("x-ward") != "1":
        raise ApiError(403, "no_x_ward", "the header X-Ward: 1 is missing", "send X-Ward: 1 with every change")


def _audit_away(unwritable: Transient) -> ApiError:
    return ApiError(
        503, "audit_away", str(unwritable), "free disk space or mend WARD_AUDIT_LOG; nothing is served unrecorded"
    )
