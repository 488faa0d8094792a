"""Writes the generated parts of the README: the picture of the flow, drawn from the topology.

``python -m infra.docs`` rewrites them, ``--check`` exits 1 when they are stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from contracts.topology import as_mermaid

README: Final = Path(__file__).resolve().parent.parent / "README.md"
_BLOCK: Final = re.compile(r"(<!-- flow:[^\n]*-->\n)```mermaid\n.*?```\n(<!-- /flow -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """The README's text with the picture as the topology has it now; ValueError when the markers are gone."""
    if not _BLOCK.search(text):
        raise ValueError("README.md has lost its <!-- flow --> markers")
    return _BLOCK.sub(lambda found: f"{found[1]}```mermaid\n{as_mermaid()}\n```\n{found[2]}", text)


def main() -> int:
    """Rewrites or, with ``--check``, compares; returns the exit code."""
    text = README.read_text()
    fresh = refreshed(text)
    if "--check" in sys.argv[1:]:
        if fresh != text:
            sys.stderr.write("README.md: the picture is stale; run python -m infra.docs\n")
        return int(fresh != text)
    README.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
