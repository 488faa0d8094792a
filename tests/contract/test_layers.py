"""What a module may reach for: topics by name only here, settings once, libraries where they belong.

Who may import whom is import-linter's part (``ward check``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.topology import TOPICS

CHECKOUT = Path(__file__).resolve().parents[2]
ROOTS = ("contracts", "models", "streams", "producers", "batch", "infra")
TOPIC_NAMES = {topic.name for topic in TOPICS}
AT_HOME = {
    "faust": ("streams",),
    "pyspark": ("batch",),
    "tensorflow": ("models/training",),
    "pynetdicom": ("producers",),
    "highdicom": ("producers",),
    "starlette": ("streams/feed", "producers/intake_http.py"),
    "uvicorn": ("streams/feed", "producers/dicom_gateway.py"),
}


def modules(*roots: str) -> list[Path]:
    return sorted(path for root in roots for path in (CHECKOUT / root).rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(CHECKOUT)}:{getattr(node, 'lineno', 0)}"


def imports(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module.split(".")[0]


def test_a_topic_is_named_in_contracts_only() -> None:
    found = [
        where(path, node)
        for path in modules("models", "streams", "producers", "batch", "infra")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in TOPIC_NAMES
    ]
    assert not found, "take it from contracts.topology"


def test_a_library_is_used_where_it_is_at_home() -> None:
    found = [
        f"{where(path, node)} imports {library}"
        for path in modules(*ROOTS)
        for node, library in imports(tree_of(path))
        if not any(path.is_relative_to(CHECKOUT / home) for home in AT_HOME.get(library, (".",)))
    ]
    # the side-by-side bench runs rivals and our own worker, each in a process of its own
    assert not [line for line in found if not line.startswith("infra/bench/")]


def test_the_core_imports_nothing_but_msgspec_numpy_and_the_floor() -> None:
    import sys

    allowed = {"msgspec", "numpy", "contracts", "models"} | set(sys.stdlib_module_names)
    found = [
        f"{where(path, node)} imports {library}"
        for path in modules("models/ward", "contracts")
        for node, library in imports(tree_of(path))
        if library not in allowed
    ]
    assert not found


def test_the_core_has_no_clock_no_chance_and_no_network() -> None:
    banned = {"time", "datetime", "random", "secrets", "uuid", "socket", "asyncio", "threading", "os", "subprocess"}
    found = [
        f"{where(path, node)} imports {library}"
        for path in modules("models/ward")
        for node, library in imports(tree_of(path))
        if library in banned
    ]
    assert not found


def environment_reads(tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """Every reading of the environment, and whether it only makes the settings.

    To set or unset a variable that another library looks for is no reading.
    """
    handed = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_env"
        for argument in node.args
    }
    set_there = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    for node in ast.walk(tree):
        if id(node) in set_there:
            continue
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"):
            if isinstance(node.value, ast.Name) and node.value.id == "os":
                yield node, id(node) in handed
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from ((node, False) for alias in node.names if alias.name in ("environ", "getenv"))


@pytest.mark.parametrize("root", ["contracts", "models", "streams", "producers", "batch"])
def test_the_environment_is_read_once_at_an_entrypoint_to_make_the_settings(root: str) -> None:
    """infra is left out: it makes the environments of the processes that it starts."""
    for path in modules(root):
        text = path.read_text(encoding="utf-8")
        for node, makes_settings in environment_reads(ast.parse(text)):
            assert makes_settings, f"{where(path, node)}: only Settings.from_env(os.environ)"
            entrypoint = path.name.endswith("cli.py") or '__name__ == "__main__"' in text or "raise SystemExit" in text
            assert entrypoint, f"{where(path, node)}: this module is no entrypoint"


def test_nothing_is_caught_and_swallowed() -> None:
    found = []
    for path in modules(*ROOTS):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler):
                silent = all(isinstance(part, ast.Pass) for part in node.body)
                if node.type is None or (silent and ast.unparse(node.type) in ("Exception", "BaseException")):
                    found.append(where(path, node))
    assert not found
