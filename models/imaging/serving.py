"""The image models in force: champions of the registry, taken up when a job first asks for them and then followed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from models.bundle import Bundle
from models.champions import Champions, Event, Missing
from models.imaging.classifier import ImageModel
from models.registry import Registry


class ImageModels(Champions):
    """Champions by the names that jobs ask for, each with ``threads``. ``told`` hears of events."""

    def __init__(
        self,
        registry: Registry,
        told: Callable[[Event], None] = lambda event: None,
        threads: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def load(_name: str, bundle: Bundle) -> Any:
            return ImageModel(bundle, threads)

        super().__init__(registry, (), load, told, clock)

    def asked(self, name: str) -> ImageModel | Missing:
        """The model of that name which is in force now, or why there is none: looked up afresh before every job."""
        if name not in self._names:
            self._names = (*self._names, name)
        self.refresh()
        found: ImageModel | Missing = self.serving(name)
        return found
