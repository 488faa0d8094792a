"""The gateway on a real HDFS and a real broker: what it answers with success is durable, told once, and nobody's."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import re
import secrets
import socket
import struct
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from contracts.errors import Misconfigured
from contracts.pseudonyms import Pseudonyms
from contracts.settings import Settings
from infra.site import free_ports
from infra.stack import Stack, wait_until
from models.imaging import keyfile
from producers import dicom_gateway, image_store, planted
from producers.intake import Intake
from producers.intake_http import build
from producers.intake_identities import Identities
from producers.intake_scp import Scp
from tests.conftest import servers
from tests.integration.producers.gateway import ALLOWED, Gateway, Told, gateway, store
from tests.unit.models.imaging import made
from tests.unit.producers import bombs
from tests.unit.producers.test_burned_in import anatomy, written

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs]

FULL: Final = os.environ.get("WARDSTREAM_TEST_FULL", "") == "1"
STUDIES: Final = 300 if FULL else 12


@pytest.fixture(scope="module")
def environ(session_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = servers(session_stack, ["zones", "topics"]).environment()
    folder = tmp_path_factory.mktemp("watched")
    return {name: found[name] for name in ("WARD_KAFKA", "WARD_HDFS_URL")} | {"WARD_INTAKE_FOLDER": str(folder)}


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return Settings.from_env(environ)


@pytest.fixture(scope="module")
def door(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(environ, tmp_path_factory.mktemp("gateway")) as one:
        yield one


@pytest.fixture
def told(environ: dict[str, str]) -> Iterator[Told]:
    with contextlib.closing(Told(environ["WARD_KAFKA"])) as one:
        yield one


def names(door: Gateway) -> Pseudonyms:
    return Pseudonyms(keyfile.key(door.folder / keyfile.NAME))


def scan(folder: Path, **attributes: str) -> Path:
    """A file of a patient that nobody else has."""
    path = folder / f"{secrets.token_hex(4)}.dcm"
    own = {keyword: f"1.2.826.0.1.{secrets.randbelow(10**15)}" for keyword in ("SOPInstanceUID", "StudyInstanceUID")}
    path.write_bytes(made.dicom(None, None, **({"PatientID": f"MRN-{secrets.token_hex(6)}"} | own | attributes)))
    return path


def original(path: Path, keyword: str) -> str:
    from pydicom import dcmread

    return str(dcmread(path)[keyword].value)


def test_what_is_sent_is_stored_told_once_and_known_again_after_a_restart(
    door: Gateway, told: Told, settings: Settings, tmp_path: Path
) -> None:
    path = scan(tmp_path)
    assert "Received Store Response (Success)" in door.store(path)
    instance = names(door).uid(original(path, "SOPInstanceUID"))
    (arrival,) = told.arrivals([instance])
    content = image_store.images(settings).read(arrival.uri)
    assert hashlib.sha256(content).hexdigest() == arrival.sha256
    assert arrival.patient == names(door).patient(original(path, "PatientID"))
    taken = date.fromisoformat(original(path, "StudyDate"))
    day = names(door).shifted(taken, original(path, "PatientID")).isoformat()
    assert arrival.uri == f"/images/{arrival.patient}/{day}/{arrival.series}/{instance}.dcm"
    assert (arrival.modality, arrival.body_part, arrival.view, arrival.sex, arrival.source) == (
        "DX",
        "KNEE",
        "AP",
        "F",
        "c_store",
    )
    assert "Received Store Response (Success)" in door.store(path)
    assert door.end() == 0
    door.again()
    door.ready()
    assert "Received Store Response (Success)" in door.store(path)
    assert len(told.arrivals([instance])) == 1, "a restart knows what lies on HDFS"


def test_who_it_is_stands_in_the_identified_zone_only(
    door: Gateway, told: Told, settings: Settings, tmp_path: Path
) -> None:
    path = scan(tmp_path)
    door.store(path)
    (arrival,) = told.arrivals([names(door).uid(original(path, "SOPInstanceUID"))])
    zone = image_store.identified(settings)
    identity = Identities(zone).of(arrival.study, arrival.instance)
    assert identity is not None
    assert identity.originals["PatientID"] == original(path, "PatientID")
    assert identity.originals["StudyInstanceUID"] == original(path, "StudyInstanceUID")
    assert names(door).shift_days(original(path, "PatientID")) == identity.shift_days
    assert Identities(zone).told(identity)
    status = zone.status("/identified/map")
    assert status is not None
    assert status["owner"] == "identity"
    as_researcher = image_store.Zone(settings.hdfs_url or "", "researcher", "/identified")
    with pytest.raises(Exception, match="ermission"):
        as_researcher.sizes("/identified/map")


def test_other_bytes_of_an_instance_are_its_next_revision(door: Gateway, told: Told, tmp_path: Path) -> None:
    first = scan(tmp_path)
    uids = {word: original(first, word) for word in ("SOPInstanceUID", "StudyInstanceUID", "PatientID")}
    second = scan(tmp_path, **uids, ViewPosition="PA")
    for path in (first, second, first, second):
        assert "(Success)" in door.store(path)
    found = told.arrivals([names(door).uid(uids["SOPInstanceUID"])])
    assert [(one.revision, one.view) for one in found] == [(0, "AP"), (1, "PA")]
    assert found[1].uri == found[0].uri.replace(".dcm", ".r1.dcm")


def test_what_is_refused_is_kept_in_the_identified_zone_and_told_without_a_word_of_it(
    door: Gateway, told: Told, settings: Settings, tmp_path: Path
) -> None:
    image = (written(anatomy(1), "ZORVEX QUAX 1971", (20, 200), 20, 255) * 255).astype(np.uint8)
    image[0, :8] = np.frombuffer(secrets.token_bytes(8), np.uint8)
    answer = door.send(made.picture(image, "png"), patient="Planted^Name")
    assert answer.status_code == 422
    refused = answer.json()
    assert (refused["outcome"], refused["reason"]) == ("refused", "burned_in_text")
    (event,) = told.refusals(refused["sha256"])
    assert (event.reason, event.source, event.size) == ("burned_in_text", "submit", len(made.picture(image, "png")))
    assert image_store.identified(settings).read(f"/identified/refused/{event.sha256}") == made.picture(image, "png")
    assert door.send(made.picture(image, "png")).status_code == 422
    assert len(told.refusals(refused["sha256"])) == 1
    said = door.store(scan(tmp_path, BurnedInAnnotation="YES", PatientName="Planted^Name"))
    assert "CannotUnderstand" in said
    assert "Planted" not in door.log.read_text() + json.dumps([raw.decode() for _, raw in told.all()])


def test_who_may_not_send_is_turned_away(door: Gateway, tmp_path: Path) -> None:
    assert "Calling AE Title Not Recognized" in door.store(scan(tmp_path), title="STRANGER")
    assert "(Success)" in door.store(scan(tmp_path), title="OTHERS")
    url, picture = f"{door.url}/images", made.picture(made.gradient(), "png")
    assert httpx.post(url, content=picture, headers={"Origin": "http://evil.example"}).status_code == 403
    assert httpx.post(url, content=picture, headers={"Host": "evil.example"}).status_code == 403
    assert told_of_gigabytes(door) == 413
    assert door.send(picture, modality="NONE").json()["field"] == "modality"
    assert door.send(picture, source="c_store").json()["field"] == "source"


def told_of_gigabytes(door: Gateway) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(door.url.rsplit(":", 1)[1]), timeout=10)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/images")
        connection.putheader("Content-Length", str(10**10))
        connection.endheaders(b"x")
        return connection.getresponse().status


def test_a_peer_that_says_it_sends_gigabytes_is_cut_before_it_does(door: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", door.dicom_port), timeout=10) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + b"\0" * 1000)
        ended = b"x"
        with contextlib.suppress(ConnectionError):
            ended = peer.recv(1)
        assert ended in (b"", b"x")
    assert "larger" not in door.log.read_text()
    assert httpx.get(f"{door.url}/healthz").status_code == 200


def test_a_picture_that_is_uploaded_belongs_to_the_patient_whose_vitals_come_in(door: Gateway, told: Told) -> None:
    patient = f"W1-{secrets.token_hex(4)}"
    content = made.picture((anatomy(2) * 255).astype(np.uint8), "jpeg", comment=b"Planted^Comment")
    said = {"patient": patient, "modality": "DX", "body_part": "KNEE", "view": "AP", "sex": "F", "age": "61"}
    answer = httpx.post(
        f"{door.url}/images", params={**said, "source": "upload"}, files={"file": ("Planted.jpg", content)}, timeout=60
    )
    assert answer.status_code == 201
    receipt = answer.json()
    assert receipt["patient"] == names(door).patient(patient)
    assert door.send(content, **said).json() == receipt | {"outcome": "known"}
    (arrival,) = told.arrivals([receipt["instance"]])
    assert (arrival.source, arrival.format, arrival.age_years, arrival.uri) == ("upload", "jpeg", 61.0, receipt["uri"])
    assert "/undated/" in arrival.uri


def test_the_watched_folder_takes_whole_files_and_follows_nothing_out_of_it(
    door: Gateway, environ: dict[str, str], tmp_path: Path
) -> None:
    folder, outside = Path(environ["WARD_INTAKE_FOLDER"]), scan(tmp_path)
    whole = scan(tmp_path).read_bytes()
    with (folder / "slow.dcm").open("wb") as slow:
        slow.write(whole[:1000])
        slow.flush()
        (folder / "coming.dcm.part").write_bytes(whole[:100])
        os.symlink(outside, folder / "link.dcm")
        os.symlink(tmp_path, folder / "linked")
        os.mkfifo(folder / "pipe.dcm")
        (folder / "below").mkdir()
        scan(tmp_path).rename(folder / "below" / "whole.dcm")
        (folder / "noise.dcm").write_bytes(secrets.token_bytes(500))
        slow.write(whole[1000:])
    assert wait_until(lambda: {one.name for one in (folder / "taken").iterdir()} == {"slow.dcm", "whole.dcm"}, 30)
    aside = {"link.dcm", "linked", "pipe.dcm", "noise.dcm"}
    assert wait_until(lambda: {one.name for one in (folder / "refused").iterdir()} == aside, 15)
    assert (folder / "coming.dcm.part").exists()
    assert outside.exists()
    assert (folder / "refused" / "link.dcm").is_symlink()


def test_no_planted_identifier_gets_through_the_whole_way(door: Gateway, settings: Settings) -> None:
    zone, paths = image_store.images(settings), list[str]()
    told = Told(settings.kafka)

    def way(content: bytes) -> bytes:
        receipt = door.send(content).json()
        assert receipt["outcome"] == "stored"
        paths.append(receipt["uri"])
        return zone.read(receipt["uri"])

    seed = secrets.randbelow(10**9)
    found = planted.score(STUDIES, names(door), seed, way=way)
    print(
        f"\n{found.studies} studies through the gateway: {found.planted} planted, {len(found.left)} left; "
        f"{found.right} of {found.required} actions right ({found.share:.4%}); {found.kept_right} of {found.kept} kept"
    )
    assert found.left == []
    assert found.share >= 0.9993
    assert found.kept_right == found.kept
    pages = (httpx.get(f"{door.url}/metrics").text, door.log.read_text(), "\n".join(paths))
    everything = "\n".join([*pages, *(raw.decode() for _, raw in told.all())]).lower()
    told.close()
    values = {v for n in range(seed, seed + STUDIES) for v in planted.identifying(planted.study(n))}
    assert len(values) > 20 * STUDIES
    assert not [value for value in values if value.lower() in everything]


def test_bombs_are_refused_at_the_door_and_it_stays_open(door: Gateway, settings: Settings) -> None:
    corpus = bombs.TRAVERSAL | bombs.HARMLESS | (bombs.DOS if FULL else {})
    outcomes = {name: door.send(make()) for name, make in corpus.items()}
    for name, answer in outcomes.items():
        assert answer.status_code in ((200, 201) if name in bombs.HARMLESS else (422,)), (name, answer.text)
        if uri := answer.json().get("uri"):
            assert not bombs.evil(image_store.images(settings).read(uri))
            assert ".." not in uri
    assert not Path("/tmp/owned").exists()  # noqa: S108  # where one of them wants to write
    assert httpx.get(f"{door.url}/readyz").json()["status"] == "ok"
    assert "evil" not in door.log.read_text().lower()


async def asked(application: Starlette) -> list[httpx.Response]:
    """A picture, and how it is."""
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        sent = await client.post("/images", content=made.picture(made.gradient(), "png"))
        return [sent, *[await client.get(path) for path in ("/readyz", "/healthz", "/metrics")]]


def test_without_hdfs_nothing_is_answered_with_success(environ: dict[str, str], tmp_path: Path) -> None:
    port = free_ports(["dicom"])["dicom"]
    away = Settings.from_env(
        environ, state_dir=str(tmp_path), hdfs_url="http://127.0.0.1:9", dicom_port=port, dicom_allow=ALLOWED
    )
    intake = Intake(away, children=1)
    scp = Scp(away, intake)
    try:
        scp.start()
        assert "Refused: OutOfResources" in store(port, scan(tmp_path))
        answers = asyncio.run(asked(build(intake, frozenset({"testserver"}))))
        assert [answer.status_code for answer in answers] == [503, 503, 200, 200]
        assert answers[0].json()["reason"] == "away"
        failed = re.findall(r'^ward_images_taken_total{outcome="failed",.*} 1.0$', answers[3].text, re.M)
        assert len(failed) == 2
    finally:
        scp.stop(0.1)
        intake.close()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"intake_burned_in": "blur"}, "WARD_INTAKE_BURNED_IN"),
        ({"dicom_allow": " , "}, "WARD_DICOM_ALLOW"),
        ({"dicom_aet": "MORE THAN SIXTEEN LETTERS"}, "WARD_DICOM_AET"),
        ({"hdfs_url": None}, "WARD_HDFS_URL"),
        ({"dicom_port": 0, "intake_port": 0, "intake_folder": None}, "WARD_DICOM_PORT"),
    ],
)
def test_settings_that_cannot_work_are_named(
    environ: dict[str, str], tmp_path: Path, wrong: dict[str, Any], named: str
) -> None:
    settings = Settings.from_env(environ, **({"state_dir": str(tmp_path), "dicom_port": 104} | wrong))
    with pytest.raises(Misconfigured, match=named):
        dicom_gateway.serve(settings, ())


def test_submit_sends_files_and_folders_and_says_what_became_of_them(door: Gateway, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from producers.image_cli import app

    good, bad = scan(tmp_path), tmp_path / "note.txt"
    bad.write_bytes(secrets.token_bytes(40))

    def submitted(*arguments: str) -> tuple[int, dict[str, Any]]:
        found = CliRunner().invoke(app, ["submit", "--json", *arguments], env={"WARD_INTAKE": door.url})
        return found.exit_code, json.loads(found.stdout)

    code, first = submitted(str(tmp_path))
    assert (code, first["stored"], first["refused"]) == (5, 1, 1)
    assert {row["path"]: row["reason"] for row in first["files"]} == {str(good): None, str(bad): "not_an_image"}
    assert submitted(str(good))[0] == 0
