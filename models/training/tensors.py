"""Tensors out of a file of PyTorch's first format, without PyTorch and without running anything that it says.

Such a file is pickles followed by raw storages. ``pickletools`` names the operations of a pickle and runs none; here
they are carried out on plain values, the few that a state dict needs, and any other is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison

MAGIC: Final = 0x1950A86A20F9469CFC6C
KINDS: Final[Mapping[str, np.dtype[Any]]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
    "torch HalfStorage": np.dtype("<f2"),
}
REBUILD: Final = "torch._utils _rebuild_tensor_v2"
ORDERED: Final = "collections OrderedDict"
_MARK: Final = object()


def tensors(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """Every tensor of a state dict, by its name. Raises Poison (``bad_tensors``) for anything else."""
    try:
        if _value(file) != MAGIC:
            raise Poison("bad_tensors", "not a file of PyTorch's first format")
        _value(file), _value(file)  # the format's version, and sizes of integers where it was written
        told, keys = _value(file), _value(file)
        storages = dict(_storages(file, told, keys))
        return {name: _array(made, storages) for name, made in told.items()}
    except (ValueError, LookupError, TypeError, EOFError) as wrong:
        raise Poison("bad_tensors", f"it does not read as a state dict: {wrong}") from wrong


class _Tensor(tuple[Any, ...]):
    """(storage, offset, shape, strides) and what follows them."""


def _storages(file: IO[bytes], told: Mapping[str, _Tensor], keys: list[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    kinds = {made[0][2]: KINDS[made[0][1]] for made in told.values()}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        raw = file.read(count * kinds[key].itemsize)
        yield key, np.frombuffer(raw, kinds[key], count)


def _array(made: _Tensor, storages: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    (_, _, key, _, _, *_), offset, shape, strides = made[:4]
    whole = storages[key]
    steps = tuple(step * whole.itemsize for step in strides)
    if offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) >= max(1, len(whole)):
        raise ValueError("a tensor reaches beyond its storage")
    return np.lib.stride_tricks.as_strided(whole[offset:], shape, steps).copy()


def _value(file: IO[bytes]) -> Any:
    """What one pickle says, of plain values, lists, dicts and tensors."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for operation, given, _ in pickletools.genops(file):
        name, argument = operation.name, cast("int", given)
        if name in _PLAIN:
            stack.append(_PLAIN[name](argument))
        elif name.endswith("BINPUT"):
            memo[argument] = stack[-1]
        elif name.endswith("BINGET"):
            stack.append(memo[argument])
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            raise ValueError(f"the operation {name} is refused")
    raise EOFError("the pickle does not end")


def _marked(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1 - next(i for i, one in enumerate(reversed(stack)) if one is _MARK)
    taken = stack[at + 1 :]
    del stack[at:]
    return taken


def _reduce(stack: list[Any]) -> None:
    arguments, function = stack.pop(), stack.pop()
    if function not in (REBUILD, ORDERED):
        raise ValueError(f"{function} is refused")
    stack.append(_Tensor(arguments) if function == REBUILD else {})


def _set_items(stack: list[Any]) -> None:
    pairs = _marked(stack)
    stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))


def _set_item(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    stack[-1][key] = value


def _extend(stack: list[Any]) -> None:
    more = _marked(stack)
    stack[-1].extend(more)


_PLAIN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "GLOBAL": str,
    "BINUNICODE": str,
    "MARK": lambda _: _MARK,
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), int),
}
_STEPS: Final[Mapping[str, Callable[[list[Any]], None]]] = {
    "TUPLE": lambda stack: stack.append(tuple(_marked(stack))),
    "TUPLE1": lambda stack: stack.append((stack.pop(),)),
    "TUPLE2": lambda stack: stack.append((stack.pop(-2), stack.pop())),
    "BINPERSID": lambda stack: None,  # a storage is told by its tuple: (word, kind, key, place, count, view)
    "BUILD": lambda stack: stack.pop() and None,  # attributes of the dict, which are not looked at
    "REDUCE": _reduce,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "APPENDS": _extend,
    "APPEND": lambda stack: stack[-2].append(stack.pop()),
}
