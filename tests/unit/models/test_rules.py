"""Every rule of the ward holds for the core as it is."""

from __future__ import annotations

import pytest

from tests.unit.models import model_rules
from tests.unit.models.bedside import REAL
from tests.unit.models.rules import RULES, Rule


def test_the_rules_of_the_models_are_on_the_list() -> None:
    assert model_rules.nothing_is_asked_twice in RULES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_core_keeps_the_rule(rule: Rule) -> None:
    rule(REAL)
