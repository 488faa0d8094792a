"""Writes the JSON Schema of every topic's record: ``python -m contracts.generate``; ``--check`` only compares."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.clinical.codes import VITALS
from contracts.records import SCHEMA_VERSION
from contracts.topology import TOPICS, Topic

SCHEMAS: Final = Path(__file__).parent / "schemas"
_DURATIONS: Final = frozenset({"age_ms"})


def schema_of(topic: Topic[Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the topic's record: its words, units and key as our own say them."""
    schema = msgspec.json.schema(topic.record, ref_template="#/$defs/{name}")
    definitions = schema.pop("$defs")
    for definition in definitions.values():
        definition["description"] = " ".join(definition["description"].split())
        for name, field in definition.get("properties", {}).items():
            _annotate(name, field)
    if "Vital" in definitions:
        units = {vital.value: code.ucum for vital, code in VITALS.items()}
        definitions["Vital"]["description"] = "The vital signs that travel; units in UCUM as in x-units."
        definitions["Vital"]["x-units"] = units
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:wardstream:{topic.name}.v{SCHEMA_VERSION}",
        "title": topic.name,
        "description": topic.purpose,
        "x-kafka-key": topic.key,
        "x-kafka-partitions": topic.partitions,
        **schema,
        "$defs": dict(sorted(definitions.items())),
    }


def _annotate(name: str, field: dict[str, Any]) -> None:
    if name in _DURATIONS:
        field["description"] = "Milliseconds."
    elif name.endswith("_ms"):
        field["description"] = "Epoch milliseconds UTC."
    elif name.endswith("_s"):
        field["description"] = "Seconds."
    elif name == "version":
        field["description"] = "Schema version that the writer used; later ones only add fields."


def text_of(topic: Topic[Any]) -> str:
    """The schema as it is kept in ``contracts/schemas``."""
    return json.dumps(schema_of(topic), indent=2, ensure_ascii=False) + "\n"


def path_of(topic: Topic[Any], folder: Path = SCHEMAS) -> Path:
    """Where the schema is kept."""
    return folder / f"{topic.name}.v{SCHEMA_VERSION}.json"


def main(arguments: Sequence[str]) -> int:
    """Writes all schemas, or with ``--check`` names those that differ. Exit code 6 when some do, 2 for other words."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m contracts.generate [--check]", file=sys.stderr)
        return 2
    stale = [
        topic
        for topic in TOPICS
        if not path_of(topic).exists() or path_of(topic).read_text(encoding="utf-8") != text_of(topic)
    ]
    for topic in stale:
        if not arguments:
            path_of(topic).write_text(text_of(topic), encoding="utf-8")
        print(path_of(topic).name)
    return 6 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
