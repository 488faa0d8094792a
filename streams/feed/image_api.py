"""What each route of the image pages does."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import ImageResult
from contracts.settings import Settings
from models.registry import CARD, NotThere, Registry
from streams.feed import card_page, case_pdf
from streams.feed.access import Identity
from streams.feed.asking import Stream, known, new_client
from streams.feed.gauges import Gauges
from streams.feed.image_cases import Beds, Cases
from streams.feed.live import Live
from streams.feed.pictures import Pictures
from streams.feed.places import models_dir
from streams.feed.replies import ApiError, body_as, reply
from streams.feed.uploads import Uploads
from streams.feed.verdicts import VerdictDesk, VerdictRequest

_JOB: Final = re.compile(r"[0-9A-Za-z_.:-]{1,128}")


class ImageApi:
    """The handlers, by the names that the route table uses."""

    def __init__(self, settings: Settings, live: Live, gauges: Gauges, drain_s: float) -> None:
        self._live = live
        self._images = live.images
        self._gauges = gauges
        self._drain_s = drain_s
        self._registry = Registry(models_dir(settings))
        self._beds = Beds(settings, live.board)
        self._cases = Cases(live.images.gallery, self._registry, self._beds)
        self._pictures = Pictures(settings)
        self._uploads = Uploads(settings.intake)
        self._verdicts = VerdictDesk(settings.kafka)

    async def close(self) -> None:
        """End connections and threads."""
        await self._verdicts.close()
        await self._uploads.close()
        self._pictures.close()

    # -- lists -------------------------------------------------------------------------------------------------------

    async def images(self, request: Request, _who: Identity | None) -> Response:
        """The radiologist's list, recent results, what was not let in."""
        if not self._images.ready:
            trouble = self._images.trouble() or "starting"
            raise ApiError(503, "starting", trouble, "try again in a moment", headers={"Retry-After": "1"})
        request.state.where = "*"
        return reply(self._images.gallery.whole())

    async def image_stream(self, request: Request, who: Identity | None) -> Response:
        """The same, live."""
        client, cursor = new_client(request, known(who), None, self._live.streams())
        request.state.where = "*"
        return Stream(self._images.stream(client, cursor), self._gauges, client, self._drain_s)

    async def images_of_bed(self, request: Request, _who: Identity | None) -> Response:
        """Results of the patient in a bed; none where this server cannot match images with patients."""
        bed = request.path_params["bed"]
        found = self._live.board.find(bed, request.query_params.get("ward") or None)
        if found is None:
            raise ApiError(404, "unknown_bed", "no such bed on the wall", "take the bed from /api/wall")
        ward, placed = found
        request.state.where = f"{ward}/{bed}"
        pseudonym = self._beds.pseudonym(placed.score.patient)
        rows = self._images.gallery.of_patient(pseudonym) if pseudonym is not None else []
        return reply(
            {"ward": ward, "bed": bed, "matched": pseudonym is not None, "results": [msgspec.Raw(r.data) for r in rows]}
        )

    # -- one result --------------------------------------------------------------------------------------------------

    async def image(self, request: Request, _who: Identity | None) -> Response:
        """Everything about one result."""
        return reply(await self._cases.told(await self._result(request)))

    async def image_preview(self, request: Request, _who: Identity | None) -> Response:
        """The picture that was read."""
        return await self._png((await self._result(request)).preview_uri)

    async def image_heat(self, request: Request, _who: Identity | None) -> Response:
        """Where the model looked, to lay over the picture."""
        return await self._png((await self._result(request)).heatmap_uri)

    async def image_pdf(self, request: Request, _who: Identity | None) -> Response:
        """The case as PDF; a picture that cannot be had now is said to be missing."""
        result = await self._result(request)
        case = await self._cases.told(result)
        pictures = [await self._if_there(uri) for uri in (result.preview_uri, result.heatmap_uri)]
        try:
            content = await asyncio.to_thread(case_pdf.made, case, *pictures)
        except Misconfigured as lacking:
            raise ApiError(503, "no_pdf", "this feed cannot make a PDF", str(lacking)) from lacking
        name = re.sub(r"[^0-9A-Za-z_-]", "-", result.job_id)
        return Response(
            content, headers={"Content-Disposition": f'inline; filename="{name}.pdf"'}, media_type="application/pdf"
        )

    async def judge_image(self, request: Request, who: Identity | None) -> Response:
        """Accept or reject: 202 once the log has it."""
        identity, asked = known(who), await body_as(request, VerdictRequest)
        result = await self._result(request)
        request.state.what = f"judge_image.{asked.verdict.value}"
        request.state.detail = f"{result.job_id} {asked.feedback_id}"
        await self._verdicts.submit(result, asked, identity)
        self._gauges.verdicts.labels(result.model, asked.verdict.value).inc()
        return reply({"feedback_id": asked.feedback_id}, 202)

    async def upload_image(self, request: Request, _who: Identity | None) -> Response:
        """Pass a file on to the gateway: 201 once it is stored."""
        try:
            receipt = await self._uploads.forward(request)
        except ApiError as refusal:
            self._gauges.uploads.labels("refused" if refusal.status == 422 else "failed").inc()
            raise
        self._gauges.uploads.labels("known" if receipt.outcome == "known" else "stored").inc()
        request.state.where, request.state.detail = "images", receipt.instance or ""
        return reply(receipt, 200 if receipt.outcome == "known" else 201)

    async def model_card(self, request: Request, _who: Identity | None) -> Response:
        """The card of a version: a page for who asks for HTML, as a browser does, else its Markdown."""
        name, version = request.path_params["name"], request.path_params["version"]
        try:
            card = (await asyncio.to_thread(self._registry.notes, name, version)).get(CARD)
        except (NotThere, Misconfigured) as missing:
            raise ApiError(404, "unknown_model", str(missing), "see ward model list") from missing
        if card is None:
            raise ApiError(404, "no_card", "this version has no card", "ward model card writes one")
        if self._live.replay is None and "text/html" in request.headers.get("accept", ""):
            answer: Response = await asyncio.to_thread(card_page.shown, name, version, card)
        else:
            answer = Response(card, media_type="text/plain; charset=utf-8")
        answer.headers["vary"] = "accept"
        return answer

    # -- shared ------------------------------------------------------------------------------------------------------

    async def _result(self, request: Request) -> ImageResult:
        job_id = request.path_params["job_id"]
        try:
            result = await self._images.find(job_id) if _JOB.fullmatch(job_id) else None
        except Transient as away:
            hint = "try again; results still in memory are shown without the log"
            raise ApiError(503, "broker_away", str(away), hint) from away
        if result is None:
            raise ApiError(404, "unknown_image", "no such result", "take job_id from /api/images or from image_results")
        request.state.where, request.state.detail = result.patient or "", result.job_id
        return result

    async def _png(self, uri: str | None) -> Response:
        if uri is None:
            raise ApiError(404, "no_picture", "no such picture was made of this image", "the result stands without it")
        count = self._gauges.image_reads
        try:
            content, remembered = await self._pictures.read(uri)
        except FileNotFoundError as missing:
            count.labels("missing").inc()
            raise ApiError(
                404, "no_picture", "the picture is not on HDFS any more", "the result stands without it"
            ) from missing
        except Poison as bad:
            count.labels("failed").inc()
            raise ApiError(502, "bad_picture", f"the picture cannot be shown: {bad.detail}", "see ward dlq") from bad
        except (Transient, Misconfigured) as away:
            count.labels("failed").inc()
            hint = "the numbers stand without it; try again, `ward doctor` if it lasts"
            raise ApiError(503, "hdfs_away", str(away), hint, headers={"Retry-After": "3"}) from away
        count.labels("remembered" if remembered else "read").inc()
        return Response(content, media_type="image/png")

    async def _if_there(self, uri: str | None) -> bytes | None:
        if uri is None:
            return None
        try:
            return (await self._pictures.read(uri))[0]
        except (FileNotFoundError, Poison, Transient, Misconfigured):
            return None
