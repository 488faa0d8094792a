"""``ward model retrain``: what readers said goes into a new version, which is held against the one in force."""

from __future__ import annotations

import csv
import getpass
import hashlib
import io
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner, Result

from batch.storage import Storage
from contracts import codec
from contracts.records import ImageFeedback, Verdict
from contracts.settings import Settings
from contracts.topology import IMAGE_FEEDBACK
from infra.cli import SAID_ALSO
from infra.commands.retrain import app
from infra.stack import Stack
from models.imaging.pixels import Grey, read
from models.registry import Bundle, Dataset, Interval, Registry
from models.training import recipes
from models.training.evaluation import Evaluation
from models.training.recipes import Progress, Recipe, Say

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs]

T0 = 1_767_340_800_000
NAME = "bright_or_dark"


def film(seed: int, bright: bool) -> Grey:
    """A picture like no other, bright or dark."""
    shapes = gaussian_filter(np.random.default_rng(seed).normal(size=(80, 80)), 3)
    even = (shapes - shapes.min()) / np.ptp(shapes)
    return np.asarray(even * 0.4 + 0.5 * bright, np.float32)


def levels(folder: Path, rows: list[dict[str, str]]) -> Mapping[str, float]:
    """The mean level of each label."""
    means = {row["image"]: float(read((folder / row["image"]).read_bytes()).pixels.mean()) for row in rows}
    labels = {row["label"] for row in rows}
    return {label: float(np.mean([means[r["image"]] for r in rows if r["label"] == label])) for label in labels}


def listed(folder: Path, split: str) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A recipe of seconds: the nearest mean level."""
    rows = listed(folder, "train")
    data = [Dataset(name="films", licence="made up", sha256="0" * 64, rows=len(rows), synthetic=True)]
    return {"levels.json": msgspec.json.encode(levels(folder, rows))}, {"code": "test", "data": data}


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """Its accuracy."""
    known = msgspec.json.decode(bundle.read("levels.json"), type=dict[str, float])
    rows = listed(folder, split or "test")
    right = []
    for row in rows:
        level = float(read((folder / row["image"]).read_bytes()).pixels.mean())
        right.append(min(known, key=lambda label: abs(known[label] - level)) == row["label"])
    share = float(np.mean(right))
    figures = {"accuracy": Interval(value=share, low=max(0.0, share - 0.1), high=min(1.0, share + 0.1), n=len(rows))}
    return Evaluation(model=NAME, version="", sha256="", split=split or "test", n=len(rows), metrics=figures)


class Ward:
    """A set of images, a registry, and readers who say something."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.settings = settings
        self.base = home / NAME
        (self.base / "images").mkdir(parents=True)
        self.registry = Registry(home / "models", shipped=home / "none")
        self.storage = Storage.of(settings, user=getpass.getuser())
        self.producer = KafkaProducer(bootstrap_servers=settings.kafka, acks="all")
        self.patient = f"p-{uuid.uuid4().hex[:8]}"
        rows = []
        for seed in range(16):
            split, bright = ("test" if seed >= 8 else "train"), bool(seed % 2)
            name = f"images/{seed}.png"
            Image.fromarray((film(seed, bright) * 255).astype(np.uint8)).save(self.base / name)
            rows.append(
                {"image": name, "label": "bright" if bright else "dark", "split": split, "patient_id": f"{seed}"}
            )
        with (self.base / "labels.csv").open("w", newline="") as file:
            out = csv.DictWriter(file, list(rows[0]))
            out.writeheader()
            out.writerows(rows)

    def said(self, seed: int, content: bytes, label: str, model: str) -> None:
        """A reader says what is right."""
        path = f"/images/{self.patient}/undated/se/{seed}.png"
        self.storage.write(path, content)
        record = ImageFeedback(
            version=1,
            feedback_id=uuid.uuid4().hex,
            job_id=f"j{seed}",
            study="st",
            instance=f"{self.patient}.{seed}",
            patient=self.patient,
            model=model,
            verdict=Verdict.REJECT,
            actor="nurse-1",
            at_ms=T0,
            label=label,
            uri=f"hdfs://{path}",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        self.producer.send(IMAGE_FEEDBACK.name, codec.encode(record), b"st").get(30)


@pytest.fixture
def ward(
    session_stack: Stack, kafka_with_topics: str, hdfs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Ward:
    assert kafka_with_topics
    assert hdfs
    environment = session_stack.environment() | {"WARD_MODELS_DIR": str(tmp_path / "models")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Ward(Settings.from_env(environment), tmp_path)


def png(pixels: Grey) -> bytes:
    raw = io.BytesIO()
    Image.fromarray((pixels * 255).astype(np.uint8)).save(raw, "PNG")
    return raw.getvalue()


def retrained(ward: Ward, name: str) -> Result:
    words = [name, "--since", "2026-01-01", "--data", str(ward.base), "--by", "me", "--json"]
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_what_readers_said_makes_a_candidate_and_a_worse_one_is_not_nominated(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{NAME}_{ward.patient[2:]}"
    monkeypatch.setitem(recipes.RECIPES, name, Recipe(__name__, __name__, "tells bright from dark"))
    assert SAID_ALSO["model", "retrain"] == ("retrain",)
    assert retrained(ward, name).exit_code == 3, "nobody has said anything yet"

    ward.said(100, png(film(100, True)), "bright", name)
    ward.said(101, (ward.base / "images" / "9.png").read_bytes(), "bright", name)
    ward.said(102, (ward.base / "images" / "1.png").read_bytes(), "bright", name)
    first = retrained(ward, name)
    assert first.exit_code == 0, first.stderr
    told = json.loads(first.stdout)["retrained"]
    assert (told["merged"]["base"], told["merged"]["added"]) == (16, 1)
    assert told["merged"]["left_out"] == {"judged": 1, "known": 1}, "no image is trained on that is judged on"
    assert (told["nominated"], told["champion"]) == (True, None)
    assert ward.registry.aliases(name).candidate == told["version"]
    ward.registry.promote(name, told["version"], "me", "the first")

    for seed in range(200, 216):
        bright = bool(seed % 2)
        ward.said(seed, png(film(seed, bright)), "dark" if bright else "bright", name)
    second = retrained(ward, name)
    assert second.exit_code == 6, "readers who say nonsense make no candidate"
    told = json.loads(second.stdout)["retrained"]
    assert told["nominated"] is False
    assert told["worse"][0].startswith("accuracy: ")
    assert ward.registry.aliases(name).candidate is None
    assert ward.registry.aliases(name).champion == told["champion"]
    assert ward.registry.notes(name, told["version"])["card.md"]
