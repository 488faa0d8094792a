"""What ``--champion`` and ``--candidate`` mean, and the models that a comparison asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contracts.settings import Settings
    from models.registry import Registry
    from models.vitals.engine import VitalsModels
    from streams.compare.sides import Side


def models_of(registry: Registry, missing: set[tuple[str, str]]) -> VitalsModels:
    """The models of the registry, by the versions that the log or a side names; those not to be had are noted."""
    from models.champions import Event
    from models.vitals.engine import VitalsModels

    def tell(event: Event) -> None:
        if event.what in ("absent", "fault"):
            missing.add((event.name, event.version))

    return VitalsModels(registry, tell)


def side_of(name: str, asked: Iterable[str], settings: Settings, registry: Registry) -> Side:
    """The side of that name: a policy file and NAME@VERSION of models; nothing is what is in force.

    Raises Misconfigured, which names the option, for a model that is none; NotThere for a version that is not there.
    """
    from models.vitals.asked import versions_of
    from models.ward.policy import load_policy
    from streams.compare.sides import Side

    words = [word for word in asked if word]
    files = [word for word in words if "@" not in word]
    models = versions_of((word for word in words if "@" in word), f"--{name}", registry)
    return Side(name, load_policy(files[-1] if files else settings.policy), models)
