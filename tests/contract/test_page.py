"""The page is held to what it shares with the rest: words, units, colours, and no way out of the house."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from contracts.clinical.codes import VITALS
from contracts.records import AlarmEvent, AlarmState, Category, FindingState, Priority, Quality, Tag, Verdict, Vital
from models.imaging.classifier import ABSTAINS, UNSURE
from models.imaging.gate import REASONS as GATE
from producers.intake_reasons import REASONS as INTAKE
from streams.image_reading import NO_MODEL

STATIC = Path(__file__).parents[2] / "streams" / "feed" / "static"
SCRIPTS = sorted((STATIC / "js").glob("*.js"))
SHEETS = sorted((STATIC / "css").glob("*.css"))
PAGES = sorted(STATIC.glob("*.html"))
CATALOGUE = {
    key: sentence
    for path in sorted((STATIC / "js").glob("messages.*en.js"))
    for key, sentence in re.findall(r'"([A-Za-z_0-9.]+)":\s*"((?:[^"\\]|\\.)*)"', path.read_text("utf-8"))
}


def test_every_key_that_the_page_asks_for_has_a_sentence() -> None:
    asked = {
        (script.name, key)
        for script in SCRIPTS
        for key in re.findall(r'\bt\("([a-z_0-9.]+)"', script.read_text("utf-8"))
    }
    assert asked
    assert {(where, key) for where, key in asked if key not in CATALOGUE} == set()


def test_every_word_of_the_records_has_a_sentence() -> None:
    shown_tags = set(Tag) - {Tag.OK}
    told = (
        [f"vital.{one.value}" for one in Vital]
        + [f"short.{one.value}" for one in Vital]
        + [f"tag.{one.value}" for one in shown_tags]
        + [f"state.{one.value}" for one in AlarmState]
        + [f"event.{one.value}" for one in AlarmEvent]
        + [f"category.{one.value}" for one in Category]
        + [f"priority.{one.value}" for one in Priority]
        + [f"quality.{one.value}" for one in (Quality.HELD, Quality.INTERPOLATED)]
        + [f"finding.{one.value}" for one in FindingState]
        + [f"verdict.{one.value}" for one in Verdict]
        + [f"reason.{one}" for one in (*INTAKE, *GATE, ABSTAINS, UNSURE, NO_MODEL)]
    )
    assert [key for key in told if key not in CATALOGUE] == []


@pytest.mark.parametrize("vital", Vital)
def test_a_vital_has_one_unit_and_one_precision_everywhere(vital: Vital) -> None:
    row = re.search(
        rf"^  {vital.value}: \{{ unit: \"(.*?)\", decimals: (\d)", (STATIC / "js" / "vitals.js").read_text(), re.M
    )
    assert row is not None
    assert (row[1], int(row[2])) == (VITALS[vital].shown_unit, VITALS[vital].decimals)


def test_the_style_sheet_has_the_colours_of_the_token_file() -> None:
    tokens = json.loads((STATIC / "tokens.json").read_text())
    sheet = (STATIC / "css" / "tokens.css").read_text()
    for theme in ("dark", "light", "contrast"):
        block = re.search(rf'\[data-theme="{theme}"\] \{{(.*?)\}}', sheet, re.S)
        assert block is not None
        declared = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block[1]))
        assert declared == tokens[theme]


def test_colours_are_named_in_the_token_file_only() -> None:
    loose = {
        (path.name, colour)
        for path in [*SCRIPTS, *SHEETS]
        if path.name != "tokens.css"
        for colour in re.findall(r"#[0-9a-fA-F]{6}\b", path.read_text("utf-8"))
    }
    assert loose == set()


def test_the_page_asks_nothing_of_any_other_host() -> None:
    allowed = {"http://www.w3.org/2000/svg"}
    for path in [*SCRIPTS, *SHEETS, *PAGES]:
        assert set(re.findall(r"https?://[^\s\"')]+", path.read_text("utf-8"))) <= allowed, path.name


def test_the_page_keeps_within_its_content_security_policy() -> None:
    for path in PAGES:
        page = path.read_text()
        assert re.findall(r"\sstyle=|\son\w+=|<style|javascript:", page) == [], path.name
        assert re.findall(r"<script(?![^>]*\ssrc=)[^>]*>", page) == [], path.name
    for script in SCRIPTS:
        text = script.read_text("utf-8")
        assert "innerHTML" not in text, script.name
        assert "eval(" not in text, script.name


def test_the_page_says_that_it_is_not_a_medical_device() -> None:
    assert CATALOGUE["app.not_a_device"] == "Research software, not a medical device."
    for path in PAGES:
        assert "not a medical device" in path.read_text(), path.name
