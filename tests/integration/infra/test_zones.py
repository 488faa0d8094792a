"""Who may read what on a real HDFS: every zone with its owner and mode, refused where it should be."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from batch import manifests
from batch.storage import Storage
from contracts.errors import Misconfigured, Transient
from contracts.lake import (
    ALL,
    CHECKPOINT,
    COHORTS_ROOT,
    EXPORTS_ROOT,
    IDENTIFIED_ROOT,
    IMAGES_ROOT,
    MANIFESTS,
    RECORDS,
    STAGING,
    VITALS_TABLE,
)
from infra import lake_doctor
from infra.launch import zones
from infra.launch.hdfs import superuser
from infra.stack import Stack
from tests.conftest import servers

pytestmark = [pytest.mark.hdfs]
As = Callable[[str], Storage]

DEIDENTIFIED = [table.path for table in ALL.values() if table.zone == "deidentified"]
RESTRICTED = [table.path for table in ALL.values() if table.zone == "restricted"]


@pytest.fixture(scope="module")
def user(session_stack: Stack) -> As:
    """The session's HDFS with its zones, as any user."""
    environment = servers(session_stack, ["zones"]).environment()
    return lambda name: Storage(environment["WARD_HDFS_URL"], environment["WARD_HDFS_RPC"], name)


@pytest.fixture(scope="module")
def probe(user: As) -> Iterator[str]:
    """The name of a file that stands in every zone, put there by its owner."""
    name = f"_probe-{uuid.uuid4().hex[:8]}"
    places = (*DEIDENTIFIED, *RESTRICTED, MANIFESTS, STAGING, CHECKPOINT, COHORTS_ROOT, EXPORTS_ROOT, IMAGES_ROOT)
    for path in places:
        user("ward").write(f"{path}/{name}", b"told")
    user("identity").write(f"{IDENTIFIED_ROOT}/{name}", b"a name")
    yield name
    for path in (*places, IDENTIFIED_ROOT):
        user(superuser()).remove(f"{path}/{name}")


def refuses(storage: Storage, path: str) -> bool:
    """Whether HDFS refuses to give this user the file."""
    try:
        storage.read(path)
    except Transient as refused:
        return "ermission" in str(refused)
    return False


@pytest.mark.parametrize("path", [*DEIDENTIFIED, MANIFESTS, COHORTS_ROOT, EXPORTS_ROOT, IMAGES_ROOT])
def test_a_researcher_reads_what_is_de_identified(user: As, probe: str, path: str) -> None:
    assert user("researcher").read(f"{path}/{probe}") == b"told"


@pytest.mark.parametrize("path", [*RESTRICTED, IDENTIFIED_ROOT, STAGING, CHECKPOINT])
def test_a_researcher_is_refused_what_leads_back_to_persons_and_what_is_the_platforms_own(
    user: As, probe: str, path: str
) -> None:
    assert refuses(user("researcher"), f"{path}/{probe}")


def test_the_platform_reads_every_table_and_no_name(user: As, probe: str) -> None:
    for path in (*DEIDENTIFIED, *RESTRICTED):
        assert user("ward").read(f"{path}/{probe}") == b"told"
    assert refuses(user("ward"), f"{IDENTIFIED_ROOT}/{probe}")
    assert user("identity").read(f"{IDENTIFIED_ROOT}/{probe}") == b"a name"


def test_who_may_lead_back_to_persons_may_not_read_the_tables(user: As, probe: str) -> None:
    assert refuses(user("identity"), f"{VITALS_TABLE.path}/{probe}")
    assert refuses(user("identity"), f"{RECORDS.path}/{probe}")


def test_nobody_else_reads_or_writes_anything(user: As, probe: str) -> None:
    assert refuses(user("stranger"), f"{VITALS_TABLE.path}/{probe}")
    assert refuses(user("stranger"), f"{IMAGES_ROOT}/{probe}")
    for name, path in (("stranger", "/lake"), ("researcher", VITALS_TABLE.path), ("ward", IDENTIFIED_ROOT)):
        with pytest.raises(Transient, match=r"[Pp]ermission"):
            user(name).write(f"{path}/x", b"")


def test_made_again_nothing_changes_and_what_was_changed_is_named_and_mended(user: As) -> None:
    url = user("ward").url
    assert zones.make(url, superuser()) == []
    user(superuser()).web.set_permission(IDENTIFIED_ROOT, permission="755")
    (found,) = zones.wrong(url, superuser())
    assert (
        str(found) == f"{IDENTIFIED_ROOT} belongs to identity:identity with mode 755, not to identity:identity with 700"
    )
    assert zones.make(url, superuser()) == [found]
    assert zones.wrong(url, superuser()) == []


def test_whom_hdfs_does_not_obey_is_told_who_could(user: As) -> None:
    user(superuser()).web.set_owner(IMAGES_ROOT, owner=superuser())
    try:
        with pytest.raises(Misconfigured, match="the user that runs the NameNode"):
            zones.make(user("ward").url, "researcher")
    finally:
        zones.make(user("ward").url, superuser())
    with pytest.raises(Transient, match="does not answer"):
        zones.make("http://127.0.0.1:9", "ward")


def test_the_doctor_names_a_zone_that_others_may_read(user: As, session_stack: Stack) -> None:
    assert list(lake_doctor.zones(session_stack)) == []
    user(superuser()).web.set_permission(RECORDS.path, permission="777")
    (found,) = lake_doctor.zones(session_stack)
    assert f"{RECORDS.path} belongs to ward:ward with mode 777" in found.fault
    assert "ward up zones" in found.fix
    session_stack.up(["zones"])
    assert list(lake_doctor.zones(session_stack)) == []


def test_the_doctor_names_batches_that_a_checkpoint_passed_and_no_manifest_tells_of(
    user: As, session_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"{COHORTS_ROOT}/_doctor-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(lake_doctor, "CHECKPOINT", f"{folder}/_checkpoint")
    monkeypatch.setattr(manifests, "MANIFESTS", f"{folder}/_manifests")
    assert list(lake_doctor.checkpoint(session_stack)) == []
    for batch in (3, 4):
        user("ward").write(f"{folder}/_checkpoint/{7:012d}/commits/{batch}", b"v1")
    (lost,) = lake_doctor.checkpoint(session_stack)
    assert "batch 11 was landed; manifests tell of batches up to -1 only" in lost.fault
    told = manifests.Manifest(version=1, kind=manifests.BATCH, name="b11", made_ms=1, code="test", batch=11)
    user("ward").write(f"{folder}/_manifests/b11.json", told.encoded())
    assert list(lake_doctor.checkpoint(session_stack)) == []
    user("ward").write(f"{folder}/_manifests/b12.json", b"{")
    (damaged,) = lake_doctor.checkpoint(session_stack)
    assert "b12.json" in damaged.fault
    user("ward").remove(folder)
