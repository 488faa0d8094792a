"""The page of a feed that shows a replay: marked by the server, before any script runs and whoever signs in."""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.responses import HTMLResponse

WITHHELD: Final = frozenset({"index.html", "images.html", "js/sound.js"})
"""Files that are not there in a replay: pages without its mark, and the only code that can sound."""

_ROOT: Final = '<html lang="en"'
_TITLE: Final = "<title>Wardstream</title>"
_SHEET: Final = '  <link rel="stylesheet" href="/static/css/replay.css">\n</head>'
_BAR: Final = (
    '<body>\n  <section id="replay" class="replay" aria-label="Replay">'
    '<div class="replay-name"><b>REPLAY</b><span>{name}: not live</span></div></section>'
)
_MARK: Final = '  <div class="replay-mark" aria-hidden="true"></div>\n</body>'


def marked(page: str, replay: str) -> HTMLResponse:
    """The page with the replay's name in its title and at its top, and the mark over everything."""
    name = escape(replay)
    changes = (
        (_ROOT, f'{_ROOT} data-replay="{name}"'),
        (_TITLE, f"<title>REPLAY · {name} · Wardstream</title>"),
        ("</head>", _SHEET),
        ("<body>", _BAR.format(name=name)),
        ("</body>", _MARK),
    )
    for place, change in changes:
        if page.count(place) != 1:
            raise ValueError(f"the page has no one {place!r} to mark it at")
        page = page.replace(place, change)
    return HTMLResponse(page)
