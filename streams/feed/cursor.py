"""Where a client stands in the alerts log: the next offset of each partition, as short text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

Offsets = Mapping[int, int]

_PAIR: Final = re.compile(r"([0-9]{1,5})-([0-9]{1,18})")
_MAX_CHARS: Final = 4096


def format_cursor(offsets: Offsets) -> str:
    """The vector as ``partition-offset`` pairs joined by dots; partitions at offset 0 are left out.

    >>> format_cursor({7: 3, 0: 12, 4: 0})
    '0-12.7-3'
    """
    return ".".join(f"{partition}-{offset}" for partition, offset in sorted(offsets.items()) if offset)


def parse_cursor(text: str) -> dict[int, int] | None:
    """The vector in that text, or None when it is not one.

    >>> parse_cursor("0-12.7-3")
    {0: 12, 7: 3}
    >>> parse_cursor("0-12,7") is None
    True
    """
    if len(text) > _MAX_CHARS:
        return None
    offsets: dict[int, int] = {}
    for pair in text.split(".") if text else ():
        match = _PAIR.fullmatch(pair)
        if match is None or int(match[1]) in offsets:
            return None
        offsets[int(match[1])] = int(match[2])
    return offsets
