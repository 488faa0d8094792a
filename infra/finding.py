"""A fault that ``ward doctor`` found."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One fault: where, what, and what to do."""

    check: str
    fault: str
    fix: str
