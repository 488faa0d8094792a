"""``ward lake feedback``: what readers made of results, as images with labels to train on, laid out like shared/data.

Read from the lake's table ``image_feedback`` and from the topic, whichever has it (the lake is seconds behind, the
topic forgets). Of each image the last verdict counts. Images come from HDFS, held against their sha256, decoded in a
guarded child; names of files are those of their bytes, patients are pseudonyms.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
import typer

from batch.storage import Storage
from batch.trail import Trail
from contracts import codec
from contracts.errors import Misconfigured, Poison, Transient
from contracts.lake import FEEDBACK, IMAGES, IMAGES_ROOT
from contracts.records import SCHEMA_VERSION, ImageFeedback, Verdict
from contracts.topology import IMAGE_FEEDBACK

if TYPE_CHECKING:
    from contracts.settings import Settings
    from models.imaging.guarded import Guarded

SIDE: Final = 320
"""The longer side of an exported image, that of the sets in shared/data; smaller ones stay as they are."""
LABELS: Final = "labels.csv"
SOURCE: Final = "feedback"
KAFKA_MS: Final = 5_000
POLL_MS: Final = 1_000


@dataclass(frozen=True)
class Layout:
    """How a model's set is laid out: its folder, the column of the label (or measure), that of the group."""

    dataset: str
    label: str = "label"
    group: str = "patient_id"
    measure: bool = False


LAYOUTS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        "brain_tumour": Layout("brain_mri", group="cluster"),
        "bone_age": Layout("bone_age", label="bone_age_months", measure=True),
        "knee_osteoporosis": Layout("knee_osteoporosis"),
    }
)
"""Models that are trained on sets of shared/data; all others get a folder of their own name."""


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """Readers disagreed on an image: what they said, oldest first. The last one counts."""

    instance: str
    said: tuple[str, ...]


class Exported(msgspec.Struct, kw_only=True):
    """What was exported of one model's feedback. ``left_out`` counts by reason: ``no_label`` (rejected, and nobody said
    what is right), ``missing`` and ``changed`` (not on HDFS, or other bytes), or why the image cannot be read."""

    model: str
    folder: str
    verdicts: int = 0
    images: int = 0
    accepted: int = 0
    corrected: int = 0
    labels: dict[str, int] = {}
    conflicts: tuple[Conflict, ...] = ()
    left_out: dict[str, int] = {}


