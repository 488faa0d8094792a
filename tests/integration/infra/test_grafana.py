"""The wall is pushed to a Grafana as its API documents it: auth, retries, conflicts, and nothing the second time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Misconfigured, Poison, Transient
from contracts.settings import Settings
from infra.dashboards.alerting import RULES
from infra.grafana import Grafana
from infra.launch import grafana as launched
from infra.processes import BY_NAME
from infra.site import CHECKOUT
from infra.stack import Stack
from streams.sink.gauges import SinkMetrics
from streams.sink.writer import Writer
from tests.integration.infra.grafana_double import TOKEN, Double, serving

BOARD: dict[str, Any] = {"uid": "b", "title": "B", "panels": [], "id": None}


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def url(double: Double) -> Iterator[str]:
    with serving(double) as address:
        yield address


@pytest.fixture
def there(url: str) -> Iterator[Grafana]:
    one = Grafana(url, TOKEN, wait=lambda seconds: None)
    yield one
    one.close()


def ward(tmp_path: Path, url: str, *words: str, token: str = TOKEN, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    environ |= {
        "WARD_GRAFANA_URL": url,
        "WARD_GRAFANA_TOKEN": token,
        "WARD_INFLUX_URL": "http://influx.example:8086",
        "WARD_INFLUX_TOKEN": "ward:secret",
        "WARD_STATE_DIR": str(tmp_path),
        "PYTHONPATH": str(CHECKOUT),
        **more,
    }
    command = [sys.executable, "-m", "infra.cli", "grafana", *words]
    return subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)


def test_a_push_brings_everything_and_a_second_one_changes_nothing(double: Double, url: str, tmp_path: Path) -> None:
    first = ward(tmp_path, url, "push", "--feed", "https://feed.example", "--webhook", "http://hook.example", "--json")
    assert first.returncode == 0, first.stderr
    did = json.loads(first.stdout)["did"]
    assert set(did.values()) == {"made"}
    assert len(double.boards) == 12
    assert set(double.rules) == {rule.uid for rule in RULES}
    assert double.sources["Ward InfluxDB"]["url"] == "http://influx.example:8086"
    assert double.sources["Ward InfluxDB"]["secureJsonFields"] == {"httpHeaderValue1": True}
    assert "secret" not in first.stdout + first.stderr
    assert "https://feed.example" in json.dumps(double.boards["ward-overview"])
    assert double.policy["routes"][0]["receiver"] == "theirs", "what was there stays"
    before = list(double.writes)
    second = ward(tmp_path, url, "push", "--feed", "https://feed.example", "--webhook", "http://hook.example", "--json")
    assert set(json.loads(second.stdout)["did"].values()) == {"same"}
    assert double.writes == before
    checked = ward(tmp_path, url, "check", "--feed", "https://feed.example", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["findings"]) == (0, [])


def test_a_check_finds_what_differs_and_names_the_fix(double: Double, url: str, tmp_path: Path) -> None:
    assert ward(tmp_path, url, "push").returncode == 0
    double.boards["ward-bed"]["title"] = "by hand"
    del double.boards["ward-models"]
    done = ward(tmp_path, url, "check", "--json")
    assert done.returncode == 6
    findings = json.loads(done.stdout)["findings"]
    assert len(findings) == 2
    assert all("`ward grafana push`" in finding for finding in findings)
    again = ward(tmp_path, url, "push", "--json")
    did = json.loads(again.stdout)["did"]
    assert {name for name, what in did.items() if what != "same"} == {"board ward-bed", "board ward-models"}


def test_a_playlist_is_made_once_and_follows_its_interval(double: Double, url: str, tmp_path: Path) -> None:
    first = json.loads(ward(tmp_path, url, "playlist", "--json").stdout)
    assert first["screens"]["dark"].startswith(f"{url}/playlists/play/list-")
    assert "kiosk" in first["screens"]["dark"]
    assert set(json.loads(ward(tmp_path, url, "playlist", "--json").stdout)["did"].values()) == {"same"}
    changed = json.loads(ward(tmp_path, url, "playlist", "--interval", "1m", "--json").stdout)
    assert set(changed["did"].values()) == {"changed"}
    assert changed["screens"] == first["screens"]
    assert [p["interval"] for p in double.playlists.values()] == ["1m", "1m"]


def test_a_wrong_token_is_one_line_and_no_token_a_hint(url: str, tmp_path: Path) -> None:
    wrong = ward(tmp_path, url, "push", token="nobody")
    assert wrong.returncode == 2
    assert "WARD_GRAFANA_TOKEN" in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
    none = ward(tmp_path, "", "check", token="")
    assert none.returncode == 2
    assert "service account" in none.stderr


def test_nobody_there_is_exit_code_4(tmp_path: Path) -> None:
    done = ward(tmp_path, "http://127.0.0.1:9", "check")
    assert done.returncode == 4
    assert "does not answer" in done.stderr


def test_a_grafana_that_stumbles_is_asked_again_and_one_that_lies_down_is_left(double: Double, there: Grafana) -> None:
    double.failing = 3
    assert there.version() == (9, 2, 20)
    double.failing = 3
    assert there.put_folder("f", "F") == "made"
    double.failing = 99
    with pytest.raises(Transient, match="503"):
        there.version()


def test_a_board_that_somebody_saves_meanwhile_is_looked_at_again(double: Double, there: Grafana) -> None:
    there.put_folder("f", "F")
    assert there.put_board(BOARD, "f", "m") == "made"
    double.meanwhile = ["b"]
    assert there.put_board({**BOARD, "title": "C"}, "f", "m") == "changed"
    assert double.boards["b"]["title"] == "C"
    double.meanwhile = ["b"] * 9
    with pytest.raises(Transient, match="somebody keeps changing"):
        there.put_board({**BOARD, "title": "D"}, "f", "m")


def test_what_files_provisioned_is_left_to_them(double: Double, there: Grafana) -> None:
    there.put_folder("f", "F")
    there.put_board(BOARD, "f", "m")
    double.provisioned = {"b"}
    assert there.put_board({**BOARD, "title": "other"}, "f", "m") == "kept"
    there.put_rule({"uid": "r", "title": "R"})
    double.rules["r"]["provenance"] = "file"
    assert there.put_rule({"uid": "r", "title": "S"}) == "kept"


def test_a_grafana_that_is_too_old_or_refuses_is_told_apart(double: Double, there: Grafana) -> None:
    double.version = "8.5.27"
    with pytest.raises(Misconfigured, match=r"9\.2 or newer"):
        there.version()
    double.version = "11.6.0+security-01"
    assert there.version()[:2] == (11, 6)
    with pytest.raises(Poison, match="folder not found"):
        there.put_board(BOARD, "no-such-folder", "m")
    with pytest.raises(Misconfigured, match="WARD_GRAFANA_URL"):
        Grafana("127.0.0.1:3000", TOKEN)


@pytest.mark.influx
def test_alarms_become_annotations_once(double: Double, url: str, tmp_path: Path, influx: dict[str, str]) -> None:
    writer = Writer(Settings.from_env(influx), SinkMetrics())
    at = int(time.time() * 1000) - 5000
    writer.write(
        [
            "alarms,bed=N1,category=physiological,condition=spo2_low,event=raised,priority=high,ward=N "
            f'alert_id="n{number}",message="SpO2 84<90",seq=1i {at + number}000000'
            for number in range(3)
        ]
    )
    writer.close()
    known = {name: influx[name] for name in ("WARD_INFLUX_URL", "WARD_INFLUX_TOKEN")}
    first = ward(tmp_path, url, "annotate", "--since", "1m", "--json", **known)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["did"]["made"] >= 3
    one = next(a for a in double.annotations if "alert:n0" in a["tags"])
    assert one["text"] == "N N1: SpO2 84<90"
    assert one["tags"] == ["high", "spo2_low", "N", "N1", "alert:n0"]
    again = ward(tmp_path, url, "annotate", "--since", "1m", "--json", **known)
    assert "made" not in json.loads(again.stdout)["did"]


def test_an_annotation_is_written_once(double: Double, there: Grafana) -> None:
    assert there.put_annotation(1000, "SpO2 84<90", ["high"], "alert:a1") == "made"
    assert there.put_annotation(1000, "SpO2 84<90", ["high"], "alert:a1") == "same"
    assert len(double.annotations) == 1


FAKE = """#!{python}
import configparser, http.server, sys
config = configparser.ConfigParser()
config.read_string("[top]\\n" + open(sys.argv[sys.argv.index("--config") + 1]).read())
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"database": "ok", "version": "11.6.0"}}')
server = config["server"]
http.server.HTTPServer((server["http_addr"], int(server["http_port"])), Handler).serve_forever()
"""


@pytest.mark.stack
@pytest.mark.influx
def test_up_starts_a_grafana_that_it_finds_with_the_wall_provisioned(
    stack: Callable[..., Stack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "grafana-server"
    program.parent.mkdir()
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("WARD_GRAFANA_HOME", str(tmp_path))
    one = stack("grafana")
    site = one.site()
    assert BY_NAME["grafana"].health(site) is None
    provisioning = site.config("grafana") / "provisioning"
    assert {path.parent.name for path in provisioning.rglob("ward.yaml")} == {"datasources", "dashboards", "alerting"}
    for path in provisioning.rglob("ward.yaml"):
        assert "$GRAFANA_" not in path.read_text()
    boards = list((site.config("grafana") / "boards").rglob("*.json"))
    assert len(boards) == 12
    assert all(site.url("feed") in board.read_text() for board in boards)


def test_without_a_grafana_up_goes_on_and_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from infra.processes import chosen

    monkeypatch.delenv("WARD_GRAFANA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "grafana" not in {process.name for process in chosen()}
    with pytest.raises(Misconfigured, match="WARD_GRAFANA_HOME"):
        chosen(["grafana"])
    environ: dict[str, Any] = {"PATH": str(tmp_path)}
    assert launched.program(environ) is None
