"""What a record must become: by codec alone, in the date and the ward where it belongs."""

from __future__ import annotations

import pytest

from batch.expected import GRAINS, NO_WARD, day_of, expected, tables_of, ward_folder
from contracts.codec import decode_frame
from contracts.lake import FROM_TOPICS, LANDED
from contracts.topology import VITALS
from tests.contract.real_examples import EXAMPLES

INGEST_MS = 1_767_340_800_000


def test_every_table_of_a_topic_has_a_grain_with_columns_that_it_has() -> None:
    assert set(GRAINS) == {table.name for table in FROM_TOPICS}
    for table in FROM_TOPICS:
        assert set(GRAINS[table.name].columns) <= {column.name for column in table.columns}


@pytest.mark.parametrize("topic", LANDED, ids=lambda topic: topic.name)
def test_real_records_of_every_topic_become_rows_of_their_tables(topic: object) -> None:
    known = next(one for one in LANDED if one is topic)
    paths = sorted(EXAMPLES.glob(f"{known.name}.*json"))
    assert paths
    for path in paths:
        made = expected(known, path.read_bytes(), INGEST_MS)
        assert made.sound, made.why
        assert set(made.rows) == {table.name for table in tables_of(known)}
        assert all(row[0] == INGEST_MS for rows in made.rows.values() for row in rows)


def test_a_frame_with_a_bad_part_tells_the_least_and_one_that_is_none_nothing() -> None:
    raw = (
        b'{"version":1,"ward":"W/1","gateway":"g","seq":1,"at_ms":1767340800000,"beds":[{"bed":"1","patient":"p",'
        b'"readings":[{"vital":"spo2","value":97},{"vital":"nothing","value":1}]}]}'
    )
    made = expected(VITALS, raw, INGEST_MS)
    assert not made.sound
    assert decode_frame(raw).faults
    assert [row[-1] for row in made.rows["vitals"]] == ["W%2F1"]
    for bad in (None, b"", b"{", b"[]"):
        nothing = expected(VITALS, bad, INGEST_MS)
        assert not nothing.sound
        assert nothing.rows == {}


def test_a_lost_clock_and_a_name_that_no_folder_can_have_do_not_scatter_rows() -> None:
    day_ms = 86_400_000
    assert day_of(INGEST_MS - 2 * day_ms, INGEST_MS) == "2025-12-31"
    assert day_of(0, INGEST_MS) == day_of(INGEST_MS + 2 * day_ms, INGEST_MS) == "2026-01-02"
    assert day_of(0, 0) == "1970-01-01"
    assert ward_folder(None) == "__HIVE_DEFAULT_PARTITION__"
    assert ward_folder("W3/a") == "W3%2Fa"
    assert ward_folder("") == ward_folder("a\nb") == ward_folder("é" * 41) == NO_WARD
    assert ward_folder("a" * 128) == "a" * 128
