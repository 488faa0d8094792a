"""A model's card as a page: what its Markdown says, in the feed's own type and themes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from markdown_it.token import Token

_PAGE: Final = """<!doctype html>
<html lang="en" data-theme="dark">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="referrer" content="no-referrer">
  <title>{title} · Wardstream</title>
  <link rel="icon" href="/static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/static/css/tokens.css">
  <link rel="stylesheet" href="/static/css/base.css">
  <link rel="stylesheet" href="/static/css/pages.css">
  <link rel="stylesheet" href="/static/css/card.css">
  <script src="/static/js/theme-boot.js"></script>
</head>
<body>
  <main class="page model-card" tabindex="-1">
{body}  </main>
</body>
</html>
"""


def shown(name: str, version: str, card: str) -> HTMLResponse:
    """The card (CommonMark with tables) as a page; HTML in it is shown as text, for a card tells of files and data that
    others named. A long card takes a tenth of a second: call it in a thread."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("table_open", _table_begins)
    reader.add_render_rule("table_close", _table_ends)
    title = escape(f"{name} {version}")
    return HTMLResponse(
        _PAGE.format(title=title, body=reader.renderer.render(_named(reader.parse(card)), reader.options, {}))
    )


def _named(tokens: list[Token]) -> list[Token]:
    """Tables by the line above them, and columns of figures by a class: the page's policy allows no style."""
    above = ""
    for token in tokens:
        if token.type == "inline":
            above = "".join(part.content for part in token.children or ())
        elif token.type == "table_open":
            token.attrSet("aria-label", above)
        elif token.type in ("th_open", "td_open") and "right" in str(token.attrs.pop("style", "")):
            token.attrSet("class", "n")
    return tokens


def _table_begins(_renderer: Any, tokens: list[Token], at: int, _options: Any, _env: Any) -> str:
    name = escape(str(tokens[at].attrGet("aria-label") or "table"))
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{name}"><table>\n'


def _table_ends(_renderer: Any, _tokens: list[Token], _at: int, _options: Any, _env: Any) -> str:
    return "</table></div>\n"
