"""The sink as a process: ``python -m streams.influx`` brings scores, forecasts, alerts and results into InfluxDB.

Exit codes: 0 after SIGTERM or SIGINT, 2 for a wrong setting, 4 when no broker answers at the start.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

import structlog
from prometheus_client import start_http_server

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from streams.logs import set_up
from streams.sink.gauges import SinkMetrics
from streams.sink.scrape import Scraper
from streams.sink.shipping import Shipper
from streams.sink.writer import Writer

log = structlog.get_logger(__name__)


def run(settings: Settings, stop: threading.Event) -> None:
    """Bring points to InfluxDB until told to stop. Raises Misconfigured or Transient as its parts do."""
    metrics = SinkMetrics()
    writer = Writer(settings, metrics)
    shipper = Shipper(settings, writer, metrics, stop)
    scraper = Scraper(settings, metrics, shipper.scraped.append)
    if settings.sink_metrics_port:
        try:
            start_http_server(settings.sink_metrics_port, addr=settings.metrics_host, registry=metrics.registry)
        except OSError as taken:
            raise Misconfigured(
                f"WARD_SINK_METRICS_PORT={settings.sink_metrics_port} cannot be used: {taken}"
            ) from taken
    watching = threading.Thread(target=scraper.run, args=(stop,), name="scraper", daemon=True)
    watching.start()
    log.info("the sink starts", kafka=settings.kafka, influx=settings.influx_url, bucket=settings.influx_bucket)
    try:
        shipper.run()
    finally:
        stop.set()
        watching.join(timeout=5)
        writer.close()
    log.info("the sink ends")


def main() -> int:
    """Run until told to stop; the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = Settings.from_env(os.environ)
        set_up(settings.log_level, settings.log_format)
        run(settings, stop)
    except Misconfigured as wrong:
        print(f"ward sink: {wrong}", file=sys.stderr)
        return 2
    except Transient as away:
        print(f"ward sink: {away}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
