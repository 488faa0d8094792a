"""A model's card as a page: what Markdown says, nothing that its words could do."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.registry import CARD, Registry
from streams.feed import card_page
from tests.unit.feed.rig import serve

CARD_WITH_ALL = """# toy 0123456789ab

> **Research software.**

**By <sex> & age**

| films | error |
| :--- | ---: |
| all \\| both | 8.1 |
| <script>alert(1)</script> | 7 |

- made again: `ward model train toy --data <DIR>`
- [a link](javascript:alert(1))

<img src=x onerror=alert(1)>
"""


def page_of(card: str) -> str:
    return bytes(card_page.shown("toy", "0123456789ab", card).body).decode()


def test_tables_have_names_and_columns_of_figures_a_class_and_no_style() -> None:
    """They are groups, not landmarks: those of two splits bear one name."""
    page = page_of(CARD_WITH_ALL)
    assert '<div class="scroll" role="group" tabindex="0" aria-label="By &lt;sex&gt; &amp; age"><table' in page
    assert '<th class="n">error</th>' in page
    assert '<td class="n">8.1</td>' in page
    assert "<td>all | both</td>" in page
    assert "style=" not in page


def test_what_others_wrote_into_a_card_stays_words() -> None:
    page = page_of(CARD_WITH_ALL)
    assert page.count("<script") == 1, "the page's own"
    assert "<img" not in page
    assert 'href="javascript' not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<title>toy 0123456789ab · Wardstream</title>" in page


@pytest.mark.asyncio
async def test_a_browser_gets_a_page_and_a_program_the_markdown(tmp_path: Path) -> None:
    registry = Registry()
    version = registry.resolve("brain_tumour", "champion")
    markdown = registry.notes("brain_tumour", version)[CARD]
    async with serve(tmp_path) as feed, feed.client() as client:
        address = f"/api/models/brain_tumour/{version}/card"
        browser = await client.get(address, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        program = await client.get(address)
        missing = await client.get("/api/models/brain_tumour/000000000000/card", headers={"accept": "text/html"})
    assert [answer.status_code for answer in (browser, program, missing)] == [200, 200, 404]
    assert browser.headers["content-type"].startswith("text/html")
    assert "<h1>brain_tumour " in browser.text
    assert program.headers["content-type"].startswith("text/plain")
    assert program.text == markdown
    assert all("accept" in answer.headers["vary"] for answer in (browser, program))
