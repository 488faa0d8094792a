"""Small questions to a server that need no client library; each answers None when well, else what is wrong."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import sys
import urllib.error
import urllib.request
from typing import Any, Final

from contracts.errors import Transient
from contracts.metrics import GROUP_BEHIND, SINK_FAILING
from infra.site import LOOPBACK

PATIENCE_S: Final = 2.0
PATIENT_TRIES: Final = 3
SINK: Final = r'\{group="ward-influx",topic="\w+"\}'


def http_answers(url: str, expect: int = 200) -> str | None:
    """Whether a GET gives the expected status."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310
            found = answer.status
    except urllib.error.HTTPError as refused:
        found = refused.code
    except (OSError, http.client.HTTPException) as failure:
        return f"{url} does not answer ({failure})"
    return None if found == expect else f"{url} answers {found}, not {expect}"


def page(url: str, patience_s: float = PATIENCE_S) -> str:
    """What a page says. Raises Transient, with the reason, when it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=patience_s) as answer:  # noqa: S310
            return str(answer.read().decode())
    except (OSError, http.client.HTTPException) as failure:
        raise Transient(f"{url} does not answer ({failure})") from failure


def page_has(url: str, text: str, otherwise: str) -> str | None:
    """Whether a page answers and holds a text; ``otherwise`` says what its absence means."""
    try:
        return None if text in page(url) else otherwise
    except Transient as away:
        return str(away)


def java_bean(http_url: str, bean: str) -> dict[str, Any] | str:
    """One management bean of a Hadoop server, or what is wrong."""
    url = f"{http_url}/jmx?qry={bean}"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310
            beans = json.load(answer)["beans"]
    except (OSError, http.client.HTTPException, ValueError, KeyError) as failure:
        return f"{url} does not answer ({failure})"
    return dict(beans[0]) if beans else f"{url} has no such bean yet"


def answered(host: str, port: int, request: bytes, size: int, patience_s: float = PATIENCE_S) -> bytes | str:
    """The first ``size`` bytes that a server says to a request, fewer when it hangs up; a text says what is wrong."""
    try:
        with socket.create_connection((host, port), timeout=patience_s) as wire:
            wire.sendall(request)
            with wire.makefile("rb") as answers:
                return answers.read(size)
    except OSError as failure:
        return str(failure)


def kafka_answers(port: int) -> str | None:
    """Whether a broker answers an ApiVersions request, the first thing that every client asks."""
    client, correlation = b"ward", 7
    request = struct.pack(">hhih", 18, 0, correlation, len(client)) + client
    head = answered(LOOPBACK, port, struct.pack(">i", len(request)) + request, 10)
    if isinstance(head, str):
        return f"no broker on {LOOPBACK}:{port} ({head})"
    if len(head) < 10:
        return f"the broker on {LOOPBACK}:{port} closed the connection"
    _size, said, error = struct.unpack(">iih", head)
    return None if (said, error) == (correlation, 0) else f"the broker on {LOOPBACK}:{port} answers error {error}"


def points_flow(url: str) -> str | None:
    """Whether the sink's points reach InfluxDB, by its own metrics; else how many tries failed, how many wait."""
    try:
        text = page(url)
    except Transient as away:
        return str(away)
    failing = re.search(rf"^{SINK_FAILING.name} (\S+)$", text, re.MULTILINE)
    if failing is None:
        return f"{url} is no page of the sink"
    if (tries := float(failing[1])) < PATIENT_TRIES:
        return None
    behind = sum(float(number) for number in re.findall(rf"^{GROUP_BEHIND.name}{SINK} (\S+)$", text, re.MULTILINE))
    return f"InfluxDB took nothing in {tries:.0f} tries; {behind:.0f} records wait in Kafka, none is lost"


def main() -> None:
    """``python -m infra.launch.probes URL [TEXT]``: exit code 0 when the page answers 200 and holds the text.

    With ``--sink URL``: 0 when the sink's points flow; ``--lake URL``: when the lake publishes; ``--hive HOST:PORT``:
    when the Thrift server takes a login.
    """
    from infra.launch import spark

    url, *text = sys.argv[1:]
    special = {"--sink": points_flow, "--lake": spark.lake_flows, "--hive": spark.hive_answers}
    if url in special:
        trouble = special[url](text[0])
    else:
        trouble = page_has(url, text[0], f"no {text[0]!r} on {url}") if text else http_answers(url)
    if trouble:
        raise SystemExit(trouble)


if __name__ == "__main__":
    main()
