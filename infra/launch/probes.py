"""Small questions to a server that need no client library; each answers None when well, else what is wrong."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import sys
import urllib.error
import urllib.request
from typing import Any, Final

from infra.site import LOOPBACK

PATIENCE_S: Final = 2.0


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


def page_has(url: str, text: str, otherwise: str) -> str | None:
    """Whether a page answers and holds a text; ``otherwise`` says what its absence means."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310
            page = answer.read().decode()
    except (OSError, http.client.HTTPException) as failure:
        return f"{url} does not answer ({failure})"
    return None if text in page else otherwise


def java_bean(http_url: str, bean: str) -> dict[str, Any] | str:
    """One management bean of a Hadoop server, or what is wrong."""
    url = f"{http_url}/jmx?qry={bean}"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310
            beans = json.load(answer)["beans"]
    except (OSError, http.client.HTTPException, ValueError, KeyError) as failure:
        return f"{url} does not answer ({failure})"
    return dict(beans[0]) if beans else f"{url} has no such bean yet"


def kafka_answers(port: int) -> str | None:
    """Whether a broker answers an ApiVersions request, the first thing that every client asks."""
    client, correlation = b"ward", 7
    request = struct.pack(">hhih", 18, 0, correlation, len(client)) + client
    try:
        with socket.create_connection((LOOPBACK, port), timeout=PATIENCE_S) as wire:
            wire.sendall(struct.pack(">i", len(request)) + request)
            with wire.makefile("rb") as answers:
                head = answers.read(10)
    except OSError as failure:
        return f"no broker on {LOOPBACK}:{port} ({failure})"
    if len(head) < 10:
        return f"the broker on {LOOPBACK}:{port} closed the connection"
    _size, answered, error = struct.unpack(">iih", head)
    return None if (answered, error) == (correlation, 0) else f"the broker on {LOOPBACK}:{port} answers error {error}"


def main() -> None:
    """``python -m infra.launch.probes URL [TEXT]``: exit code 0 when the page answers 200 and holds the text."""
    url, *text = sys.argv[1:]
    trouble = page_has(url, text[0], f"no {text[0]!r} on {url}") if text else http_answers(url)
    if trouble:
        raise SystemExit(trouble)


if __name__ == "__main__":
    main()
