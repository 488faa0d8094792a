"""Models in folders: whole or not there, named by content, refused when touched, promoted with a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import Misconfigured, Poison, WardError
from contracts.settings import Settings
from models.registry import Bundle, Dataset, Interval, NotThere, Registry, own_folder

CHECKOUT = Path(__file__).resolve().parents[3]
NAME = "vitals_anomaly"
FIELDS: dict[str, Any] = {
    "made": "2026-11-21",
    "code": "wardstream 0.1.0 models.training.anomaly",
    "seed": 7,
    "data": [Dataset(name="eicu_hourly.parquet", licence="ODbL 1.0", sha256="ab" * 32, rows=10)],
    "parameters": {"mean": np.arange(3, dtype=np.float32), "threshold": np.float32(0.5)},
    "metrics": {"validation": {"auroc": Interval(0.8, 0.7, 0.9, 10)}},
}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    moment = datetime(2026, 11, 21, tzinfo=UTC)

    def now() -> datetime:
        nonlocal moment
        moment += timedelta(minutes=1)
        return moment

    return Registry(tmp_path / "own", tmp_path / "shipped", now)


def added(registry: Registry, content: str = "weights", **fields: Any) -> str:
    return registry.add(NAME, {"forest.onnx": content.encode(), "extra.bin": b"\x00\x01"}, **(FIELDS | fields))


def home(registry: Registry) -> Path:
    assert registry.own is not None
    return registry.own / NAME


def test_what_was_added_is_read_back_as_it_was(registry: Registry) -> None:
    bundle = registry.load(NAME, added(registry))
    assert bundle.read("forest.onnx") == b"weights"
    assert bundle.parameters == {"mean": [0.0, 1.0, 2.0], "threshold": 0.5}
    assert bundle.manifest.metrics["validation"]["auroc"] == Interval(0.8, 0.7, 0.9, 10)
    assert bundle.manifest.data[0].licence == "ODbL 1.0"
    assert bundle.sha256.startswith(bundle.version)


def test_a_version_is_the_hash_of_its_content(registry: Registry) -> None:
    first, again, other = added(registry), added(registry), added(registry, "other weights")
    assert first == again != other
    assert set(registry.versions(NAME)) == {first, other}
    assert added(registry, seed=8) not in (first, other)


def test_a_version_judged_before_it_is_added_has_the_same_name(registry: Registry) -> None:
    files = {"forest.onnx": b"weights"}
    draft = Bundle.of(NAME, files, **FIELDS)
    assert registry.add(NAME, files, **FIELDS) == draft.version
    assert draft.read("forest.onnx") == b"weights"


@pytest.mark.parametrize("file", ["forest.onnx", "extra.bin", "manifest.json"])
@pytest.mark.parametrize("how", ["one bit", "cut", "gone", "longer"])
def test_a_touched_file_is_refused_and_named(registry: Registry, file: str, how: str) -> None:
    version = added(registry)
    path = home(registry) / version / file
    raw = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes({"one bit": bytes([raw[0] ^ 1]) + raw[1:], "cut": raw[:-1], "longer": raw + b"\n"}[how])
    with pytest.raises(Poison) as refused:
        registry.load(NAME, version)
    assert refused.value.reason == "tampered_model"
    assert refused.value.field == f"{NAME}/{version}/{file}"
    assert "ward model rollback" in refused.value.detail
    with pytest.raises(Poison, match="tampered_model"):
        registry.promote(NAME, version, "me", "never mind")
    assert registry.aliases(NAME).champion is None


def test_a_manifest_rewritten_with_matching_hashes_is_refused_too(registry: Registry) -> None:
    version = added(registry)
    other = added(registry, "evil weights")
    for file in (home(registry) / other).iterdir():
        (home(registry) / version / file.name).write_bytes(file.read_bytes())
    with pytest.raises(Poison, match=rf"tampered_model at {NAME}/{version}/manifest.json"):
        registry.load(NAME, version)


def test_a_model_under_another_name_is_refused(registry: Registry, tmp_path: Path) -> None:
    version = added(registry)
    (tmp_path / "own" / "deterioration").mkdir()
    (home(registry) / version).rename(tmp_path / "own" / "deterioration" / version)
    with pytest.raises(Poison, match="it is the manifest of 'vitals_anomaly'"):
        registry.load("deterioration", version)


def test_a_champion_that_was_touched_stays_refused_and_its_predecessor_serves_again(registry: Registry) -> None:
    good, bad = added(registry), added(registry, "new")
    registry.promote(NAME, good, "me", "first")
    registry.promote(NAME, bad, "me", "better")
    (home(registry) / bad / "forest.onnx").write_bytes(b"touched")
    with pytest.raises(Poison, match="tampered_model"):
        registry.load(NAME)
    assert registry.rollback(NAME, "me", "touched") == good
    assert registry.load(NAME).version == good


def test_what_a_manifest_does_not_list_cannot_be_read(registry: Registry) -> None:
    version = added(registry)
    (home(registry) / version / "smuggled.onnx").write_bytes(b"x")
    with pytest.raises(Poison, match="incomplete_model"):
        registry.load(NAME, version).read("smuggled.onnx")


def test_promoting_and_rolling_back_keep_who_why_and_when(registry: Registry) -> None:
    a, b, c = (added(registry, content) for content in "abc")
    registry.nominate(NAME, b, "kim", "trained")
    for version in (a, b, c):
        registry.promote(NAME, version, "kim", f"try {version}")
    assert registry.rollback(NAME, "lee", "too many alarms") == b
    assert registry.rollback(NAME, "lee", "still") == a
    with pytest.raises(NotThere, match="no other champion"):
        registry.rollback(NAME, "lee", "again")
    found = registry.aliases(NAME)
    assert found.champion == a
    assert found.candidate is None, "what became champion is no candidate any more"
    moves = [(change.from_, change.to) for change in found.changes if change.alias == "champion"]
    assert moves == [(None, a), (a, b), (b, c), (c, b), (b, a)]
    assert [change.at for change in found.changes] == sorted(change.at for change in found.changes)
    assert (found.changes[-1].by, found.changes[-1].reason, found.changes[-1].undo) == ("lee", "still", True)


def test_after_a_rollback_a_new_champion_falls_back_to_the_one_it_replaced(registry: Registry) -> None:
    a, b, c = (added(registry, content) for content in "abc")
    registry.promote(NAME, a, "me", "1")
    registry.promote(NAME, b, "me", "2")
    registry.rollback(NAME, "me", "3")
    registry.promote(NAME, c, "me", "4")
    assert registry.predecessor(NAME) == a


def test_promoting_the_champion_again_changes_nothing(registry: Registry) -> None:
    version = added(registry)
    registry.promote(NAME, version, "me", "first")
    before = registry.aliases(NAME)
    registry.promote(NAME, version, "me", "again")
    assert registry.aliases(NAME) == before


def test_a_change_without_a_reason_is_refused(registry: Registry) -> None:
    version = added(registry)
    with pytest.raises(Misconfigured, match="--reason"):
        registry.promote(NAME, version, "me", " ")


@pytest.mark.parametrize("version", ["champion", "candidate", "0" * 12, "../..", "ABCDEFABCDEF"])
def test_what_is_not_there_is_said_with_what_is(registry: Registry, version: str) -> None:
    kept = added(registry)
    with pytest.raises(NotThere, match=kept):
        registry.load(NAME, version)


@pytest.mark.parametrize("name", ["nobody", "../own", "Vitals", ""])
def test_a_model_that_is_not_there_is_not_found(registry: Registry, name: str) -> None:
    with pytest.raises(NotThere):
        registry.load(name)


def test_an_alias_to_a_version_that_is_gone_is_said(registry: Registry) -> None:
    (home(registry)).mkdir(parents=True)
    (home(registry) / "aliases.json").write_text('{"champion": "0123456789ab"}')
    with pytest.raises(NotThere, match="0123456789ab"):
        registry.load(NAME)


def test_aliases_that_cannot_be_read_are_named(registry: Registry) -> None:
    added(registry)
    (home(registry) / "aliases.json").write_text("{")
    with pytest.raises(Misconfigured, match=r"aliases\.json is not readable"):
        registry.aliases(NAME)


def test_ones_own_models_lie_over_the_shipped_ones(tmp_path: Path) -> None:
    releases = Registry(tmp_path / "shipped", tmp_path / "shipped")
    shipped = added(releases)
    releases.promote(NAME, shipped, "release", "0.1.0")
    ours = Registry(tmp_path / "own", tmp_path / "shipped")
    assert ours.load(NAME).version == shipped
    mine = added(ours, "mine")
    ours.nominate(NAME, mine, "me", "trained")
    assert ours.aliases(NAME).champion == shipped, "a candidate does not decide on the champion"
    ours.promote(NAME, mine, "me", "better")
    assert releases.aliases(NAME).champion == shipped, "only ours was written to"
    assert ours.champions() == {NAME: mine}
    assert ours.rollback(NAME, "me", "not better") == shipped


def test_a_promoted_version_survives_the_release_that_shipped_it(tmp_path: Path) -> None:
    releases = Registry(tmp_path / "shipped", tmp_path / "shipped")
    version = added(releases)
    releases.note(NAME, version, "card.md", "# a card")
    ours = Registry(tmp_path / "own", tmp_path / "shipped")
    ours.promote(NAME, version, "me", "keep it")
    later = Registry(tmp_path / "own", tmp_path / "next_release")
    assert later.load(NAME).version == version
    assert later.notes(NAME, version) == {"card.md": "# a card"}


def test_a_new_release_brings_its_champion_to_those_who_decided_nothing(tmp_path: Path) -> None:
    releases = Registry(tmp_path / "shipped", tmp_path / "shipped")
    ours = Registry(tmp_path / "own", tmp_path / "shipped")
    mine = added(ours, "mine")
    ours.nominate(NAME, mine, "me", "trained")
    version = added(releases)
    releases.promote(NAME, version, "release", "0.2.0")
    assert ours.aliases(NAME).champion == version
    assert ours.aliases(NAME).candidate == mine


def test_a_note_does_not_change_the_version(registry: Registry) -> None:
    version = added(registry)
    registry.note(NAME, version, "evaluation-test.json", "{}")
    registry.note(NAME, version, "card.md", "first")
    registry.note(NAME, version, "card.md", "second")
    assert registry.load(NAME, version).version == version
    assert registry.notes(NAME, version) == {"card.md": "second", "evaluation-test.json": "{}"}
    with pytest.raises(ValueError, match="a note is"):
        registry.note(NAME, version, "forest.onnx", "no")


@pytest.mark.parametrize("file", ["manifest.json", "card.md", "evaluation-test.json", "../forest.onnx", ".hidden", ""])
def test_a_file_name_that_would_do_harm_is_refused(registry: Registry, file: str) -> None:
    with pytest.raises(Misconfigured):
        registry.add(NAME, {file: b""}, **FIELDS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seeed": 1}, "seeed"),
        ({"seed": "one"}, "seed"),
        ({"data": [{"name": "x"}]}, "data"),
        ({"parameters": {"scale": float("nan")}}, "nan"),
        ({"parameters": {"scale": object()}}, "object"),
        ({"metrics": {"test": {"auroc": {"value": 0.5}}}}, "low"),
    ],
)
def test_a_bad_manifest_is_refused_by_field(registry: Registry, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        added(registry, **fields)
    assert registry.versions(NAME) == ()


def test_an_undefined_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite figure"):
        Interval(float("nan"), 0.0, 1.0, 5)


def test_a_registry_without_a_folder_of_its_own_is_read_only(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="WARD_MODELS_DIR"):
        added(Registry(None, tmp_path))


def test_ones_own_folder_is_the_setting_or_beside_the_state(tmp_path: Path) -> None:
    assert own_folder(Settings(state_dir=str(tmp_path))) == tmp_path / "models"
    assert own_folder(Settings(state_dir=str(tmp_path), models_dir="~/mine")) == Path.home() / "mine"
    assert own_folder(Settings()).name == "models"


def test_an_export_is_a_registry_for_another_ward(registry: Registry, tmp_path: Path) -> None:
    version = added(registry)
    folder = registry.export(NAME, version, tmp_path / "stick")
    assert folder == (tmp_path / "stick" / NAME / version).resolve()
    assert registry.export(NAME, version, tmp_path / "stick") == folder, "twice does no harm"
    assert Registry(tmp_path / "stick", tmp_path / "none").load(NAME, version).read("forest.onnx") == b"weights"


KILLED = """
import os, signal, sys
from pathlib import Path
from models import registry
from tests_fields import FIELDS
write, count = registry._write, 0
def killed(path, content):
    global count
    count += 1
    write(path, content[: len(content) // 2])
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)
registry._write = killed
registry.Registry(Path(sys.argv[1])).add("vitals_anomaly", {"forest.onnx": b"weights", "extra.bin": b"xy"}, **FIELDS)
"""


@pytest.mark.parametrize("after", [1, 2, 3])
def test_who_is_killed_while_adding_leaves_nothing(registry: Registry, tmp_path: Path, after: int) -> None:
    plain = {"code": "x", "seed": 1, "data": [], "made": "2026-11-21"}
    (tmp_path / "tests_fields.py").write_text(f"FIELDS = {plain!r}")
    code = [sys.executable, "-c", KILLED, str(registry.own), str(after)]
    done = subprocess.run(code, env={"PYTHONPATH": f"{CHECKOUT}:{tmp_path}"}, timeout=60, check=False)
    assert done.returncode == -9
    assert registry.versions(NAME) == ()
    assert registry.names() == ()
    added(registry)
    assert not list(home(registry).glob(".adding-*")), "the next writer clears what was left"


CROWD = """
import sys
from pathlib import Path
from models.registry import Registry
registry = Registry(Path(sys.argv[1]))
for turn in range(15):
    version = registry.add("vitals_anomaly", {"m.onnx": f"{sys.argv[2]}-{turn}".encode()}, code="x", seed=turn, data=[])
    registry.promote("vitals_anomaly", version, sys.argv[2], f"turn {turn}")
    if turn % 5 == 4:
        registry.rollback("vitals_anomaly", sys.argv[2], "back")
"""


def test_writers_at_the_same_time_lose_nothing_of_each_other(registry: Registry) -> None:
    code = [sys.executable, "-c", CROWD, str(registry.own)]
    crowd = [subprocess.Popen([*code, who], env={"PYTHONPATH": str(CHECKOUT)}) for who in ("kim", "lee")]
    assert [process.wait(timeout=120) for process in crowd] == [0, 0]
    assert len(registry.versions(NAME)) == 30
    changes = registry.aliases(NAME).changes
    assert [change.from_ for change in changes[1:]] == [change.to for change in changes[:-1]], "one chain"
    assert len([change for change in changes if not change.undo]) == 30
    assert changes[-1].to == registry.aliases(NAME).champion
    assert registry.load(NAME)


def test_a_folder_that_cannot_be_made_is_named_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WardError, match="file"):
        added(Registry(tmp_path / "file" / "models", tmp_path))


def test_what_lies_on_disk_is_json_that_a_stranger_can_check(registry: Registry) -> None:
    import hashlib

    version = added(registry)
    folder = home(registry) / version
    assert hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:12] == version
    for file, digest in json.loads((folder / "manifest.json").read_text())["files"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest


def test_the_registry_is_quick_to_import() -> None:
    code = "import sys, models.registry; print([m for m in ('numpy', 'onnxruntime', 'river') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_shipped_weights_are_whole_and_small() -> None:
    registry = Registry()
    for name in registry.names():
        for version in registry.versions(name):
            registry.load(name, version)
        assert registry.load(name), "each shipped model has a champion"
    shipped = CHECKOUT / "models" / "weights"
    assert sum(path.stat().st_size for path in shipped.rglob("*") if path.is_file()) <= 60_000_000
