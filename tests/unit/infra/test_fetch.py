"""What is fetched is what is locked: by coordinate and sha256, kept when right, refused when not."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from contracts.errors import Misconfigured, Transient
from infra import environment
from infra.fetch import everything, extras, jars, java, lock, wheels
from infra.fetch.polite import politely
from infra.site import CHECKOUT

CONTENT = b"a jar"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def tiny_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lock.toml"
    path.write_text(f'[sets.tiny]\n"org.example:thing:1.0" = "{DIGEST}"\n"org.example:other:2.0:linux" = "{DIGEST}"\n')
    monkeypatch.setattr(jars.locked, "__defaults__", (path,))
    return path


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    asked: list[str] = []

    def download(coordinate: str, repository: Path) -> Path:
        asked.append(coordinate)
        repository.mkdir(parents=True, exist_ok=True)
        path = repository / coordinate.replace(":", "_")
        path.write_bytes(content)
        return path

    monkeypatch.setattr(jars, "download", download)
    return asked


def test_a_set_is_complete_only_after_every_file_was_checked(
    tiny_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ticks = serve(monkeypatch, CONTENT), list[str]()
    assert not jars.is_complete(tmp_path, "tiny")
    jars.fetch(tmp_path, "tiny", ticks.append)
    assert jars.is_complete(tmp_path, "tiny")
    assert sorted(ticks) == ["other-2.0-linux.jar", "thing-1.0.jar"]
    assert len(asked) == 2
    jars.fetch(tmp_path, "tiny", ticks.append)
    assert len(asked) == 2, "what is there and right is not asked for again"


def test_a_file_with_another_sha256_is_refused_and_not_kept(
    tiny_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, b"something else")
    with pytest.raises(Misconfigured, match="the lock says"):
        jars.fetch(tmp_path, "tiny", lambda _: None)
    assert not jars.is_complete(tmp_path, "tiny")
    assert [path.name for path in (tmp_path / "jars").rglob("*.jar")] == []
    assert list((tmp_path / "jars").glob(".incoming*")) == []


def test_a_damaged_file_is_found_and_replaced(tiny_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, CONTENT)
    jars.fetch(tmp_path, "tiny", lambda _: None)
    hurt = tmp_path / "jars" / "tiny" / "thing-1.0.jar"
    hurt.write_bytes(b"flipped")
    assert list(jars.damaged(tmp_path, "tiny")) == [hurt]
    jars.fetch(tmp_path, "tiny", lambda _: None)
    assert list(jars.damaged(tmp_path, "tiny")) == []


def test_a_stray_jar_leaves_the_class_path(tiny_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, CONTENT)
    stray = tmp_path / "jars" / "tiny" / "stray.jar"
    stray.parent.mkdir(parents=True)
    stray.touch()
    jars.fetch(tmp_path, "tiny", lambda _: None)
    assert not stray.exists()


def test_nothing_is_fetched_when_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "missing", lambda cache, names=(): [])
    assert everything.fetch(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_what_the_wall_wants_comes_first_and_its_failure_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[str] = []
    gate = threading.Event()

    def item(name: str, after: tuple[str, ...] = ()) -> everything.Item:
        def get(_cache: Path, _tick: jars.Tick) -> None:
            if name == "kafka":
                assert gate.wait(10)
            came.append(name)
            if name == "web":
                raise Transient("no web today")

        return everything.Item(name, lambda _: False, get, lambda: 1, after)

    items = {"spark": item("spark", ("kafka", "web")), "kafka": item("kafka"), "web": item("web")}
    monkeypatch.setattr(everything, "ITEMS", items)
    with everything.arriving(tmp_path, items) as coming:
        assert isinstance(coming["web"].exception(10), Transient)
        assert not coming["spark"].done()
        gate.set()
        assert coming["spark"].exception(10) is None
    assert came == ["web", "kafka", "spark"]


def test_every_item_waits_for_known_ones_that_wait_for_fewer() -> None:
    for item in everything.ITEMS.values():
        for name in item.after:
            assert set(everything.ITEMS[name].after) < set(item.after), "what waits for fewer is asked for earlier"


def test_what_images_need_comes_before_all_of_spark_and_after_the_wall() -> None:
    assert everything.ITEMS["images"].after == everything.OF_THE_WALL
    assert "images" in everything.ITEMS["spark-python"].after


def test_the_committed_lock_pins_every_set_by_sha256() -> None:
    for jar_set in lock.SETS:
        pinned = jars.locked(jar_set.name)
        assert {*jar_set.roots, *jar_set.alone} <= {jar.coordinate for jar in pinned}
        assert all(len(jar.sha256) == 64 for jar in pinned)
        assert len({jar.file_name for jar in pinned}) == len(pinned)


def test_an_unknown_set_is_refused_with_those_there_are() -> None:
    with pytest.raises(Misconfigured, match="hadoop, kafka, spark"):
        jars.locked("sparkk")


@pytest.mark.parametrize("pins", sorted(wheels.PINS.glob("*.txt")), ids=lambda p: p.name)
def test_every_pinned_wheel_has_an_exact_version_and_hashes(pins: Path) -> None:
    text = pins.read_text()
    assert "==" in text
    assert "--hash=sha256:" in text
    assert "://" not in text


def test_an_environment_of_another_maker_is_never_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert extras.is_here("data"), "what can be imported is here, whoever put it there"
    with pytest.raises(Misconfigured, match="uv sync --inexact --extra lake"):
        extras.install(tmp_path, lambda _: None, extras.LAKE)


def test_in_an_environment_of_the_door_an_extra_is_here_once_it_came_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / ".ready-core").touch()
    assert not extras.is_here("data"), "importable is not enough: half of it may be missing"
    (tmp_path / ".ready-data").touch()
    assert extras.is_here("data")


def test_every_extra_of_the_project_but_data_is_known_to_the_maker_of_environments() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert environment.EXTRAS | {"data"} == project["optional-dependencies"].keys()


def test_the_java_that_is_found_fits() -> None:
    assert java.major_version(java.find()) in java.FITTING


def test_what_is_fetched_beside_a_wall_gives_way_to_it() -> None:
    told = "import os, sys; print(os.nice(0), os.sched_getscheduler(0) if hasattr(os, 'SCHED_IDLE') else None)"
    said = subprocess.run(
        politely([sys.executable, "-c", told]), capture_output=True, text=True, check=True
    ).stdout.split()
    if shutil.which("nice"):
        assert int(said[0]) >= 10
    if shutil.which("chrt"):
        assert said[1] == str(os.SCHED_IDLE)
