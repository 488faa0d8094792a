"""docker-compose.yml is the process table in containers: same names, needs, health, heaps; valid; no secrets."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from contracts.settings import Settings
from infra.fetch.jars import locked
from infra.launch.hdfs import core_site, hdfs_site
from infra.launch.influx import LATE, MEANS
from infra.launch.kafka import properties
from infra.processes import PORTS, PREFERRED_PORTS, PROCESSES, Process, alive
from infra.site import CHECKOUT, Site, free_ports

CONTAINED = [process for process in PROCESSES if process.container is not None]
TOOLS = {"ward"}
BESIDE = {"metastore": "hive"}
"""Servers that a process of ours brings with it when it runs natively: Hive's own metastore is an embedded Derby."""
SCHEMA = "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
ADDRESSES = re.compile(r"listeners|voters|protocol\.map|log\.dirs|rpc|http-address|\.dir$|\.address$|hostname")


@cache
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text()))


def service(name: str) -> dict[str, Any]:
    return dict(compose()["services"][name])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    place = tmp_path_factory.mktemp("site")
    return Site(place, place, free_ports(PORTS), Path("java"), "not-a-secret")


def test_it_fits_the_compose_specification() -> None:
    schema = metadata.distribution("check-jsonschema").locate_file(SCHEMA)  # its program needs a newer click than Faust
    jsonschema.validate(compose(), json.loads(Path(str(schema)).read_text()))
    assert "version" not in compose(), "obsolete"


def test_its_services_are_the_processes_and_the_command_line() -> None:
    assert set(compose()["services"]) == {process.name for process in CONTAINED} | TOOLS | BESIDE.keys()


@pytest.mark.parametrize("process", CONTAINED, ids=lambda p: p.name)
def test_a_service_runs_the_image_and_module_of_its_process(process: Process, site: Site) -> None:
    ours = service(process.name)
    assert process.container is not None
    if process.container.image is None:
        assert ours["image"].split(":")[0] == ours["build"]["target"] == process.container.stage
        assert ours["command"] == process.command(site)[1:]
    else:
        assert ours["image"] == process.container.image
    assert not ours["image"].endswith(":latest")
    assert re.search(r":\d+\.\d+\.\d+$", ours["image"]), "pin the exact version"


@pytest.mark.parametrize("process", CONTAINED, ids=lambda p: p.name)
def test_a_service_waits_for_what_its_process_needs(process: Process) -> None:
    once = {p.name for p in PROCESSES if p.once}
    by_name = {p.name: p for p in PROCESSES}
    needs = {  # what an image does by itself, such as InfluxDB's set-up, stands for what it needs in its turn
        need for name in process.needs for need in ((name,) if by_name[name].container else by_name[name].needs)
    }
    expected = {need: "service_completed_successfully" if need in once else "service_healthy" for need in needs}
    expected |= {name: "service_healthy" for name, of in BESIDE.items() if of == process.name}
    found = {need: how["condition"] for need, how in service(process.name).get("depends_on", {}).items()}
    assert found == expected


@pytest.mark.parametrize("process", CONTAINED, ids=lambda p: p.name)
def test_a_service_is_checked_restarted_and_bounded_like_its_process(process: Process) -> None:
    ours = service(process.name)
    assert ours["restart"] == ("no" if process.once else "unless-stopped")
    assert ours.get("profiles", []) == ([] if process.profile == "core" else [process.profile])
    assert ours["stop_grace_period"] == f"{process.stop_s:.0f}s"
    assert "mem_limit" in ours
    assert (ours.get("cpu_shares", 1024) < 1024) == (process.nice > 0)
    if process.health is not alive and not process.once:
        assert {"test", "interval", "timeout", "retries", "start_period"} <= ours["healthcheck"].keys()
    if process.heap_mb is not None:
        assert process.container is not None
        assert f"-Xmx{process.heap_mb}m" in ours["environment"][process.container.heap_variable].split()


@pytest.mark.parametrize("name", list(compose()["services"]))
def test_a_service_publishes_on_loopback_only_and_gains_no_privileges(name: str) -> None:
    ours = service(name)
    assert all(port.startswith("127.0.0.1:") for port in ours.get("ports", []))
    assert "no-new-privileges:true" in ours["security_opt"]
    assert not {"privileged", "network_mode", "pid", "devices"} & ours.keys()


def test_volumes_are_named_and_declared() -> None:
    for name in compose()["services"]:
        for volume in service(name).get("volumes", []):
            assert volume.split(":")[0] in compose()["volumes"], f"{name} mounts {volume}"


def test_no_secret_stands_in_the_file() -> None:
    for name in compose()["services"]:
        for variable, value in service(name).get("environment", {}).items():
            if re.search("TOKEN|PASSWORD|SECRET", variable):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), f"{name}: {variable}"
            for secret in re.findall("(?:password|token|secret)=([^&]*)", str(value), re.IGNORECASE):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", secret), f"{name}: {variable}"
    example = (CHECKOUT / "infra" / "compose.env.example").read_text()
    assert not re.findall(r"^\w+=\S+", example, re.MULTILINE), "the example chooses a value for somebody"


def test_the_broker_has_the_same_settings_in_both() -> None:
    place = Site(Path("/"), Path("/"), dict.fromkeys(PORTS, 1), None, "")
    expected = {
        "KAFKA_" + name.replace(".", "_").upper(): value
        for name, value in properties(place).items()
        if not ADDRESSES.search(name)
    }
    assert expected.items() <= service("kafka")["environment"].items()


