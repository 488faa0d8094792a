"""The workbench's second mode: what is known of a patient, asked field by field, and what a model makes of it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contracts.errors import Misconfigured, Poison, Transient
from contracts.settings import Settings
from models.registry import NotThere, Registry
from models.risk.knee import TABULAR, Assessment, KneeRisk
from models.risk.knee_fields import FIELDS, expected, problems
from streams.feed.access import Identity
from streams.feed.places import models_dir
from streams.feed.replies import ApiError, body_as, reply

DISCLAIMER: Final = "Research software, not a medical device."


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/risk/knee: answers by field name."""

    fields: dict[str, str | float | bool | None]


class Workbench:
    """The handlers, by the names that the route table uses."""

    def __init__(self, settings: Settings) -> None:
        self._registry = Registry(models_dir(settings))
        self._risk: KneeRisk | None = None

    async def risk_form(self, _request: Request, _who: Identity | None) -> Response:
        """What is asked, in the order of the form."""
        fields = [msgspec.to_builtins(field) | {"expected": expected(field)} for field in FIELDS]
        return reply({"fields": fields, "model": TABULAR, "disclaimer": DISCLAIMER})

    async def assess_risk(self, request: Request, _who: Identity | None) -> Response:
        """What the answers say. 400 names every wrong field at once."""
        asked = await body_as(request, Answers)
        wrong = problems(asked.fields)
        if wrong:
            raise ApiError(
                400,
                "bad_fields",
                "; ".join(f"{one.field}: {one.message}" for one in wrong),
                "correct the fields and send again",
                {"field": wrong[0].field, "fields": {one.field: one.message for one in reversed(wrong)}},
            )
        return reply(
            msgspec.to_builtins(await asyncio.to_thread(self._assessed, asked.fields)) | {"disclaimer": DISCLAIMER}
        )

    def _assessed(self, fields: dict[str, Any]) -> Assessment:
        try:
            version = self._registry.resolve(TABULAR, "champion")
            if self._risk is None or self._risk.bundle.version != version:
                self._risk = KneeRisk(self._registry.load(TABULAR, version))
            return self._risk.assess(fields)
        except NotThere as missing:
            hint = f"ward model train {TABULAR}, then ward model promote {TABULAR} VERSION"
            raise ApiError(503, "no_model", f"the model {TABULAR} is not there", hint) from missing
        except (Poison, Misconfigured, Transient) as bad:
            raise ApiError(
                503, "bad_model", f"the model {TABULAR} cannot be used: {bad}", "see ward model list"
            ) from bad
