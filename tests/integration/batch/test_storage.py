"""HDFS as the lake uses it, on a real HDFS: what appears appears whole, and what changes changes in one step."""

from __future__ import annotations

import getpass
import uuid

import pytest

from batch.storage import Storage
from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from infra.stack import Stack

pytestmark = [pytest.mark.hdfs]


@pytest.fixture(scope="module")
def storage(session_stack: Stack, hdfs: str) -> Storage:
    """The session's HDFS, as its superuser: the folders of this module are of no zone."""
    assert hdfs
    return Storage.of(Settings.from_env(session_stack.environment()), user=getpass.getuser())


@pytest.fixture
def folder(storage: Storage) -> str:
    """A folder of the test's own."""
    path = f"/storage-{uuid.uuid4().hex[:8]}"
    storage.makedirs(path)
    return path


def test_a_file_appears_whole_or_not_at_all_and_is_never_written_over(storage: Storage, folder: str) -> None:
    path = f"{folder}/a/one"
    storage.write(path, b"first")
    assert storage.read(path) == b"first"
    with pytest.raises(FileExistsError):
        storage.write(path, b"second")
    assert storage.read(path) == b"first"
    assert [entry.path for entry in storage.entries(folder, hidden=True)] == [path], "the draft is gone"


def test_hidden_files_and_folders_are_no_part_of_a_listing(storage: Storage, folder: str) -> None:
    for name in ("_draft/x", ".tmp", "b/y", "a"):
        storage.write(f"{folder}/{name}", name.encode())
    assert [entry.path for entry in storage.entries(folder)] == [f"{folder}/a", f"{folder}/b/y"]
    assert [entry.size for entry in storage.entries(folder)] == [1, 3]
    assert list(storage.entries(f"{folder}/nowhere")) == []


def test_a_rename_refuses_what_is_there_and_what_is_not(storage: Storage, folder: str) -> None:
    storage.write(f"{folder}/old", b"o")
    storage.write(f"{folder}/new", b"n")
    with pytest.raises(FileExistsError):
        storage.rename(f"{folder}/old", f"{folder}/new")
    with pytest.raises(FileNotFoundError):
        storage.rename(f"{folder}/nothing", f"{folder}/other")
    storage.rename(f"{folder}/old", f"{folder}/other")
    assert storage.read(f"{folder}/other") == b"o"


def test_a_replacement_is_one_step(storage: Storage, folder: str) -> None:
    storage.write(f"{folder}/new", b"new")
    storage.write(f"{folder}/standing", b"old")
    storage.replace(f"{folder}/new", f"{folder}/standing")
    assert storage.read(f"{folder}/standing") == b"new"
    assert not storage.exists(f"{folder}/new")


def test_files_are_joined_in_order_and_only_their_sum_is_left(storage: Storage, folder: str) -> None:
    for name in "abc":
        storage.write(f"{folder}/{name}", name.encode() * 3)
    storage.concat(f"{folder}/a", [f"{folder}/b", f"{folder}/c"])
    assert storage.read(f"{folder}/a") == b"aaabbbccc"
    assert [entry.path for entry in storage.entries(folder)] == [f"{folder}/a"]


def test_pyarrow_reads_the_same_files(storage: Storage, folder: str) -> None:
    storage.write(f"{folder}/a", b"0123456789")
    with storage.arrow().open_input_file(f"{folder}/a") as file:
        file.seek(4)
        assert file.read(3) == b"456"


def test_no_hdfs_is_told_with_the_fix(storage: Storage) -> None:
    with pytest.raises(Misconfigured, match="WARD_HDFS_URL"):
        Storage.of(Settings())
    with pytest.raises(Transient, match="does not answer"):
        Storage("http://127.0.0.1:9", "hdfs://127.0.0.1:9").read("/x")
    with pytest.raises(FileNotFoundError):
        storage.read("/nowhere/at/all")