@pytest.mark.parametrize("name", ["namenode", "datanode"])
def test_hdfs_has_the_same_settings_in_both(name: str, site: Site) -> None:
    # of loopback alone
    ignored = {"dfs.client.use.datanode.hostname", "ipc.client.connect.max.retries", "fs.defaultFS", "hadoop.tmp.dir"}
    expected = {
        f"{file}_{setting}": value
        for file, settings in (("CORE-SITE.XML", core_site(site)), ("HDFS-SITE.XML", hdfs_site(site)))
        for setting, value in settings.items()
        if setting not in ignored and not ADDRESSES.search(setting)
    }
    assert expected.items() <= service(name)["environment"].items() | {
        ("HDFS-SITE.XML_dfs.namenode.datanode.registration.ip-hostname-check", "false")
    }


def test_the_zones_are_made_by_whom_hdfs_obeys_in_its_image() -> None:
    assert service("zones")["environment"]["WARD_HDFS_USER"] == "hadoop"
    assert service("namenode")["image"].startswith("apache/hadoop:")


def test_hive_keeps_its_metastore_in_postgresql_and_listens_where_clients_are_told() -> None:
    settings = Settings.from_env(
        {name: value for name, value in service("hive")["environment"].items() if name.startswith("WARD_")}
    )
    database = service("metastore")["environment"]
    user, name = database["POSTGRES_USER"], database["POSTGRES_DB"]
    assert str(settings.metastore_url).startswith(f"jdbc:postgresql://metastore:5432/{name}?user={user}&password=${{")
    assert settings.hive == "hive:10000"
    assert any(jar.coordinate.startswith("org.postgresql:postgresql:") for jar in locked("spark"))
    assert database["POSTGRES_PASSWORD"].split(":")[0] in str(settings.metastore_url)


def test_scanners_reach_the_gateway_and_everybody_calls_it_by_its_name() -> None:
    ours = service("gateway")
    port = ours["environment"]["WARD_DICOM_PORT"]
    assert ours["ports"] == [f"127.0.0.1:{port}:{port}"], "the HTTP intake is published nowhere"
    assert int(port) == PREFERRED_PORTS["dicom"]
    assert service("scanner")["environment"]["WARD_DICOM_HOST"] == ours["hostname"]
    settings = Settings.from_env(
        {name: str(value) for name, value in ours["environment"].items() if name.startswith("WARD_")}
    )
    assert settings.intake == f"http://{settings.intake_host}:{settings.intake_port}"
    assert settings.intake_host == ours["hostname"], "its intake answers to the name that it listens on"
    assert f"gateway={settings.intake}/metrics" in service("sink")["environment"]["WARD_SCRAPE"]


def test_the_key_of_all_pseudonyms_lies_in_a_volume_that_only_those_who_need_it_have() -> None:
    key = {name for name in compose()["services"] if "WARD_PSEUDONYM_KEY_FILE" in service(name).get("environment", {})}
    mounted = {
        name for name in compose()["services"] if any("identity:" in v for v in service(name).get("volumes", []))
    }
    assert key == mounted == {"gateway", "imaging", "feed", "ward"}
    assert "identity:/var/lib/identity:ro" in service("feed")["volumes"], "it matches images with beds and makes no key"
    dockerfile = (CHECKOUT / "infra" / "Dockerfile").read_text()
    assert "install -d -o ward -m 0700 /var/lib/identity" in dockerfile, "a new volume belongs to whom its folder does"


def test_sparks_codecs_can_be_loaded_from_a_read_only_container() -> None:
    for name in ("lake", "hive", "ward"):
        assert service(name)["read_only"]
        assert service(name)["tmpfs"] == ["/tmp:exec"], "what they unpack there is loaded as a library"  # noqa: S108


def test_each_of_our_images_is_a_stage_and_the_last_one_is_the_plain_one() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)", (CHECKOUT / "infra" / "Dockerfile").read_text(), re.MULTILINE)
    own = {service(name)["build"]["target"] for name in compose()["services"] if "build" in service(name)}
    assert own <= set(stages)
    assert stages[-1] == "wardstream"


def test_our_image_ships_every_package() -> None:
    dockerfile = (CHECKOUT / "infra" / "Dockerfile").read_text()
    for package in ("contracts", "models", "streams", "producers", "batch", "infra"):
        assert f"COPY {package} {package}" in dockerfile
    assert re.search(r"^FROM python:\d+\.\d+\.\d+-", dockerfile, re.MULTILINE)
    assert "USER 10001" in dockerfile


def test_grafana_finds_every_provisioned_file_where_it_looks() -> None:
    folder = CHECKOUT / "infra" / "provisioning"
    mounted = {service("grafana")["configs"][i]["source"] for i in range(len(service("grafana")["configs"]))}
    files = {compose()["configs"][name]["file"] for name in mounted}
    made = {str(path.relative_to(CHECKOUT)) for path in (folder / "grafana").rglob("*") if path.is_file()}
    assert files == made
    targets = {row["target"] for row in service("grafana")["configs"]}
    boards = service("grafana")["environment"]["GRAFANA_BOARDS"]
    assert {f"{boards}/{path.parent.name}/{path.name}" for path in folder.rglob("*.json")} < targets


def test_both_influxdbs_keep_the_same_minutes() -> None:
    script = (CHECKOUT / "infra" / "provisioning" / "influxdb" / "trend.sh").read_text()
    listed = re.search(r"set: \[(.*)\]", script)
    assert listed is not None
    assert tuple(json.loads(f"[{listed[1]}]")) == MEANS
    assert "365d" in script
    assert f"-{LATE}" in script
