"""``ward model`` as typed: one document on stdout, chatter on stderr, the promised exit codes, quick to list."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from infra import cli
from infra.site import CHECKOUT
from models.registry import Registry
from models.training.recipes import RECIPES, Recipe

TINY = '''
"""A real, very small recipe: tomorrow's tachycardia from the heart rate now."""
from models.registry import Dataset
from models.training import intervals, stays
from models.training.evaluation import Evaluation, Table, defined
from models.training.recipes import chosen

def train(folder, seed, say, progress):
    print("a library prints this")
    known = [stay for stay in stays.load(folder, ["eicu"]) if stay.split == "train"]
    progress("epochs", 1, 2); progress("epochs", 2, 2)
    say(f"{len(known)} stays")
    fields = {
        "code": "tests", "purpose": "Tests the command.",
        "data": [Dataset(name="eicu_hourly.parquet", licence="none", sha256="00", rows=len(known), synthetic=True)],
        "parameters": {"sign": SIGN},
    }
    return {"tiny.bin": str(seed).encode()}, fields

SIGN = 1.0

def evaluate(folder, bundle, split, say, progress):
    known = chosen(stays.load(folder, ["eicu"]), split)
    rate = [float(stay.vitals[-2, 0]) for stay in known]
    truth = [stay.vitals[-1, 0] > 100 for stay in known]
    score = [bundle.parameters["sign"] * each for each in rate]
    patients = [stay.patient for stay in known]
    found = defined({
        "auroc_tachycardia": intervals.auroc(truth, score, patients),
        "auprc_tachycardia": intervals.auprc(truth, score, patients),
    })
    return Evaluation(
        model=bundle.name, version=bundle.version, sha256=bundle.sha256, split=split or "not train", n=len(known),
        metrics=found, tables=(Table(title="Stays", columns=("split", "stays"), rows=(("all", len(known)),)),),
        plots={"one": b"PNG"},
    )
