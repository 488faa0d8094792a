"""The policies that a sweep tries: every combination of limits, hysteresis, delay and latch, each a whole policy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final

import msgspec

from contracts.errors import Misconfigured, Poison
from contracts.records import Priority, Vital
from models.policy.written import as_toml
from models.ward.policy import Limits, Policy, parse_policy

MOST: Final = 5_000
SIDES: Final = ("extreme_low", "low", "high", "extreme_high")
_FIELDS: Final = frozenset(Limits.__struct_fields__)


class Axes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is varied for every vital alike.

    ``limits_percent``: limits so much wider (above 0) or tighter; not the temperature's, a share of whose degrees means
    nothing. ``hysteresis_times``: times the policy's own. A
    ``delay_s`` is that of medium alarms; severe ones keep their own where it is shorter, unless ``extreme_delay_s`` is
    given. ``latch``: the priorities that latch.
    """

    limits_percent: tuple[float, ...] = ()
    hysteresis_times: tuple[float, ...] = ()
    delay_s: tuple[float, ...] = ()
    extreme_delay_s: tuple[float, ...] = ()
    latch: tuple[tuple[Priority, ...], ...] = ()


class Grid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grid as its file tells it. ``vital`` holds values of single fields of single vitals, combined with the rest."""

    all: Axes = Axes()
    vitals: tuple[Vital, ...] = ()
    vital: dict[Vital, dict[str, tuple[float, ...]]] = {}


def parse_grid(raw: bytes) -> Grid:
    """The grid in TOML bytes; raises Poison naming the field that is wrong."""
    try:
        grid = msgspec.toml.decode(raw, type=Grid)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        words, _, place = str(wrong).partition(" - at ")
        where = re.search(r"\$[^`]*", place)
        raise Poison("bad_grid", words, where[0] if where else "$") from wrong
    for vital, fields in grid.vital.items():
        for name, values in fields.items():
            if name not in _FIELDS:
                raise Poison("bad_grid", f"no field {name}; there are {', '.join(sorted(_FIELDS))}", f"$.vital.{vital}")
            if not values:
                raise Poison("bad_grid", "no value", f"$.vital.{vital}.{name}")
    return grid


def parse_numbers(text: str, field: str) -> tuple[float, ...]:
    """``0,5,10`` as numbers; raises Poison naming the field."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as wrong:
        raise Poison("bad_grid", f"{text!r} is no list of numbers such as 0,5,10", field) from wrong


def parse_percents(text: str, field: str) -> tuple[float, ...]:
    """``-5%,0,5`` or ``-5%..+10%`` (in steps of 5) or ``-5%..+10%/2.5`` as numbers; raises Poison naming the field.

    >>> parse_percents("-5%..+10%", "--limits")
    (-5.0, 0.0, 5.0, 10.0)
    """
    plain = text.replace("%", "").replace(" ", "")
    span = re.fullmatch(r"([+-]?[\d.]+)\.\.([+-]?[\d.]+)(?:/([\d.]+))?", plain)
    if span is None:
        return parse_numbers(plain, field)
    (first, last), (step,) = parse_numbers(f"{span[1]},{span[2]}", field), parse_numbers(span[3] or "5", field)
    if first > last or step <= 0:
        raise Poison("bad_grid", f"{text!r} goes nowhere", field)
    return tuple(round(first + n * step, 6) for n in range(int((last - first) / step + 1e-9) + 1))


def parse_latches(text: str, field: str) -> tuple[tuple[Priority, ...], ...]:
    """``high,none,high+medium`` as sets of priorities; raises Poison naming the field."""
    try:
        return tuple(
            () if part == "none" else tuple(sorted((Priority(one) for one in part.split("+")), key=str))
            for part in text.split(",")
        )
    except ValueError as wrong:
        raise Poison("bad_grid", f"{text!r} is no list such as high,none,high+medium", field) from wrong


