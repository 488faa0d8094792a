"""Which models read an image, by a file of rules: the first that fits wins, and says why."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from contracts.errors import Misconfigured

VERSIONS: Final = frozenset({1})
NO_RULE: Final = "no_rule"
NOT_READ: Final = "not_read"
"""Refusals of images that no model is asked about: no rule knows them, or a rule says that nothing reads them."""
MOST_URGENT: Final = 9
OLDEST: Final = 130.0
NEWLINE: Final = b"\n"
WORDS: Final = ("modality", "body_part", "view", "laterality", "sex")
_DEFAULT: Final = "rules.toml"
_MODEL: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RULE: Final = re.compile(rb"^\s*\[\[\s*rule\s*\]\]", re.MULTILINE)


class Subject(NamedTuple):
    """What is told of an image. Words as in its header; None where the header does not say."""

    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    laterality: str | None = None
    sex: str | None = None
    age_years: float | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: lists of words of which one must stand in the header (``""``: none stands there), an age in years in
    [``age_from``, ``age_below``), and either ``models`` or ``none``, the reason why nothing reads it."""

    name: str
    modality: tuple[str, ...] | None = None
    body_part: tuple[str, ...] | None = None
    view: tuple[str, ...] | None = None
    laterality: tuple[str, ...] | None = None
    sex: tuple[str, ...] | None = None
    age_from: float | None = None
    age_below: float | None = None
    models: tuple[str, ...] = ()
    none: str | None = None
    urgency: int = 0

    def misfit(self, subject: Subject) -> str | None:
        """What of the image does not fit, in words; None when all fits."""
        for field in WORDS:
            allowed: tuple[str, ...] | None = getattr(self, field)
            found = getattr(subject, field) or ""
            if allowed is not None and found.upper() not in {word.upper() for word in allowed}:
                return f"{field} is {found or 'not told'}, not {' or '.join(word or 'untold' for word in allowed)}"
        age = subject.age_years
        if (self.age_from is not None or self.age_below is not None) and age is None:
            return "the age is not told"
        if age is not None and self.age_from is not None and age < self.age_from:
            return f"the age is {age:g}, below {self.age_from:g}"
        if age is not None and self.age_below is not None and age >= self.age_below:
            return f"the age is {age:g}, not below {self.age_below:g}"
        return None


class Decision(NamedTuple):
    """What becomes of an image: ``models``, or a ``refusal`` with its ``detail``. ``rule`` is None when none fits.

    ``passed`` are the rules before it, each with what did not fit.
    """

    models: tuple[str, ...]
    rule: str | None
    urgency: int = 0
    refusal: str | None = None
    detail: str | None = None
    passed: tuple[tuple[str, str], ...] = ()


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole file of rules; equal content has an equal ``hash``, whatever the file looked like."""

    version: int
    name: str
    rule: tuple[Rule, ...]

    @property
    def hash(self) -> str:
        """First 12 hex digits of the sha256 of the canonical content."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]

    def decide(self, subject: Subject) -> Decision:
        """What becomes of this image."""
        passed: list[tuple[str, str]] = []
        for rule in self.rule:
            misfit = rule.misfit(subject)
            if misfit is None:
                refusal = NOT_READ if rule.none is not None else None
                return Decision(rule.models, rule.name, rule.urgency, refusal, rule.none, tuple(passed))
            passed.append((rule.name, misfit))
        said = ", ".join(word for word in (subject.modality, subject.body_part, subject.view) if word) or "no header"
        return Decision((), None, 0, NO_RULE, f"no rule of {self.name} takes this image ({said})", tuple(passed))


def load_rules(path: str | Path | None = None) -> Rules:
    """The rules in that file, or the built-in ones. Raises Misconfigured naming file, line, rule and field."""
    name = str(path) if path is not None else _DEFAULT
    try:
        if path is None:
            raw = resources.files("models.imaging").joinpath(_DEFAULT).read_bytes()
        else:
            raw = Path(path).read_bytes()
    except OSError as unreadable:
        raise Misconfigured(f"rules {name} cannot be read: {unreadable.strerror}; check WARD_IMAGE_RULES") from None
    return parse_rules(raw, name)


def parse_rules(raw: bytes, name: str = "rules") -> Rules:
    """The rules in TOML bytes; raises Misconfigured as ``load_rules`` does."""
    try:
        rules = msgspec.toml.decode(raw, type=Rules)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        at = re.search(r"\$\.rule\[(\d+)\]", str(wrong))
        raise Misconfigured(f"rules {name}{_line(raw, int(at[1])) if at else ''}: {wrong}") from wrong
    if rules.version not in VERSIONS:
        raise Misconfigured(f"rules {name}: version {rules.version} is unknown; known are {sorted(VERSIONS)}")
    seen: set[str] = set()
    for index, rule in enumerate(rules.rule):
        for problem in _problems(rule, seen):
            raise Misconfigured(f"rules {name}{_line(raw, index)}: rule {rule.name!r}: {problem}")
        seen.add(rule.name)
    return rules


def _line(raw: bytes, index: int) -> str:
    starts = [found.end() for found in _RULE.finditer(raw)]
    return f", line {raw[: starts[index]].count(NEWLINE) + 1}" if index < len(starts) else ""


def _problems(rule: Rule, before: set[str]) -> Iterator[str]:
    if not rule.name.strip() or rule.name in before:
        yield "name: every rule has one of its own"
    if bool(rule.models) == (rule.none is not None):
        yield "it has either models or none, the reason why nothing reads the image"
    if rule.none is not None and not rule.none.strip():
        yield "none: a reason in words"
    for model in rule.models:
        if not _MODEL.fullmatch(model):
            yield f"models: {model!r} names no model: small letters, digits and _"
    if len(set(rule.models)) < len(rule.models):
        yield "models: one of them stands twice"
    for field in WORDS:
        if getattr(rule, field) == ():
            yield f"{field}: an empty list fits no image; leave the field out"
    for field in ("age_from", "age_below"):
        age = getattr(rule, field)
        if age is not None and not 0 <= age <= OLDEST:
            yield f"{field}: {age}; an age is 0 to {OLDEST:g} years"
    if rule.age_from is not None and rule.age_below is not None and rule.age_from >= rule.age_below:
        yield "age_from is below age_below"
    if not 0 <= rule.urgency <= MOST_URGENT:
        yield f"urgency: {rule.urgency}; it is 0 to {MOST_URGENT}"
