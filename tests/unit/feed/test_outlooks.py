"""Outlooks and forecasts in the feed: the newest of each patient, with its age, to everyone who watches the ward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import codec
from contracts.errors import Poison
from contracts.records import AlarmState, Category, ScoreFrame, Vital
from models.bundle import Interval
from models.registry import Registry
from models.ward.policy import load_policy
from streams.feed.advice import calibration_words, evidence, figures_of, kind_of, model_in_force, prediction
from streams.feed.explain import rule_text
from streams.feed.outlooks import RISKS_KEPT_MS, STALE_MS, Forecasts, Outlooks
from tests.unit.feed.outlook_records import advisory, ahead, forecast, models_of, outlook, source_of, with_outlooks
from tests.unit.feed.rig import T0, Record, Served, scores, serve


def told(event: bytes | None) -> dict[str, object]:
    assert event is not None
    head, _, data = event.partition(b"\ndata: ")
    assert head == b"event: outlook"
    found: dict[str, object] = msgspec.json.decode(data)
    return found


def spoken(ward: str = "W1", now_ms: int = T0, **changes: Any) -> ScoreFrame:
    """On a round without risks the model of risks is not among those that spoke."""
    frame = with_outlooks(scores(ward, ["b"], at_ms=now_ms), outlook("b", at_ms=now_ms, **changes))
    return frame if changes.get("risks") != () else msgspec.structs.replace(frame, models=frame.models[:2])


def test_an_outlook_event_has_every_field_and_the_models_behind_it() -> None:
    event = told(Outlooks().take(spoken(), 1))
    assert event["stale_after_ms"] == STALE_MS
    assert event["models"] == [
        {"name": model.name, "version": model.version, "since": msgspec.to_builtins(source_of("W1", 7))}
        for model in models_of("W1")
    ]
    (bed,) = msgspec.convert(event["beds"], list[dict[str, object]])
    assert (bed["bed"], bed["patient"], bed["at_ms"], bed["now_ms"], bed["risks_ms"]) == ("b", "p-b", T0, T0, T0)
    assert msgspec.convert(bed["anomaly"], dict[str, object]).keys() == {
        "score",
        "learning",
        "baseline_s",
        "drivers",
        "drift",
    }
    risks = msgspec.convert(bed["risks"], list[dict[str, object]])
    assert [risk["name"] for risk in risks] == ["hypotension", "desaturation", "death"]


def test_a_frame_without_outlooks_or_seen_before_tells_nothing() -> None:
    outlooks = Outlooks()
    assert outlooks.take(scores("W1", ["b"]), 1) is None
    assert outlooks.take(spoken(), 2) is not None
    assert outlooks.take(spoken(), 3) is None
    assert outlooks.beds["W1", "b"].changed == 2


def test_risks_stand_until_the_next_round_of_risks_and_no_longer() -> None:
    outlooks = Outlooks()
    outlooks.take(spoken(), 1)
    outlooks.take(spoken(now_ms=T0 + 10_000, risks=()), 2)
    kept = outlooks.beds["W1", "b"]
    assert ([one.name for one in kept.seen.risks], kept.risks_ms) == (["hypotension", "desaturation", "death"], T0)
    outlooks.take(spoken(now_ms=T0 + RISKS_KEPT_MS + 1, risks=()), 3)
    assert outlooks.beds["W1", "b"].seen.risks == ()


def test_risks_are_never_those_of_the_patient_before() -> None:
    outlooks = Outlooks()
    outlooks.take(spoken(), 1)
    outlooks.take(spoken(now_ms=T0 + 10_000, risks=(), patient="p-new"), 2)
    assert outlooks.beds["W1", "b"].seen.risks == ()


def test_a_risk_that_a_round_leaves_out_is_gone_at_once() -> None:
    outlooks = Outlooks()
    beds = [outlook("a"), outlook("b")]
    outlooks.take(with_outlooks(scores("W1", ["a", "b"]), *beds), 1)
    later = [outlook("a", risks=()), outlook("b", risks=())]
    outlooks.take(with_outlooks(scores("W1", ["a", "b"], at_ms=T0 + 60_000), *later), 2)
    assert outlooks.beds["W1", "b"].seen.risks == ()


def test_who_lags_gets_the_newest_outlooks_of_the_wards_that_spoke_meanwhile() -> None:
    outlooks = Outlooks()
    for changed, ward in enumerate(("W1", "W2", "W1"), start=1):
        outlooks.take(spoken(ward, T0 + 10_000 * changed), changed)
    assert [told(event)["ward"] for event in outlooks.events_after(1, None)] == ["W1", "W2"]
    assert [told(event)["now_ms"] for event in outlooks.events_after(2, None)] == [T0 + 30_000]
    assert [told(event)["ward"] for event in outlooks.events_after(0, "W2")] == ["W2"]
    assert list(outlooks.events_after(3, None)) == []


def test_where_a_model_took_over_is_known_after_it_was_replaced() -> None:
    outlooks = Outlooks()
    outlooks.take(spoken(), 1)
    newer = msgspec.structs.replace(models_of("W1")[1], version="dddd00000004", since=source_of("W1", 99))
    outlooks.take(msgspec.structs.replace(spoken(now_ms=T0 + 10_000), models=(newer,)), 2)
    about = {"name": "vitals_forecast", "version": "bbbb00000002"}
    assert model_in_force(about, outlooks, "W1", None) == about | {"since": source_of("W1", 7), "in_force": False}
    about["version"] = "dddd00000004"
    assert model_in_force(about, outlooks, "W1", None)["in_force"] is True


def test_only_the_newest_forecast_of_a_bed_is_kept_and_read_when_asked_for() -> None:
    forecasts = Forecasts()
    forecasts.take(codec.encode(forecast("W1", ["a", "b"])))
    forecasts.take(codec.encode(forecast("W1", ["a"], ahead(Vital.HEART_RATE), now_ms=T0 + 10_000)))
    forecasts.take(codec.encode(forecast("W1", ["a"], now_ms=T0 + 5_000)))
    assert {key: found.now_ms for key, found in forecasts.beds.items()} == {("W1", "a"): T0 + 10_000, ("W1", "b"): T0}
    assert [one.vital for one in forecasts.beds["W1", "a"].bed().vitals] == [Vital.HEART_RATE]
    with pytest.raises(Poison):
        forecasts.take(b'{"version":1}')


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("forecast_spo2_low", "at least 50 % likely for 30 s that oxygen saturation falls below 90 % within 4 h"),
        (
            "risk_hypotension",
            "holds hypotension at least 38 % likely for 120 s, it warns. It is over once that is less",
        ),
        ("risk_unheard_of", "told a risk of unheard of; the policy in force now does not warn of it."),
        ("anomaly", "at least 0.99 of 1 unlike this patient's own past for 180 s, it warns."),
    ],
)
def test_an_advisory_is_explained_in_words(condition: str, words: str) -> None:
    text = rule_text(load_policy(), advisory("a", condition=condition))
    assert words in text
    assert "makes no sound" in text


def test_the_policy_shipped_names_every_threshold_that_a_rule_speaks_of() -> None:
    rule = load_policy().models
    assert rule.risk_from.keys() == rule.risk_until.keys()


def test_the_words_of_a_calibration_are_the_nearest_figures_that_there_are() -> None:
    metrics = {
        "ppv_hypotension": Interval(0.234, 0.2, 0.27, 900),
        "ece_hypotension": Interval(0.021, 0.01, 0.03, 900),
        "ece_desaturation": Interval(0.004, 0.003, 0.006, 900),
        "ppv_at_0.5": Interval(0.4, 0.3, 0.5, 900),
        "coverage_spo2_4h": Interval(0.9, 0.89, 0.91, 900),
        "coverage_spo2_1h": Interval(0.92, 0.89, 0.93, 900),
        "ece_spo2_below_4h": Interval(0.011, 0.01, 0.012, 900),
    }
    assert calibration_words(figures_of(metrics, kind_of("risk_hypotension"))) == (
        "Of such warnings, 23 in 100 came true on test patients (95 % interval 20 to 27). "
        "Its probabilities of this were off by 2.1 in 100 on average on test patients."
    )
    assert calibration_words(figures_of(metrics, kind_of("risk_desaturation")), "validation patients") == (
        "Set to warn 0.5 times a patient-day, 40 in 100 of this model's warnings were followed by instability within "
        "1 to 4 hours on validation patients (95 % interval 30 to 50). "
        "Its probabilities of this were off by 0.4 in 100 on average on validation patients."
    )
    assert calibration_words(figures_of(metrics, kind_of("forecast_spo2_low"), 14_400)) == (
        "Its probabilities of this were off by 1.1 in 100 on average on test patients. "
        "90 in 100 of what came on test patients lay within its outer band."
    )
    assert figures_of(metrics, kind_of("forecast_spo2_low"), 3600)["coverage"].value == 0.92
    assert calibration_words(figures_of({}, kind_of("anomaly"))) is None


def test_a_model_that_the_registry_does_not_have_is_said_to_be_missing(tmp_path: Path) -> None:
    found = evidence(Registry(tmp_path), advisory("a", model="nothing@0123456789ab"))
    assert (found["name"], found["version"], found["calibration"]) == ("nothing", "0123456789ab", None)
    assert "cannot be read here" in found["missing"]
    assert evidence(Registry(tmp_path), advisory("a", model=None))["missing"] == "the advisory names no model"


def test_a_registered_model_speaks_by_its_evaluation_on_test_patients(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    figures = {"validation": {"ppv_spo2_low": Interval(0.61, 0.5, 0.7, 40)}}
    version = registry.add("vitals_forecast", {"a.onnx": b"x"}, code="t", seed=1, data=(), metrics=figures)
    warned = advisory("a", model=f"vitals_forecast@{version}")
    before = evidence(registry, warned)
    assert (before["version"], before["missing"]) == (version, None)
    assert before["calibration"].startswith("Of such warnings, 61 in 100 came true on validation patients")
    bundle = registry.load("vitals_forecast", version)
    test = {"ppv_spo2_low": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 70}}
    for sha256, words in ((bundle.sha256, "50 in 100 came true on test patients"), ("0" * 64, "61 in 100")):
        document = {"model": "vitals_forecast", "sha256": sha256, "split": "test", "n": 70, "metrics": test}
        registry.note("vitals_forecast", version, "evaluation-test.json", msgspec.json.encode(document).decode())
        assert words in evidence(registry, warned)["calibration"]


def test_the_band_of_an_advisory_is_that_of_its_vital() -> None:
    forecasts = Forecasts()
    forecasts.take(codec.encode(forecast("W1", ["b"], ahead(Vital.HEART_RATE), ahead(Vital.SPO2))))
    found = prediction(advisory("a", bed="b"), forecasts.beds["W1", "b"], None)
    assert [one["vital"] for one in found["forecast"]["vitals"]] == [Vital.SPO2]
    assert (found["probability"], found["lead_s"], found["side"]) == (0.62, 14_400, "low")
    assert prediction(advisory("a"), None, "gone")["missing"] == "gone"
    assert prediction(advisory("a", condition="anomaly"), None, None)["missing"] is None


def speak(feed: Served, frame: ScoreFrame, offset: int) -> None:
    feed.live.scores.take(Record(0, offset, codec.encode(frame), T0))


@pytest.mark.asyncio
async def test_outlooks_are_streamed_and_part_of_the_wall(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.stream(ward="W1") as reader:
        assert (await reader.next("wall")).data["outlooks"] == []
        speak(feed, spoken("W2"), 1)
        speak(feed, spoken(), 1)
        event = await reader.next("outlook")
        assert (event.id, event.data["ward"]) == (None, "W1")
        async with feed.stream() as fresh:
            whole = (await fresh.next("wall")).data["outlooks"]
            assert [one["ward"] for one in whole] == ["W2", "W1"]
            assert whole[1] == event.data


@pytest.mark.asyncio
@pytest.mark.parametrize("models_first", [True, False])
async def test_models_speak_at_the_same_record_as_the_scores_and_neither_hides_the_other(
    tmp_path: Path, models_first: bool
) -> None:
    """The worker writes the scores of a tick and what the models say at it as two records with one source."""
    async with serve(tmp_path) as feed, feed.stream() as reader:
        await reader.next("wall")
        whole = msgspec.structs.replace(spoken(), source=source_of("W1", 50))
        frames = [msgspec.structs.replace(whole, beds=()), msgspec.structs.replace(whole, outlooks=(), models=())]
        for frame in frames if models_first else reversed(frames):
            speak(feed, frame, 50)
        seen = {(await reader.next("outlook", "tiles")).event for _ in range(2)}
        assert seen == {"outlook", "tiles"}


def test_models_that_speak_by_turns_are_all_in_force() -> None:
    outlooks = Outlooks()
    anomaly, forecaster, risk_model = models_of("W1")
    outlooks.take(msgspec.structs.replace(spoken(), models=(anomaly, risk_model)), 1)
    later = spoken(now_ms=T0 + 10_000, risks=())
    event = told(outlooks.take(msgspec.structs.replace(later, models=(anomaly,)), 2))
    outlooks.serve("W1", [forecaster], T0 + 10_000)
    assert [one["name"] for one in msgspec.convert(event["models"], list[dict[str, Any]])] == [
        "vitals_anomaly",
        "deterioration",
    ]
    assert {model.name for model in outlooks.models("W1")} == {"vitals_anomaly", "deterioration", "vitals_forecast"}
    outlooks.serve("W1", [anomaly], T0 + 10_000 + RISKS_KEPT_MS + 1)
    assert [model.name for model in outlooks.models("W1")] == ["vitals_anomaly"]


@pytest.mark.asyncio
async def test_a_lagging_reader_gets_the_newest_outlook_only(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.stream() as reader:
        await reader.next("wall")
        for step in range(200):
            now_ms = T0 + step * 1000
            frame = msgspec.structs.replace(spoken(now_ms=now_ms), source=source_of("W1", step))
            speak(feed, frame, step)
            feed.live.hub.flush()
        assert (await reader.next("outlook")).data["now_ms"] == T0 + 199_000


@pytest.mark.asyncio
async def test_a_forecast_is_told_with_its_age_and_never_of_another_patient(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.client() as client:
        feed.score("W1", ["b"])
        empty = (await client.get("/api/beds/b/forecast")).json()
        assert (empty["vitals"], empty["at_ms"], empty["stale"]) == ([], None, False)
        feed.live.forecasts.take(Record(0, 0, codec.encode(forecast("W1", ["b"])), T0))
        now = (await client.get("/api/beds/b/forecast?ward=W1")).json()
        assert (now["stale"], now["age_ms"], now["known"], now["vitals"][0]["vital"]) == (False, 0, 0.92, "spo2")
        assert len(now["vitals"][0]["quantiles"]) == len(now["vitals"][0]["horizons_s"])
        assert now["limits"]["spo2"]["low"] == 90.0
        assert "not a medical device" in now["disclaimer"]
        feed.score("W1", ["b"], at_ms=T0 + STALE_MS + 1)
        old = (await client.get("/api/beds/b/forecast")).json()
        assert (old["stale"], old["age_ms"]) == (True, STALE_MS + 1)
        strangers = msgspec.structs.replace(forecast("W1", ["b"], now_ms=T0 + 90_000).beds[0], patient="p-other")
        another = msgspec.structs.replace(forecast("W1", ["b"], now_ms=T0 + 90_000), beds=(strangers,))
        feed.live.forecasts.take(Record(0, 1, codec.encode(another), T0))
        assert (await client.get("/api/beds/b/forecast")).json()["vitals"] == []
        assert (await client.get("/api/beds/nobody/forecast")).status_code == 404


@pytest.mark.asyncio
async def test_why_of_an_advisory_says_what_cannot_be_told_when_the_log_is_away(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.client() as client:
        feed.alarm(advisory("a1", state=AlarmState.ACTIVE))
        why = (await client.get("/api/alerts/a1/why")).json()
        assert why["transitions"][0]["category"] == Category.ADVISORY
        assert (why["model"]["name"], why["model"]["since"], why["model"]["in_force"]) == (
            "vitals_forecast",
            None,
            False,
        )
        assert "cannot be read here" in why["model"]["missing"]
        assert why["prediction"]["missing"] == "the log could not be searched in time; try again"
        assert [one["vital"] for one in why["prediction"]["drivers"]] == ["spo2", "respiration"]
