"""A Grafana that is on this machine, on loopback, with the boards provisioned. None is fetched: no package has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.dashboards.placing import BOARDS_FOLDER, FEED, PROVISIONING, WEBHOOK
from infra.launch.probes import page_has
from infra.site import LOOPBACK, Site, write_atomically

USER: Final = "admin"
NOWHERE: Final = f"http://{LOOPBACK}:9/nobody-listens"
"""Where alerts of a platform on one machine go until somebody says better."""
HOW: Final = (
    "no Grafana here: install one (https://grafana.com/grafana/download, 9.2 or newer) so that grafana-server is on "
    "PATH, or unpack it and set WARD_GRAFANA_HOME to its folder; meanwhile the feed is the wall"
)
KINDS: Final = {"datasources": "datasources", "providers": "dashboards", "alerting": "alerting"}
"""Our folders below ``infra/provisioning/grafana``, and what Grafana calls them."""


def program(environ: Mapping[str, str]) -> list[str] | None:
    """How Grafana is started here, or None: WARD_GRAFANA_HOME wins over PATH; from 10 on it is ``grafana server``."""
    home = environ.get("WARD_GRAFANA_HOME")
    for folder in (f"{home}/bin",) if home else (environ.get("PATH", ""),):
        for name, words in (("grafana-server", []), ("grafana", ["server"])):
            if found := shutil.which(name, path=folder):
                return [found, *words]
    return None


def absent() -> str | None:
    """None where a Grafana is, else how to get one."""
    return None if program(os.environ) else HOW


def home(environ: Mapping[str, str], found: str) -> Path:
    """Grafana's own folder: where ``conf`` and ``public`` lie."""
    if chosen := environ.get("WARD_GRAFANA_HOME"):
        return Path(chosen)
    beside = Path(found).resolve().parent.parent
    return beside if (beside / "conf").is_dir() else Path("/usr/share/grafana")


def configuration(site: Site) -> str:
    """Its configuration file: loopback only, everybody may look, nothing is told to anyone."""
    data = site.data("grafana")
    return f"""\
app_mode = production
instance_name = wardstream
[paths]
data = {data}
logs = {data / "log"}
plugins = {data / "plugins"}
provisioning = {site.config("grafana") / "provisioning"}
[server]
http_addr = {LOOPBACK}
http_port = {site.ports["grafana"]}
root_url = {site.url("grafana")}/
[security]
admin_user = {USER}
admin_password = {site.influx_password}
disable_gravatar = true
[auth.anonymous]
enabled = true
org_role = Viewer
[dashboards]
min_refresh_interval = 1s
default_home_dashboard_path = {PROVISIONING / "dashboards" / "dark" / "ward-overview.json"}
[analytics]
reporting_enabled = false
check_for_updates = false
check_for_plugin_updates = false
[news]
news_feed_enabled = false
[log]
mode = console
level = warn
"""


def prepare(site: Site) -> None:
    """Write the configuration and the provisioning files, with this machine's places in them."""
    site.data("grafana").mkdir(parents=True, exist_ok=True)
    folder = site.config("grafana")
    write_atomically(folder / "grafana.ini", configuration(site), mode=0o600)
    for ours, theirs in KINDS.items():
        text = (PROVISIONING / ours / "ward.yaml").read_text(encoding="utf-8")
        text = text.replace(BOARDS_FOLDER, str(folder / "boards")).replace(WEBHOOK, NOWHERE)
        write_atomically(folder / "provisioning" / theirs / "ward.yaml", text)
    for board in (PROVISIONING / "dashboards").rglob("*.json"):
        text = board.read_text(encoding="utf-8").replace(FEED, site.url("feed"))
        write_atomically(folder / "boards" / board.parent.name / board.name, text)


def command(site: Site) -> list[str]:
    """The server's command line."""
    found = program(os.environ) or ["grafana-server"]
    place = home(os.environ, found[0])
    return [*found, "--homepath", str(place), "--config", str(site.config("grafana") / "grafana.ini")]


def health(site: Site) -> str | None:
    """None when it answers and its database is well."""
    return page_has(site.url("grafana") + "/api/health", '"ok"', "Grafana's own database is not well")
