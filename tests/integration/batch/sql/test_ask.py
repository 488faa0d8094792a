"""``ward lake sql``: roles, records of reads, two engines that agree, and what is wrong told by exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import typer

from batch.sql import ask, holdings
from batch.storage import Storage
from contracts import codec
from contracts.errors import Misconfigured, Poison, Transient
from contracts.lake import ALL
from contracts.records import Access
from contracts.settings import Settings
from contracts.topology import ACCESS_LOG
from infra.stack import wait_until
from streams import ledger
from tests.integration.batch.sql.small import ROWS

pytestmark = [pytest.mark.spark, pytest.mark.hdfs, pytest.mark.kafka]


def as_role(settings: Settings, role: str, actor: str = "kim") -> Settings:
    return msgspec.structs.replace(settings, role=role, actor=actor)


def accesses(settings: Settings, actor: str) -> list[Access]:
    rows = (codec.decode(one.value, Access) for one in ledger.read(settings.kafka, ACCESS_LOG.name) if one.value)
    return [row for row in rows if row.actor == actor]


@pytest.mark.parametrize("engine", ["spark", "duckdb"])
def test_a_researcher_reads_the_views_and_each_read_and_each_refusal_is_recorded(
    engine: str, thrift: Settings, filled: Storage
) -> None:
    assert filled
    actor = f"kim-{engine}-{time.time_ns()}"
    me = as_role(thrift, "researcher", actor)
    found = ask(me, "select count(*) n from alerts", engine, "a study of falls", 10)
    assert (found.columns, found.rows) == (("n",), ((2,),))
    with pytest.raises(Misconfigured, match=r"researcher may not read ward\.alerts"):
        ask(me, "select note from ward.alerts", engine, None, 10)
    with pytest.raises(Poison) as hidden:
        ask(me, "select note from alerts", engine, None, 10)
    assert hidden.value.field == "line 1, column 8"
    rows = accesses(thrift, actor)
    assert [(row.target, row.outcome, row.purpose) for row in rows] == [
        ("research.alerts", "granted", "a study of falls"),
        ("ward.alerts", "refused", None),
        ("research.alerts", "granted", None),
    ]
    assert rows[0].query == "select count(*) n from alerts"
    assert rows[0].role == "researcher"
    nurse = as_role(thrift, "clinician", actor)
    assert ask(nurse, "select note from alerts where note is not null", engine, None, 10).rows == (
        ("fell out of bed",),
    )


@pytest.mark.parametrize("engine", ["spark", "duckdb"])
def test_nothing_is_read_while_it_cannot_be_recorded(engine: str, thrift: Settings, filled: Storage) -> None:
    assert filled
    alone = msgspec.structs.replace(thrift, kafka="127.0.0.1:9")
    with pytest.raises(Transient, match="was not done"):
        ask(alone, "select count(*) from vitals", engine, None, 10)
    assert ask(alone, "show tables", engine, None, 100).rows, "names of tables are no patient's data"


@pytest.mark.parametrize("engine", ["spark", "duckdb"])
@pytest.mark.parametrize(
    "text",
    [
        "drop table vitals",
        "insert into vitals select * from vitals",
        "with a as (select 1) insert into actions select * from a",
        "create table x as select 1 a",
        "set x = 1",
        "select 1; select 2",
        "update vitals set bed = 'x'",
        "",
        "   ",
    ],
)
def test_only_reads_pass(engine: str, text: str, thrift: Settings, filled: Storage) -> None:
    assert filled
    with pytest.raises(Poison):
        ask(as_role(thrift, "steward"), text.strip(), engine, None, 10)


@pytest.mark.parametrize("text", ["select * from '/etc/passwd'", "select * from read_text('/etc/passwd')"])
def test_duckdb_reaches_nothing_but_the_tables(text: str, thrift: Settings, filled: Storage) -> None:
    assert filled
    with pytest.raises((Poison, typer.Exit)):
        ask(as_role(thrift, "steward"), text, "duckdb", None, 10)


# -- two engines -----------------------------------------------------------------------------------------------------

QUESTIONS = (
    "select count(*) n from vitals",
    "select ward, vital, count(*) n, avg(value) a, min(value) lo, max(value) hi from vitals"
    " group by ward, vital order by 1, 2",
    "select date, count(value) n from vitals where date >= date '2026-01-03' group by date",
    "select bed, sum(value) s, stddev_samp(value) d from vitals where vital = 'spo2' group by bed order by bed",
    "select alert_id, drivers, value, date, ward from alerts order by alert_id",
    "with low as (select patient, count(*) n from vitals where value < 90 group by patient)"
    " select a.alert_id, low.n from alerts a left join low on a.patient = low.patient order by 1",
    "select year, modality, count(distinct patient) p from image_metadata group by year, modality order by 1, 2",
    "select bed, event_ms, row_number() over (partition by bed order by event_ms) k from vitals"
    " where ward = 'W1' and date = date '2026-01-02' order by bed, event_ms limit 7",
    "select count(*) n from forecasts",
    "select max(late) from scores",
)


@pytest.mark.parametrize("text", QUESTIONS)
def test_both_engines_give_the_same_answer(text: str, thrift: Settings, filled: Storage) -> None:
    assert filled
    by_spark, by_duckdb = (ask(thrift, text, engine, None, 0).rows for engine in ("spark", "duckdb"))
    assert len(by_spark) == len(by_duckdb)
    for one, other in zip(by_spark, by_duckdb, strict=True):
        assert [approx(value) for value in one] == list(other)


def approx(value: Any) -> Any:
    return pytest.approx(value) if isinstance(value, float) else value


# -- the command -----------------------------------------------------------------------------------------------------


def environment(settings: Settings, **changes: str) -> dict[str, str]:
    named = {
        "WARD_KAFKA": settings.kafka,
        "WARD_HDFS_URL": settings.hdfs_url or "",
        "WARD_HDFS_RPC": settings.hdfs_rpc or "",
        "WARD_HIVE": settings.hive or "",
    }
    return {k: v for k, v in os.environ.items() if not k.startswith("WARD_")} | named | changes


def ward(settings: Settings, arguments: Sequence[str], **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.cli", "lake", *arguments]
    return subprocess.run(
        command, env=environment(settings, **changes), capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command_tells_what_is_wrong_by_its_exit_code(thrift: Settings, filled: Storage) -> None:
    assert filled
    done = ward(thrift, ["sql", "select ward, count(*) n from vitals group by ward order by ward", "--json"])
    assert done.returncode == 0, done.stderr
    document = msgspec.json.decode(done.stdout)
    assert document["rows"] == [["W1", 2 * ROWS], ["W3/a", 2 * ROWS]]
    for arguments, changes, code, said in (
        (["selec 1"], {}, 5, "line 1, column 1"),
        (["select * from vitalz"], {}, 3, "did you mean vitals?"),
        (["select 1"], {"WARD_HIVE": "127.0.0.1:9"}, 4, "ward up hive"),
        (
            ["select bed from vitals", "--engine", "duckdb"],
            {"WARD_HDFS_URL": "http://127.0.0.1:9"},
            4,
            "does not answer",
        ),
        (["select * from vitals"], {"WARD_ROLE": "visitor"}, 2, "roles are"),
        (["select * from ward.vitals"], {}, 2, "researcher may not"),
    ):
        failed = ward(thrift, ["sql", *arguments], **changes)
        assert (failed.returncode, failed.stdout) == (code, ""), failed.stderr
        assert said in failed.stderr


def test_a_query_over_its_time_is_ended_on_the_server(thrift: Settings, filled: Storage) -> None:
    assert filled
    for engine, text in (
        ("spark", "select max(a.id * b.id) from range(1000000000000) a cross join range(10) b"),  # it looks up often
        ("duckdb", "select max(a.range * b.range) from range(1000000000) a cross join range(1000000) b"),
    ):
        with pytest.raises(Transient, match="no answer within 1 s"):
            ask(thrift, text, engine, None, 10, 1.0)
    begun = time.monotonic()
    assert ask(thrift, "select count(*) from vitals", "spark", None, 10).rows == ((4 * ROWS,),)
    assert time.monotonic() - begun < 30, "the server is free again"


def test_ctrl_c_ends_the_query_on_the_server_too(thrift: Settings, filled: Storage) -> None:
    assert filled
    actor = f"kim-{time.time_ns()}"
    text = "select sum(a.id * length(v.bed)) from vitals v cross join range(1000000000) a"
    command = [sys.executable, "-m", "infra.cli", "lake", "sql", text]
    running = subprocess.Popen(command, env=environment(thrift, WARD_ACTOR=actor), stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: bool(accesses(thrift, actor)), 60)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert running.stderr is not None
    running.stderr.close()
    assert ask(thrift, "select count(*) from alerts", "spark", None, 10, 60.0).rows == ((2,),)


def test_holdings_tell_rows_files_partitions_and_dates(filled: Storage) -> None:
    held = {one.table: one for one in holdings(filled, list(ALL.values()))}
    assert (held["vitals"].rows, held["vitals"].files, held["vitals"].partitions) == (4 * ROWS, 4, 4)
    assert (held["vitals"].first, held["vitals"].last) == ("2026-01-02", "2026-01-03")
    assert (held["image_metadata"].rows, held["image_metadata"].first) == (72, "2025-03")
    assert held["scores"].rows == 0
