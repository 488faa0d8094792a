"""What a reader makes of a result, checked against it and written to ``image_feedback``: a label for training."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Final

import msgspec

from contracts.errors import Transient
from contracts.records import SCHEMA_VERSION, ImageFeedback, ImageResult, Verdict
from contracts.topology import IMAGE_FEEDBACK
from streams.feed.access import Identity
from streams.feed.image_live import now_ms
from streams.feed.producer import Writer
from streams.feed.replies import ApiError, bad_field

REMEMBERED: Final = 10_000
MOST_MONTHS: Final = 300.0
"""No measure of ours is larger: bone age in months."""


class VerdictRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /api/images/{job_id}/feedback.

    A rejection names the right ``label`` (or ``value`` of a measure), or neither when the reader cannot tell.
    """

    feedback_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_-]{8,64}\Z")]
    verdict: Verdict
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    value: Annotated[float, msgspec.Meta(ge=0, le=MOST_MONTHS)] | None = None
    note: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+\Z")] | None
    ) = None


def judged(result: ImageResult, asked: VerdictRequest, who: Identity) -> ImageFeedback:
    """The feedback to write. Raises ApiError when it does not fit the result."""
    if result.label is None and result.value is None:
        raise ApiError(409, "nothing_said", "the model declined to read this image", "there is nothing to judge")
    label, value = (_accepted if asked.verdict is Verdict.ACCEPT else _corrected)(result, asked)
    return ImageFeedback(
        version=SCHEMA_VERSION,
        feedback_id=asked.feedback_id,
        job_id=result.job_id,
        study=result.study,
        instance=result.instance,
        patient=result.patient or "",
        model=result.model,
        verdict=asked.verdict,
        actor=who.actor,
        at_ms=now_ms(),
        label=label,
        value=value,
        uri=result.uri,
        sha256=result.input_sha256,
        note=asked.note,
    )


def labels_of(result: ImageResult) -> tuple[str, ...]:
    """What the model can say, in its own order; empty for a measure."""
    return tuple(result.probabilities or (() if result.label is None else (result.label,)))


def _accepted(result: ImageResult, asked: VerdictRequest) -> tuple[str | None, float | None]:
    if asked.label not in (None, result.label):
        raise bad_field("label", "to accept is to agree with the model; reject to name another label")
    if asked.value not in (None, result.value):
        raise bad_field("value", "to accept is to agree with the model; reject to name another value")
    return result.label, result.value


def _corrected(result: ImageResult, asked: VerdictRequest) -> tuple[str | None, float | None]:
    labels = labels_of(result)
    if asked.label is not None and asked.label not in labels:
        known = ", ".join(labels) or "no labels, it measures: send value"
        raise bad_field("label", f"is none of this model's: {known}")
    if asked.label is not None and asked.label == result.label:
        raise bad_field("label", "is what the model said; accept it, or name another")
    if asked.value is not None and labels:
        raise bad_field("value", f"this model tells labels: {', '.join(labels)}; send label")
    return asked.label, asked.value


class VerdictDesk:
    """Writes feedback, each once: the same ``feedback_id`` again is answered as the first time."""

    def __init__(self, bootstrap: str) -> None:
        self._writer = Writer(bootstrap)
        self._done: OrderedDict[str, tuple[str, VerdictRequest]] = OrderedDict()

    async def submit(self, result: ImageResult, asked: VerdictRequest, who: Identity) -> None:
        """Write it and return after the broker's acknowledgement.

        Raises ApiError: 400 or 409 when it does not fit, 503 when the broker does not answer in time.
        """
        before = self._done.get(asked.feedback_id)
        if before is not None and before != (result.job_id, asked):
            raise ApiError(409, "feedback_id_used", "that feedback_id was another verdict", "use a new feedback_id")
        feedback = judged(result, asked, who)
        if before is not None:
            return
        try:
            await self._writer.write(IMAGE_FEEDBACK, result.study, feedback)
        except Transient as away:
            raise ApiError(
                503,
                "broker_away",
                "the verdict was not acknowledged by the log, so it is not recorded",
                "try again; what you chose stays on the page",
                headers={"Retry-After": "2"},
            ) from away
        self._done[asked.feedback_id] = (result.job_id, asked)
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)

    async def close(self) -> None:
        """Stop the producer without waiting for a broker that does not answer."""
        await self._writer.close()
