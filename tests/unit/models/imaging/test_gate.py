"""The gate: what it lets in, and a reason for everything that it does not."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Poison
from infra.site import CHECKOUT
from models.bundle import Bundle
from models.champions import Missing
from models.imaging.backbone import SIZE, shipped
from models.imaging.gate import ARRAYS_FILE, NAME, SETTINGS_FILE, Gate, Gates, Looks, grain, looks
from models.imaging.guarded import examined
from models.imaging.pixels import Grey, read, resized
from models.imaging.settings import ImageSettings
from models.registry import Registry
from models.training.imaging_robustness import shocked

SAMPLES = CHECKOUT / "producers" / "samples" / "images"
SETTINGS = ImageSettings(kind="classes", size=224, body_part="brain")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Registry().load(NAME)


@pytest.fixture(scope="module")
def gate(bundle: Bundle) -> Gate:
    return Gate(bundle, shipped(Registry()))


def samples() -> list[tuple[Path, str]]:
    """The images that the demo ships, each with its body part."""
    found = []
    for path in sorted(SAMPLES.rglob("*.jpg")):
        found.append((path, "brain" if "bm" in path.name or "brain" in path.as_posix() else "knee"))
    return found


def noise(rows: int = 300, cols: int = 300) -> Grey:
    return np.random.default_rng(1).random((rows, cols)).astype(np.float32)


def test_what_the_demo_sends_is_let_in_as_what_it_is(gate: Gate) -> None:
    known = samples()
    assert known
    right = 0
    for path, part in known:
        seen = gate.judged(read(path.read_bytes()).pixels, part)
        right += seen.refusal is None and seen.body_part == part
    assert right >= len(known) - 1, "about one in a hundred is refused falsely"


def test_a_knee_is_no_brain_whatever_was_asked_for(gate: Gate) -> None:
    path = next(path for path, part in samples() if part == "knee")
    seen = gate.judged(read(path.read_bytes()).pixels, "brain")
    assert seen.refusal == "wrong_body_part"
    assert seen.detail is not None
    assert "it shows a knee" in seen.detail
    assert seen.body_part == "knee"


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (noise(60, 400), "too_small"),
        (np.full((200, 200), 0.3, np.float32), "blank"),
        (0.5 + 0.03 * noise(), "low_contrast"),
        (noise(), "out_of_scope"),
        (np.tile(np.linspace(0, 1, 250, dtype=np.float32), (250, 1)), "out_of_scope"),
    ],
    ids=["thumbnail", "one grey", "faint", "noise", "gradient"],
)
def test_what_is_no_image_of_a_patient_is_refused_with_its_reason(gate: Gate, pixels: Grey, reason: str) -> None:
    seen = gate.judged(pixels)
    assert seen.refusal == reason
    assert seen.detail


def test_a_real_image_with_its_grey_levels_inverted_is_refused_as_such(gate: Gate) -> None:
    brains = [path for path, part in samples() if part == "brain"]
    assert brains, "of inverted knees and hands the card tells how many are seen through"
    for path in brains:
        pixels = read(path.read_bytes()).pixels
        assert gate.judged(1 - pixels, "brain").refusal == "inverted", path.name
        assert gate.judged(pixels, "brain").refusal != "inverted", path.name


@given(st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(16, 90))
def test_how_much_brighter_an_edge_is_turns_its_sign_with_the_grey_levels(low: float, by: float, side: int) -> None:
    pixels = np.full((side, side + 3), low, np.float32)
    pixels[side // 8 : -(side // 8), side // 8 : -(side // 8)] += by
    over = looks(pixels).edge
    assert over == pytest.approx(-1.0, abs=1e-3)
    assert looks(1 - pixels).edge == pytest.approx(-over, abs=1e-3)


@given(st.floats(0.005, 0.2), st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 2**32 - 1))
def test_grain_is_the_deviation_of_the_noise_and_blind_to_slopes(
    of: float, down: float, along: float, seed: int
) -> None:
    slope = np.add.outer(np.linspace(0, down, 224), np.linspace(0, along, 224))
    noise = np.random.default_rng(seed).normal(0, of, slope.shape)
    assert grain((slope + noise).astype(np.float32)) == pytest.approx(of, rel=0.05)
    assert grain(slope.astype(np.float32)) < 1e-4


def test_grain_is_told_in_units_of_the_range() -> None:
    pixels = noise()
    assert looks(np.float32(0.2) + pixels / np.float32(4)).grain == pytest.approx(looks(pixels).grain, rel=1e-3)


@pytest.mark.parametrize("part", ["brain", "knee"])
def test_a_real_image_without_its_detail_or_with_much_noise_is_refused_as_such(gate: Gate, part: str) -> None:
    """How much noise a body part's images have of themselves, and so how little more is noticed, tells the card."""
    shards = [resized(read(path.read_bytes()).pixels, 320) for path, its in samples() if its == part]
    change: dict[str, Callable[[Grey], Grey]] = {
        "blurred": lambda shard: shocked("half the size and back", shard[None], 1)[0],
        "noisy": lambda shard: shard + np.random.default_rng(1).normal(0, 0.3, shard.shape).astype(np.float32),
    }
    for how, changed in change.items():
        found = [
            gate.scopes(gate._network.features(resized(one, SIZE)[None]), part, [looks(resized(changed(one), SIZE))])[0]
            for one in shards
        ]
        assert sum(one.refusal == how for one in found) >= len(found) - 1, (how, found)
        assert all("grain" in (one.detail or "") for one in found if one.refusal == how)


