"""Versions with what is known of them: listed, checked, carded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import WardError
from models.registry import CARD, Bundle, Registry
from models.training import cards, gate
from models.training.evaluation import Evaluation
from models.training.recipes import RECIPES


def listed(registry: Registry, name: str) -> dict[str, Any]:
    """A model with its versions, each ``whole`` or with what is wrong with it."""
    aliases = registry.aliases(name)
    versions = []
    for version in registry.versions(name):
        made, sha256, state = None, None, "whole"
        try:
            bundle = registry.load(name, version)
            made, sha256 = bundle.manifest.made, bundle.sha256
        except WardError as wrong:
            state = str(wrong)
        versions.append({"version": version, "sha256": sha256, "made": made, "state": state})
    return {
        "name": name,
        "does": RECIPES[name].does if name in RECIPES else "",
        "champion": aliases.champion,
        "candidate": aliases.candidate,
        "versions": sorted(versions, key=lambda version: str(version["made"])),
    }


def wrong_with(listed: list[dict[str, Any]]) -> list[str]:
    """What is wrong with these models, a line each: damaged versions, aliases that point at nothing."""
    wrong = [
        f"{model['name']} {version['version']}: {version['state']}"
        for model in listed
        for version in model["versions"]
        if version["state"] != "whole"
    ]
    for model in listed:
        known = {version["version"] for version in model["versions"]}
        wrong += [
            f"{model['name']}: the {alias} is {model[alias]}, which is not there; promote another version"
            for alias in ("champion", "candidate")
            if model[alias] and model[alias] not in known
        ]
    return wrong


def belonging(found: Evaluation, bundle: Bundle) -> Evaluation:
    """The evaluation as one of this version: a version is judged before it has its name."""
    return msgspec.structs.replace(found, model=bundle.name, version=bundle.version, sha256=bundle.sha256)


def keep(registry: Registry, bundle: Bundle, found: Evaluation) -> Path:
    """Write an evaluation and then the card beside the version; returns the card's path."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", found.split.lower()).strip("-") or "all"
    text = msgspec.json.format(msgspec.json.encode(found.document()), indent=1).decode() + "\n"
    registry.note(bundle.name, bundle.version, f"evaluation-{slug}.json", text)
    return registry.note(bundle.name, bundle.version, CARD, card_of(registry, bundle))


def card_of(registry: Registry, bundle: Bundle) -> str:
    """The card of a version, with all that is known of it."""
    recipe = RECIPES.get(bundle.name)
    known = gate.evaluations(registry, bundle)
    does, limits = (recipe.does, recipe.limits) if recipe else ("", ())
    return cards.card(bundle.manifest, bundle.sha256, known, does, limits)
