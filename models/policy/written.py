"""A policy as a file: TOML that ``load_policy`` reads back to the same policy, hash and all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from models.ward.policy import Policy


def as_toml(policy: Policy, about: Iterable[str] = ()) -> str:
    """The file; ``about`` stands above it as comments."""
    content = msgspec.to_builtins(policy)
    return "\n".join([*(f"# {line}".rstrip() for line in about), *_table(content, ())]) + "\n"


def _table(content: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {key: value for key, value in content.items() if not isinstance(value, Mapping) and value is not None}
    if path and (plain or not content):
        yield ""
        yield f"[{'.'.join(map(_key, path))}]"
    yield from (f"{_key(key)} = {_value(value)}" for key, value in plain.items())
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _table(value, (*path, key))


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()  # TOML's basic strings are written as JSON's are
    return repr(value)
