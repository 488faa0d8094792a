"""What stands for a person, an identifier and a date outside the identified zone: keyed, stable, not to be turned back.

Everything is HMAC-SHA256 over a kind and a value (RFC 2104), so the same key gives the same pseudonyms in every process
and on every day, nothing can be tried out without the key, and two kinds of value never meet. PS3.15, annex E calls it
replacing consistently; UIDs are those of PS3.5, annex B.2 (``2.25.`` and a UUID as an integer).
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from datetime import date, timedelta
from typing import Final, NoReturn

from contracts.errors import Misconfigured

KEY_BYTES: Final = 32
SHORTEST_KEY: Final = 16
FURTHEST_DAYS: Final = 365
"""Dates go back by 1 to so many days: never forward, so that none lies after today, and never by 0."""
STANDARD_UIDS: Final = "1.2.840.10008."
"""UIDs below this root name things of the DICOM standard, not of a hospital."""
_DIGITS: Final = 16


class Pseudonyms:
    """Pseudonyms under one key. The key shows in no repr and in nothing that is returned.

    Identifiers are taken without the spaces around them, as DICOM pads them. ``issuer`` says who gave the identifier
    out, where two hospitals number their patients alike. A blank identifier has no pseudonym: ValueError.

    >>> Pseudonyms(b"0123456789abcdef").patient("MRN 4711") == Pseudonyms(b"0123456789abcdef").patient("MRN 4711 ")
    True
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """Raises Misconfigured for a key of fewer than 16 bytes."""
        if len(key) < SHORTEST_KEY:
            raise Misconfigured(f"the pseudonym key has {len(key)} bytes; it needs {SHORTEST_KEY} or more")
        self._key = bytes(key)

    def __repr__(self) -> str:
        """Without the key."""
        return "Pseudonyms(***)"

    def __reduce__(self) -> NoReturn:
        """Refused: a key is handed over as such, never inside something that is written down."""
        raise TypeError("a key is not to be serialised; hand it over as it is")

    def patient(self, identifier: str, issuer: str = "") -> str:
        """The patient's pseudonym: ``p-`` and 16 hex digits (64 bits: among a million patients, 1 in 10^7 for a twin).

        >>> Pseudonyms(bytes(32)).patient("MRN 4711")
        'p-61ee8651cb3309ec'
        """
        return self.token("p", identifier, issuer)

    def token(self, kind: str, value: str, issuer: str = "") -> str:
        """``kind``, ``-`` and 16 hex digits, for any other identifier: an accession number, the number of a device."""
        return f"{kind}-{self._digest(kind, _plain(value, kind), issuer).hex()[:_DIGITS]}"

    def uid(self, uid: str) -> str:
        """A UID for a UID: studies, series and instances keep belonging together. Those of the standard itself stay.

        >>> Pseudonyms(bytes(32)).uid("1.2.840.10008.5.1.4.1.1.2")
        '1.2.840.10008.5.1.4.1.1.2'
        """
        plain = _plain(uid.strip("\0 "), "uid")
        if plain.startswith(STANDARD_UIDS):
            return plain
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', plain)[:16], version=4).int}"

    def shift_days(self, identifier: str, issuer: str = "") -> int:
        """By how many days every date of this patient moves: -365 to -1, the same for all of them.

        What lies between two dates of a patient stays as it was; the time of day is not touched.
        """
        drawn = int.from_bytes(self._digest("shift", _plain(identifier, "p"), issuer)[:8], "big")
        return -1 - drawn % FURTHEST_DAYS

    def shifted(self, day: date, identifier: str, issuer: str = "") -> date:
        """``day`` moved by this patient's shift; the first day of the calendar where that lies before it."""
        days = self.shift_days(identifier, issuer)
        return day + timedelta(days=days) if day.toordinal() + days >= 1 else date.min

    def _digest(self, kind: str, value: str, issuer: str = "") -> bytes:
        # lengths go first: ("ab", "c") and ("a", "bc") are two values
        parts = [part.encode() for part in (kind, issuer.strip("\0 "), value)]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._key, message, hashlib.sha256).digest()


def _plain(value: str, kind: str) -> str:
    plain = value.strip("\0 \t\r\n")
    if not plain:
        raise ValueError(f"a blank value has no pseudonym ({kind})")
    return plain
