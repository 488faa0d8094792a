"""Every case in ``tests/cases`` is decided as it was; a case that is not says what differs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from contracts.errors import Poison
from contracts.records import Vital
from streams.compare.case import SUFFIX, packed, played, recorded, unpacked
from tests.cases.make import HERE, REAL, SCRIPTED, log_of, source_of
from tests.unit.streams.compare.logs import POLICY, span_of

FILES = sorted(HERE.glob(f"*{SUFFIX}"))


def test_there_are_cases_of_real_recordings_and_of_each_kind_of_trouble() -> None:
    assert {path.stem for path in FILES} >= SCRIPTED.keys() | REAL.keys()
    assert len(FILES) >= 8
    assert sum(path.stat().st_size for path in FILES) < 200_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_case_is_decided_as_it_was(path: Path) -> None:
    case = unpacked(path.read_bytes())
    found, pairs = played(case)
    different = [(p.fate, p.either.bed, p.either.episode.condition) for p in pairs if p.fate != "same"]
    assert not different, "what the core decides has changed: if that is meant, python -m tests.cases.make"
    assert found.book.hash() == case.hash
    assert found.book.transitions == len(case.ledger) > 0


@pytest.mark.parametrize("name", ["desaturation", "real-eicu"])
def test_a_case_made_anew_is_the_same_to_the_byte(name: str) -> None:
    source, ward, seconds, about = source_of(name)
    records = log_of(source, ward, seconds)
    old = unpacked((HERE / f"{name}{SUFFIX}").read_bytes())
    made, _ = recorded(records, span_of(records), old.policy, about)
    assert msgspec.msgpack.encode(made) == msgspec.msgpack.encode(old)


def test_a_core_that_decides_otherwise_fails_the_case_and_its_alarms_are_named() -> None:
    case = unpacked((HERE / f"desaturation{SUFFIX}").read_bytes())
    slower = msgspec.structs.replace(case.policy.limits[Vital.SPO2], delay_s=40.0, extreme_delay_s=40.0)
    policy = msgspec.structs.replace(case.policy, limits={**case.policy.limits, Vital.SPO2: slower})
    found, pairs = played(msgspec.structs.replace(case, policy=policy))
    assert found.book.hash() != case.hash
    assert ("spo2_low", "later") in {(p.either.episode.condition, p.fate) for p in pairs}


def test_a_damaged_case_is_refused() -> None:
    raw = (HERE / f"silence{SUFFIX}").read_bytes()
    case = unpacked(raw)
    for damaged in (b"", raw[:100], raw[:-9], b"x" * 50, packed(msgspec.structs.replace(case, ledger=case.ledger[1:]))):
        with pytest.raises(Poison, match="bad_case"):
            unpacked(damaged)
    with pytest.raises(Poison, match="version 2"):
        unpacked(packed(msgspec.structs.replace(case, version=2)))


def test_cases_run_from_the_terminal_and_a_changed_one_exits_6(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.cli", "case", "run", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    good = run(str(HERE / f"silence{SUFFIX}"), "--json")
    assert good.returncode == 0, good.stderr
    assert [one["passed"] for one in json.loads(good.stdout)["cases"]] == [True]
    case = unpacked((HERE / f"silence{SUFFIX}").read_bytes())
    quicker = msgspec.structs.replace(POLICY.technical, silence_after_s=5.0)
    (tmp_path / "odd.case").write_bytes(
        packed(msgspec.structs.replace(case, policy=msgspec.structs.replace(case.policy, technical=quicker)))
    )
    odd = run(str(tmp_path))
    assert odd.returncode == 6
    assert "FAIL odd" in odd.stdout
    assert "silence" in odd.stdout
    assert run(str(tmp_path / "empty")).returncode == 2
