"""The models page tells what the shipped versions tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import docs
from models.registry import Interval, Registry
from models.training import shelf
from models.training.evaluation import Evaluation


def test_the_figures_are_those_of_the_shipped_champions() -> None:
    text = docs.MODELS.read_text()
    assert docs.with_figures(text) == text, "run python -m infra.docs"


def test_new_figures_reach_the_page(tmp_path: Path) -> None:
    registry = Registry(tmp_path, tmp_path)
    fields = {"made": "2026-11-21", "code": "x", "seed": 1, "data": []}
    version = registry.add("deterioration", {"m.onnx": b"m"}, **fields)
    bundle = registry.load("deterioration", version)
    metrics = {
        "auroc_hypotension": Interval(0.85, 0.83, 0.87, 900),
        "auroc_hypotension_news2": Interval(0.6, 0.5, 0.7, 900),
    }
    found = Evaluation(
        model="deterioration", version=version, sha256=bundle.sha256, split="test", n=900, metrics=metrics
    )
    shelf.keep(registry, bundle, found)
    registry.promote("deterioration", version, "me", "first")
    page = docs.with_figures("<!-- figures: x -->\n<!-- /figures -->", registry)
    assert "| AUROC hypotension | 0.850 | 0.830 to 0.870 | 0.600 | 900 |" in page
    assert f"models/weights/deterioration/{version}/card.md" in page
    assert docs.with_figures(page, registry) == page


def test_a_page_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="markers"):
        docs.with_figures("# no figures here\n")


def test_the_card_of_each_shipped_version_is_what_its_files_say() -> None:
    registry = Registry()
    for name in registry.names():
        for version in registry.versions(name):
            bundle = registry.load(name, version)
            kept = registry.notes(name, version).get("card.md")
            assert kept == shelf.card_of(registry, bundle), "run python -m infra.docs"
