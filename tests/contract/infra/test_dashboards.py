"""The wall is what its code says: files are fresh, boards are sound, questions ask only for what is declared."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as dm

from contracts.metrics import METRICS
from infra.dashboards import alerting, build, draw, placing, spec
from infra.dashboards.spec import Ask, Board, Tile
from infra.dashboards.tokens import MARKS, THEMES, Theme, colours
from infra.launch.influx import MEANS
from infra.site import CHECKOUT
from streams.sink.measurements import BY_NAME, STATES

BOARDS = {board.uid: board for board in build.BOARDS}
ASKS = [(board, tile, ask) for board in build.BOARDS for tile in board.tiles for ask in tile.asks]
RAW = [
    *((f"{b.uid}: {t.title}", a.influxql) for b, t, a in ASKS),
    *((f"{b.uid}: variable {v.name}", v.influxql) for b in build.BOARDS for v in b.variables),
    *((f"{b.uid}: alarms", b.alarms) for b in build.BOARDS if b.alarms),
    *((f"rule {rule.uid}", rule.influxql) for rule in alerting.RULES),
]
DOCUMENTS = {(theme, d["uid"]): d for theme in THEMES for d in build.boards(theme)}
every_document = pytest.mark.parametrize("document", DOCUMENTS.values(), ids=lambda d: d["uid"])
KINDS_OF_9_2 = {"stat", "timeseries", "state-timeline", "table", "bargauge", "text"}


def test_what_is_committed_is_what_the_code_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--check"]) == 0, f"run python -m infra.dashboards.build:\n{capsys.readouterr().out}"


def test_a_stale_a_missing_and_a_foreign_file_are_found_and_mended(tmp_path: Path) -> None:
    assert build.main([], tmp_path) == 0
    assert build.main(["--check"], tmp_path) == 0
    board = next(tmp_path.rglob("ward-bed.json"))
    board.write_text("{}")
    (tmp_path / "alerting" / "ward.yaml").unlink()
    (tmp_path / "dashboards" / "dark" / "by-hand.json").write_text("{}")
    assert build.main(["--check"], tmp_path) == 6
    assert build.main([], tmp_path) == 0
    assert build.main(["--check"], tmp_path) == 0
    assert build.main(["--colour"], tmp_path) == 2


@pytest.mark.parametrize(("where", "influxql"), RAW, ids=[where for where, _ in RAW])
def test_a_question_asks_only_for_declared_measurements_fields_and_tags(where: str, influxql: str) -> None:
    kept = re.findall(r'"(live|trend)"\."(\w+)"', influxql)
    assert kept, "the retention policy is always named"
    assert len(kept) == len(re.findall(r'FROM "', influxql))
    known = {*MEANS} if kept[0][0] == "trend" else set()
    for _, measurement in kept:
        assert measurement in BY_NAME, f"{measurement} is not declared"
        known |= {*BY_NAME[measurement].fields, *BY_NAME[measurement].tags}
    named = set(re.findall(r'AS "([^"]+)"', influxql))
    words = re.sub(r'"(live|trend)"\."\w+"|AS "[^"]+"', "", influxql)
    assert set(re.findall(r'"(\w+)"', words)) - named <= known


@every_document
def test_a_board_survives_the_sdks_own_reading_of_it(document: dict[str, Any]) -> None:
    """The SDK's classes are generated from Grafana's schema: what they read and write again is what they know."""
    read = dm.Dashboard.from_json(json.loads(json.dumps(document)))
    again = json.loads(json.dumps(read, cls=JSONEncoder))
    for key in ("uid", "title", "schemaVersion", "time", "refresh", "tags", "editable"):
        assert again[key] == document[key]
    assert [p["type"] for p in again["panels"]] == [p["type"] for p in document["panels"]]
    assert [p.get("fieldConfig") for p in again["panels"]] == [p.get("fieldConfig") for p in document["panels"]]


@every_document
def test_a_board_is_whole(document: dict[str, Any]) -> None:
    assert document["schemaVersion"] == draw.SCHEMA == 37
    assert document["id"] is None, "an id belongs to one Grafana only"
    assert "version" not in document
    assert document["editable"] is False
    assert re.fullmatch(r"[a-z-]{1,40}", document["uid"])
    panels = document["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert {panel["type"] for panel in panels} <= KINDS_OF_9_2
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
        assert panel["title"]
        assert panel["description"]
        if panel["type"] != "text":
            assert panel["fieldConfig"]["defaults"]["noValue"], "every panel says what no data means"
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"] == {"type": "influxdb", "uid": spec.UID}
            refs = [target["refId"] for target in panel["targets"]]
            assert len(refs) == len(set(refs))
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@every_document
def test_an_expression_refers_to_questions_of_its_panel(document: dict[str, Any]) -> None:
    for panel in document["panels"]:
        targets = {target["refId"]: target for target in panel.get("targets", ())}
        for target in targets.values():
            if target.get("type") == "reduce":
                assert target["expression"] in targets
            elif target.get("type") == "math":
                assert set(re.findall(r"\$(\w+)", target["expression"])) <= targets.keys()


@pytest.mark.parametrize("theme", THEMES)
def test_every_colour_is_one_of_the_feeds(theme: Theme) -> None:
    allowed = set(colours(theme).values()) | {"transparent"}
    for (found, _), document in DOCUMENTS.items():
        if found == theme:
            assert set(re.findall(r'"(#[0-9a-fA-F]{3,8})\b', json.dumps(document))) <= allowed
    code = (Path(draw.__file__).parent).rglob("*.py")
    assert not [path.name for path in code if re.search(r"#[0-9a-fA-F]{6}\b", path.read_text())], "take it from tokens"


def test_an_alarm_colour_never_stands_without_its_mark() -> None:
    page = (CHECKOUT / "streams" / "feed" / "static" / "js").rglob("*.js")
    shown = "\n".join(path.read_text() for path in page)
    for document in DOCUMENTS.values():
        for panel in document["panels"]:
            for mapping in panel.get("fieldConfig", {}).get("defaults", {}).get("mappings", ()):
                texts = {number: row["text"] for number, row in mapping["options"].items()}
                assert texts == {
                    str(n): f"{MARKS[word]} {word}" if word in MARKS else word for n, word in STATES.items()
                }
    for mark in MARKS.values():
        assert f'"{mark}"' in shown, "the feed shows the same mark"


@pytest.mark.parametrize(("board", "tile", "ask"), ASKS, ids=[f"{b.uid}: {t.title}" for b, t, _ in ASKS])
def test_a_question_is_bounded_in_time_and_its_series_have_names(board: Board, tile: Tile, ask: Ask) -> None:
    assert "$timeFilter" in ask.influxql or spec.NOW in ask.influxql
    for name in re.findall(r"\$tag_(\w+)", ask.alias):
        assert name in ask.tags
    if ask.form == "time_series" and ask.tags:
        assert "$tag_" in ask.alias
    assert len(tile.asks) <= 8


def test_the_themes_differ_in_colours_and_addresses_only() -> None:
    for uid in BOARDS:
        dark, light = DOCUMENTS["dark", uid], DOCUMENTS["light", f"{uid}-light"]
        assert [p["title"] for p in dark["panels"]] == [p["title"] for p in light["panels"]]
        assert [p.get("targets") for p in dark["panels"]] == [p.get("targets") for p in light["panels"]]


def test_no_board_is_called_like_its_folder_and_titles_are_unique() -> None:
    titles = [d["title"] for d in DOCUMENTS.values()]
    assert len(titles) == len(set(titles))
    assert not set(titles) & {title for _, title in placing.FOLDERS.values()}


def test_every_board_leads_to_the_feed_and_the_wall_rotates() -> None:
    for document in DOCUMENTS.values():
        assert any(link["url"] == "${feed}" for link in document["links"] if link["type"] == "link")
    assert sum(board.rotates for board in build.BOARDS) >= 4


def test_the_imaging_board_tells_of_queue_latency_results_refusals_and_findings_and_leads_to_the_list() -> None:
    board = BOARDS["ward-imaging"]
    asked = "\n".join(ask.influxql for tile in board.tiles for ask in tile.asks)
    for name in (
        "ward_group_behind_records",
        "ward_images_taken_total",
        "ward_image_findings",
        "ward_image_read_seconds",
    ):
        assert f'"{name}"' in asked
    for name in ("latency_s", '"refusals"', '"findings"', '"label"', '"refusal"'):
        assert name in asked
    links = [link.get("url") for link in DOCUMENTS["dark", "ward-imaging"]["links"]]
    assert "${feed}/images" in links


def test_the_beds_board_leads_to_its_images_in_the_feed_which_opens_at_that_bed() -> None:
    links = [link.get("url") for link in DOCUMENTS["dark", "ward-bed"]["links"]]
    assert "${feed}/#bed=${ward:percentencode}%2F${bed:percentencode}" in links
    pages = CHECKOUT / "streams" / "feed" / "static" / "js"
    assert "/^#bed=(.+)$/.exec(location.hash)" in (pages / "main.js").read_text()
    assert "bedKey = (ward, bed) => `${ward}/${bed}`" in (pages / "store.js").read_text()


def test_the_models_board_tells_skill_coverage_calibration_drift_and_reliability() -> None:
    asked = "\n".join(ask.influxql for tile in BOARDS["ward-models"].tiles for ask in tile.asks)
    for name in ("skills", "hindsight", "coverage", "calibration", "reliability", "outlooks", "models"):
        assert f'"live"."{name}"' in asked


def test_the_data_source_and_boards_are_found_where_compose_and_up_put_them() -> None:
    source = yaml.safe_load(build.files()["datasources/ward.yaml"])["datasources"][0]
    assert source["uid"] == spec.UID
    assert source["secureJsonData"]["httpHeaderValue1"] == "Token $WARD_INFLUX_TOKEN"
    paths = [p["options"]["path"] for p in yaml.safe_load(build.files()["providers/ward.yaml"])["providers"]]
    assert paths == [f"$GRAFANA_BOARDS/{theme}" for theme in THEMES]


def test_rules_use_only_what_grafana_9_2_knows() -> None:
    document = yaml.safe_load(build.files()["alerting/ward.yaml"])
    rules = document["groups"][0]["rules"]
    assert len({rule["uid"] for rule in rules}) == len(rules)
    for rule in rules:
        kinds = [step["model"].get("type") for step in rule["data"]]
        assert kinds == [None, "reduce", "math"], "the threshold expression came later"
        assert len(rule["uid"]) <= 40
        assert rule["annotations"]["description"]
    assert alerting.EVERY_S % 10 == 0, "Grafana's own beat"
    assert document["policies"][0]["receiver"] == document["contactPoints"][0]["name"]


def test_a_stalled_lake_has_a_rule_of_its_own() -> None:
    rule = next(rule for rule in alerting.RULES if rule.uid == "ward-lake-stalled")
    assert "ward_lake_published_timestamp_seconds" in rule.influxql
    assert rule.silent == "OK", "a lake that was left out is not stalled; one that died tells no metrics"


def test_the_platforms_board_shows_lag_latency_letters_restarts_and_the_lake() -> None:
    asked = "\n".join(ask.influxql for tile in BOARDS["ward-platform"].tiles for ask in tile.asks)
    for name in ("group_behind", "log_delay", "dead_letters", "process_restarts", "topic_records", "process_up"):
        assert f"ward_{name}" in asked
    for name in ("delay_seconds", "rows_total", "behind_records", "batch_seconds", "lost_records_total"):
        assert f"ward_lake_{name}" in asked
    assert all(name in {m.name for m in METRICS} for name in re.findall(r'"(ward_\w+)"', asked))
