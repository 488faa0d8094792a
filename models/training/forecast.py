"""Trains the vitals forecaster: the hour head on real stays, the near-term head on simulated minutes; exports both.

The hour head learns from eICU and Challenge 2012 ``train``; early stopping, shrinkage, conformal start and crossings
are set on eICU ``validation``. The near-term head learns from ``forecast_minutes.simulated`` only; which vitals and
horizons it may speak of is decided on real minutes: the first half of each monitor record, and cuffs of eICU
``validation``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.training import forecast_calibration as calibration
from models.training import forecast_minutes as minutes
from models.training import stays as data
from models.training.forecast_export import exported
from models.training.forecast_fit import Recipe, Table, fitted, moves, shuffled, table
from models.training.forecast_grid import AHEAD_H, AHEAD_MINUTES, STALE_H, Examples, examples, last_known
from models.training.forecast_net import Settle, Shape, quantiles, scales, weights
from models.training.forecast_speaks import may_speak
from models.training.recipes import Progress, Say
from models.vitals.history import HOURS, MINUTES

CODE: Final = "models.training.forecast"
HOUR: Final = Recipe(units=40, wide=80, dropout=0.2, epochs=8, rate=2e-3)
NEAR: Final = Recipe(units=16, wide=48, dropout=0.1, epochs=8, rate=3e-3)
NETS: Final = 2
"""Networks of the hour head; what they say is averaged."""
OTHER_SHARE: Final = 0.35
"""Of each epoch's rows of the hour head, those from Challenge 2012."""
SIMULATED: Final = 40_000
NEAR_STALE: Final = 30
NEAR_LEAST: Final = 2

Floats = NDArray[np.float32]


def train(folder: Path, seed: int, say: Say, progress: Progress, /) -> tuple[dict[str, bytes], dict[str, Any]]:
    """See ``recipes.Train``."""
    import keras

    keras.utils.set_random_seed(seed)
    hour_file, hour, hour_rows = _hour(folder, seed, say, progress)
    near_file, near = _near(folder, seed, say, progress)
    fields = {
        "code": CODE,
        "seed": seed,
        "data": _datasets(folder, hour_rows),
        "parameters": {"levels": [0.05, 0.25, 0.5, 0.75, 0.95], "hour": hour, "near": near},
        "purpose": "Where heart rate, respiration, SpO2, systolic and mean pressure and temperature of an adult in "
        "monitored care will be: 1, 2, 4 and 6 hours ahead, and 5 to 30 minutes ahead where that beats persistence.",
        "limits": _LIMITS,
    }
    return {"hour.onnx": hour_file, "near.onnx": near_file}, fields


_LIMITS: Final = (
    "Hourly values of stays in intensive care in the United States; no child, no other care.",
    "The near-term head was trained on simulated minutes only; the real ones judging it are two patients and cuffs.",
    "The hour head's chance of crossing a limit is of hourly means: a short crossing within an hour does not count.",
    "Hours ahead there is little to gain over the last known value, least for heart rate: the band says the most.",
)


