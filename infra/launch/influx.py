"""InfluxDB 1.8 on loopback, with Flux, authentication, one database, and minute means that outlive the seconds."""

from __future__ import annotations

import base64
import contextlib
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Final

from contracts.errors import Misconfigured, Transient
from contracts.records import Vital
from contracts.settings import Settings
from infra.fetch import influx as built
from infra.launch.probes import PATIENCE_S, http_answers
from infra.site import Site, write_atomically

DATABASE: Final = "ward"
RETENTION: Final = "live"
KEEP: Final = "30d"
USER: Final = "ward"
TREND: Final = "trend"
KEEP_TREND: Final = "365d"
LATE: Final = "2h"
"""Minutes are computed anew for so long, so that points which waited for InfluxDB are in their means too."""
MEANS: Final = (*(v.value for v in Vital if v is not Vital.CONSCIOUSNESS), "news2_max", "state")


def configuration(site: Site) -> str:
    """The server's configuration file; it calls nobody and listens on loopback only."""
    data = site.data("influxdb")
    return f"""\
reporting-disabled = true
bind-address = "{site.address("influx_rpc")}"
[meta]
  dir = "{data / "meta"}"
[data]
  dir = "{data / "data"}"
  wal-dir = "{data / "wal"}"
  query-log-enabled = false
  cache-max-memory-size = "128m"
[http]
  bind-address = "{site.address("influx")}"
  auth-enabled = true
  flux-enabled = true
  log-enabled = false
[monitor]
  store-enabled = false
[logging]
  level = "warn"
"""


def prepare(site: Site) -> None:
    """Write the configuration."""
    site.data("influxdb").mkdir(parents=True, exist_ok=True)
    write_atomically(site.config("influxdb") / "influxdb.conf", configuration(site))


def command(site: Site) -> list[str]:
    """The server's command line."""
    return [str(built.binary(site.cache)), "run", "-config", str(site.config("influxdb") / "influxdb.conf")]


def health(site: Site) -> str | None:
    """None when the server answers."""
    return http_answers(site.url("influx") + "/ping", expect=204)


def set_up(url: str, user: str, password: str) -> None:
    """Make the user and the database; doing it again changes nothing. Raises Transient when the server refuses."""
    with contextlib.suppress(PermissionError):  # there is a user already; the next line tells whether it is ours
        _ask(url, f"CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES")  # the first user needs no login
    try:
        _ask(url, f"CREATE DATABASE {DATABASE} WITH DURATION {KEEP} REPLICATION 1 NAME {RETENTION}", (user, password))
        for statement in (f"CREATE RETENTION POLICY {TREND} {TERMS}", f"ALTER RETENTION POLICY {TREND} {TERMS}"):
            _ask(url, statement, (user, password))  # the first changes nothing where it stands already
        _ask(url, f"DROP CONTINUOUS QUERY {TREND} ON {DATABASE}", (user, password))
        _ask(url, downsampling(), (user, password))
    except PermissionError as refused:
        raise Misconfigured(
            f"InfluxDB has another password for {user}: delete its data folder, or restore secrets.json"
        ) from refused


TERMS: Final = f"ON {DATABASE} DURATION {KEEP_TREND} REPLICATION 1"


def minute_means() -> str:
    """The InfluxQL that makes minute means of every bed, without its span of time."""
    fields = ", ".join(f'mean("{name}") AS "{name}"' for name in MEANS)
    return f'SELECT {fields} INTO "{TREND}"."beds" FROM "{RETENTION}"."beds"'  # noqa: S608 - only our own words


def downsampling() -> str:
    """The continuous query that keeps minute means of every bed for a year. On 2.x a task does it: docs/wall.md."""
    return (
        f"CREATE CONTINUOUS QUERY {TREND} ON {DATABASE} RESAMPLE EVERY 5m FOR {LATE} "
        f"BEGIN {minute_means()} GROUP BY time(1m), * END"
    )


def _ask(url: str, query: str, login: tuple[str, str] | None = None) -> str:
    request = urllib.request.Request(f"{url}/query", data=urllib.parse.urlencode({"q": query}).encode())  # noqa: S310
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(login).encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            return str(answer.read().decode())
    except urllib.error.HTTPError as refused:
        if refused.code in (401, 403):
            raise PermissionError(refused.code, "InfluxDB wants a login") from refused
        raise Transient(
            f"InfluxDB refuses {query.split()[0]} {query.split()[1]}: {refused.read().decode()[:200]}"
        ) from refused
    except OSError as failure:
        raise Transient(f"InfluxDB does not answer: {failure}") from failure


def main() -> None:
    """Set the server up that the environment names."""
    settings = Settings.from_env(os.environ)
    if not settings.influx_url or not settings.influx_token:
        raise Misconfigured("WARD_INFLUX_URL and WARD_INFLUX_TOKEN say which InfluxDB to set up")
    user, _, password = settings.influx_token.partition(":")
    set_up(settings.influx_url, user, password)


if __name__ == "__main__":
    main()
