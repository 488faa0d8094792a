"""The live alert feed as a process: `python -m streams.feed.server`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from contracts.errors import Misconfigured
from contracts.settings import Settings
from models.ward.policy import Policy, load_policy
from streams.feed import api
from streams.feed.access import Access, Attempts, Sessions, Users
from streams.feed.actions import ActionDesk
from streams.feed.audit import AuditLog
from streams.feed.fanout import SIGNED_OUT
from streams.feed.gauges import Gauges
from streams.feed.guard import LOOPBACK, Guard, Handler, Rule, Shell, allowed_hosts
from streams.feed.image_api import ImageApi
from streams.feed.live import Live
from streams.feed.places import audit_path, sessions_path, users_path
from streams.feed.replay_api import ReplayApi, not_in_a_replay
from streams.feed.replay_live import ReplayLive
from streams.feed.replay_page import WITHHELD
from streams.feed.replies import ApiError
from streams.feed.routes import FOLDERS, ROUTES
from streams.feed.sockets import server_for
from streams.feed.telling import Teller
from streams.feed.workbench import Workbench

log = structlog.get_logger(__name__)

CHECK_S: Final = 2.0
STATIC: Final = Path(__file__).parent / "static"


def build_app(settings: Settings, *, drain_s: float = api.DRAIN_S, keep_events: int = 4096) -> Starlette:
    """The whole feed. Raises Misconfigured for settings that cannot work.

    ``drain_s``: how long a stalled reader is borne. ``keep_events``: transitions a partition held in memory.
    """
    if settings.feed_demo and settings.feed_host.lower() not in LOOPBACK:
        raise Misconfigured("WARD_FEED_DEMO signs everyone in, so it needs WARD_FEED_HOST=127.0.0.1; unset one of them")
    if not 60 <= settings.feed_history_s <= 86_400:
        raise Misconfigured(f"WARD_FEED_HISTORY_S is {settings.feed_history_s}; it is from 60 to 86400")
    policy = load_policy(settings.policy)
    users = Users(users_path(settings))
    sessions = Sessions(sessions_path(settings), demo=settings.feed_demo)
    access = Access(users, sessions, Attempts())
    audit = AuditLog(audit_path(settings))
    gauges = Gauges()
    live = _live(settings, policy, gauges, keep_events)
    desk = ActionDesk(settings.kafka)
    handlers = api.Api(settings, live, access, audit, desk, gauges, drain_s)
    image_handlers = ImageApi(settings, live, gauges, drain_s)
    every = (handlers, image_handlers, Workbench(settings), ReplayApi(live))
    teller = Teller(settings.kafka, gauges.untold.inc)
    guard = Guard(access, audit, teller.tell, live.replay)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(live.run())
        checking = asyncio.create_task(_drop_the_signed_out(live, access))
        telling = asyncio.create_task(teller.run())
        for task in (running, checking, telling):
            task.add_done_callback(lambda done: _end_with(app, done))
        try:
            yield
        finally:
            for task in (running, checking, telling):
                task.cancel()
            await asyncio.gather(running, checking, telling, return_exceptions=True)
            await desk.close()
            await image_handlers.close()
            await teller.close()
            sessions.save()
            audit.close()

    app = Starlette(
        routes=[*_routes(guard, every, live.replay), *_folders(settings, live.replay)],
        lifespan=lifespan,
        middleware=[Middleware(Shell, hosts=allowed_hosts(settings))],
        exception_handlers={HTTPException: _http_error, Exception: _server_error},
    )
    app.state.live = live
    app.state.failed = None
    return app


def _live(settings: Settings, policy: Policy, gauges: Gauges, keep_events: int) -> Live:
    if settings.feed_replay is None:
        return Live(settings, policy, gauges, keep_events=keep_events)
    return ReplayLive(settings, policy, gauges, settings.feed_replay, keep_events=keep_events)


def _routes(guard: Guard, every: tuple[object, ...], replay: str | None) -> list[BaseRoute]:
    def handler(rule: Rule) -> Handler:
        if replay is not None and rule.live_only:
            return not_in_a_replay
        found: Handler = next(getattr(handlers, rule.handler) for handlers in every if hasattr(handlers, rule.handler))
        return found

    return [Route(rule.path, guard.before(rule, handler(rule)), methods=[rule.method]) for rule in ROUTES]


def _folders(settings: Settings, replay: str | None) -> list[BaseRoute]:
    folders = zip(FOLDERS, (STATIC, Path(settings.web_dir) if settings.web_dir else STATIC / "web"), strict=True)
    withheld = frozenset[str]() if replay is None else WITHHELD
    return [Mount(path, Folder(directory=folder, check_dir=False, withheld=withheld)) for path, folder in folders]


class Folder(StaticFiles):
    """A folder of files; a path that no file can have, a folder not fetched yet, or what is ``withheld`` is simply not
    there."""

    def __init__(self, *, directory: Path, check_dir: bool, withheld: frozenset[str]) -> None:
        super().__init__(directory=directory, check_dir=check_dir)
        self._withheld = withheld

    async def check_config(self) -> None:
        """A missing folder is no failure of the server."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Where the file is."""
        if "\0" in path or os.path.normpath(path) in self._withheld:
            return "", None
        return super().lookup_path(path)


