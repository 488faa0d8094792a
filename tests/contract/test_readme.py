"""The README shows the system as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra import docs

ROOT = Path(__file__).resolve().parents[2]


def test_the_picture_is_the_topology() -> None:
    text = docs.README.read_text()
    assert docs.refreshed(text) == text, "run python -m infra.docs"


def test_a_stale_picture_is_noticed() -> None:
    text = docs.README.read_text()
    stale = text.replace("patient_vitals", "other_topic")
    assert docs.refreshed(stale) != stale


def test_lost_markers_are_an_error() -> None:
    with pytest.raises(ValueError, match="markers"):
        docs.refreshed("# no picture here\n")


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))])
def test_every_relative_link_leads_somewhere(page: str) -> None:
    source = ROOT / page
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", source.read_text())
    missing = [link for link in links if not (source.parent / link).exists()]
    assert not missing
