"""Where boards go in a Grafana and where it gets its data, for provisioning files and ``ward grafana`` alike."""

from __future__ import annotations

from typing import Any, Final

from infra.dashboards.spec import UID
from infra.dashboards.tokens import Theme
from infra.site import CHECKOUT

FOLDERS: Final[dict[Theme, tuple[str, str]]] = {
    "dark": ("ward-boards", "Ward wall"),
    "light": ("ward-boards-light", "Ward wall, by day"),
}
"""A folder's uid and title; no title is that of a board in it, which Grafana 9.2 refuses."""
PROVISIONING: Final = CHECKOUT / "infra" / "provisioning" / "grafana"
FEED: Final = "http://127.0.0.1:8800"
BOARDS_FOLDER: Final = "$GRAFANA_BOARDS"
WEBHOOK: Final = "$GRAFANA_ALERT_WEBHOOK"
"""Filled in by Grafana from its environment, or by ``ward up`` before it starts one."""


def rotates(theme: str) -> str:
    """The tag of the boards that the playlist of a theme shows."""
    return f"ward-wall-{theme}"


def data_source() -> dict[str, Any]:
    """InfluxQL over InfluxDB 1.8 or 2.x alike: the token goes in a header that both know."""
    return {
        "name": "Ward InfluxDB",
        "uid": UID,
        "type": "influxdb",
        "access": "proxy",
        "url": "$WARD_INFLUX_URL",
        "database": "ward",
        "isDefault": True,
        "editable": False,
        "jsonData": {"dbName": "ward", "httpMode": "POST", "httpHeaderName1": "Authorization", "timeInterval": "1s"},
        "secureJsonData": {"httpHeaderValue1": "Token $WARD_INFLUX_TOKEN"},
    }


def providers() -> list[dict[str, Any]]:
    """Where Grafana finds the boards."""
    return [
        {
            "name": f"ward-{theme}",
            "folder": title,
            "folderUid": folder,
            "type": "file",
            "disableDeletion": False,
            "allowUiUpdates": False,
            "updateIntervalSeconds": 30,
            "options": {"path": f"{BOARDS_FOLDER}/{theme}"},
        }
        for theme, (folder, title) in FOLDERS.items()
    ]