async def _drop_the_signed_out(live: Live, access: Access) -> None:
    """A stream ends soon after its session expired or its user was revoked, by whichever process."""
    while True:
        await asyncio.sleep(CHECK_S)
        access.refresh()
        live.cut(SIGNED_OUT, lambda client: not access.still(client.session, client.actor))


def _end_with(app: Starlette, task: asyncio.Task[None]) -> None:
    if task.cancelled() or task.exception() is None:
        return
    app.state.failed = task.exception()
    log.error("a part of the feed failed, the process ends", exc_info=task.exception())
    stop = getattr(app.state, "stop", None)
    if stop is not None:
        stop()


async def _http_error(_request: Request, wrong: Exception) -> Response:
    status = wrong.status_code if isinstance(wrong, HTTPException) else 500
    headers = dict(wrong.headers or {}) if isinstance(wrong, HTTPException) else {}
    code = {404: "not_found", 405: "wrong_method"}.get(status, "http_error")
    message = {404: "there is nothing here", 405: "not with that method"}.get(status, "the request cannot be answered")
    return ApiError(status, code, message, "see the route table in streams/feed/routes.py", headers=headers).response()


async def _server_error(_request: Request, _wrong: Exception) -> Response:
    return ApiError(500, "internal", "the feed failed on this request", "the log of the feed says where").response()


def set_up_logging(settings: Settings) -> None:
    """Lines on stderr: JSON where nobody looks, else readable."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper())
    if level is None:
        raise Misconfigured(f"WARD_LOG_LEVEL is {settings.log_level}; known are DEBUG, INFO, WARNING, ERROR")
    readable = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr, level=max(level, logging.WARNING), format="%(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it says so at every try; the taps say it once


async def serve(settings: Settings) -> int:
    """Run until told to stop: 0, 130 when interrupted, 1 when a part failed or the port is taken."""
    app = build_app(settings)
    server = server_for(app, app.state.live, settings.feed_host, settings.feed_port)
    app.state.stop = lambda: setattr(server, "should_exit", True)
    log.info(
        "the feed listens",
        host=settings.feed_host,
        port=settings.feed_port,
        demo=settings.feed_demo,
        replay=settings.feed_replay,
    )
    await server.serve()
    if app.state.failed is not None or not server.started:
        return 1
    return 130 if server.interrupted else 0


def main() -> int:
    """Entry point; exit codes 0 stopped, 1 failed, 2 misconfigured, 130 interrupted."""
    try:
        settings = Settings.from_env(os.environ)
        set_up_logging(settings)
        return asyncio.run(serve(settings))
    except Misconfigured as wrong:
        print(f"misconfigured: {wrong}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
