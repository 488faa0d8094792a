"""Where a replay may write: never into what is live."""

from __future__ import annotations

import pytest

from contracts.errors import Misconfigured
from contracts.topology import TOPICS
from producers.replay.topics import targets


@pytest.mark.parametrize("live", [topic.name for topic in TOPICS])
def test_no_live_topic_is_ever_written(live: str) -> None:
    with pytest.raises(Misconfigured, match="live topic"):
        targets(["some_log"], live)


def test_one_source_goes_to_the_name_and_several_to_a_topic_each() -> None:
    assert targets(["alerts"], "again") == ("again",)
    assert targets(["alerts", "patient_vitals"], "again") == ("again_alerts", "again_patient_vitals")


@pytest.mark.parametrize("name", ["", "a.b", "ward 3", "../x", "__offsets", "x" * 201, "again/1"])
def test_a_name_that_no_topic_or_folder_should_have_is_refused(name: str) -> None:
    with pytest.raises(Misconfigured, match="--to"):
        targets(["alerts"], name)


def test_a_source_is_no_target_and_stands_once() -> None:
    with pytest.raises(Misconfigured, match="what is read"):
        targets(["mine"], "mine")
    with pytest.raises(Misconfigured, match="twice"):
        targets(["mine", "mine"], "other")
