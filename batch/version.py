"""Which code made a row: the version of the package, and a hash of the sources that decide what the lake holds."""

from __future__ import annotations

from typing import Final

from models.version import code_of

ROOTS: Final = ("contracts", "models", "batch")


def code_version() -> str:
    """Like ``0.1.0+3f9c2b71d04e``: the same for the same sources, in a checkout and from a wheel.

    The hash is over every module below ``contracts``, ``models`` and ``batch``: what a table, a feature or a cohort is
    made by, and nothing that only starts or shows it.
    """
    return code_of(*ROOTS)
