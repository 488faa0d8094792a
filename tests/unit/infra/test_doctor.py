"""The doctor: each fault is named with its fix; health has no findings."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from infra import doctor
from infra.fetch import everything, java
from infra.finding import Finding
from infra.launch import spark
from infra.processes import PORTS
from infra.site import LOOPBACK, free_ports
from infra.stack import Stack
from infra.supervisor import wanted_file
from models.imaging import keyfile
from models.registry import Registry


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    (tmp_path / "state").mkdir()
    return Stack(tmp_path / "state", tmp_path / "cache")


def faults(stack: Stack, check: str) -> list[Finding]:
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
    of_the_cache = [name for name in everything.ITEMS if name not in ("spark-python", "images")]
    assert [found.fix for found in faults(stack, "cache")] == [f"ward fetch {name}" for name in of_the_cache]


HOLDER = """
import fcntl, pathlib, sys
with pathlib.Path(sys.argv[1]).open("r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_program_in_the_metastore_is_named_and_a_lock_left_behind_is_not(stack: Stack) -> None:
    lock = stack.state / "data" / "hive" / "metastore" / "dbex.lck"
    lock.parent.mkdir(parents=True)
    lock.write_bytes(b"lock")
    assert faults(stack, "metastore") == []
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (found,) = faults(stack, "metastore")
        assert other.stdin is not None
        other.stdin.close()
    assert f"process {other.pid} has" in found.fault
    assert f"kill {other.pid}" in found.fix
    assert faults(stack, "metastore") == []


def test_a_java_that_spark_cannot_start_is_named(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "java"
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "java"
    program.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(spark, "java_home", lambda _cache: home)
    (found,) = faults(stack, "java")
    assert "no such module" in found.fault
    assert "spark-java" in found.fix


def test_a_key_of_pseudonyms_that_others_may_read_is_named(stack: Stack) -> None:
    assert faults(stack, "identities") == []
    path = stack.state / keyfile.NAME
    keyfile.key(path)
    assert faults(stack, "identities") == []
    path.chmod(0o644)
    (found,) = faults(stack, "identities")
    assert str(path) in found.fault
    assert f"chmod 600 {path}" in found.fix


def test_a_model_that_is_not_as_it_was_made_is_named(stack: Stack) -> None:
    before = faults(stack, "weights")
    registry = Registry(stack.state / "models")
    version = registry.add("knee_x", {"model.onnx": b"weights"}, code="x", seed=1, data=[])
    registry.promote("knee_x", version, "test", "a test")
    assert faults(stack, "weights") == before
    (registry.folder("knee_x", version) / "model.onnx").write_bytes(b"others")
    (found,) = [finding for finding in faults(stack, "weights") if finding not in before]
    assert found.fault.startswith("knee_x: ")
    assert "rollback knee_x" in found.fix


def test_a_model_that_the_rules_ask_and_nobody_has_is_named(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('version = 1\nname = "own"\n[[rule]]\nname = "all"\nmodels = ["nobodys_model"]\n')
    monkeypatch.setenv("WARD_IMAGE_RULES", str(rules))
    (found,) = faults(stack, "weights")
    assert "nobodys_model" in found.fault
    assert "ward model train nobodys_model" in found.fix
    rules.write_text("version = 2\n")
    (found,) = faults(stack, "weights")
    assert str(rules) in found.fault
