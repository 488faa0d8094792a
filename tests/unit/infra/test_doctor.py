"""The doctor: each fault is named with its fix; health has no findings."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from infra import doctor
from infra.fetch import everything, java
from infra.processes import PORTS
from infra.site import LOOPBACK, free_ports
from infra.stack import Stack
from infra.supervisor import wanted_file


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    (tmp_path / "state").mkdir()
    return Stack(tmp_path / "state", tmp_path / "cache")


def faults(stack: Stack, check: str) -> list[doctor.Finding]:
    return doctor.examine(stack)[check]


def test_a_taken_port_is_named_with_its_owner(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        ports = free_ports(PORTS) | {"kafka": taken.getsockname()[1]}
        (stack.state / "endpoints.json").write_text(json.dumps({"version": 1, "ports": ports}))
        (found,) = faults(stack, "ports")
    assert f"port {ports['kafka']} of kafka" in found.fault
    assert "ward up" in found.fix


def test_a_low_disk_is_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert all("GiB free" in found.fault for found in faults(stack, "disk"))
    assert faults(stack, "disk")


def test_a_missing_java_is_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise Misconfigured("no Java 17 to 25 on PATH")

    monkeypatch.setattr(java, "find", nowhere)
    (found,) = faults(stack, "java")
    assert "no Java" in found.fault


def test_a_dead_supervisor_is_named(stack: Stack) -> None:
    (stack.state / "supervisor.json").write_text(json.dumps({"pid": os.getpid(), "born": 1.0}))
    (found,) = faults(stack, "supervisor")
    assert "dead" in found.fault
    assert "ward up" in found.fix


def test_wanted_processes_without_a_supervisor_are_named(stack: Stack) -> None:
    wanted_file(stack.state).write_text(json.dumps({"kafka": {}}))
    wanted_file(stack.state).chmod(0o600)
    (found,) = faults(stack, "supervisor")
    assert "1 processes are wanted" in found.fault


def test_a_damaged_or_open_state_file_is_named(stack: Stack) -> None:
    secrets = stack.state / "secrets.json"
    secrets.write_text("{")
    secrets.chmod(0o644)
    assert [("is damaged" in f.fault, "read by others" in f.fault) for f in faults(stack, "settings")] == [
        (True, False),
        (False, True),
    ]


def test_an_unknown_setting_is_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARD_KAFKAA", "x")
    (found,) = faults(stack, "settings")
    assert "WARD_KAFKAA" in found.fault


def test_an_empty_cache_names_what_to_fetch(stack: Stack) -> None:
    of_the_cache = [name for name in everything.ITEMS if name != "spark-python"]
    assert [found.fix for found in faults(stack, "cache")] == [f"ward fetch {name}" for name in of_the_cache]
