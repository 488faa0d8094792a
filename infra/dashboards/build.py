"""Writes everything that Grafana is provisioned with: ``python -m infra.dashboards.build [--check]``.

The files are committed, so that compose and any Grafana need no Python; a test holds them to this code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from infra.dashboards import alerting, draw
from infra.dashboards.boards import bed, burden, imaging, models, platform, ward
from infra.dashboards.placing import FEED, PROVISIONING, data_source, providers
from infra.dashboards.tokens import THEMES, Theme

BOARDS: Final = (ward.BOARD, bed.BOARD, burden.BOARD, imaging.BOARD, models.BOARD, platform.BOARD)


def boards(theme: Theme, feed: str = FEED) -> list[dict[str, Any]]:
    """All boards of a theme."""
    return [draw.board_json(board, theme, feed) for board in BOARDS]


def files() -> dict[str, str]:
    """Every generated file by its path below ``infra/provisioning/grafana``."""
    found = {
        f"dashboards/{theme}/{document['uid']}.json": json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True)
        + "\n"
        for theme in THEMES
        for document in boards(theme)
    }
    found["datasources/ward.yaml"] = _yaml({"apiVersion": 1, "datasources": [data_source()]})
    found["providers/ward.yaml"] = _yaml({"apiVersion": 1, "providers": providers()})
    found["alerting/ward.yaml"] = _yaml(alerting.provisioned())
    return found


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return "# Made by python -m infra.dashboards.build; do not edit.\n" + yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True, width=110
    )


def main(arguments: Sequence[str], folder: Path = PROVISIONING) -> int:
    """Writes all files, or with ``--check`` names those that differ. Exit code 6 when some do, 2 for other words."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m infra.dashboards.build [--check]", file=sys.stderr)
        return 2
    wanted = files()
    stale = [name for name, text in wanted.items() if _read(folder / name) != text]
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    stale += sorted(there - wanted.keys())
    for name in stale:
        print(name)
        if not arguments:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in wanted:
                path.write_text(wanted[name], encoding="utf-8")
            else:
                path.unlink()
    return 6 if stale and arguments else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
