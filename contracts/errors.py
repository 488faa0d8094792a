"""Three meanings a failure can have, and what follows from each.

WardError
├─ Poison         bad for ever: the record goes to dead_letters, its acknowledgement awaited, then work goes on
├─ Transient      bad for now: back off and try again, nothing is committed
└─ Misconfigured  bad at birth: one clear line naming the setting and the fix, exit code 2
"""

from __future__ import annotations


class WardError(Exception):
    """Base of every failure that has a meaning."""


class Poison(WardError):
    """A record that will never be readable.

    ``reason`` is a short stable word for counting, ``field`` the JSON path of the offending part
    (``$`` is the whole record), ``detail`` says what was found and what was expected.
    """

    def __init__(self, reason: str, detail: str, field: str = "$") -> None:
        super().__init__(f"{reason} at {field}: {detail}")
        self.reason = reason
        self.detail = detail
        self.field = field


class Transient(WardError):
    """A dependency does not answer now; the same call may succeed later."""


class Misconfigured(WardError):
    """A setting, file or argument is wrong; trying again cannot help. The message names it and the fix."""
