"""Records of images as gateway, imaging and worker write them."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.records import (
    SCHEMA_VERSION,
    FindingState,
    ImageFeedback,
    ImageFinding,
    ImageRefusal,
    ImageResult,
    Priority,
    Verdict,
)

T0 = 1_795_000_000_000
HASH = "a257968277f4a80d422c9669612d9745a08a83ecca912b25263bf1ff72edd7d2"
SHARES = {"glioma": 0.93, "meningioma": 0.04, "notumor": 0.02, "pituitary": 0.01}
BRAIN = "brain_tumour"


def result(job_id: str, **changes: Any) -> ImageResult:
    """A brain tumour that was found, without a heat map."""
    made = ImageResult(
        version=SCHEMA_VERSION,
        job_id=job_id,
        study=f"study-of-{job_id}",
        instance=f"instance-of-{job_id}",
        model=BRAIN,
        model_sha256=HASH,
        at_ms=T0 + 2000,
        label="glioma",
        probability=0.93,
        patient="p-0123456789abcdef",
        input_sha256=HASH,
        code="0.1.0",
        probabilities=SHARES,
        positive=True,
        threshold=0.5,
        preview_uri=f"hdfs:///images/p-0123456789abcdef/{job_id}.dcm.{BRAIN}.preview.png",
        uri=f"hdfs:///images/p-0123456789abcdef/{job_id}.dcm",
        modality="MR",
        body_part="BRAIN",
        caveats=("One slice, not the study.",),
        arrived_ms=T0,
        took_ms=181,
    )
    return msgspec.structs.replace(made, **changes)


def finding(finding_id: str, seq: int = 0, **changes: Any) -> ImageFinding:
    """An open finding of high priority."""
    made = ImageFinding(
        version=SCHEMA_VERSION,
        finding_id=finding_id,
        seq=seq,
        study=f"study-of-{finding_id}",
        instance=f"instance-of-{finding_id}",
        patient="p-0123456789abcdef",
        model=BRAIN,
        label="glioma",
        priority=Priority.HIGH,
        state=FindingState.OPEN,
        at_ms=T0 + 2000,
        job_id=finding_id,
        policy=HASH,
        why="glioma is of high priority",
        probability=0.93,
    )
    return msgspec.structs.replace(made, **changes)


def refusal(refusal_id: str, **changes: Any) -> ImageRefusal:
    """An image with letters in its pixels."""
    made = ImageRefusal(
        version=SCHEMA_VERSION,
        refusal_id=refusal_id,
        sha256=HASH,
        reason="burned_in",
        detail="2 lines of letters in the pixels",
        source="c_store",
        at_ms=T0,
        size=526_336,
    )
    return msgspec.structs.replace(made, **changes)


def feedback(job_id: str, **changes: Any) -> ImageFeedback:
    """A reader who agreed."""
    made = ImageFeedback(
        version=SCHEMA_VERSION,
        feedback_id=f"feedback-{job_id}",
        job_id=job_id,
        study=f"study-of-{job_id}",
        instance=f"instance-of-{job_id}",
        patient="p-0123456789abcdef",
        model=BRAIN,
        verdict=Verdict.ACCEPT,
        actor="a-nurse",
        at_ms=T0 + 60_000,
        label="glioma",
    )
    return msgspec.structs.replace(made, **changes)
