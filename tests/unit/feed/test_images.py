"""The image routes on real sockets: lists, live changes, one case, verdicts, uploads, the risk form."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx
import pytest

from contracts.errors import Poison
from contracts.pseudonyms import Pseudonyms
from contracts.records import FindingState, Verdict
from streams.feed import case_pdf, uploads
from streams.feed.audit import AuditLog, Entry
from streams.feed.pictures import picture_path
from streams.feed.replies import ApiError
from streams.feed.telling import access_of
from tests.unit.feed.image_records import feedback, finding, refusal, result
from tests.unit.feed.rig import CHANGE, Served, serve

asynchronous = pytest.mark.asyncio


@asynchronous
async def test_a_fresh_client_gets_the_lists_first_and_then_what_changes(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        feed.image(result("j1"), finding("f1", job_id="j1"), refusal("r1"))
        async with feed.stream(path="/api/images/stream") as reader:
            told = await reader.next("gallery")
            assert [one["job_id"] for one in told.data["results"]] == ["j1"]
            assert [one["refusal_id"] for one in told.data["refusals"]] == ["r1"]
            feed.image(finding("f1", 1, job_id="j1", state=FindingState.ESCALATED))
            change = (await reader.next("images")).data
            assert [(one["finding_id"], one["state"]) for one in change["findings"]] == [("f1", "escalated")]
            assert change["results"] == []


@asynchronous
async def test_a_resumed_client_gets_only_what_it_missed(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        feed.image(finding("f1"))
        async with feed.stream(path="/api/images/stream") as reader:
            await reader.next("gallery")
            cursor = reader.last_id
        feed.image(finding("f2"))
        async with feed.stream(path="/api/images/stream", cursor=cursor) as reader:
            missed = await reader.next("images", "gallery")
            assert (missed.event, [one["finding_id"] for one in missed.data["findings"]]) == ("images", ["f2"])


@asynchronous
async def test_a_revoked_user_is_cut_off_the_images_too(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        async with feed.stream(path="/api/images/stream") as reader:
            await reader.next("gallery")
            async with feed.client("admin") as admin:
                assert (await admin.get("/readyz")).status_code == 503
                assert (await admin.delete("/api/users/a-viewer", headers=CHANGE)).status_code == 200
            assert (await reader.rest())[-1].data == {"reason": "signed_out"}
        assert not feed.live.images.clients


@asynchronous
async def test_a_case_tells_everything_and_each_read_is_audited(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        feed.image(result("j1"), finding("f1", job_id="j1"), feedback("j1"))
        async with feed.client() as client:
            case = (await client.get("/api/images/j1")).json()
            missing = await client.get("/api/images/j1/heat")
            assert (await client.get("/api/images/j1/pdf")).content.startswith(b"%PDF-")
        assert case["result"]["probabilities"]["glioma"] == 0.93
        assert case["labels"] == ["glioma", "meningioma", "notumor", "pituitary"]
        assert (case["finding"]["finding_id"], case["verdict"]["verdict"]) == ("f1", "accept")
        assert case["model"] | {"limits": [], "data": []} == case["model"]
        assert (case["model"]["version"], case["model"]["known"], case["bed"]) == ("a257968277f4", False, None)
        assert (missing.status_code, missing.json()["code"]) == (404, "no_picture")
    rows = [row for row in AuditLog(tmp_path / "audit.log").page(20) if row.who == "a-viewer"]
    assert [(row.what, row.where, row.detail) for row in reversed(rows) if row.outcome == "ok"] == [
        (what, "p-0123456789abcdef", "j1") for what in ("read_image", "read_image_pdf")
    ]


def test_a_read_of_an_image_is_told_to_the_lake_as_such() -> None:
    entry = Entry(who="a", role="viewer", what="read_image_preview", where="p-1", outcome="ok")
    assert (access_of(entry, 0).action, access_of(entry, 0).target) == ("image", "read_image_preview p-1")


@asynchronous
async def test_a_verdict_must_fit_the_result_and_reach_the_log(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, object], int, str | None]] = [
        ({"verdict": "reject", "label": "glioma"}, 400, "label"),
        ({"verdict": "reject", "label": "dog"}, 400, "label"),
        ({"verdict": "reject", "value": 3.0}, 400, "value"),
        ({"verdict": "accept", "label": "meningioma"}, 400, "label"),
        ({"verdict": "perhaps"}, 400, "verdict"),
        ({"verdict": "accept", "note": ""}, 400, "note"),
        ({"verdict": "accept", "who": "me"}, 400, "who"),
        ({"verdict": "reject", "label": "meningioma"}, 503, None),
    ]
    async with serve(tmp_path) as feed, feed.client("nurse") as client:
        feed.image(result("j1"))
        for body, status, field in wrong:
            sent = {"feedback_id": "feedback-0001", **body}
            answer = await client.post("/api/images/j1/feedback", json=sent, headers=CHANGE)
            assert (answer.status_code, answer.json().get("details", {}).get("field")) == (status, field), body
        assert not feed.live.images.gallery.feedback


@asynchronous
async def test_what_was_not_read_cannot_be_judged(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        feed.image(result("j1", label=None, probability=None, probabilities=None, refusal="blank"))
        async with feed.client("nurse") as client:
            sent = {"feedback_id": "feedback-0001", "verdict": "accept"}
            answer = await client.post("/api/images/j1/feedback", json=sent, headers=CHANGE)
        assert (answer.status_code, answer.json()["code"]) == (409, "nothing_said")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynchronous
async def test_with_hdfs_away_a_picture_is_missed_and_the_numbers_stand(tmp_path: Path) -> None:
    async with serve(tmp_path, hdfs_url=f"http://127.0.0.1:{closed_port()}") as feed:
        feed.image(result("j1"))
        async with feed.client() as client:
            picture = await client.get("/api/images/j1/preview")
            assert (picture.status_code, picture.json()["code"]) == (503, "hdfs_away")
            assert (await client.get("/api/images/j1")).status_code == 200
            assert (await client.get("/api/images/j1/pdf")).status_code == 200
            assert 'ward_feed_image_reads_total{outcome="failed"} 1.0' in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    "uri",
    [
        "hdfs:///identified/p-1/1.png",
        "hdfs:///images/../identified/1.png",
        "hdfs:///images/p-1/../../identified/1.png",
        "hdfs:///images/p-1/1.dcm",
        "hdfs:///images/1.png?op=DELETE",
        "hdfs:///images/.hidden/1.png",
        "hdfs:///imagesque/1.png",
        "file:///images/p-1/1.png",
        "/imagesque/p-1/1.png",
        "hdfs:///images/p-1/%2e%2e/1.png",
        "hdfs:///images/p-1/1.png\n",
        "hdfs:///images/" + "a/" * 700 + "1.png",
        "",
    ],
)
def test_a_picture_lies_below_images_and_nowhere_else(uri: str) -> None:
    with pytest.raises(Poison):
        picture_path(uri)


def test_a_picture_is_found_with_and_without_the_name_of_the_namenode() -> None:
    path = "/images/p-01/2026-01-02/2.25.1/2.25.2.dcm.brain_tumour.heat.png"
    assert picture_path(f"hdfs://{path}") == picture_path(f"hdfs://127.0.0.1:8020{path}") == picture_path(path) == path


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"age": "old"}, "age"),
        ({"age": "-1"}, "age"),
        ({"sex": "X"}, "sex"),
        ({"modality": "XRAY"}, "modality"),
        ({"body_part": "TAIL"}, "body_part"),
        ({"view": "UP"}, "view"),
        ({"patient": "a\\b"}, "patient"),
        ({"color": "red"}, "color"),
    ],
)
def test_what_is_said_of_a_picture_is_checked_field_by_field(query: dict[str, str], field: str) -> None:
    with pytest.raises(ApiError) as refused:
        uploads.given(query)
    assert (refused.value.status, refused.value.details) == (400, {"field": field})


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (422, {"outcome": "refused", "reason": "blank", "detail": "all its pixels have one value"}, (422, "refused")),
        (503, {"outcome": "failed", "reason": "away", "detail": "HDFS is away"}, (503, "intake_away")),
        (400, {"outcome": "failed", "reason": "bad_request", "detail": "one of", "field": "view"}, (400, "bad_field")),
        (413, {"outcome": "failed", "reason": "too_large"}, (413, "too_large")),
        (408, {"outcome": "failed", "reason": "slow"}, (503, "intake_away")),
        (500, "what", (502, "bad_intake")),
        (403, {"outcome": "failed", "reason": "forbidden"}, (502, "bad_intake")),
    ],
)
def test_what_the_gateway_says_is_said_again(status: int, body: object, expected: tuple[int, str]) -> None:
    with pytest.raises(ApiError) as refused:
        uploads._receipt(httpx.Response(status, content=json.dumps(body)))
    assert (refused.value.status, refused.value.code) == expected


@asynchronous
async def test_an_upload_too_large_or_empty_or_no_file_is_refused_before_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 10)
    async with serve(tmp_path, intake=f"http://127.0.0.1:{closed_port()}") as feed:
        raw = {**CHANGE, "Content-Type": "application/octet-stream"}
        async with feed.client("nurse") as client:
            large = await client.post("/api/images", content=b"x" * 11, headers=raw)
            empty = await client.post("/api/images", content=b"", headers=raw)
            form = await client.post("/api/images", files={"file": b"x"}, headers=CHANGE)
            away = await client.post("/api/images", content=b"bytes", headers=raw)
            cross = await client.post("/api/images", content=b"bytes", headers=raw | {"Origin": "http://evil.example"})
            metrics = (await client.get("/metrics")).text
    codes = [(one.status_code, one.json()["code"]) for one in (large, empty, form, away, cross)]
    assert codes == [
        (413, "too_large"),
        (400, "empty"),
        (415, "not_a_file"),
        (503, "intake_away"),
        (403, "cross_origin"),
    ]
    assert 'ward_feed_uploads_total{outcome="failed"} 4.0' in metrics


@asynchronous
async def test_the_images_of_a_bed_are_those_of_its_patients_pseudonym(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        feed.score("W1", ["W1-01"])
        assert (await of_bed(feed)) == {"ward": "W1", "bed": "W1-01", "matched": False, "results": []}
        key = tmp_path / "pseudonyms.key"
        assert not key.exists()
        key.write_text("ab" * 32)
        key.chmod(0o600)
        mine = Pseudonyms(bytes.fromhex("ab" * 32)).patient("p-W1-01")
        feed.image(result("j1", patient=mine), result("j2"))
        assert [one["job_id"] for one in (await of_bed(feed))["results"]] == ["j1"]  # type: ignore[attr-defined]
        async with feed.client() as client:
            assert (await client.get("/api/images/j1")).json()["bed"] == {"ward": "W1", "bed": "W1-01"}
            assert (await client.get("/api/images/j2")).json()["bed"] is None


async def of_bed(feed: Served) -> dict[str, object]:
    async with feed.client() as client:
        told: dict[str, object] = (await client.get("/api/beds/W1-01/images")).json()
    return told


@asynchronous
async def test_every_wrong_field_of_the_risk_form_is_named_at_once(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.client() as client:
        form = (await client.get("/api/risk/knee")).json()
        assert {"sex", "age", "height_m"} <= {field["name"] for field in form["fields"]}
        sent = {"fields": {"age": 300, "height_m": "tall", "hair": "red"}}
        answer = await client.post("/api/risk/knee", json=sent, headers=CHANGE)
        assert answer.status_code == 400
        assert answer.json()["details"]["fields"].keys() == {"sex", "age", "height_m", "hair"}


CASE = {"finding": None, "verdict": None, "finding_probability": 0.97}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label": None, "probability": None, "probabilities": None, "refusal": "blank", "detail": "It is blank – all."},
        {"label": None, "probabilities": None, "value": 118.5, "low": 101.0, "high": 136.0, "unit": "months"},
    ],
    ids=["finding", "refusal", "measure"],
)
def test_a_case_is_a_pdf_whatever_was_said(changes: dict[str, object]) -> None:
    import msgspec

    told = msgspec.to_builtins(result("j1", **changes))
    reject = {"verdict": Verdict.REJECT, "actor": "a", "at_ms": 0, "label": None, "value": 3.5, "note": "naïve ≥ 漢"}
    assert case_pdf.made(CASE | {"result": told, "verdict": reject}, None, None).startswith(b"%PDF-")
