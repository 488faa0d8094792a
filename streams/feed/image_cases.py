"""What is told of one result: the record, its finding, a reader's verdict, its model, the bed it may belong to."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
import structlog

from contracts.errors import Misconfigured, Poison, Transient
from contracts.pseudonyms import Pseudonyms
from contracts.records import ImageResult
from contracts.settings import Settings
from models.bundle import DIGITS, decoded
from models.imaging import keyfile
from models.imaging.settings import SETTINGS_FILE, ImageSettings
from models.registry import CARD, MANIFEST, NotThere, Registry
from streams.feed.board import Board
from streams.feed.explain import AUDIENCE
from streams.feed.gallery import Gallery, feedback_shown
from streams.feed.verdicts import labels_of

log = structlog.get_logger(__name__)

DISCLAIMER: Final = "Research software, not a medical device."


class Cases:
    """Puts together what a page of one result shows."""

    def __init__(self, gallery: Gallery, registry: Registry, beds: Beds) -> None:
        self._gallery = gallery
        self._registry = registry
        self._beds = beds

    async def told(self, result: ImageResult) -> dict[str, Any]:
        """The answer of GET /api/images/{job_id}."""
        model, settings = await asyncio.to_thread(model_of, self._registry, result)
        finding = self._gallery.finding_of(result.job_id)
        said = self._gallery.feedback.get(result.job_id)
        positive = settings.positive if settings is not None else ()
        shares = result.probabilities or {}
        return {
            "result": msgspec.structs.asdict(result),
            "finding": None if finding is None else msgspec.json.decode(finding.data),
            "verdict": None if said is None else msgspec.to_builtins(feedback_shown(said)),
            "labels": list(labels_of(result)),
            "positive_labels": list(positive),
            "finding_probability": sum(shares.get(one, 0.0) for one in positive) if positive and shares else None,
            "model": model,
            "bed": self._beds.of(result.patient),
            "audience": AUDIENCE,
            "disclaimer": DISCLAIMER,
        }


def model_of(registry: Registry, result: ImageResult) -> tuple[dict[str, Any], ImageSettings | None]:
    """What the registry knows of the version that spoke, and its settings; blocking."""
    version = result.model_sha256[:DIGITS]
    told: dict[str, Any] = {"name": result.model, "version": version, "sha256": result.model_sha256, "known": False}
    told |= {"in_force": False, "card": None, "made": None, "purpose": None, "limits": [], "data": []}
    try:
        folder = registry.folder(result.model, version)
        manifest = decoded((folder / MANIFEST).read_bytes(), str(folder))
        told |= {"in_force": registry.aliases(result.model).champion == version}
    except (NotThere, Misconfigured, Poison, OSError):
        return told, None
    told |= {"known": True, "made": manifest.made, "purpose": manifest.purpose, "limits": list(manifest.limits)}
    told["data"] = [f"{one.name} ({one.licence})" for one in manifest.data]
    if (folder / CARD).is_file():
        told["card"] = f"/api/models/{result.model}/{version}/card"
    try:
        return told, msgspec.json.decode((folder / SETTINGS_FILE).read_bytes(), type=ImageSettings)
    except (OSError, msgspec.MsgspecError):
        return told, None


class Beds:
    """From the pseudonym that images have to the bed that has the patient, and back; only where this server has the
    key of pseudonyms. It never makes one."""

    def __init__(self, settings: Settings, board: Board) -> None:
        self._settings = settings
        self._board = board
        self._keyed: Pseudonyms | None = None
        self._known: dict[str, str] = {}

    def of(self, pseudonym: str | None) -> dict[str, str] | None:
        """The ward and bed of that patient, or None."""
        if pseudonym is None or self._key() is None:
            return None
        for (ward, bed), placed in self._board.tiles.items():
            if self.pseudonym(placed.score.patient) == pseudonym:
                return {"ward": ward, "bed": bed}
        return None

    def pseudonym(self, patient: str) -> str | None:
        """What images of the wall's patient go by, or None."""
        key = self._key()
        if key is None or not patient.strip():
            return None
        if patient not in self._known:
            if len(self._known) >= 10_000:
                self._known.clear()
            self._known[patient] = key.patient(patient)
        return self._known[patient]

    def _key(self) -> Pseudonyms | None:
        if self._keyed is None:
            try:
                if keyfile.place(self._settings).is_file():
                    self._keyed = keyfile.pseudonyms(self._settings)
            except (Misconfigured, Transient) as unusable:
                log.warning("images are not matched with beds", why=str(unusable))
        return self._keyed
