"""What can be wrong with images: the gateway, its key, the models that read."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Final

from contracts.errors import Misconfigured, Poison, Transient
from contracts.settings import Settings
from infra.finding import Finding
from infra.launch.probes import http_answers
from infra.site import LOOPBACK
from infra.stack import Stack
from models.imaging import keyfile
from models.imaging.rules import load_rules
from models.registry import Registry, own_folder

PATIENCE_S: Final = 2.0


def gateway(stack: Stack) -> Iterator[Finding]:
    """A gateway that runs and takes no images: its door is shut, or HDFS or Kafka is away."""
    if stack.pid("gateway") is None:
        return
    site = stack.site()
    try:
        socket.create_connection((LOOPBACK, site.ports["dicom"]), timeout=PATIENCE_S).close()
    except OSError as shut:
        where = f"{LOOPBACK}:{site.ports['dicom']}"
        yield Finding("gateway", f"nobody listens for C-STORE on {where} ({shut})", "ward logs gateway")
    if trouble := http_answers(site.url("intake") + "/readyz"):
        yield Finding(
            "gateway",
            f"it takes no images now: {trouble}",
            "ward status: are datanode and kafka well? ward logs gateway",
        )


def identities(stack: Stack) -> Iterator[Finding]:
    """A key of all pseudonyms that others may read, or that is none."""
    if (settings := _settings(stack)) is None:
        return
    path = keyfile.place(settings)
    try:
        if path.exists():
            keyfile.key(path)
    except (Misconfigured, Transient) as wrong:
        fix = f"chmod 600 {path}, or restore it: without it new images join no old ones"
        yield Finding("identities", str(wrong), fix)


def weights(stack: Stack) -> Iterator[Finding]:
    """Models that are not as they were made, and those that images are sent to though there are none."""
    if (settings := _settings(stack)) is None:
        return
    registry = Registry(own_folder(settings))
    champions = registry.champions()
    try:
        asked = {model for rule in load_rules(settings.image_rules).rule for model in rule.models}
    except Misconfigured as wrong:
        yield Finding("weights", str(wrong), "ward image route FILE tells what the rules make of an image")
        return
    for name in sorted(asked - champions.keys()):
        fault = f"the rules send images to {name}, which has no champion: each of them is refused"
        yield Finding(
            "weights", fault, f"ward model train {name}, then ward model promote; or leave it out of the rules"
        )
    for name, version in champions.items():
        try:
            registry.load(name, version)
        except (Misconfigured, Poison) as wrong:
            yield Finding("weights", f"{name}: {wrong}", f"ward model rollback {name}, or restore that folder")


def _settings(stack: Stack) -> Settings | None:
    """None where a setting is wrong, which another check names."""
    try:
        return Settings.from_env(os.environ, state_dir=str(stack.state))
    except Misconfigured:
        return None
