"""Three models that are simple enough to know by heart, kept in a real registry: what surrounds models is tested with
them, whatever the trained ones say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import Poison
from contracts.records import Anomaly, Driver, Engine, Risk, Vital, VitalForecast
from models.ports import ANOMALY, DETERIORATION, FORECAST, Memory, Windows
from models.registry import Bundle, Registry

NAMES = (ANOMALY, FORECAST, DETERIORATION)
Answered = tuple[Anomaly | None, ...]


def counted(memory: Memory) -> Memory:
    """A memory in which each bed, and the ward, counts how often it was asked about."""
    return Memory(
        tuple(bytes([(raw or b"\0")[0] + 1 & 0xFF]) for raw in memory.beds),
        (int.from_bytes(memory.ward, "big") + 1).to_bytes(4, "big"),
    )


def pulse(windows: Windows) -> list[float]:
    """The pulse of the last minute, NaN where there is none."""
    return [float(bed[-1, 0]) for bed in windows.minutes]


class Simple:
    """Its ``scale`` tells versions apart.

    ``faulty`` ones raise, ``short`` ones forget a bed, ``strict`` ones want their own memory.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.scale = float(bundle.parameters.get("scale", 1.0))
        self.faulty = bool(bundle.parameters.get("faulty"))
        self.short = bool(bundle.parameters.get("short"))
        self.strict = bool(bundle.parameters.get("strict"))
        self.levels = (0.05, 0.5, 0.95)

    def _ready(self) -> None:
        if self.faulty:
            raise RuntimeError("out of order")

    def judge(self, windows: Windows, memory: Memory) -> tuple[Answered, Memory]:
        self._ready()
        if self.strict and memory.ward and not memory.ward.startswith(b"strict"):
            raise Poison("foreign_memory", f"{memory.ward!r} is not mine")
        said: Answered = tuple(
            None
            if np.isnan(rate)
            else Anomaly(
                score=round(min(1.0, abs(rate - 72) / 200 * self.scale), 4),
                learning=not alarming,
                baseline_s=60,
                drivers=(Driver(what="pulse", share=1.0, vital=Vital.HEART_RATE),),
            )
            for rate, alarming in zip(pulse(windows), windows.alarming.tolist(), strict=True)
        )
        if self.strict:
            return said, Memory(memory.beds, b"strict")
        return said[1:] if self.short else said, counted(memory)

    def forecast(self, windows: Windows, memory: Memory) -> tuple[tuple[tuple[VitalForecast, ...], ...], Memory]:
        self._ready()
        ahead = tuple(
            ()
            if np.isnan(rate)
            else (
                VitalForecast(
                    vital=Vital.HEART_RATE,
                    engine=Engine.PERSISTENCE,
                    horizons_s=(3600, 7200),
                    quantiles=((rate - 5, rate, rate + 5), (rate - 9, rate, rate + 9)),
                    above=(round(min(1.0, rate / 200 * self.scale), 4),) * 2,
                    skill=(0.1 * self.scale, None),
                ),
            )
            for rate in pulse(windows)
        )
        return ahead, counted(memory)

    def assess(self, windows: Windows) -> tuple[tuple[Risk, ...], ...]:
        self._ready()
        return tuple(
            ()
            if np.isnan(rate)
            else (Risk(name="tachycardia", probability=round(min(1.0, rate / 200 * self.scale), 4), horizon_s=14_400),)
            for rate in pulse(windows)
        )


def load(name: str, bundle: Bundle) -> Any:
    """The model in a bundle of ``add``."""
    assert name in NAMES
    assert bundle.read("weights.bin") == b"weights of a simple model"
    return Simple(bundle)


def add(registry: Registry, name: str, **parameters: Any) -> str:
    """Keep a version of a simple model; its name."""
    return registry.add(
        name,
        {"weights.bin": b"weights of a simple model"},
        made="2026-01-02",
        code="tests",
        seed=7,
        data=(),
        parameters=parameters,
    )


def registry_of(folder: Path, *names: str, **parameters: Any) -> Registry:
    """A registry with these models (all without names), each champion."""
    registry = Registry(folder / "models", shipped=folder / "none")
    for name in names or NAMES:
        registry.promote(name, add(registry, name, **parameters), "tests", "the first")
    return registry
