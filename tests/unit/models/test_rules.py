"""Every rule of the ward holds for the core as it is."""

from __future__ import annotations

import pytest

from tests.unit.models.bedside import REAL
from tests.unit.models.rules import RULES, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_core_keeps_the_rule(rule: Rule) -> None:
    rule(REAL)
