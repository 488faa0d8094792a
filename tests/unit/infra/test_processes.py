"""The process table: closed, ordered, loopback only, small."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from contracts.topology import STEPS
from infra.ascent import settings_of
from infra.fetch.everything import ITEMS
from infra.launch import grafana, hdfs, influx, kafka
from infra.processes import BY_NAME, PORTS, PROCESSES, READ_BY, chosen, with_dependents
from infra.site import LOOPBACK, Site, free_ports
from infra.stack import _waves

STORES = {"namenode", "datanode"}
OF_IMAGES = {"gateway", "imaging", "image-worker", "image-return", "scanner"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "cache", tmp_path / "state", free_ports(PORTS), Path("java"), "not-a-secret")


def test_every_need_and_every_fetched_item_exists() -> None:
    for process in PROCESSES:
        assert set(process.needs) <= BY_NAME.keys()
        assert set(process.fetches) <= ITEMS.keys()


def test_no_port_has_two_owners() -> None:
    assert len(PORTS) == len(set(PORTS))


def test_a_process_comes_after_all_it_needs() -> None:
    seen: set[str] = set()
    for process in chosen(profile="demo"):
        assert set(process.needs) <= seen
        seen.add(process.name)
    assert seen == {name for name, process in BY_NAME.items() if process.absent() is None}


def test_a_name_brings_what_it_needs_and_an_unknown_one_is_refused() -> None:
    assert [p.name for p in chosen(["vitals"])] == ["kafka", "topics", "vitals"]
    with pytest.raises(Misconfigured, match="no process kafkaa"):
        chosen(["kafkaa"])


def test_stopping_one_stops_what_needs_it_first() -> None:
    going = with_dependents(["kafka"])
    assert {"vitals", "feed", "simulator", "recordings"} <= going
    assert "influxdb" not in going
    waves = _waves(going)
    depth = {name: level for level, wave in enumerate(waves) for name in wave}
    assert depth["simulator"] > depth["vitals"] > depth["kafka"]


def test_what_is_left_out_takes_along_what_needs_it_and_nothing_else() -> None:
    whole = {process.name for process in chosen(profile="demo")}
    assert {process.name for process in chosen(profile="demo", without=["lake", "hive"])} == whole - {"lake", "hive"}
    assert "lake" not in {process.name for process in chosen(without=["zones"])}
    with pytest.raises(Misconfigured, match="lake cannot start without zones"):
        chosen(["lake"], without=["zones"])
    with pytest.raises(Misconfigured, match="no process laek"):
        chosen(without=["laek"])


def test_images_and_the_archive_give_way_to_alarms_and_start_after_them() -> None:
    names = [process.name for process in PROCESSES]
    for process in PROCESSES:
        assert (process.nice > 0) == (process.name in ("lake", "hive", *STORES, *OF_IMAGES))
        if process.nice and process.name not in STORES:
            assert names.index(process.name) > max(names.index(live) for live in ("simulator", "feed", "sink"))
    of_images = [BY_NAME[name].nice for name in OF_IMAGES]
    assert BY_NAME["lake"].nice > max(of_images) >= min(of_images) > max(BY_NAME[name].nice for name in STORES)


def test_a_word_leaves_out_all_that_deals_with_images() -> None:
    whole = {process.name for process in chosen(profile="demo")}
    assert {process.name for process in chosen(profile="demo", without=["images"])} == whole - OF_IMAGES
    assert {process.name for process in chosen(profile="demo", without=["gateway"])} == whole - {"gateway", "scanner"}


def test_an_image_goes_from_a_scanner_to_its_result_by_three_processes() -> None:
    wanted = {process.name for process in chosen(["gateway", "imaging", "image-worker"])}
    assert wanted == {"kafka", "topics", "namenode", "datanode", "zones", "gateway", "imaging", "image-worker"}


def test_what_only_one_process_reads_restarts_no_other(site: Site) -> None:
    left_out = replace(site, left_out=frozenset({"lake"}))
    moved = {
        process.name
        for process in PROCESSES
        if settings_of(process, site, {}) != settings_of(process, left_out, {"WARD_JAVA_HOME": "/elsewhere"})
    }
    assert moved == {"sink"}
    assert READ_BY.keys() <= site.settings().keys()
    assert settings_of(BY_NAME["kafka"], site, {"WARD_BEDS": "9"}) == {}
    assert settings_of(BY_NAME["simulator"], site, {"WARD_BEDS": "9"})["WARD_BEDS"] == "9"


def test_every_module_of_ours_exists(site: Site) -> None:
    for process in PROCESSES:
        command = process.command(site)
        if command[1:2] == ["-m"]:
            assert importlib.util.find_spec(command[2]) is not None, command[2]


def test_every_running_step_of_the_topology_has_a_process(site: Site) -> None:
    modules = {p.command(site)[2] for p in PROCESSES if p.command(site)[1:2] == ["-m"]}
    assert {step.name for step in STEPS if not step.name.endswith(".cli")} <= modules


def test_the_java_heaps_are_small() -> None:
    assert sum(process.heap_mb or 0 for process in PROCESSES) <= 512


def test_every_address_in_every_configuration_is_loopback(site: Site) -> None:
    text = "\n".join(
        [
            *kafka.properties(site).values(),
            *hdfs.hdfs_site(site).values(),
            influx.configuration(site),
            grafana.configuration(site),
        ]
    )
    assert "0.0.0.0" not in text
    servers = [process for process in PROCESSES if process.is_server or process.name == "grafana"]
    for port in (port for process in servers for port in process.ports):
        assert f"{LOOPBACK}:{site.ports[port]}" in text, port
