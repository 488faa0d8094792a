"""Record, schema and example of every topic say the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import jsonschema
import pytest

from contracts import generate
from contracts import records as r
from contracts.clinical.codes import VITALS as CODES
from contracts.codec import decode, decode_frame, encode
from contracts.generate import SCHEMAS, path_of, schema_of, text_of
from contracts.topology import TOPICS, VITALS, Topic, topic_named
from tests.contract.real_examples import EXAMPLES, examples

every_topic = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
every_example = pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)


def topic_of(path: Path) -> Topic[Any]:
    name, version, *_ = path.name.split(".")
    assert version == "v1"
    return topic_named(name)


@every_topic
def test_the_schema_on_disk_is_that_of_the_record(topic: Topic[Any]) -> None:
    assert path_of(topic).read_text(encoding="utf-8") == text_of(topic), "run python -m contracts.generate"


def test_every_schema_has_a_topic() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {path_of(topic).name for topic in TOPICS}


@every_topic
def test_the_schema_is_a_schema_and_says_what_it_is_of(topic: Topic[Any]) -> None:
    schema = schema_of(topic)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == topic.name
    assert schema["description"] == topic.purpose
    assert schema["x-kafka-key"] == topic.key
    for name, definition in schema["$defs"].items():
        assert definition.get("description"), f"{name} has no description"
        for field, of in definition.get("properties", {}).items():
            if field.endswith(("_ms", "_s")):
                assert of.get("description"), f"{name}.{field} has no unit"


def test_the_units_stand_in_the_schema() -> None:
    assert schema_of(VITALS)["$defs"]["Vital"]["x-units"] == {vital.value: CODES[vital].ucum for vital in r.Vital}


@every_topic
def test_every_topic_has_an_example(topic: Topic[Any]) -> None:
    assert list(EXAMPLES.glob(f"{topic.name}.v1.*.json"))


@every_example
def test_an_example_fits_its_schema(path: Path) -> None:
    topic = topic_of(path)
    schema = json.loads(path_of(topic).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_bytes()))


@every_example
def test_an_example_is_read_and_written_by_the_codec(path: Path) -> None:
    topic, raw = topic_of(path), path.read_bytes()
    record = decode(raw, topic.record)
    assert json.loads(encode(record)) == json.loads(raw)
    if topic is VITALS:
        decoded = decode_frame(raw)
        assert (decoded.frame, decoded.faults) == (record, ())


def test_the_examples_are_what_the_core_says_today() -> None:
    made = {path.name: content for path, content, _ in examples()}
    kept = {path.name: path.read_bytes() for path in EXAMPLES.iterdir()}
    assert made == kept, "run python -m tests.contract.real_examples"


@every_example
def test_an_example_names_nobody(path: Path) -> None:
    document = json.loads(path.read_bytes())

    def names(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [value for key, value in part.items() if key in ("patient", "actor") and isinstance(value, str)]
            return own + [name for value in part.values() for name in names(value)]
        return [name for item in part for name in names(item)] if isinstance(part, list) else []

    assert all(name.startswith(("p-", "nurse-")) for name in names(document))


@every_topic
def test_a_field_that_may_be_left_out_has_a_default_and_one_without_is_required(topic: Topic[Any]) -> None:
    for name, definition in schema_of(topic)["$defs"].items():
        kind = getattr(r, name)
        if issubclass(kind, r.Record):
            needed = len(kind.__struct_fields__) - sum(
                1 for default in kind.__struct_defaults__ if repr(default) != "NODEFAULT"
            )
            assert len(definition.get("required", [])) == needed, name


@every_topic
def test_times_are_whole_milliseconds(topic: Topic[Any]) -> None:
    for name in schema_of(topic)["$defs"]:
        for field, hint in get_type_hints(getattr(r, name)).items():
            if field.endswith("_ms"):
                assert hint in (int, int | None), f"{name}.{field}"


def test_the_generator_checks_writes_and_refuses_other_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check"]) == 0
    monkeypatch.setattr(generate, "SCHEMAS", tmp_path)
    monkeypatch.setattr(generate, "path_of", lambda topic: path_of(topic, tmp_path))
    assert generate.main(["--check"]) == 6
    assert not list(tmp_path.iterdir())
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert generate.main(["--force"]) == 2
    assert "usage" in capsys.readouterr().err
    done = subprocess.run([sys.executable, "-m", "contracts.generate", "--check"], check=False, capture_output=True)
    assert done.returncode == 0
