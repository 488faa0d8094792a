"""Image files as they came, put into HDFS once, each under the sha256 of its bytes, and what was told of them.

    /identified/images/<dataset>/<ab>/<sha256>.<kind>    DICOM, and whatever else may name a person
    /images/datasets/<dataset>/<ab>/<sha256>.<kind>      pictures without a header: JPEG, PNG, TIFF
    /images/datasets/<dataset>/_index/<sha256>.json      which images were put in together: label, split, pseudonym

A file's own name may name a person: it is used to find its label and then forgotten.
"""

from __future__ import annotations

import csv
import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from batch.storage import Storage
from contracts.errors import Misconfigured, Poison
from contracts.lake import IDENTIFIED_ROOT, IMAGES_ROOT
from contracts.pseudonyms import Pseudonyms
from models.imaging.pixels import MAX_BYTES, kind_of

IDENTITY: Final = "identity"
"""The user of HDFS who may read what leads back to a person; see contracts.lake.MEMBERS."""
SPLITS: Final = ("train", "validation", "test")
SUFFIXES: Final = frozenset({".dcm", ".dicom", ".jpg", ".jpeg", ".png", ".tif", ".tiff"})
ENDINGS: Final = {"dicom": ".dcm", "jpeg": ".jpg", "png": ".png", "tiff": ".tif"}
LABELS: Final = "labels.csv"
WRITERS: Final = 8
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

Count = Callable[[int, int], None]


