"""Images into the lake: real ones, damaged ones, twice, and after a crash."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest

from batch import preprocess as preprocessing
from batch.originals import IDENTITY, images_of, put
from batch.preprocess import Outcome, preprocess
from batch.publish import publish
from batch.storage import Storage
from contracts.errors import Misconfigured, Poison
from contracts.lake import IMAGE_METADATA, QUARANTINE, SHARDS, STAGING, Table
from contracts.pseudonyms import Pseudonyms
from contracts.settings import Settings
from models.imaging import keyfile
from tests.unit.models.imaging import made

pytestmark = [pytest.mark.hdfs, pytest.mark.spark]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures with labels, four DICOM files of two patients, one picture twice, and damaged ones."""
    home = tmp_path / "Jane_Doe_scans"
    (home / "images").mkdir(parents=True)
    rows = []
    for number in range(8):
        array = np.roll(made.gradient(50 + number, 60) // 16, number * 5, axis=1).astype(np.uint8)
        (home / "images" / f"i{number}.png").write_bytes(made.picture(array, "png"))
        rows.append(
            {
                "image": f"images/i{number}.png",
                "label": "ab"[number % 2],
                "split": "train" if number < 6 else "test",
                "patient_id": f"MRN {number // 2}",
            }
        )
    with (home / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (home / "again.png").write_bytes((home / "images" / "i0.png").read_bytes())
    for number in range(4):
        content = made.dicom(
            made.gradient(30 + number), PatientID=f"MRN {number // 2}", SOPInstanceUID=f"1.2.3.{number}"
        )
        (home / f"Doe^Jane{number}.dcm").write_bytes(content)
    (home / "cut.png").write_bytes(made.picture(made.gradient(31), "png")[:-40])
    (home / "report.dcm").write_bytes(made.dicom(PixelData=None))
    (home / "notes.txt").write_text("of Jane Doe")
    return home


@pytest.fixture
def keyed(settings: Settings, tmp_path: Path) -> Settings:
    import msgspec

    return msgspec.structs.replace(settings, pseudonym_key_file=str(tmp_path / "key"))


def rows_of(lake: Storage, table: Table) -> list[dict[str, Any]]:
    """All rows of a table's published folder, as any plain reader sees them."""
    if not lake.exists(table.path):
        return []
    found = ds.dataset(table.path, filesystem=lake.arrow(), format="parquet", partitioning="hive")
    return list(found.to_table().sort_by("image_id").to_pylist())


def run(keyed: Settings, lake: Storage, spark: Any, name: str = "scans") -> Outcome:
    return preprocess(keyed, lake, name, images_of(lake, name).values(), spark=spark)


def test_images_become_metadata_shards_and_quarantine_once_and_the_same_pixels_again(
    keyed: Settings, lake: Storage, spark: Any, folder: Path
) -> None:
    names = keyfile.pseudonyms(keyed)
    told = put(lake, "scans", [folder], names)
    assert (told.put, told.there, told.passed_over) == (14, 0, 2)  # one picture lay there twice
    seen: list[int] = []
    outcome = preprocess(
        keyed,
        lake,
        "scans",
        images_of(lake, "scans").values(),
        spark=spark,
        advance=lambda _, done, __: seen.append(done),
    )
    assert (outcome.new, outcome.usable, outcome.quarantined) == (14, 12, {"truncated": 1, "no_pixels": 1})
    assert seen[-1] == 14

    shards, metadata = rows_of(lake, SHARDS), rows_of(lake, IMAGE_METADATA)
    assert len(shards) == 24
    assert {len(row["pixels"]) for row in shards} == {128 * 128 * 4, 224 * 224 * 4}
    for row in shards:
        pixels = np.frombuffer(row["pixels"], "<f4").reshape(row["size"], row["size"])
        assert 0 <= pixels.min() <= pixels.max() <= 1
    assert {(row["label"], row["split"]) for row in shards if row["modality"] == "unknown"} >= {("a", "train")}
    patients = {names.patient(f"MRN {number}") for number in range(4)}
    assert {row["patient"] for row in metadata} == patients  # labels and headers name the same persons
    assert len(metadata) == 12
    assert {row["modality"] for row in metadata} == {"DX", "unknown"}

    told_of = repr(metadata) + repr(rows_of(lake, QUARANTINE))
    assert not re.search("(?i)planted|jane|mrn|1950", told_of)
    again = run(keyed, lake, spark)
    assert (again.new, again.publication, again.shards_sha256) == (0, None, outcome.shards_sha256)
    assert rows_of(lake, SHARDS) == shards
    assert put(lake, "scans", [folder], names).put == 0

    put(lake, "other_scans", [folder], names)
    second = run(keyed, lake, spark, "other_scans")
    assert (second.shards, second.shards_sha256) == (24, outcome.shards_sha256)
    assert second.rows.get(IMAGE_METADATA.name, 0) == 0  # an image has one row of metadata
    files = [entry.path for entry in lake.entries(SHARDS.path)]
    assert all(re.search(r"_\d{5}\.c000\.parquet$", path) for path in files)  # buckets, as Spark and Hive know them


def test_what_may_name_a_person_lies_where_only_identity_reads(lake: Storage, settings: Settings, folder: Path) -> None:
    put(lake, "scans", [folder], Pseudonyms(bytes(32)))
    pictures = [entry.path for entry in lake.entries("/images/datasets/scans")]
    assert len(pictures) == 9
    assert not any("oe" in path.rpartition("/")[2] for path in pictures)
    mine = [entry.path for entry in Storage.of(settings, IDENTITY).entries("/identified/images/scans")]
    assert len(mine) == 5
    assert lake.web.status("/identified")["permission"] == "700"


def test_a_run_that_died_before_its_renames_is_finished_by_the_next(
    keyed: Settings, lake: Storage, spark: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, "scans", [folder / "images"], Pseudonyms(bytes(32)))
    renamed: list[str] = []

    def dies(self: Storage, old: str, new: str) -> None:
        if new.startswith(SHARDS.path):
            renamed.append(new)
            if len(renamed) > 1:
                raise KeyboardInterrupt
        real(self, old, new)

    real = Storage.rename
    monkeypatch.setattr(Storage, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        run(keyed, lake, spark)
    monkeypatch.undo()
    put(lake, "scans", [folder / "Doe^Jane0.dcm"], Pseudonyms(bytes(32)))  # more has come meanwhile
    outcome = run(keyed, lake, spark)
    assert (outcome.found, outcome.new, outcome.shards) == (9, 1, 18)
    assert len(rows_of(lake, SHARDS)) == 18
    assert list(lake.entries(STAGING, hidden=True)) == []


def test_labels_that_contradict_each_other_are_refused(lake: Storage, folder: Path, tmp_path: Path) -> None:
    names = Pseudonyms(bytes(32))
    put(lake, "scans", [folder / "images"], names)
    (folder / "labels.csv").write_text("image,label\nimages/i0.png,c\n")
    put(lake, "scans", [folder / "images" / "i0.png"], names)
    with pytest.raises(Poison, match="two_labels"):
        images_of(lake, "scans")
    (folder / "labels.csv").write_text("image,label,split\nimages/i0.png,a,tset\n")
    with pytest.raises(Misconfigured, match="tset"):
        put(lake, "other_scans", [folder / "images"], names)
    with pytest.raises(Misconfigured, match="no images were put in"):
        images_of(lake, "nobody")


def test_arrivals_are_read_as_they_were_deidentified(keyed: Settings, lake: Storage, spark: Any) -> None:
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    mine = made.dicom(PatientID=Pseudonyms(bytes(32)).patient("MRN 1"), StudyDate="20230101")
    other = made.dicom()  # came here with a name in it
    rows = []
    for number, content in enumerate((mine, other)):
        lake.write(f"/images/p-1/2023-01-01/1/{number}.dcm", content)
        uri = lake.uri(f"/images/p-1/2023-01-01/1/{number}.dcm")
        rows.append({"uri": uri, "sha256": hashlib.sha256(content).hexdigest()})

    def fill(where: str) -> tuple[()]:
        arrow = lake.arrow()
        path = f"{where}/images/date=2023-01-01/ward=W1"
        lake.makedirs(path)
        with arrow.open_output_stream(f"{path}/a.parquet") as out:
            pq.write_table(pa.Table.from_pylist(rows), out)
        return ()

    publish(lake, "arrivals-of-a-test", fill)
    wanted = preprocessing.arrived(lake)
    outcome = preprocess(keyed, lake, preprocessing.ARRIVALS, wanted.values(), spark=spark)
    assert outcome.quarantined == {"not_deidentified": 1}
    (row,) = rows_of(lake, IMAGE_METADATA)
    assert row["patient"] == Pseudonyms(bytes(32)).patient("MRN 1")
    assert str(row["study_date"]) == "2023-01-01"


def test_a_process_that_read_from_hdfs_can_start_others(lake: Storage) -> None:
    lake.write("/lake/tables/one", b"1")
    held = lake.arrow()
    with held.open_input_file("/lake/tables/one") as file:
        assert file.read() == b"1"
    # as pyspark starts Java: code that runs between fork and exec
    done = subprocess.run([sys.executable, "-c", ""], preexec_fn=lambda: None, timeout=60)
    assert done.returncode == 0
