"""What Spark needs of this machine: a Java that takes its flags, a low priority, and ways to tell that it is well.

``python -m infra.launch.spark CACHE PLACE`` lets PLACE lead to a JAVA_HOME for Spark.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from contracts.errors import Transient
from contracts.metrics import LAKE_BEHIND, LAKE_LOOKED, LAKE_PUBLISHED, Metric
from infra.fetch import java
from infra.launch.probes import answered, page

if TYPE_CHECKING:
    from infra.site import Site

MODULE: Final = "jdk.incubator.vector"
"""Spark's launcher asks for this module; a Java without it refuses to start, though nothing we run needs it."""
NICE: Final = 15
"""The archive gives way to alarms."""
PATIENCE_S: Final = 10.0
"""What gives way to everybody answers late on a full machine."""
STALLED_S: Final = 120.0
"""A stream that has not looked at the log for so long is stalled; a batch takes seconds."""

START, GO_ON, COMPLETE = 1, 2, 5
"""Words of Thrift's SASL: each is followed by the length of what comes with it."""


def java_home(cache: Path) -> Path:
    """The JAVA_HOME that Spark runs on: that of the Java found, or a made one in the cache that drops one flag.

    Raises Misconfigured when this machine has no Java 17 to 25.
    """
    found = java.find().resolve()
    return found.parent.parent if has_module(found) else made_home(cache, found)


def link(cache: Path, place: Path) -> None:
    """Let ``place`` lead to Spark's JAVA_HOME, for an image that wants a fixed name."""
    place.symlink_to(java_home(cache), target_is_directory=True)


def has_module(program: Path) -> bool:
    """Whether this Java has the module that Spark's launcher names; one that does not tell is believed to."""
    release = program.parent.parent / "release"
    listed = re.search(r'^MODULES="(.*)"', release.read_text(), re.MULTILINE) if release.exists() else None
    return listed is None or MODULE in listed[1].split()


def made_home(cache: Path, program: Path) -> Path:
    """A JAVA_HOME around ``program`` without the flag that it would refuse; made once for each program."""
    from infra.site import write_atomically

    home = cache / "spark-java" / hashlib.sha256(str(program).encode()).hexdigest()[:12]
    script, wanted = home / "bin" / "java", launcher(program)
    if not script.exists() or script.read_text() != wanted:
        write_atomically(script, wanted, mode=0o755)
    return home


def launcher(program: Path) -> str:
    """The script: hands everything on to ``program``, but for the module that it lacks."""
    return f"""\
#!/bin/sh
# Java for Spark: {program} without --add-modules {MODULE}, which it does not have.
count=$#
while [ "$count" -gt 0 ]; do
    word=$1
    shift
    count=$((count - 1))
    case $word in
        --add-modules={MODULE}) continue ;;
        --add-modules)
            if [ "$count" -gt 0 ] && [ "$1" = {MODULE} ]; then
                shift
                count=$((count - 1))
                continue
            fi
            ;;
    esac
    set -- "$@" "$word"
done
exec {shlex.quote(str(program))} "$@"
"""


def does_not_start(program: Path) -> str | None:
    """Why Spark's Java does not run with the flag that Spark gives it, else None."""
    command = [str(program), f"--add-modules={MODULE}", "-version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as failure:
        return str(failure)
    return None if done.returncode == 0 else done.stderr.strip()[-300:]


def lake_health(site: Site) -> str | None:
    """None when the stream looks at the log and publishes what it finds."""
    return lake_flows(site.url("lake_metrics") + "/metrics")


def lake_flows(url: str) -> str | None:
    """Whether what stands in the log becomes readable in the lake, by the stream's own page.

    It has published lately or, where nothing is left to publish, has looked lately.
    """
    try:
        text = page(url, PATIENCE_S)
    except Transient as away:
        return str(away)
    looked, published, behind = (_gauge(text, one) for one in (LAKE_LOOKED, LAKE_PUBLISHED, LAKE_BEHIND))
    if not looked and not published:
        return "it has not looked at the log yet"
    if behind and not published:
        return f"it has published nothing yet; {behind:.0f} records wait in Kafka"
    quiet = time.time() - (published if behind else max(looked, published))
    if quiet < STALLED_S:
        return None
    return f"stalled: nothing was published for {quiet:.0f} s; {behind:.0f} records wait in Kafka, none is lost"


def _gauge(text: str, metric: Metric) -> float:
    found = re.search(rf"^{metric.name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def hive_health(site: Site) -> str | None:
    """None when the Thrift server takes a login."""
    return hive_answers(site.address("hive"))


def hive_answers(address: str) -> str | None:
    """Whether a Thrift server takes a login, the first words of every JDBC client; else what is wrong."""
    host, _, port = address.partition(":")
    mechanism, login = b"PLAIN", b"\0ward\0ward"
    hello = struct.pack(">BI", START, len(mechanism)) + mechanism + struct.pack(">BI", GO_ON, len(login)) + login
    answer = answered(host, int(port), hello, 5, PATIENCE_S)
    if isinstance(answer, str):
        return f"no Thrift server at {address} ({answer})"
    return None if answer[:1] == bytes([COMPLETE]) else f"the Thrift server at {address} refuses a login"


if __name__ == "__main__":
    link(Path(sys.argv[1]), Path(sys.argv[2]))
