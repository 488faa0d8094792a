"""A Spark session for one machine: on loopback, quiet, lean, with the connector that runs (docs/why/spark-here.md)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from batch.storage import USER
from contracts.errors import Misconfigured
from contracts.settings import Settings

LOOPBACK: Final = "127.0.0.1"
HEAP_MB: Final = 640
"""Spark refuses a driver below 450 MB."""
CONNECTOR: Final = ("spark-sql-kafka", "spark-token-provider", "kafka-clients", "commons-pool2")


def session(
    name: str, settings: Settings, *, hive: bool = False, more: Mapping[str, str] | None = None, user: str = USER
) -> Any:
    """A local session named ``name`` that reads Kafka and HDFS; ``hive`` opens the metastore, which takes one process.

    ``more`` are settings of Spark on top, ``user`` is who it is on HDFS. Raises Misconfigured when the connector's jars
    or HDFS are not there.
    """
    for variable, value in environment(settings).items():
        os.environ[variable] = value
    chosen = options(settings) | dict(more or {})
    os.environ["HADOOP_USER_NAME"] = user
    if hive:
        # Hive's server would act for the user that this variable names, which HDFS refuses; a property only names it
        del os.environ["HADOOP_USER_NAME"]
        chosen["spark.driver.extraJavaOptions"] += f" -DHADOOP_USER_NAME={user}"
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(name)
    for key, value in chosen.items():
        builder = builder.config(key, value)
    made = (builder.enableHiveSupport() if hive else builder).getOrCreate()
    made.sparkContext.setLogLevel("WARN")
    return made


def environment(settings: Settings) -> dict[str, str]:
    """The variables that Spark's own scripts and workers need."""
    wanted = {"SPARK_LOCAL_IP": LOOPBACK, "PYSPARK_PYTHON": sys.executable}
    return wanted | ({"JAVA_HOME": settings.java_home} if settings.java_home else {})


def options(settings: Settings) -> dict[str, str]:
    """Settings of Spark for one machine with little memory."""
    if settings.hdfs_rpc is None:
        raise Misconfigured("no HDFS is named: set WARD_HDFS_RPC, or `./ward up datanode` first")
    return {
        "spark.master": "local[2]",
        "spark.driver.memory": f"{HEAP_MB}m",
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.jars": ",".join(str(jar) for jar in connector(settings)),
        "spark.hadoop.fs.defaultFS": settings.hdfs_rpc,
        "spark.hadoop.dfs.client.use.datanode.hostname": "true",
        "spark.hadoop.dfs.client.block.write.locateFollowingBlock.initial.delay.ms": "20",
        "spark.hadoop.dfs.replication": "1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }


def connector(settings: Settings) -> list[Path]:
    """The jars with which Spark reads Kafka. Raises Misconfigured when they were not fetched."""
    folder = Path(settings.cache_dir or "") / "jars" / "spark"
    found = sorted(jar for jar in folder.glob("*.jar") if jar.name.startswith(CONNECTOR))
    if len(found) < len(CONNECTOR):
        raise Misconfigured(f"Spark's Kafka connector is not in {folder}: `./ward fetch` gets it")
    return found
