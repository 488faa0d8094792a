"""Writes batches of lines to InfluxDB: one request a batch, gzip, and a clear meaning for every refusal."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import structlog
import urllib3
from influxdb_client import InfluxDBClient, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from streams.sink.gauges import SinkMetrics

log = structlog.get_logger(__name__)

PATIENCE_MS: Final = 10_000
REFUSED: Final = (400, 413, 422)
WRONG: Final = {
    401: "WARD_INFLUX_TOKEN is not known there",
    403: "WARD_INFLUX_TOKEN may not write to WARD_INFLUX_BUCKET",
    404: "there is no WARD_INFLUX_BUCKET of that name",
}
OTHER: Final = "other"
DROPPED: Final = re.compile(r"dropped=(\d+)")
REASONS: Final = (
    ("beyond retention", "beyond_retention"),
    ("type conflict", "type_conflict"),
    ("unable to parse", "unparsable"),
    ("time outside range", "time_out_of_range"),
    ("max key length", "too_long"),
    ("max-series", "too_many_series"),
    ("max-values", "too_many_series"),
)


class Writer:
    """InfluxDB's write end, 1.8 and 2.x alike. Raises Misconfigured when the settings do not name one."""

    def __init__(self, settings: Settings, metrics: SinkMetrics) -> None:
        if not settings.influx_url or not settings.influx_token:
            raise Misconfigured("WARD_INFLUX_URL and WARD_INFLUX_TOKEN say where points go")
        self._bucket, self._org = settings.influx_bucket, settings.influx_org
        self._where = settings.influx_url
        self._metrics = metrics
        self._client: Any = InfluxDBClient(
            settings.influx_url, settings.influx_token, org=self._org, timeout=PATIENCE_MS, enable_gzip=True
        )
        self._api: Any = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, lines: Sequence[str]) -> None:
        """Have every line taken, or refused for ever.

        A refused point is left out, counted (by its last reason where a batch has several: no more is told), and
        never in the way of the others. Raises Transient when InfluxDB does not answer or has no room now, Misconfigured
        when token or bucket are wrong.
        """
        began = time.perf_counter()
        refused: Counter[str] = Counter()
        self._post(lines, refused)
        if refused[OTHER] == len(lines) > 1:  # not one of so many is good: more likely the server's fault than theirs
            raise Transient(f"InfluxDB at {self._where} refuses every point of a batch, for no known reason")
        self._metrics.write_seconds.observe(time.perf_counter() - began)
        for measurement, number in Counter(line.partition(",")[0] for line in lines).items():
            self._metrics.points.labels(measurement).inc(number)
        for reason, number in refused.items():
            self._metrics.refused.labels(reason).inc(number)
            log.warning("InfluxDB refuses points for ever", points=number, reason=reason)

    def _post(self, lines: Sequence[str], refused: Counter[str]) -> None:
        try:
            self._api.write(
                self._bucket,
                self._org,
                "\n".join(lines).encode("utf-8", "replace"),
                write_precision=WritePrecision.NS,
            )
        except ApiException as answer:
            self._refused(lines, answer.status, str(answer.body or answer.reason), refused)
        except (urllib3.exceptions.HTTPError, OSError) as away:
            raise Transient(f"InfluxDB at {self._where} does not answer: {away}") from away

    def _refused(self, lines: Sequence[str], status: int, why: str, refused: Counter[str]) -> None:
        if status in WRONG:
            raise Misconfigured(f"InfluxDB at {self._where} answers {status}: {WRONG[status]}")
        if status not in REFUSED:
            raise Transient(f"InfluxDB at {self._where} answers {status}: {why[:200]}")
        partial = "partial write" in why
        if not partial and len(lines) > 1:  # refused as a whole: find the bad ones; the good ones may come twice
            half = len(lines) // 2
            self._post(lines[:half], refused)
            self._post(lines[half:], refused)
            return
        number = max(1, sum(int(found) for found in DROPPED.findall(why))) if partial else len(lines)
        refused[next((name for words, name in REASONS if words in why), OTHER)] += number

    def close(self) -> None:
        """Let go of the connection."""
        self._api.close()
        self._client.close()