'''


class Told(NamedTuple):
    code: int
    out: str
    err: str

    def document(self) -> Any:
        assert self.code in (0, 6), self.err
        return json.loads(self.out)


class Ward:
    """The command, in this process, with a registry of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], home: Path) -> None:
        self._capsys = capsys
        self.registry = Registry(home / "models")

    def __call__(self, *words: str) -> Told:
        self._capsys.readouterr()
        code = 0
        try:
            cli.main(["model", *words])
        except SystemExit as left:
            code = int(left.code or 0)
        told = self._capsys.readouterr()
        return Told(code, told.out, told.err)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("data") / "vitals", ["train"] * 60 + ["test"] * 40)


def written(folder: Path, splits: list[str]) -> Path:
    """Stays laid out as in shared/data/vitals, made up."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    folder.mkdir()
    chance = np.random.default_rng(1)
    stays, hours = len(splits), 6
    rate = np.clip(chance.normal(90, 20, (stays, 1)) + chance.normal(0, 5, (stays, hours)), 40, 180)
    grid = {"stay_id": np.repeat(np.arange(stays), hours), "hour": np.tile(np.arange(hours), stays), "hr": rate.ravel()}
    grid["split"] = np.repeat(splits, hours)
    for column in ("resp", "o2sat", "sbp", "map", "temp"):
        grid[column] = np.full(stays * hours, np.nan)
    pa.parquet.write_table(pa.table(grid), folder / "eicu_hourly.parquet")
    about = {"stay_id": np.arange(stays), "age": np.full(stays, 60.0), "sex": ["Female"] * stays, "split": splits}
    pa.csv.write_csv(pa.table(about), folder / "eicu_stays.csv")
    return folder


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ward:
    for name in [name for name in os.environ if name.startswith("WARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WARD_STATE_DIR", str(tmp_path))
    (tmp_path / "tiny_recipe.py").write_text(TINY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tiny_recipe", raising=False)
    monkeypatch.setitem(RECIPES, "tiny", Recipe("tiny_recipe", "tiny_recipe", "tests the command"))
    return Ward(capsys, tmp_path)


def trained(ward: Ward, data: Path, seed: int = 1) -> str:
    return str(ward("train", "tiny", "--data", str(data), "--seed", str(seed), "--json").document()["version"])


def test_training_makes_a_candidate_judged_on_validation_with_a_card(ward: Ward, data: Path) -> None:
    told = ward("train", "tiny", "--data", str(data), "--by", "kim", "--json")
    document = told.document()
    assert document["split"] == "validation"
    assert document["metrics"]["auroc_tachycardia"].keys() == {"value", "low", "high", "n"}
    assert "a library prints this" in told.err
    assert "stays" in told.err
    bundle = ward.registry.load("tiny", "candidate")
    assert (bundle.version, bundle.sha256) == (document["version"], document["sha256"])
    assert bundle.manifest.seed == 20260102
    assert "auroc_tachycardia" in bundle.manifest.metrics["validation"]
    assert ward.registry.aliases("tiny").changes[0].by == "kim"
    assert "Tests the command." in Path(document["card"]).read_text()


def test_the_same_seed_makes_the_same_version(ward: Ward, data: Path) -> None:
    assert trained(ward, data) == trained(ward, data) != trained(ward, data, seed=2)


def test_evaluate_without_a_split_takes_all_that_is_not_train(ward: Ward, data: Path, tmp_path: Path) -> None:
    trained(ward, data)
    document = ward("evaluate", "tiny", "--data", str(data), "--model", "candidate", "--json").document()
    assert document.keys() >= {"model", "sha256", "n", "split", "metrics"}
    assert document["n"] == 40
    other = written(tmp_path / "elsewhere", ["holdout"] * 30 + ["test"] * 10 + ["validation"] * 5)
    assert ward("evaluate", "tiny", "--data", str(other), "--model", "candidate", "--json").document()["n"] == 45
    assert ward("evaluate", "tiny", "--data", str(other), "--model", "candidate", "--split", "holdout").code == 0


def test_evaluate_takes_the_folder_above_vitals_too_and_the_setting(
    ward: Ward, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(ward, data)
    monkeypatch.setenv("WARD_DATA_DIR", str(data.parent))
    told = ward("evaluate", "tiny", "--model", "candidate")
    assert told.code == 0
    assert "AUROC tachycardia" in told.out
    assert "not a medical device" in told.out


def test_kept_figures_stand_in_the_card_and_plots_in_their_folder(ward: Ward, data: Path, tmp_path: Path) -> None:
    version = trained(ward, data)
    words = ("--data", str(data), "--split", "test", "--model", version, "--keep", "--plots", str(tmp_path / "plots"))
    document = ward("evaluate", "tiny", *words, "--json").document()
    assert Path(document["plots"]["one"]).read_bytes() == b"PNG"
    card = ward("card", "tiny", version)
    assert "What it is worth on `test`" in card.out
    assert Path(document["card"]).read_text() == card.out
    shown = ward("card", "tiny", version, "--json").document()
    assert shown["evaluations"]["test"]["n"] == 40
    assert shown["manifest"]["purpose"] == "Tests the command."
    assert ward.registry.load("tiny", version).version == version


def test_promote_and_rollback_move_the_champion(ward: Ward, data: Path) -> None:
    first = trained(ward, data)
    assert ward("promote", "tiny", first, "--reason", "the first").code == 0
    second = trained(ward, data, seed=2)
    document = ward("promote", "tiny", "candidate", "--reason", "as good", "--json").document()
    assert (document["champion"], document["before"]) == (second, first)
    assert document["compared"] == {"split": "validation", "compared": 2, "worse": []}
    assert ward("rollback", "tiny", "--reason", "no reason", "--json").document()["champion"] == first
    assert ward("rollback", "tiny", "--reason", "once more").code == 3


def test_a_worse_version_is_refused_unless_forced(ward: Ward, data: Path, tmp_path: Path) -> None:
    ward("promote", "tiny", trained(ward, data), "--reason", "the first")
    (tmp_path / "tiny_recipe.py").write_text(TINY.replace("SIGN = 1.0", "SIGN = -1.0"))
    sys.modules.pop("tiny_recipe")
    worse = trained(ward, data)
    told = ward("promote", "tiny", worse, "--reason", "I like it", "--json")
    assert told.code == 6
    assert any(line.startswith("auroc_tachycardia: 0") for line in told.document()["why"])
    assert ward.registry.aliases("tiny").champion != worse
    assert ward("promote", "tiny", worse, "--reason", "to see it fail", "--force").code == 0
    assert ward.registry.aliases("tiny").champion == worse


def test_promote_needs_a_reason_and_a_whole_version(ward: Ward, data: Path, tmp_path: Path) -> None:
    version = trained(ward, data)
    assert ward("promote", "tiny", version).code == 2
    (tmp_path / "models" / "tiny" / version / "tiny.bin").write_text("touched")
    told = ward("promote", "tiny", version, "--reason", "why not")
    assert told.code == 5
    assert f"tampered_model at tiny/{version}/tiny.bin" in told.err


def test_list_and_verify_mark_what_was_touched(ward: Ward, data: Path, tmp_path: Path) -> None:
    version = trained(ward, data)
    assert ward("verify", "tiny").code == 0
    listed = {model["name"]: model for model in ward("list", "--json").document()["models"]}
    assert listed["tiny"]["candidate"] == version
    assert listed["tiny"]["versions"][0]["state"] == "whole"
    (tmp_path / "models" / "tiny" / version / "tiny.bin").write_text("touched")
    assert "tampered_model" in ward("list").out
    told = ward("verify", "tiny", "--json")
    assert told.code == 6
    assert told.document()["checked"] == 1
    assert "tiny.bin" in told.document()["wrong"][0]


def test_verify_sees_an_alias_that_points_at_nothing(ward: Ward, data: Path, tmp_path: Path) -> None:
    trained(ward, data)
    (tmp_path / "models" / "tiny" / "aliases.json").write_text('{"champion": "0123456789ab"}')
    assert "the champion is 0123456789ab, which is not there" in ward("verify", "tiny").out


def test_export_copies_what_another_ward_can_use(ward: Ward, data: Path, tmp_path: Path) -> None:
    version = trained(ward, data)
    told = ward("export", "tiny", "--to", str(tmp_path / "stick"), "--model", "candidate", "--json")
    assert told.document()["version"] == version
    assert Registry(tmp_path / "stick", tmp_path / "none").load("tiny", version)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("evaluate", "nobody", "--data", "."), 3, "no model 'nobody' can be trained"),
        (("evaluate", "tiny", "--data", "."), 3, "tiny has no champion"),
        (("card", "nobody"), 3, "nobody"),
        (("promote", "tiny", "0123456789ab", "--reason", "x"), 3, "0123456789ab"),
        (("rollback", "tiny", "--reason", "x"), 3, "no other champion"),
        (("verify", "nobody"), 3, "nobody"),
        (("train", "tiny"), 2, "--data DIR"),
        (("train", "tiny", "--data", "/nowhere/at/all"), 2, "no such folder"),
        (("train", "tiny", "--data", "{tmp}"), 2, "eicu_hourly.parquet"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_what_is_wrong_is_told_with_its_exit_code(
    ward: Ward, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    told = ward(*(word.format(tmp=tmp_path) for word in words))
    assert told.code == code, told.err
    assert said in told.err
    assert told.out == ""


def test_a_broken_data_file_is_bad_input(ward: Ward, data: Path, tmp_path: Path) -> None:
    trained(ward, data)
    folder = written(tmp_path / "broken", ["test"] * 5)
    (folder / "eicu_stays.csv").write_text("stay_id,age\n1,60\n")
    told = ward("evaluate", "tiny", "--data", str(folder), "--model", "candidate")
    assert told.code == 5
    assert "eicu_stays.csv has no column 'sex'" in told.err
    (folder / "eicu_hourly.parquet").write_bytes(b"PAR1 and then nothing")
    told = ward("evaluate", "tiny", "--data", str(folder), "--model", "candidate")
    assert told.code == 5
    assert "eicu_hourly.parquet cannot be read" in told.err


def test_a_stay_that_the_table_of_stays_does_not_know_is_bad_input(ward: Ward, data: Path, tmp_path: Path) -> None:
    trained(ward, data)
    folder = written(tmp_path / "short", ["test"] * 5)
    (folder / "eicu_stays.csv").write_text("stay_id,age,sex,split\n1,60,Female,test\n")
    told = ward("evaluate", "tiny", "--data", str(folder), "--model", "candidate")
    assert told.code == 5
    assert "eicu_stays.csv does not tell of stay 0" in told.err


def typed(*words: str, state: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    return subprocess.run(
        [sys.executable, "-P", *words],
        env=kept | {"PYTHONPATH": str(CHECKOUT), "WARD_STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_needs_no_training_imports_none_of_it(tmp_path: Path) -> None:
    heavy = ("tensorflow", "sklearn", "matplotlib", "onnx", "pyarrow", "numpy")
    code = (
        "import sys\nfrom infra.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    for words in (("list", "--json"), ("card", "vitals_forecast"), ("verify",), ("promote", "--help"), ("--help",)):
        done = typed("-c", code, "model", *words, state=tmp_path)
        assert done.stderr.splitlines()[-1] == "[]", words


def cpu_s() -> float:
    """Of children that have ended: a busy machine must not fail the test."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_comes_quickly_with_examples_first(tmp_path: Path) -> None:
    took = []
    for _ in range(3):
        began = cpu_s()
        done = typed("-m", "infra.cli", "model", "--help", state=tmp_path)
        took.append(cpu_s() - began)
        assert done.stdout.index("ward model list") < done.stdout.index("Commands:")
    assert min(took) < 0.4
