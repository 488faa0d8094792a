"""Assertions in the rules of the ward explain themselves as those in tests do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.unit.models.bedside", "tests.unit.models.rules", "tests.unit.models.beside", "tests.unit.models.model_rules"
)
