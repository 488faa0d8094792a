"""Writes the generated parts of the docs: the picture of the flow from the topology, the figures from the models.

``python -m infra.docs`` rewrites them, ``--check`` exits 1 when they are stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from contracts.topology import as_mermaid
from models.registry import CARD, Registry
from models.training import cards, gate, shelf
from models.training.recipes import RECIPES

CHECKOUT: Final = Path(__file__).resolve().parent.parent
README: Final = CHECKOUT / "README.md"
MODELS: Final = CHECKOUT / "docs" / "models.md"
_FIGURES: Final = re.compile(r"(<!-- figures:[^\n]*-->\n).*?(<!-- /figures -->)", re.DOTALL)
_BLOCK: Final = re.compile(r"(<!-- flow:[^\n]*-->\n)```mermaid\n.*?```\n(<!-- /flow -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """The README's text with the picture as the topology has it now; ValueError when the markers are gone."""
    if not _BLOCK.search(text):
        raise ValueError("README.md has lost its <!-- flow --> markers")
    return _BLOCK.sub(lambda found: f"{found[1]}```mermaid\n{as_mermaid()}\n```\n{found[2]}", text)


def with_figures(text: str, registry: Registry | None = None) -> str:
    """The models page's text with the shipped champions as they are now; ValueError when the markers are gone."""
    if not _FIGURES.search(text):
        raise ValueError("docs/models.md has lost its <!-- figures --> markers")
    shown = "\n\n".join(_model(registry or Registry(), name) for name in RECIPES)
    return _FIGURES.sub(lambda found: f"{found[1]}\n{shown}\n\n{found[2]}", text)


def _model(registry: Registry, name: str) -> str:
    """A shipped model in short: its tables on test stays, and where every figure is."""
    lines = [f"### {name}", "", f"{RECIPES[name].does[:1].upper()}{RECIPES[name].does[1:]}."]
    version = registry.aliases(name).champion
    if version is None:
        return "\n".join([*lines, "", "None is shipped yet."])
    bundle = registry.load(name, version)
    made = f"Version `{version}`, made {bundle.manifest.made}, seed {bundle.manifest.seed}."
    lines += ["", f"{made} [Its card](../models/weights/{name}/{version}/{CARD}) has everything else.", ""]
    known = gate.evaluations(registry, bundle)
    judged = next((known[split] for split in gate.TRUSTED if split in known), None)
    if judged is None:
        return "\n".join([*lines, "Not judged yet."])
    lines += [f"On `{judged.split}`, {judged.n:,} cases:", ""]
    shown = judged.tables or cards.figures(judged.metrics)
    return "\n".join(lines) + "\n" + "\n\n".join(cards.markdown(table) for table in shown)


def _cards(registry: Registry) -> dict[Path, str]:
    """The card of each shipped version, as its manifest and evaluations have it now."""
    versions = [(name, version) for name in registry.names() for version in registry.versions(name)]
    return {
        registry.folder(name, version) / CARD: shelf.card_of(registry, registry.load(name, version))
        for name, version in versions
    }


def main() -> int:
    """Rewrites or, with ``--check``, compares; returns the exit code."""
    pages = {README: refreshed(README.read_text()), MODELS: with_figures(MODELS.read_text()), **_cards(Registry())}
    stale = [page for page, fresh in pages.items() if not page.exists() or fresh != page.read_text()]
    if "--check" in sys.argv[1:]:
        for page in stale:
            sys.stderr.write(f"{page.relative_to(CHECKOUT)}: stale; run python -m infra.docs\n")
        return int(bool(stale))
    for page in stale:
        page.write_text(pages[page])
    return 0


if __name__ == "__main__":
    sys.exit(main())