def feedback(
    since: Annotated[str, typer.Option(help="From when on: a day, an RFC 3339 time, or -30d.", show_default=False)],
    to: Annotated[Path, typer.Option(help="Folder to make; it must not be there.", show_default=False)],
    model: Annotated[str | None, typer.Option(help="Of one model.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward lake feedback --since -30d --to more/ · ward lake feedback --since 2026-01-01 --to more/ --json

    Exports images with the labels that readers gave them, by accepting a result or by correcting it, laid out like
    shared/data: DIR/SET/images/*.png and labels.csv with split=train. The read is recorded.
    """
    from datetime import UTC

    from batch import cli
    from batch.report_time import moment_ms

    settings = cli.settings()
    since_ms = moment_ms(since, UTC, time.time_ns() // 1_000_000, "--since")
    made = export(settings, since_ms, to, model)
    if as_json:
        cli.document({"since_ms": since_ms, "to": str(to), "models": made})
        return
    print("\n".join(lines(made)) or "no feedback since then")


def lines(made: Iterable[Exported]) -> Iterator[str]:
    """What was exported, for people."""
    for one in made:
        labels = ", ".join(f"{number} {label}" for label, number in sorted(one.labels.items()))
        yield f"{one.model}: {one.images} images in {one.folder} ({labels}); {one.corrected} corrected by a reader"
        if one.left_out:
            yield f"  left out: {', '.join(f'{number} {why}' for why, number in sorted(one.left_out.items()))}"
        for conflict in one.conflicts:
            yield f"  readers disagree on {conflict.instance}: {' then '.join(conflict.said)}; the last counts"


def export(settings: Settings, since_ms: int, to: Path, model: str | None = None) -> list[Exported]:
    """Write the folder, whole or not at all; what was exported, by model.

    Raises Misconfigured when the folder is there already, Transient when neither lake nor topic can be read.
    """
    from batch import access

    if to.exists():
        raise Misconfigured(f"--to {to} is there already: name a folder that is not")
    storage = Storage.of(settings)
    access.told(settings, "feedback_export", f"{FEEDBACK.name} {model or 'of all models'}", zone=FEEDBACK.zone)
    by_model: defaultdict[str, list[ImageFeedback]] = defaultdict(list)
    for one in told(settings, storage, since_ms):
        if model in (None, one.model):
            by_model[one.model].append(one)
    to.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        made = [_exported(settings, storage, name, rows, draft) for name, rows in sorted(by_model.items())]
        draft.chmod(0o755)
        draft.rename(to)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return made


def told(settings: Settings, storage: Storage, since_ms: int) -> list[ImageFeedback]:
    """Every feedback since then, oldest first, once: what the lake has and what the topic has."""
    found = {one.feedback_id: one for one in _landed(settings, storage, since_ms)}
    try:
        found |= {one.feedback_id: one for one in _sent(settings.kafka, since_ms)}
    except Transient:
        if not found:
            raise
    return sorted(found.values(), key=lambda one: (one.at_ms, one.feedback_id))


def chosen(rows: Iterable[ImageFeedback]) -> tuple[list[ImageFeedback], list[Conflict]]:
    """The last verdict on each image, in order of instance, and where readers disagreed about what is right."""
    by_instance: defaultdict[str, list[ImageFeedback]] = defaultdict(list)
    for one in sorted(rows, key=lambda one: (one.at_ms, one.feedback_id)):
        by_instance[one.instance].append(one)
    last, conflicts = [], []
    for instance, said in sorted(by_instance.items()):
        last.append(said[-1])
        words = [_word(one) for one in said]
        if len(set(words)) > 1:
            conflicts.append(Conflict(instance=instance, said=tuple(words)))
    return last, conflicts


def _word(one: ImageFeedback) -> str:
    right = one.label if one.label is not None else one.value
    return f"not as told ({one.verdict})" if right is None else f"{right}"


def _landed(settings: Settings, storage: Storage, since_ms: int) -> Iterator[ImageFeedback]:
    names = ImageFeedback.__struct_fields__
    for row in Trail(storage, settings, None).rows(FEEDBACK):
        if row["event_ms"] >= since_ms:
            fields = {name: row[name] for name in names if row.get(name) is not None}
            fields |= {"version": SCHEMA_VERSION, "at_ms": row["event_ms"]}
            yield msgspec.convert(fields, ImageFeedback)


def _sent(bootstrap: str, since_ms: int) -> list[ImageFeedback]:
    """What the topic holds. Raises Transient."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    try:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, bootstrap_timeout_ms=KAFKA_MS)
    except KafkaError as away:
        raise Transient(f"no Kafka broker at {bootstrap}, and the lake has no feedback") from away
    found: list[ImageFeedback] = []
    try:
        parts = [TopicPartition(IMAGE_FEEDBACK.name, one) for one in range(IMAGE_FEEDBACK.partitions)]
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        consumer.seek_to_beginning()
        until = time.monotonic() + 60
        while any(consumer.position(part) < ends[part] for part in parts):
            for records in consumer.poll(POLL_MS).values():
                found += [one for record in records if (one := _read(record.value)) and one.at_ms >= since_ms]
            if time.monotonic() > until:
                raise Transient(f"{IMAGE_FEEDBACK.name} was not read to its end within a minute")
    except KafkaError as away:
        raise Transient(f"{bootstrap} does not give {IMAGE_FEEDBACK.name}: {away}") from away
    finally:
        consumer.close()
    return found


def _read(raw: bytes | None) -> ImageFeedback | None:
    try:
        return codec.decode(raw, ImageFeedback)
    except Poison:  # the lake sets it aside with its reason
        return None


def _exported(settings: Settings, storage: Storage, name: str, rows: list[ImageFeedback], to: Path) -> Exported:
    from models.imaging.guarded import Guarded

    layout = LAYOUTS.get(name, Layout(name))
    made = Exported(model=name, folder=layout.dataset, verdicts=len(rows))
    last, conflicts = chosen(rows)
    made.conflicts = tuple(conflicts)
    home = to / layout.dataset
    (home / "images").mkdir(parents=True, exist_ok=True)
    sexes, left, labels = _sexes(storage, settings, last), Counter[str](), Counter[str]()
    lines: list[dict[str, Any]] = []
    with Guarded(None, (SIDE,)) as child:
        for one in last:
            right = one.value if layout.measure else one.label
            if right is None:
                left["no_label"] += 1
                continue
            try:
                png, sha256, rows_, cols = _picture(storage, child, one)
            except Poison as bad:
                left[bad.reason] += 1
                continue
            file = f"images/fb-{sha256[:16]}.png"
            (home / file).write_bytes(png)
            lines.append(
                {
                    **{"image": file, "width": cols, "height": rows_, layout.label: right, "split": "train"},
                    **{layout.group: one.patient, "source": SOURCE, "sex": sexes.get(one.instance, "")},
                }
            )
            made.corrected += one.verdict is Verdict.REJECT
            made.accepted += one.verdict is Verdict.ACCEPT
            labels[str(right)] += 1
    _write(home / LABELS, lines, layout)
    made.images, made.labels, made.left_out = len(lines), dict(labels), dict(left)
    return made


def _sexes(storage: Storage, settings: Settings, rows: Iterable[ImageFeedback]) -> dict[str, str]:
    """female or male of each image, as the sets say it, where the lake's ``images`` tells: bone age needs it."""
    wanted = {one.instance for one in rows}
    if not wanted:
        return {}
    words = {"F": "female", "M": "male"}
    found = Trail(storage, settings, None).rows(IMAGES, instance=wanted)
    return {row["instance"]: words[row["sex"]] for row in found if row.get("sex") in words}


def _picture(storage: Storage, child: Guarded, one: ImageFeedback) -> tuple[bytes, str, int, int]:
    """An image as a PNG, the sha256 of its stored bytes, rows and columns. Raises Poison with a short reason."""
    import numpy as np
    from PIL import Image

    path = urlsplit(one.uri or "").path
    if not path.startswith(f"{IMAGES_ROOT}/") or ".." in path.split("/"):
        raise Poison("no_image", "the feedback names no image of the de-identified zone", "uri")
    try:
        content = storage.read(path)
    except FileNotFoundError:
        raise Poison("missing", "no such file on HDFS", "uri") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if one.sha256 is not None and one.sha256 != sha256:
        raise Poison("changed", "other bytes than those that the reader saw", "uri")
    seen = child.examine(content, deidentified=True)
    square = np.frombuffer(seen.shards[SIDE], "<f4").reshape(SIDE, SIDE)
    scale = SIDE / max(seen.rows, seen.cols)
    rows, cols = max(1, round(seen.rows * scale)), max(1, round(seen.cols * scale))
    top, left = (SIDE - rows) // 2, (SIDE - cols) // 2
    image = Image.fromarray(np.rint(square[top : top + rows, left : left + cols] * 255).astype(np.uint8))
    if scale > 1:
        rows, cols = seen.rows, seen.cols
        image = image.resize((cols, rows), Image.Resampling.BILINEAR)
    raw = io.BytesIO()
    image.save(raw, "PNG", optimize=True)
    return raw.getvalue(), sha256, rows, cols


def _write(path: Path, lines: list[dict[str, Any]], layout: Layout) -> None:
    names = ["image", "width", "height", layout.label, "split", layout.group, "source", "sex"]
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, names, lineterminator="\n")
        out.writeheader()
        out.writerows(lines)