class Original(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One image file on HDFS. ``path`` is absolute; ``deidentified`` files carry pseudonyms already."""

    image_id: str
    path: str
    size: int
    label: str | None = None
    split: str | None = None
    patient: str | None = None
    deidentified: bool = False

    @property
    def identified(self) -> bool:
        """Whether only the identified zone's user may read it."""
        return self.path.startswith(f"{IDENTIFIED_ROOT}/")


class Index(msgspec.Struct, frozen=True):
    """Images that were put in together."""

    images: tuple[Original, ...]


@dataclass
class Put:
    """What became of the files: images put in by this call, there already, passed over (no images by their names),
    and too large to be taken."""

    put: int = 0
    there: int = 0
    passed_over: int = 0
    too_large: int = 0
    images: dict[str, Original] = field(default_factory=dict)


def dataset_name(text: str) -> str:
    """The same. Raises Misconfigured when it cannot name a set of images."""
    if not _NAME.fullmatch(text):
        raise Misconfigured(f"{text!r} cannot name a set of images: lower-case letters, digits, _ and -")
    return text


def put(
    storage: Storage,
    dataset: str,
    paths: Iterable[Path],
    names: Pseudonyms | None,
    *,
    labels: Path | None = None,
    column: str = "label",
    identified: bool = False,
    count: Count = lambda done, total: None,
) -> Put:
    """Put image files and folders of them into HDFS; what is there by its sha256 is not sent again.

    Labels come from ``labels``, else from a ``labels.csv`` in each folder: columns image, ``column``, split and
    patient_id, of which only image is needed; a patient's id becomes a pseudonym. With ``identified`` pictures go to
    the identified zone as well. Raises Misconfigured for a path or column that is not there, Poison for one image with
    two labels, Transient when HDFS does not answer.
    """
    told = Put()
    files = list(_files(paths, told))
    notes = _Notes(labels, column, files)
    there = {one.path.rpartition("/")[2].partition(".")[0]: one.path for one in _standing(storage, dataset)}
    local = threading.local()

    def send(path: Path) -> Original | None:
        if path.stat().st_size > MAX_BYTES:
            return None
        content = path.read_bytes()
        image_id = hashlib.sha256(content).hexdigest()
        kind = kind_of(content)
        bare = kind in ("jpeg", "png", "tiff") and not identified
        target = (
            there.get(image_id) or f"{_root(dataset, bare)}/{image_id[:2]}/{image_id}{ENDINGS.get(kind or '', '.bin')}"
        )
        if image_id not in there:
            if not hasattr(local, "clients"):
                local.clients = {}
            user = storage.user if bare else IDENTITY
            client = local.clients.setdefault(user, Storage(storage.url, storage.rpc, user))
            _write(client, target, content)
        return notes.of(path, image_id, target, len(content), names)

    with ThreadPoolExecutor(WRITERS) as pool:
        for done, (path, made) in enumerate(zip(files, pool.map(send, files), strict=True), 1):
            count(done, len(files))
            if made is None:
                told.too_large += 1
                continue
            told.put += made.image_id not in there and made.image_id not in told.images
            told.there += made.image_id in there
            _keep(told.images, made, str(path))
    _keep_index(storage, dataset, told.images.values())
    return told


def images_of(storage: Storage, dataset: str) -> dict[str, Original]:
    """Every image that was put into a dataset, by its id. Raises Misconfigured when there is no such dataset."""
    found: dict[str, Original] = {}
    for entry in storage.entries(f"{IMAGES_ROOT}/datasets/{dataset}/_index", hidden=True):
        if entry.path.endswith(".json"):
            for one in msgspec.json.decode(storage.read(entry.path), type=Index).images:
                _keep(found, one, entry.path)
    if not found:
        raise Misconfigured(f"no images were put in as {dataset!r}: `ward lake images FOLDER --dataset {dataset}`")
    return found


def _root(dataset: str, bare: bool) -> str:
    return f"{IMAGES_ROOT}/datasets/{dataset}" if bare else f"{IDENTIFIED_ROOT}/images/{dataset}"


def _standing(storage: Storage, dataset: str) -> Iterator[Original]:
    for bare, user in ((True, storage.user), (False, IDENTITY)):
        for entry in Storage(storage.url, storage.rpc, user).entries(_root(dataset, bare)):
            yield Original(image_id="", path=entry.path, size=entry.size)


def _write(client: Storage, target: str, content: bytes) -> None:
    try:
        client.write(target, content)
    except FileExistsError:  # the same bytes, put by another one
        return


def _keep(images: dict[str, Original], one: Original, where: str) -> None:
    """Take an image up; what is told of it in one place only, holds."""
    before = images.get(one.image_id, one)
    told = {name: getattr(one, name) for name in ("label", "split", "patient") if getattr(one, name) is not None}
    if wrong := [name for name, value in told.items() if getattr(before, name) not in (None, value)]:
        raise Poison(
            "two_labels",
            f"{wrong[0]} of the image {one.image_id[:12]} is not the one told before: correct the labels, or name "
            "another dataset",
            where,
        )
    images[one.image_id] = msgspec.structs.replace(before, **told)


def _keep_index(storage: Storage, dataset: str, images: Iterable[Original]) -> None:
    raw = msgspec.json.encode(Index(tuple(sorted(images, key=lambda one: one.image_id))))
    path = f"{_root(dataset, True)}/_index/{hashlib.sha256(raw).hexdigest()}.json"
    if not storage.exists(path):
        _write(storage, path, raw)


def _files(paths: Iterable[Path], told: Put) -> Iterator[Path]:
    """Files that were named, and those of folders that look like images."""
    for path in paths:
        if path.is_file():
            yield path
        elif path.is_dir():
            for below in sorted(one for one in path.rglob("*") if one.is_file()):
                if below.suffix.lower() in SUFFIXES or _looks(below):
                    yield below
                else:
                    told.passed_over += 1
        else:
            raise Misconfigured(f"{path} is no file and no folder")


def _looks(path: Path) -> bool:
    with path.open("rb") as file:
        return kind_of(file.read(256)) is not None


class _Notes:
    """What labels files tell, by the image's path."""

    def __init__(self, labels: Path | None, column: str, files: Iterable[Path]) -> None:
        folders = {parent for path in files for parent in (path.parent, path.parent.parent)}
        tables = [labels] if labels else sorted(one for one in (f / LABELS for f in folders) if one.is_file())
        self._column = column
        self._rows: dict[Path, Mapping[str, str]] = {}
        for table in tables:
            self._read(table, wanted=labels is not None)

    def _read(self, table: Path, wanted: bool) -> None:
        if not table.is_file():
            raise Misconfigured(f"{table} is not there")
        with table.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or ()
            if "image" not in columns or self._column not in columns:
                if wanted or self._column != "label":
                    raise Misconfigured(
                        f"{table} needs the columns image and {self._column}; it has {', '.join(columns)}"
                    )
                return
            self._rows |= {(table.parent / row["image"]).resolve(): row for row in rows}

    def of(self, path: Path, image_id: str, target: str, size: int, names: Pseudonyms | None) -> Original:
        row = self._rows.get(path.resolve(), {})
        split, person = (row.get("split") or "").strip() or None, (row.get("patient_id") or "").strip()
        if split is not None and split not in SPLITS:
            raise Misconfigured(f"{split!r} is no split: {', '.join(SPLITS)}")
        if person and names is None:
            raise Misconfigured("the labels tell patients: a key for pseudonyms is needed")
        return Original(
            image_id=image_id,
            path=target,
            size=size,
            label=(row.get(self._column) or "").strip() or None,
            split=split,
            patient=names.patient(person) if names and person else None,
        )
