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
    from contracts.errors import Misconfigured
    from models.vitals.engine import LOADERS
    from models.ward.policy import load_policy
    from streams.compare.sides import NONE, Side

    policy, models = settings.policy, dict[str, str]()
    for one in filter(None, asked):
        model, at, version = one.partition("@")
        if not at:
            policy = one
        elif model not in LOADERS:
            raise Misconfigured(f"--{name} {one}: no model {model}; there are {', '.join(LOADERS)}")
        else:
            models[model] = version if version == NONE else registry.resolve(model, version)
    return Side(name, load_policy(policy), models)
