"""UIDs made of what they name: the same parts, the same UID (PS3.5, annex B.2)."""

from __future__ import annotations

import uuid
from typing import Final

_SPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "wardstream.invalid")


def uid_of(*parts: object) -> str:
    """``2.25.`` and the UUID of these parts (version 5) as an integer.

    >>> uid_of("sr", 1) == uid_of("sr", 1), uid_of("sr", 1) == uid_of("sr1", "")
    (True, False)
    """
    told = "".join(f"{len(str(part))}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(_SPACE, told).int}"
