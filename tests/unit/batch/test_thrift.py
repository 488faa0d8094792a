"""Settings of the Thrift server: where it listens, where its metastore is, and what it says when told wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.thrift import address, home, metastore
from contracts.errors import Misconfigured
from contracts.settings import Settings


@pytest.mark.parametrize("wrong", [None, "", "10000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "h:0", "h:70000"])
def test_an_address_that_is_none_is_told(wrong: str | None) -> None:
    with pytest.raises(Misconfigured, match="WARD_HIVE"):
        address(Settings(hive=wrong))
    assert address(Settings(hive="127.0.0.1:10000")) == ("127.0.0.1", 10_000)


def test_it_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="WARD_STATE_DIR"):
        home(Settings())
    assert home(Settings(state_dir=str(tmp_path))).is_dir()


def test_the_metastore_is_derby_unless_a_database_is_named_and_its_password_stays_apart(tmp_path: Path) -> None:
    embedded = metastore(Settings(), tmp_path)
    assert embedded["javax.jdo.option.ConnectionURL"] == f"jdbc:derby:;databaseName={tmp_path}/metastore;create=true"
    url = "jdbc:postgresql://metastore:5432/metastore?user=hive&password=s%26cret&ssl=true"
    settings = Settings(metastore_url=url)
    assert "s%26cret" not in repr(settings)
    named = metastore(settings, tmp_path)
    assert named == {
        "javax.jdo.option.ConnectionURL": "jdbc:postgresql://metastore:5432/metastore?ssl=true",
        "javax.jdo.option.ConnectionDriverName": "org.postgresql.Driver",
        "javax.jdo.option.ConnectionUserName": "hive",
        "javax.jdo.option.ConnectionPassword": "s&cret",
    }
    with pytest.raises(Misconfigured, match="jdbc:postgresql"):
        metastore(Settings(metastore_url="jdbc:mysql://x/y"), tmp_path)
