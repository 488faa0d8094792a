"""What readers said, out of Kafka and HDFS, as a folder to train on; on real servers."""

from __future__ import annotations

import csv
import getpass
import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from PIL import Image
from typer.testing import CliRunner, Result

from batch import cli
from batch.storage import Storage
from contracts import codec
from contracts.records import Access, ImageFeedback, Verdict
from contracts.settings import Settings
from contracts.topology import ACCESS_LOG, IMAGE_FEEDBACK
from infra.stack import Stack
from tests.unit.models.imaging.made import dicom

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs]

T0 = 1_767_340_800_000
PLANTED = "Planted"
PSEUDONYM = "p-65350a1dbcd0e993"


class Ward:
    """Stores images and tells feedback, under names of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model = f"model_{uuid.uuid4().hex[:8]}"
        self.storage = Storage.of(settings, user=getpass.getuser())
        self.producer = KafkaProducer(bootstrap_servers=settings.kafka, acks="all")

    def stored(self, seed: int, **attributes: Any) -> tuple[str, bytes]:
        """An image of the de-identified zone; its address and its bytes."""
        array = np.random.default_rng(seed).integers(0, 4000, (60, 90), dtype=np.uint16)
        content = dicom(array, **{"PatientID": PSEUDONYM} | attributes)
        path = f"/images/p-{self.model}/undated/se/{seed}.dcm"
        self.storage.write(path, content)
        return f"hdfs://{path}", content

    def told(self, seed: int, uri: str, content: bytes, **fields: Any) -> None:
        """Feedback on it."""
        given: dict[str, Any] = {"verdict": Verdict.ACCEPT, "label": "glioma", "at_ms": T0 + seed} | fields
        record = ImageFeedback(
            version=1,
            feedback_id=uuid.uuid4().hex,
            job_id=f"j-{seed}",
            study="st",
            instance=f"{self.model}.{seed}",
            patient=f"p-{self.model}",
            model=self.model,
            actor="nurse-3",
            uri=uri,
            sha256=hashlib.sha256(content).hexdigest(),
            **given,
        )
        self.producer.send(IMAGE_FEEDBACK.name, codec.encode(record), record.study.encode()).get(30)


@pytest.fixture
def ward(session_stack: Stack, kafka_with_topics: str, hdfs: str, monkeypatch: pytest.MonkeyPatch) -> Ward:
    assert kafka_with_topics
    assert hdfs
    for name, value in session_stack.environment().items():
        monkeypatch.setenv(name, value)
    return Ward(Settings.from_env(session_stack.environment()))


def asked(ward: Ward, to: Path, *more: str) -> Result:
    words = ["feedback", "--since", "2026-01-01", "--to", str(to), "--model", ward.model, *more]
    return CliRunner().invoke(cli.app, words, catch_exceptions=False)


def test_accepted_and_corrected_images_become_a_folder_to_train_on(ward: Ward, tmp_path: Path) -> None:
    images = [ward.stored(seed) for seed in range(6)]
    ward.told(0, *images[0])
    ward.told(1, *images[1], verdict=Verdict.REJECT, label="meningioma")
    ward.told(2, *images[2], verdict=Verdict.REJECT, label=None)
    ward.told(3, images[3][0], b"other bytes")
    ward.told(4, "hdfs:///images/p-nobody/undated/se/none.dcm", images[4][1])
    ward.told(5, "hdfs:///identified/refused/none", images[5][1])
    ward.told(0, *images[0], at_ms=T0 + 90_000, label="pituitary", verdict=Verdict.REJECT)
    ward.told(1, *images[1], at_ms=1_500_000_000_000, label="notumor")
    answer = asked(ward, tmp_path / "more", "--json")
    assert answer.exit_code == 0, answer.stderr
    (told,) = json.loads(answer.stdout)["models"]
    assert (told["images"], told["accepted"], told["corrected"]) == (2, 0, 2)
    assert told["labels"] == {"pituitary": 1, "meningioma": 1}
    assert told["left_out"] == {"no_label": 1, "changed": 1, "missing": 1, "no_image": 1}
    assert told["conflicts"] == [{"instance": f"{ward.model}.0", "said": ["glioma", "pituitary"]}]

    home = tmp_path / "more" / ward.model
    with (home / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["split"], row["source"], row["patient_id"]) for row in rows] == [
        ("pituitary", "train", "feedback", f"p-{ward.model}"),
        ("meningioma", "train", "feedback", f"p-{ward.model}"),
    ]
    with Image.open(home / rows[0]["image"]) as picture:
        assert (picture.format, picture.size, picture.mode) == ("PNG", (90, 60), "L")
        assert [int(rows[0][side]) for side in ("width", "height")] == [90, 60]
    written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert PLANTED.encode() not in written
    assert b"nurse-3" not in written


def test_the_read_is_told_and_a_folder_that_is_there_is_not_touched(ward: Ward, tmp_path: Path) -> None:
    consumer = KafkaConsumer(bootstrap_servers=ward.settings.kafka)
    part = TopicPartition(ACCESS_LOG.name, 0)
    consumer.assign([part])
    consumer.seek_to_end(part)
    until = consumer.position(part)
    assert asked(ward, tmp_path / "empty").exit_code == 0
    found: list[Access] = []
    while not any(ward.model in one.target for one in found):
        for records in consumer.poll(1000).values():
            found += [codec.decode(record.value, Access) for record in records if record.offset >= until]
    consumer.close()
    assert next(one for one in found if ward.model in one.target).action == "feedback_export"
    (tmp_path / "mine").mkdir()
    refused = CliRunner().invoke(cli.app, ["feedback", "--since", "-1d", "--to", str(tmp_path / "mine")])
    assert "is there already" in str(refused.exception)
