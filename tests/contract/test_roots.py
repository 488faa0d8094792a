"""The folders at the top are packages of our distribution and of no other."""

from __future__ import annotations

import importlib.util
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOTS = ("contracts", "models", "streams", "producers", "batch", "infra")
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("root", ROOTS)
def test_nobody_else_owns_our_names(root: str) -> None:
    assert set(packages_distributions().get(root, [])) <= {"wardstream"}


@pytest.mark.parametrize("root", ROOTS)
def test_a_root_is_imported_from_the_checkout_and_says_what_it_is(root: str) -> None:
    spec = importlib.util.find_spec(root)
    assert spec is not None
    assert spec.origin == str(CHECKOUT / root / "__init__.py")
    assert (CHECKOUT / root / "__init__.py").read_text(encoding="utf-8").lstrip().startswith('"""')


def test_tests_are_no_package_and_folders_of_ours_are() -> None:
    assert not list((CHECKOUT / "tests").rglob("__init__.py"))
    for root in ROOTS:
        for path in (CHECKOUT / root).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), f"{path.parent} has modules and no __init__.py"