def policies(base: Policy, grid: Grid) -> list[Policy]:
    """The policy in force, and then every combination of the grid, each checked as a policy file is.

    Raises Poison naming the combination and the field that could not be a policy's.
    """
    vitals = grid.vitals or tuple(base.limits)
    for vital in (*vitals, *grid.vital):
        if vital not in base.limits and vital not in grid.vital:
            raise Poison("bad_grid", f"the policy has no limits of {vital}", "$.vitals")
    axes = _axes(grid)
    if not axes:
        raise Poison("bad_grid", "nothing is varied: give limits, hysteresis, delays or latches")
    size = 1
    for _, values in axes:
        size *= len(values)
    if size > MOST:
        raise Poison("bad_grid", f"{size} policies; at most {MOST}")
    found, seen = [base], {_content(base)}
    for choice in product(*(values for _, values in axes)):
        policy = _policy(base, vitals, dict(zip((name for name, _ in axes), choice, strict=True)))
        if _content(policy) not in seen:
            seen.add(_content(policy))
            found.append(policy)
    return found


def _content(policy: Policy) -> str:
    return msgspec.structs.replace(policy, name="").hash


def _axes(grid: Grid) -> list[tuple[tuple[str, str], Sequence[Any]]]:
    """(vital or "", field) and its values."""
    axes: list[tuple[tuple[str, str], Sequence[Any]]] = [
        (("", name), values) for name in Axes.__struct_fields__ if (values := getattr(grid.all, name))
    ]
    for vital, fields in grid.vital.items():
        axes += [((vital.value, name), values) for name, values in fields.items()]
    return axes


def _policy(base: Policy, vitals: Sequence[Vital], choice: Mapping[tuple[str, str], Any]) -> Policy:
    limits = dict(base.limits)
    for vital in vitals:
        if vital in limits:
            limits[vital] = _varied(vital, limits[vital], choice)
    for (name, field), value in choice.items():
        if name:
            vital = Vital(name)
            limits[vital] = msgspec.structs.replace(limits.get(vital, Limits()), **{field: value})
    alarm = base.alarm
    if ("", "latch") in choice:
        alarm = msgspec.structs.replace(alarm, latch=choice["", "latch"])
    name = f"{base.name}: {', '.join(_words(choice))}"
    policy = msgspec.structs.replace(base, name=name, limits=limits, alarm=alarm)
    try:
        return parse_policy(as_toml(policy).encode(), name)
    except Misconfigured as wrong:
        raise Poison("bad_grid", str(wrong), f"$.{' '.join(_words(choice))}") from wrong


def _varied(vital: Vital, limits: Limits, choice: Mapping[tuple[str, str], Any]) -> Limits:
    changed: dict[str, Any] = {}
    if (percent := choice.get(("", "limits_percent"))) is not None and vital is not Vital.TEMPERATURE:
        for side in SIDES:
            if (value := getattr(limits, side)) is not None:
                share = percent / 100 if side.endswith("high") else -percent / 100
                changed[side] = round(value * (1 + share), 2)
    if (times := choice.get(("", "hysteresis_times"))) is not None:
        changed["hysteresis"] = round(limits.hysteresis * times, 3)
    if (delay_s := choice.get(("", "delay_s"))) is not None:
        changed["delay_s"] = delay_s
        changed["extreme_delay_s"] = min(limits.extreme_delay_s, delay_s)
    if (delay_s := choice.get(("", "extreme_delay_s"))) is not None:
        changed["extreme_delay_s"] = delay_s
    return msgspec.structs.replace(limits, **changed)


def _words(choice: Mapping[tuple[str, str], Any]) -> Iterator[str]:
    for (vital, field), value in choice.items():
        match field:
            case "limits_percent":
                yield f"limits {value:+g} %"
            case "hysteresis_times":
                yield f"hysteresis x{value:g}"
            case "latch":
                yield f"latch {'+'.join(value) or 'none'}"
            case _:
                unit = " s" if field.endswith("_s") else ""
                yield " ".join(filter(None, [vital, field.removesuffix("_s").replace("_", " "), f"{value:g}{unit}"]))