def _hour(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[bytes, dict[str, Any], dict[str, int]]:
    every = data.load(folder)
    parts = {
        (source, split): examples([s for s in every if (s.source, s.split) == (source, split)])
        for source, split in (("eicu", "train"), ("eicu", "validation"), ("challenge2012", "train"))
    }
    own, held, other = parts.values()
    shape = Shape(HOURS, AHEAD_H, *scales(own.windows(), own.truth()), (3, 12, 24))
    say(f"hour head: {len(own)} eICU and {len(other)} Challenge 2012 hours, {len(held)} to validate")
    learned, validation, elsewhere = (_table(shape, each) for each in (own, held, other))

    def rows(epoch: int, chance: np.random.Generator) -> Table:
        many = int(len(learned) * OTHER_SHARE / (1 - OTHER_SHARE))
        drawn = chance.choice(len(elsewhere), min(many, len(elsewhere)), replace=False)
        return shuffled(learned.with_rows(elsewhere.of(drawn)), chance)

    nets = []
    for net in range(NETS):

        def told(epoch: int, epochs: int, loss: float, validated: float, net: int = net) -> None:
            progress(f"hour network {net + 1} of {NETS}", epoch, epochs)
            say(f"hour network {net + 1}, epoch {epoch}: pinball {loss:.4f}, validation {validated:.4f}")

        nets.append(fitted(shape, HOUR, rows, validation, seed + net, told))
    said = np.mean([moves(net, validation) for net in nets], axis=0)
    settle, parameters = _hour_parameters(shape, held, said)
    file = exported(shape, [weights(net) for net in nets], settle)
    return file, parameters, {f"{source}_{split}": len(each) for (source, split), each in parts.items()}


def _hour_parameters(shape: Shape, held: Examples, said: Floats) -> tuple[Settle, dict[str, Any]]:
    """What the hour head is told with, from what the networks said of the validation hours."""
    windows, reach = held.windows(), _reach(shape)
    last, ago = last_known(windows)
    truth = np.where((ago < STALE_H)[:, :, None], held.truth(), np.nan).astype(np.float32)
    settle = calibration.best_settle((said * reach[..., None]).astype(np.float32), truth - last[:, :, None])
    spoken = quantiles(shape, windows, said, settle)
    begin = calibration.start(spoken, windows, truth, reach)
    apart = calibration.best_apart(spoken, windows, held.following(), begin, reach, AHEAD_H)
    further = {"shrink": settle.shrink.tolist(), "grain": settle.grain.tolist()}
    parameters = calibration.parameters(
        begin, reach, apart, begin.skill > 0, stale_steps=STALE_H, least_known=1, silent_when_fallen=False, **further
    )
    return settle, parameters


def _table(shape: Shape, each: Examples) -> Table:
    return table(shape, each.windows(), each.age_years, each.stay_h, each.truth())


def _reach(shape: Shape) -> NDArray[np.float64]:
    return (shape.reach * shape.deviation[:, None]).astype(np.float64)


def _near(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[bytes, dict[str, Any]]:
    say(f"near-term head: {SIMULATED} simulated patients (synthetic)")
    learned, held = minutes.simulated(SIMULATED, seed), minutes.simulated(SIMULATED // 8, seed + 1)
    shape = Shape(MINUTES, AHEAD_MINUTES, *scales(learned.windows, learned.truth), (5, 15, 60))
    own, validation = _minute_table(shape, learned), _minute_table(shape, held)

    def told(epoch: int, epochs: int, loss: float, validation_loss: float) -> None:
        progress("near-term network", epoch, epochs)
        say(f"near-term network, epoch {epoch}: pinball {loss:.4f}, validation (synthetic) {validation_loss:.4f}")

    net = fitted(shape, NEAR, lambda epoch, chance: shuffled(own, chance), validation, seed, told)
    said = moves(net, validation)
    settle = Settle(np.zeros_like(shape.reach), np.full_like(shape.reach, calibration.FINE))
    spoken, reach = quantiles(shape, held.windows, said, settle), _reach(shape)
    begin = calibration.start(spoken, held.windows, held.truth, reach)
    apart = calibration.best_apart(spoken, held.windows, held.following, begin, reach, AHEAD_MINUTES)

    def of(real: minutes.MinuteExamples) -> Floats:
        return quantiles(shape, real.windows, moves(net, _minute_table(shape, real)), settle)

    speaks, why = may_speak(folder, of, NEAR_STALE, NEAR_LEAST)
    for line in why:
        say(line)
    further = {"stale_steps": NEAR_STALE, "least_known": NEAR_LEAST, "silent_when_fallen": True, "why": list(why)}
    parameters = calibration.parameters(begin, reach, apart, speaks, **further)
    return exported(shape, [weights(net)], settle), parameters


def _minute_table(shape: Shape, each: minutes.MinuteExamples) -> Table:
    untold = np.full(len(each), np.nan, np.float32)
    return table(shape, each.windows, untold, untold, each.truth)


_SOURCES: Final = (
    ("eICU demo v2.0.1, hourly", "ODbL 1.0", "eicu_hourly.parquet", ("eicu_train", "eicu_validation")),
    ("PhysioNet/CinC Challenge 2012", "ODC-By 1.0", "challenge2012_observations.parquet", ("challenge2012_train",)),
)


def _datasets(folder: Path, rows: dict[str, int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "licence": licence,
            "sha256": hashlib.sha256((folder / file).read_bytes()).hexdigest(),
            "rows": sum(rows[part] for part in parts),
        }
        for name, licence, file, parts in _SOURCES
    ]
    code = Path(minutes.__file__).read_bytes()
    simulated = {
        "name": "simulated minutes (models.training.forecast_minutes; sha256 of the generator)",
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256(code).hexdigest(),
        "rows": SIMULATED,
        "synthetic": True,
    }
    return [*found, simulated]
