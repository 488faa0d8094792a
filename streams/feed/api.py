"""What each route does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from contracts import codec
from contracts.errors import Poison, Transient
from contracts.records import AlertTransition, Category
from contracts.settings import Settings
from contracts.topology import partition_for
from models.registry import Registry
from streams.feed import advice
from streams.feed.access import LIFETIME_S, Access, Identity, Role
from streams.feed.actions import ActionDesk, ActionRequest, check
from streams.feed.asking import Stream, known, new_client, number
from streams.feed.audit import AuditLog, Entry
from streams.feed.explain import AUDIENCE, limits_summary, policy_summary, rule_text
from streams.feed.fanout import SIGNED_OUT
from streams.feed.gauges import Gauges
from streams.feed.guard import address_of, cookie_of
from streams.feed.ledger import Alert
from streams.feed.live import Live
from streams.feed.outlooks import STALE_MS, forecast_shown
from streams.feed.places import models_dir
from streams.feed.replay_page import marked
from streams.feed.replies import ApiError, bad_field, body_as, reply
from streams.feed.taps import read_span

PAGE: Final = Path(__file__).parent / "static" / "index.html"
IMAGE_PAGE: Final = PAGE.with_name("images.html")
DRAIN_S: Final = 10.0
"""A socket that takes nothing for this long belongs to nobody who looks."""

SEARCH_S: Final = 8.0
WHY_BEFORE_S: Final = 600
WHY_AFTER_MS: Final = 120_000


class SignInRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/session."""

    token: str


class UserRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/users."""

    name: str
    role: Role


class Api:
    """The handlers, by the names that the route table uses."""

    def __init__(
        self,
        settings: Settings,
        live: Live,
        access: Access,
        audit: AuditLog,
        desk: ActionDesk,
        gauges: Gauges,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._settings = settings
        self._live = live
        self._access = access
        self._audit = audit
        self._desk = desk
        self._gauges = gauges
        self._drain_s = drain_s
        self._registry = Registry(models_dir(settings))
        self._cookie = cookie_of(live.replay)

    # -- the page and the process ------------------------------------------------------------------------------------

    async def page(self, request: Request, who: Identity | None) -> Response:
        """The wall; in the demo a page comes with a session."""
        return await self._page(PAGE, request, who)

    async def image_page(self, request: Request, who: Identity | None) -> Response:
        """The pages of images and the workbench: one page, which shows what its address says."""
        return await self._page(IMAGE_PAGE, request, who)

    async def _page(self, page: Path, request: Request, who: Identity | None) -> Response:
        if not page.is_file():
            raise ApiError(404, "no_page", "the page is not part of this installation", "use the API, or ward tail")
        replay = self._live.replay
        answer = (
            FileResponse(page, media_type="text/html") if replay is None else marked(page.read_text("utf-8"), replay)
        )
        if who is None and self._settings.feed_demo:
            secret, demo = self._access.demo()
            self._set_cookie(answer, request, secret)
            entry = Entry(who=demo.actor, role=demo.role.value, what="sign_in", where="", outcome="ok", detail="demo")
            await self._audit.write(msgspec.structs.replace(entry, address=address_of(request)))
        return answer

    async def healthz(self, _request: Request, _who: Identity | None) -> Response:
        """The process runs."""
        return reply({"status": "ok"})

    async def readyz(self, _request: Request, _who: Identity | None) -> Response:
        """The wall is as new as the log."""
        trouble = self._live.trouble()
        if trouble is not None:
            raise ApiError(503, "not_ready", trouble, "wait; `ward doctor` if it lasts")
        return reply({"status": "ok", "beds": len(self._live.board.tiles), "clients": self._live.streams()})

    async def metrics(self, _request: Request, _who: Identity | None) -> Response:
        """Prometheus text."""
        if not self._settings.feed_metrics:
            raise ApiError(404, "not_found", "metrics are switched off", "set WARD_FEED_METRICS=true")
        return Response(self._gauges.exposition(), media_type=CONTENT_TYPE_LATEST)

    # -- who ---------------------------------------------------------------------------------------------------------

    async def sign_in(self, request: Request, _who: Identity | None) -> Response:
        """A token for a session."""
        address = address_of(request)
        wait_s = self._access.attempts.wait_s(address)
        if wait_s > 0:
            headers = {"Retry-After": f"{wait_s:.0f}"}
            raise ApiError(429, "too_many", "too many wrong tokens", f"wait {wait_s:.0f} s", headers=headers)
        asked = await body_as(request, SignInRequest)
        found = self._access.sign_in(asked.token)
        if found is None:
            self._access.attempts.failed(address)
            raise ApiError(401, "bad_token", "that token is not known", "ask an administrator for a token")
        secret, identity = found
        request.state.actor = identity
        answer = reply(self._shown(identity))
        self._set_cookie(answer, request, secret)
        return answer

    async def session(self, _request: Request, who: Identity | None) -> Response:
        """Who is signed in."""
        return reply(self._shown(known(who)))

    async def sign_out(self, _request: Request, who: Identity | None) -> Response:
        """End the session and its streams."""
        identity = known(who)
        if identity.session is not None:
            self._access.sessions.close(identity.session)
            self._live.cut(SIGNED_OUT, lambda client: client.session == identity.session)
        answer = reply({"signed_out": identity.session is not None})
        answer.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict")
        return answer

    async def add_user(self, request: Request, _who: Identity | None) -> Response:
        """A new user; the token is in this answer and nowhere else."""
        asked = await body_as(request, UserRequest)
        try:
            token = self._access.users.add(asked.name, asked.role)
        except ValueError as bad:
            raise bad_field("name", str(bad)) from bad
        except KeyError as taken:
            raise ApiError(409, "user_exists", "that name is taken", "revoke it first, or choose another") from taken
        request.state.where = asked.name
        request.state.detail = asked.role.value
        return reply({"name": asked.name, "role": asked.role, "token": token}, 201)

    async def revoke_user(self, request: Request, _who: Identity | None) -> Response:
        """Remove a user, their sessions and their open streams."""
        name = request.path_params["name"]
        try:
            self._access.users.revoke(name)
        except KeyError as missing:
            raise ApiError(404, "unknown_user", "no such user", "see ward user list") from missing
        request.state.where = name
        self.drop(name)
        return reply({"revoked": name})

    def drop(self, actor: str) -> None:
        """End the sessions and streams of an actor."""
        self._access.sessions.close_where(lambda session: session.actor == actor and not session.demo)
        self._live.cut(SIGNED_OUT, lambda client: client.actor == actor)

    async def read_audit(self, request: Request, _who: Identity | None) -> Response:
        """The newest audit rows."""
        limit = number(request, "limit", 100, 1, 1000)
        before = number(request, "before", 0, 0, 1 << 53) or None
        rows = await asyncio.to_thread(self._audit.page, limit, before)
        return reply({"rows": rows})

    # -- the ward ----------------------------------------------------------------------------------------------------

    async def wall(self, request: Request, _who: Identity | None) -> Response:
        """Everything at once."""
        if not self._live.started.is_set():
            trouble = self._live.trouble() or "starting"
            raise ApiError(503, "starting", trouble, "try again in a moment", headers={"Retry-After": "1"})
        ward = _ward(request)
        request.state.where = ward or "*"
        return reply(self._live.wall(ward)[0])

    async def stream(self, request: Request, who: Identity | None) -> Response:
        """Server-sent events."""
        ward = _ward(request)
        client, cursor = new_client(request, known(who), ward, self._live.streams())
        request.state.where = ward or "*"
        return Stream(self._live.stream(client, cursor), self._gauges, client, self._drain_s)

    async def trend(self, request: Request, _who: Identity | None) -> Response:
        """The last seconds of one bed."""
        seconds = number(request, "s", 600, 1, self._settings.feed_history_s)
        bed = request.path_params["bed"]
        found = self._live.board.find(bed, _ward(request))
        if found is None:
            raise ApiError(404, "unknown_bed", "no such bed on the wall", "take the bed from /api/wall")
        ward, placed = found
        request.state.where = f"{ward}/{bed}"
        return reply(self._trend(ward, bed, placed.score.patient, seconds, None))

    async def forecast(self, request: Request, _who: Identity | None) -> Response:
        """The newest forecast of one bed, with its age; without vitals while no model has spoken of the patient."""
        bed = request.path_params["bed"]
        found = self._live.board.find(bed, _ward(request))
        if found is None:
            raise ApiError(404, "unknown_bed", "no such bed on the wall", "take the bed from /api/wall")
        ward, placed = found
        request.state.where = f"{ward}/{bed}"
        patient, told = placed.score.patient, self._live.predictions.beds.get((ward, bed))
        answer: dict[str, Any] = {"ward": ward, "bed": bed, "patient": patient, "stale_after_ms": STALE_MS}
        answer |= {"at_ms": None, "now_ms": None, "age_ms": None, "stale": False, "known": None}
        answer |= {"levels": [], "models": [], "vitals": []}
        if told is not None and told.patient == patient:
            try:
                answer |= forecast_shown(told)
            except Poison as bad:
                raise ApiError(
                    502, "bad_forecast", f"the forecast cannot be read: {bad.reason}", "see ward dlq"
                ) from bad
            age_ms = max(0, self._live.board.wards[ward] - told.now_ms)
            answer |= {"age_ms": age_ms, "stale": age_ms > STALE_MS}
        answer["limits"] = limits_summary(self._live.policy.limits_for(ward, patient))
        return reply(answer | {"audience": AUDIENCE, "disclaimer": advice.DISCLAIMER})

    async def why(self, request: Request, _who: Identity | None) -> Response:
        """The rule, the values, the source and the minutes around one alarm; of an advisory the model behind it too."""
        alert_id = request.path_params["alert_id"]
        alert = self._live.ledger.alert(alert_id) or await self._search(alert_id)
        if alert is None:
            raise ApiError(404, "unknown_alert", "no such alarm", "take alert_id from /api/wall or the alerts topic")
        latest, policy = alert.latest, self._live.policy
        request.state.where = f"{latest.ward}/{latest.bed}"
        request.state.detail = alert_id
        end_ms = max(latest.at_ms, latest.onset_ms + WHY_AFTER_MS)
        rule = rule_text(policy, latest)
        if latest.policy != policy.hash:
            rule += f" (Decided under policy {latest.policy}; the words are those of {policy.hash}, in force now.)"
        advised = await self._advised(alert) if latest.category is Category.ADVISORY else {}
        return reply(
            {
                "alert_id": alert_id,
                "rule": rule,
                "message": latest.message,
                "ward": latest.ward,
                "bed": latest.bed,
                "patient": latest.patient,
                "vital": latest.vital,
                "value": latest.value,
                "limit": latest.limit,
                "transitions": [msgspec.Raw(data) for data in alert.transitions()],
                "transition_count": alert.count,
                "policy": policy_summary(policy) | {"decided_under": latest.policy},
                "source": latest.source,
                "news2": msgspec.Raw(alert.news2) if alert.news2 else None,
                "trend": self._trend(latest.ward, latest.bed, latest.patient, WHY_BEFORE_S, end_ms),
                "model": None,
                "prediction": None,
                "audience": AUDIENCE,
            }
            | advised
        )

    async def act(self, request: Request, who: Identity | None) -> Response:
        """Acknowledge, pause, escalate, note: 202 once the log has it."""
        identity = known(who)
        asked = await body_as(request, ActionRequest)
        request.state.what = f"act.{asked.kind.value}"
        check(self._live, asked)
        request.state.where = f"{asked.ward}/{asked.bed}"
        request.state.detail = f"{asked.action_id} {asked.alert_id or ''}".strip()
        await self._desk.submit(asked, identity)
        return reply({"action_id": asked.action_id}, 202)

    def _shown(self, who: Identity) -> dict[str, Any]:
        replay = self._live.replay
        told = {"actor": who.actor, "role": who.role.value, "demo": who.demo}
        return told | {"replay": replay, "silent": replay is not None}

    def _set_cookie(self, answer: Response, request: Request, secret: str) -> None:
        answer.set_cookie(
            self._cookie,
            secret,
            max_age=int(LIFETIME_S),
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    def _trend(self, ward: str, bed: str, patient: str, seconds: int, end_ms: int | None) -> dict[str, Any]:
        trend = self._live.trends.read(ward, bed, seconds, end_ms)
        limits = limits_summary(self._live.policy.limits_for(ward, patient))
        return {"t_ms": trend.t_ms, "series": trend.series, "limits": limits}

    async def _advised(self, alert: Alert) -> dict[str, Any]:
        """What an advisory is made of: the model, how it was judged, and what it said when the advisory was raised."""
        raised = advice.first_of(alert.transitions())
        told, (forecast, missing) = await asyncio.gather(
            asyncio.to_thread(advice.evidence, self._registry, raised),
            advice.at_onset(self._settings.kafka, self._live.read.forecasts, raised),
        )
        return {
            "model": advice.model_in_force(told, self._live.outlooks, raised.ward, forecast),
            "prediction": advice.prediction(raised, forecast, missing),
        }

    async def _search(self, alert_id: str) -> Alert | None:
        """An alarm that ended too long ago to be in memory, from its partition of the log."""
        offsets, begins = self._live.ledger.offsets(), self._live.ledger.begins()
        if not offsets:
            return None
        partition = partition_for(alert_id, len(offsets))
        alert: Alert | None = None
        try:
            async with asyncio.timeout(SEARCH_S):
                span = {partition: (begins[partition], offsets[partition])}
                async for record in read_span(self._settings.kafka, self._live.read.alerts, span):
                    if record.key != alert_id.encode() or self._live.ledger.passes_over(partition, record.offset):
                        continue
                    try:
                        transition = codec.decode(record.value, AlertTransition)
                    except Poison:
                        continue
                    alert = alert or Alert(transition, partition)
                    alert.add(transition, codec.encode(transition))
        except (Transient, TimeoutError) as away:
            hint = "try again; alarms still in memory are shown without the log"
            raise ApiError(503, "broker_away", "the log could not be searched in time", hint) from away
        return alert


def _ward(request: Request) -> str | None:
    return request.query_params.get("ward") or None
