"""When a demo takes its lake for complete: by the offsets that manifests on a real HDFS tell of."""

from __future__ import annotations

import uuid

import pytest

from batch import manifests, view
from batch.storage import Storage
from contracts.lake import COHORTS_ROOT
from contracts.settings import Settings
from contracts.topology import ALERTS, VITALS
from infra.archive import has_landed
from infra.stack import Stack
from tests.conftest import servers

pytestmark = [pytest.mark.hdfs]


def test_everything_has_landed_once_manifests_reach_every_offset(
    session_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = servers(session_stack, ["zones"]).environment()
    settings = Settings.from_env(environment)
    storage, folder = Storage.of(settings), f"{COHORTS_ROOT}/_archive-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(view, "MANIFESTS", f"{folder}/_manifests")
    monkeypatch.setattr(view, "OPEN", f"{folder}/_open")
    until = {(VITALS.name, 0): 30, (VITALS.name, 1): 0, (ALERTS.name, 2): 5}
    assert not has_landed(settings, until)
    assert has_landed(settings, {(VITALS.name, 1): 0}), "what is empty has landed"
    for batch, (first, ends) in enumerate([(0, 20), (20, 30)]):
        spans: tuple[manifests.Span, ...] = (
            manifests.Span(topic=VITALS.name, partition=0, first=first, until=ends, records=ends - first),
        )
        if batch:
            spans += (manifests.Span(topic=ALERTS.name, partition=2, first=0, until=5, records=5),)
        told = manifests.Manifest(
            version=1, kind=manifests.BATCH, name=f"b{batch}", made_ms=batch, code="test", batch=batch, spans=spans
        )
        storage.write(f"{folder}/_manifests/b{batch}.json", told.encoded())
        assert has_landed(settings, until) == bool(batch)
    storage.remove(folder)
    assert not has_landed(Settings.from_env({**environment, "WARD_HDFS_URL": "http://127.0.0.1:9"}), until)
