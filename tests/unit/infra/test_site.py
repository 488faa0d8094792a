"""Ports, folders and the environment that a topology hands to its clients."""

from __future__ import annotations

import json
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from contracts.settings import Settings
from infra.processes import PORTS, PREFERRED_PORTS
from infra.site import (
    LOOPBACK,
    PORTS_FROM,
    Site,
    cache_dir,
    free_ports,
    is_free,
    left_out,
    password,
    remembered,
    state_dir,
    write_atomically,
)
from infra.stack import Stack


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "cache", tmp_path / "state", free_ports(PORTS), None, "not-a-secret")


def test_every_name_gets_a_port_of_its_own_below_the_outgoing_range() -> None:
    ports = free_ports(PORTS)
    assert len(set(ports.values())) == len(PORTS)
    assert all(port in PORTS_FROM for port in ports.values())


def test_a_taken_port_is_not_chosen_even_when_preferred() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
        assert free_ports(["feed"], prefer={"feed": port})["feed"] != port


def test_a_preferred_free_port_is_chosen() -> None:
    wish = free_ports(["x"])["x"]
    assert free_ports(["feed"], prefer={"feed": wish}) == {"feed": wish}


def test_every_address_handed_out_is_loopback_and_every_setting_is_known(site: Site) -> None:
    settings = Settings.from_env(site.settings())
    assert settings.kafka == f"{LOOPBACK}:{site.ports['kafka']}"
    for name in ("WARD_KAFKA", "WARD_INFLUX_URL", "WARD_HDFS_URL", "WARD_HDFS_RPC"):
        assert LOOPBACK in site.settings()[name]


def test_the_password_is_drawn_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    first = password(tmp_path)
    assert password(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_damaged_endpoints_are_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{")
    with pytest.raises(Misconfigured, match="delete the file"):
        remembered(tmp_path)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    write_atomically(path, json.dumps({"a": 1}))
    write_atomically(path, json.dumps({"a": 2}))
    assert json.loads(path.read_text()) == {"a": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_the_folders_follow_the_environment(tmp_path: Path) -> None:
    assert cache_dir({"WARD_CACHE_DIR": str(tmp_path)}) == tmp_path
    assert cache_dir({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "wardstream"
    assert state_dir({"WARD_STATE_DIR": str(tmp_path)}) == tmp_path
    assert state_dir({}).name == ".ward"


def test_a_client_reaches_a_topology_that_an_older_release_began(tmp_path: Path) -> None:
    old = ("kafka", "namenode", "namenode_http", "influx", "vitals_metrics", "feed")
    settings = Site(tmp_path, tmp_path, dict.fromkeys(old, 1), None, "").settings()
    assert settings["WARD_KAFKA"] == "127.0.0.1:1"
    assert settings["WARD_SINK_METRICS_PORT"] == settings["WARD_LAKE_METRICS_PORT"] == "0"
    assert settings["WARD_DICOM_PORT"] == settings["WARD_INTAKE_PORT"] == settings["WARD_RETURN_METRICS_PORT"] == "0"
    assert not {"WARD_HIVE", "WARD_INTAKE"} & settings.keys()
    assert "lake=" not in settings["WARD_SCRAPE"]


def test_the_status_of_a_topology_that_an_older_release_began_is_told(tmp_path: Path) -> None:
    old = dict.fromkeys(("kafka", "namenode", "namenode_http", "influx", "vitals_metrics", "feed"), 1)
    (tmp_path / "endpoints.json").write_text(json.dumps({"version": 1, "ports": old}))
    rows = {row.name: row for row in Stack(tmp_path, tmp_path).status()}
    assert (rows["hive"].state, rows["hive"].ports) == ("stopped", {})
    assert rows["feed"].ports == {"feed": 1}


def test_the_lakes_metrics_are_read_unless_it_was_left_out(site: Site) -> None:
    assert f"lake={site.url('lake_metrics')}/metrics" in site.settings()["WARD_SCRAPE"].split(",")
    assert "lake=" not in replace(site, left_out=frozenset({"lake"})).settings()["WARD_SCRAPE"]


def test_what_was_left_out_is_remembered_until_it_is_started_after_all(tmp_path: Path) -> None:
    stack = Stack(tmp_path, tmp_path)
    stack._leave_out({"lake", "hive"}, {"kafka"})
    stack._leave_out(set(), {"kafka"})
    assert left_out(tmp_path) == {"lake", "hive"}
    stack._leave_out(set(), {"kafka", "lake"})
    assert left_out(tmp_path) == {"hive"}


def test_a_gateway_listens_where_scanners_look_for_one_when_that_port_is_free(site: Site) -> None:
    chosen = free_ports(PORTS, prefer=PREFERRED_PORTS)
    assert chosen["dicom"] == 11112 or not is_free(11112)
    settings = Settings.from_env(site.settings())
    assert settings.dicom_port == site.ports["dicom"]
    assert settings.intake == f"http://127.0.0.1:{settings.intake_port}"
    assert f"gateway={settings.intake}/metrics" in settings.scrape.split(",")
