"""What a refusal of InfluxDB means: for ever for one point; for now when not one of a batch is good; our settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from influxdb_client.rest import ApiException

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from streams.sink.gauges import REFUSALS, SinkMetrics
from streams.sink.writer import REASONS, Writer

LINES = [f"beds,bed={n},ward=W state=0i 1" for n in range(64)]


class Server:
    """The write end of the client, answering as ``says`` decides; what it took is in ``taken``."""

    def __init__(self, says: Callable[[list[str]], tuple[int, str] | None]) -> None:
        self.says, self.taken, self.requests = says, set[str](), 0

    def write(self, bucket: str, org: str, record: bytes, write_precision: Any) -> None:
        self.requests += 1
        lines = record.decode().split("\n")
        if refusal := self.says(lines):
            wrong = ApiException(status=refusal[0], reason="refused")
            wrong.body = refusal[1]
            raise wrong
        self.taken.update(lines)

    def close(self) -> None:
        """Nothing to let go of."""


def writer(server: Server) -> tuple[Writer, SinkMetrics]:
    metrics = SinkMetrics()
    one = Writer(Settings(influx_url="http://127.0.0.1:9", influx_token="t"), metrics)
    one._api.close()
    one._api = server
    return one, metrics


def refused(metrics: SinkMetrics) -> dict[str, float]:
    return {reason: n for reason in REFUSALS if (n := metrics.refused.labels(reason)._value.get())}


def test_where_the_whole_batch_is_refused_the_bad_ones_are_found_by_halving() -> None:
    bad = {LINES[7], LINES[40]}
    server = Server(lambda lines: (400, "unable to parse it") if bad & set(lines) else None)
    one, metrics = writer(server)
    one.write(LINES)
    one.close()
    assert server.taken == set(LINES) - bad
    assert refused(metrics) == {"unparsable": 2}
    assert server.requests < 30


def test_a_server_that_refuses_every_point_for_no_known_reason_is_tried_again() -> None:
    one, metrics = writer(Server(lambda lines: (400, "engine is closed")))
    with pytest.raises(Transient, match="every point"):
        one.write(LINES)
    one.close()
    assert refused(metrics) == {}
    assert metrics.points.labels("beds")._value.get() == 0


def test_a_batch_that_is_too_large_is_halved_until_it_fits() -> None:
    server = Server(lambda lines: (413, "too large") if len(lines) > 10 else None)
    one, metrics = writer(server)
    one.write(LINES)
    one.close()
    assert server.taken == set(LINES)
    assert refused(metrics) == {}


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(401, Misconfigured), (403, Misconfigured), (404, Misconfigured), (429, Transient), (503, Transient)],
)
def test_a_status_has_one_meaning(status: int, meaning: type[Exception]) -> None:
    one, _ = writer(Server(lambda lines: (status, "no")))
    with pytest.raises(meaning):
        one.write(LINES)
    one.close()


def test_every_reason_has_its_counter_from_the_start() -> None:
    assert {name for _, name in REASONS} | {"other"} == set(REFUSALS)
