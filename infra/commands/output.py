"""How commands speak: data on stdout, chatter on stderr."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import msgspec
import typer

from infra.stack import Stack

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def say(line: str) -> None:
    """A line of chatter."""
    print(line, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), flush=True)


def the_stack() -> Stack:
    """The topology that the environment means, talking on stderr."""
    return Stack.from_env(os.environ, say)
