"""Spark's Java and Spark's health: a flag that one Java lacks is dropped, silence is told from having nothing to do."""

from __future__ import annotations

import http.server
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.metrics import LAKE_BEHIND, LAKE_LOOKED, LAKE_PUBLISHED
from infra.launch import spark
from infra.site import LOOPBACK


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A program that prints its words, one a line."""
    program = tmp_path / "real java"
    program.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["-Xmx1g", f"--add-modules={spark.MODULE}", "Main"], ["-Xmx1g", "Main"]),
        (["--add-modules", spark.MODULE, "-cp", "a b:c", "Main", ""], ["-cp", "a b:c", "Main", ""]),
        (["--add-modules", "java.sql", "Main"], ["--add-modules", "java.sql", "Main"]),
        (["Main", "--add-modules"], ["Main", "--add-modules"]),
        (["-Da='x y'", "*"], ["-Da='x y'", "*"]),
    ],
)
def test_only_the_missing_module_is_dropped(tmp_path: Path, echo: Path, given: list[str], passed: list[str]) -> None:
    home = spark.made_home(tmp_path / "cache", echo)
    said = subprocess.run([home / "bin" / "java", *given], capture_output=True, text=True, check=True).stdout
    assert said.split("\n")[:-1] == passed


def test_the_made_home_is_made_once_for_each_java(tmp_path: Path, echo: Path) -> None:
    first = spark.made_home(tmp_path, echo) / "bin" / "java"
    made = first.stat().st_mtime_ns
    assert spark.made_home(tmp_path, echo) / "bin" / "java" == first
    assert first.stat().st_mtime_ns == made
    assert spark.made_home(tmp_path, tmp_path / "other") != spark.made_home(tmp_path, echo)


def test_a_java_with_the_module_is_taken_as_it_is(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "java"
    assert spark.has_module(program), "one that does not tell is believed to have it"
    (tmp_path / "release").write_text(f'JAVA_VERSION="17"\nMODULES="java.base {spark.MODULE}"\n')
    assert spark.has_module(program)
    (tmp_path / "release").write_text('JAVA_VERSION="25"\nMODULES="java.base java.sql"\n')
    assert not spark.has_module(program)


@contextmanager
def telling(text: str) -> Iterator[str]:
    """A page on loopback that says this."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Say it."""
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing else."""

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}/metrics"
        server.shutdown()


def says(looked: float, published: float, behind: int) -> str:
    """The lake's page."""
    return f"# TYPE\n{LAKE_LOOKED.name} {looked}\n{LAKE_PUBLISHED.name} {published}\n{LAKE_BEHIND.name} {behind}.0\n"


@pytest.mark.parametrize(
    ("looked_s", "published_s", "behind", "trouble"),
    [
        (1, None, 0, None),  # nothing to publish
        (1, 2000, 0, None),  # nothing for a long time
        (1, 5, 400, None),  # at work
        (None, None, 0, "not looked at the log yet"),
        (1, None, 400, "400 records wait"),
        (1, 2000, 400, "stalled: nothing was published for 2000 s; 400 records wait in Kafka, none is lost"),
        (2000, 3000, 0, "stalled"),  # it does not even look
    ],
)
def test_a_lake_is_well_when_it_published_lately_or_has_nothing_to_publish(
    looked_s: float | None, published_s: float | None, behind: int, trouble: str | None
) -> None:
    looked, published = (0.0 if ago is None else time.time() - ago for ago in (looked_s, published_s))
    with telling(says(looked, published, behind)) as url:
        found = spark.lake_flows(url)
    assert (found is None) if trouble is None else (trouble in str(found))


def test_a_lake_that_is_away_is_told_with_the_address() -> None:
    assert "does not answer" in str(spark.lake_flows(f"http://{LOOPBACK}:9/metrics"))