def test_where_a_version_tells_of_no_grain_any_is_let_in(bundle: Bundle) -> None:
    settings = msgspec.json.decode(bundle.read(SETTINGS_FILE)) | {"grain": {}}
    files = {ARRAYS_FILE: bundle.read(ARRAYS_FILE), SETTINGS_FILE: msgspec.json.encode(settings)}
    old = Gate(Bundle.of(NAME, files, code="x", seed=0, data=[]), shipped(Registry()))
    path, part = samples()[0]
    shard = resized(read(path.read_bytes()).pixels, SIZE)
    vectors = old._network.features(shard[None])
    assert old.scopes(vectors, part, [Looks(-1.0, 0.0)])[0].refusal is None
    assert old.scopes(vectors, part, [Looks(-1.0, 9.0)])[0].refusal is None
    assert old.scopes(vectors, part)[0].refusal is None


def test_an_image_decoded_in_a_child_is_judged_alike(gate: Gate) -> None:
    for path, _ in samples()[:2]:
        content = path.read_bytes()
        seen = gate.judged(read(content).pixels, "brain")
        told = gate.refused(examined(content, None, (SIZE,)), "brain", SETTINGS)
        assert told == (None if seen.refusal is None else (seen.refusal, seen.detail))


def test_a_look_costs_less_than_a_model(gate: Gate) -> None:
    pixels = noise()
    gate.judged(pixels)
    begun = time.process_time()
    for _ in range(5):
        gate.judged(pixels)
    assert (time.process_time() - begun) / 5 < 0.2, "40 ms on an idle core"


def test_a_bundle_that_does_not_fit_is_refused_by_name(bundle: Bundle) -> None:
    settings = msgspec.json.decode(bundle.read(SETTINGS_FILE))
    files = {name: bundle.read(name) for name in (ARRAYS_FILE, SETTINGS_FILE)}

    def altered(**changed: bytes) -> Bundle:
        return Bundle.of(NAME, files | changed, code="x", seed=0, data=[])

    other = altered(**{SETTINGS_FILE: msgspec.json.encode(settings | {"backbone": "0" * 12})})
    with pytest.raises(Poison, match="made with backbone 000000000000"):
        Gate(other, shipped(Registry()))
    more = altered(**{SETTINGS_FILE: msgspec.json.encode(settings | {"seen": ["brain", "other"]})})
    with pytest.raises(Poison, match="do not fit"):
        Gate(more, shipped(Registry()))
    few = io.BytesIO()
    np.savez(few, centre=np.zeros(3))
    with pytest.raises(Poison, match="no axes, spread"):
        Gate(altered(**{ARRAYS_FILE: few.getvalue()}), shipped(Registry()))


def test_the_champion_is_followed_and_where_there_is_none_that_is_said(tmp_path: Path) -> None:
    assert isinstance(Gates(Registry()).asked(), Gate)
    nothing = Gates(Registry(tmp_path / "own", shipped=tmp_path / "none")).asked()
    assert isinstance(nothing, Missing)
    assert "no champion" in nothing.why


def test_no_image_that_was_judged_on_had_been_learned_from() -> None:
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the sets of images are not here")
    from models.training.scope import images

    fitted = {image.group for image in images(folder, ("train",))}
    for split in ("validation", "test"):
        assert not fitted & {image.group for image in images(folder, (split,))}
    with (folder / "brain_mri" / "labels.csv").open(newline="") as file:
        split_of = {row["image"]: row["split"] for row in csv.DictReader(file)}
    learned = [image for image in images(folder, ("train",)) if image.source.dataset == "brain_mri"]
    assert {split_of[f"images/{image.path.name}"] for image in learned} == {"train"}
