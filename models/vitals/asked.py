"""Models as people ask for them: NAME@VERSION."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from contracts.errors import Misconfigured
from models.registry import Registry
from models.vitals.engine import LOADERS

NONE: Final = "none"
"""The version of a model that is not to be asked at all."""


def versions_of(words: Iterable[str], option: str, registry: Registry) -> dict[str, str]:
    """By model the version meant, @champion and @candidate as they stand now; ``none``: it is not to be asked.

    Raises Misconfigured, which names the option, for a model that is none; NotThere for a version that is not there.
    """
    found = dict[str, str]()
    for word in words:
        model, _, version = word.partition("@")
        if model not in LOADERS:
            raise Misconfigured(f"{option} {word}: no model {model}; there are {', '.join(LOADERS)}")
        found[model] = version if version == NONE else registry.resolve(model, version)
    return found
