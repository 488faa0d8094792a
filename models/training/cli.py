"""``ward model``: train, judge, promote, roll back. Listing and promoting need no training libraries."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from contracts.settings import Settings
    from models.registry import Registry
    from models.training.evaluation import Evaluation

NOT_FOUND, FINDINGS = 3, 6

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    ward model list                                      what there is, and which is in force
    ward model card vitals_forecast                      what it is worth, and what it must not be used for
    ward model evaluate deterioration --data DIR --json  judge it on any folder like shared/data/vitals
    ward model train vitals_anomaly --data DIR           make a candidate
    ward model promote vitals_anomaly candidate --reason "fewer alarms"

    A version is a folder named by its content; a running worker follows the champion within seconds.
    """,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Name = Annotated[str, typer.Argument(help="As `ward model list` names it.", show_default=False)]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the model's data, laid out like shared/data/vitals, …/brain_mri; or the one that holds it.",
        show_default="WARD_DATA_DIR",
    ),
]
Reason = Annotated[str, typer.Option(help="Why; kept with the change.", show_default=False)]
By = Annotated[str | None, typer.Option(help="Who.", show_default="you")]


@app.command("list", short_help="Every model and version, and which is in force.")
def list_models(as_json: AsJson = False) -> None:
    """Examples: ward model list · ward model list --json

    Every model and version, and which is in force. A version whose files are not as they were made is marked.
    """
    from models.training import shelf

    registry = _registry()
    found = [shelf.listed(registry, name) for name in _names(registry)]
    if as_json:
        _print({"models": found})
        return
    for model in found:
        print(f"{model['name']}: {model['does']}")
        for version in model["versions"]:
            role = next((alias for alias in ("champion", "candidate") if model[alias] == version["version"]), "")
            print(f"  {version['version']}  {role:9}  {version['made'] or '':10}  {version['state']}")
        if not model["versions"]:
            print(f"  none yet: ward model train {model['name']}")


@app.command(short_help="Make a version, judge it on validation, keep it as candidate.")
def train(
    name: Name,
    data: Data = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 20260102,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Examples: ward model train vitals_anomaly --data shared/data/vitals · ward model train deterioration --json

    Makes a version of the training cases, judges it on the validation cases, keeps it as candidate, writes its card.
    """
    from models.registry import Bundle
    from models.training import recipes, shelf
    from models.training.terminal import working

    with _not_found("train"):
        recipe, registry = recipes.recipe(name), _registry()
        folder = _folder(data, recipe.home)
        recipes.need_training()
        with working() as (say, progress):
            files, fields = recipe.train()(folder, seed, say, progress)
            fields = {"seed": seed, **fields}
            found = recipe.evaluate()(folder, Bundle.of(name, files, **fields), "validation", say, progress)
        fields["metrics"] = {**fields.get("metrics", {}), found.split: found.metrics}
        version = registry.add(name, files, **fields)
        registry.nominate(name, version, by or getpass.getuser(), f"trained with seed {seed}")
        bundle = registry.load(name, version)
        found = shelf.belonging(found, bundle)
        path = shelf.keep(registry, bundle, found)
    _say(f"{name} {version} is the candidate; its card: {path}")
    _say(f"next: ward model evaluate {name} --model {version} --split test --keep")
    _say(f"then: ward model promote {name} {version} --reason …")
    _show(found, as_json, {"card": str(path)})


@app.command(short_help="Judge a version on a folder of data.")
def evaluate(
    name: Name,
    data: Data = None,
    split: Annotated[
        str | None, typer.Option(help="train, validation, test or as the data name it.", show_default="all but train")
    ] = None,
    model: Annotated[str, typer.Option(help="Version, champion or candidate.")] = "champion",
    plots: Annotated[Path | None, typer.Option(help="Write plots (PNG) there.", show_default=False)] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the figures beside the version; its card tells them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward model evaluate vitals_forecast --data DIR --json · ward model evaluate brain_tumour --plots DIR

    Judges a version on a folder of stays or images: figures with 95 % intervals over patients, beside plain baselines.
    """
    from models.training import recipes, shelf
    from models.training.terminal import working

    with _not_found("evaluate"):
        recipe, registry = recipes.recipe(name), _registry()
        bundle = registry.load(name, model)
        folder = _folder(data, recipe.home)
        recipes.need_training()
        with working() as (say, progress):
            found = shelf.belonging(recipe.evaluate()(folder, bundle, split, say, progress), bundle)
        further: dict[str, Any] = {}
        if plots is not None:
            further["plots"] = _draw(plots, found)
        if keep:
            further["card"] = str(shelf.keep(registry, bundle, found))
    _show(found, as_json, further)


@app.command(short_help="What a version is for, made from, worth.")
def card(
    name: Name,
    version: Annotated[str, typer.Argument(help="Version, champion or candidate.")] = "champion",
    as_json: AsJson = False,
) -> None:
    """Examples: ward model card vitals_forecast · ward model card deterioration candidate

    Prints a version's card, made from its manifest and the evaluations kept beside it.
    """
    import msgspec

    from models.training import gate, shelf

    with _not_found("card"):
        registry = _registry()
        bundle = registry.load(name, version)
        text = shelf.card_of(registry, bundle)
        if as_json:
            known = gate.evaluations(registry, bundle)
            _print(
                {
                    "model": name,
                    "version": bundle.version,
                    "sha256": bundle.sha256,
                    "manifest": msgspec.to_builtins(bundle.manifest),
                    "evaluations": {split: found.document() for split, found in known.items()},
                    "card": text,
                }
            )
            return
    print(text, end="")


@app.command(short_help="Make a version the champion.")
def promote(
    name: Name,
    version: Annotated[str, typer.Argument(help="Version, or candidate.", show_default=False)],
    reason: Reason,
    by: By = None,
    force: Annotated[bool, typer.Option("--force", help="Although it is worse, or cannot be compared.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward model promote vitals_anomaly candidate --reason "fewer alarms at the same recall"

    Makes a version the champion; running workers change over within seconds, at a record of the log. Refused (exit 6)
    while a figure lies beyond the champion's interval on the wrong side, or where nothing can be compared.
    """
    from models.training import gate

    with _not_found("promote"):
        registry = _registry()
        bundle = registry.load(name, version)
        before = registry.aliases(name).champion
        verdict = None
        if before is not None and before != bundle.version:
            champion = _evaluations_of(registry, name, before, force)
            verdict = gate.compare(gate.evaluations(registry, bundle), champion)
            _refuse(name, bundle.version, before, verdict, force, as_json)
        registry.promote(name, bundle.version, by or getpass.getuser(), reason)
    _moved(name, before, bundle.version, as_json, {"compared": verdict})


@app.command(short_help="Make the champion before this one champion again.")
def rollback(name: Name, reason: Reason, by: By = None, as_json: AsJson = False) -> None:
    """Examples: ward model rollback vitals_forecast --reason "bands too narrow on W3"

    Makes the champion before this one champion again; again, the one before that.
    """
    with _not_found("rollback"):
        registry = _registry()
        before = registry.aliases(name).champion
        after = registry.rollback(name, by or getpass.getuser(), reason)
    _moved(name, before, after, as_json, {})


@app.command(short_help="Copy a version, checked, to a folder.")
def export(
    name: Name,
    to: Annotated[Path, typer.Option(help="Folder to copy to.", show_default=False)],
    model: Annotated[str, typer.Option(help="Version, champion or candidate.")] = "champion",
    as_json: AsJson = False,
) -> None:
    """Examples: ward model export vitals_forecast --to DIR · ward model export deterioration --to DIR --model candidate

    Copies a version, checked, to DIR/NAME/VERSION. Another ward uses it with WARD_MODELS_DIR=DIR.
    """
    with _not_found("export"):
        registry = _registry()
        version = registry.resolve(name, model)
        folder = registry.export(name, version, to)
    if as_json:
        _print({"model": name, "version": version, "folder": str(folder)})
        return
    print(folder)


@app.command(short_help="Read every byte of every version again.")
def verify(
    name: Annotated[str | None, typer.Argument(help="One model.", show_default="all")] = None, as_json: AsJson = False
) -> None:
    """Examples: ward model verify · ward model verify vitals_forecast --json

    Reads every byte of every version again and holds it against its manifest. Exit code 6 when something is wrong.
    """
    from models.registry import NotThere
    from models.training import shelf

    with _not_found("verify"):
        registry = _registry()
        if name is not None and not registry.versions(name):
            raise NotThere(f"no model {name!r}; there are {', '.join(registry.names()) or 'none'}")
        listed = [shelf.listed(registry, each) for each in ([name] if name else registry.names())]
    wrong = shelf.wrong_with(listed)
    checked = sum(len(model["versions"]) for model in listed)
    if as_json:
        _print({"checked": checked, "wrong": wrong})
    else:
        print("\n".join([*wrong, f"{checked} version{'s' * (checked != 1)} read, {len(wrong) or 'none'} wrong"]))
    raise typer.Exit(FINDINGS if wrong else 0)


def _settings() -> Settings:
    from contracts.settings import Settings

    return Settings.from_env(os.environ)


def _registry() -> Registry:
    from models.registry import Registry, own_folder

    return Registry(own_folder(_settings()))


def _names(registry: Registry) -> list[str]:
    from models.training.recipes import RECIPES

    return list(dict.fromkeys([*RECIPES, *registry.names()]))


def _folder(data: Path | None, home: str) -> Path:
    """The folder of the model's data: the one given, or ``home`` within it. Raises Misconfigured."""
    from contracts.errors import Misconfigured

    chosen = data or (Path(given) if (given := _settings().data_dir) else None)
    if chosen is None:
        like = f"shared/data/{home}" if home else "shared/data"
        raise Misconfigured(f"which data? Name a folder laid out like {like}: --data DIR (or WARD_DATA_DIR)")
    if not chosen.is_dir():
        raise Misconfigured(f"--data {chosen}: no such folder")
    return chosen / home if (chosen / home).is_dir() else chosen


def _evaluations_of(registry: Registry, name: str, version: str, force: bool) -> dict[str, Evaluation]:
    """The champion's figures; with ``force`` a champion that cannot be read has none."""
    from contracts.errors import WardError
    from models.training import gate

    try:
        return gate.evaluations(registry, registry.load(name, version))
    except WardError as wrong:
        if not force:
            raise
        _say(f"the champion {version} cannot be read: {wrong}")
        return {}


def _refuse(name: str, version: str, before: str, verdict: Any, force: bool, as_json: bool) -> None:
    if verdict.passed:
        return
    why = [str(each) for each in verdict.worse] or [
        f"{version} and the champion {before} were never judged on the same split; "
        f"ward model evaluate {name} --model VERSION --split test --keep, for both"
    ]
    if force:
        _say("promoted all the same (--force): " + "; ".join(why))
        return
    if as_json:
        _print({"model": name, "champion": before, "refused": version, "why": why, "compared": verdict})
    _say("\n".join([f"ward model promote: refused; {name} {version} is not as good as {before}:", *why]))
    _say("--force promotes it all the same; --reason then says why")
    raise typer.Exit(FINDINGS)


def _moved(name: str, before: str | None, after: str, as_json: bool, further: dict[str, Any]) -> None:
    if as_json:
        _print({"model": name, "champion": after, "before": before, **further})
        return
    print(f"{name}: champion {after} (before: {before or 'none'})")


def _draw(folder: Path, found: Evaluation) -> dict[str, str]:
    written = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in found.plots.items():
        path = (
            folder / f"{found.model}-{re.sub('[^a-z0-9_-]+', '-', found.split.lower())}-{name.removesuffix('.png')}.png"
        )
        path.write_bytes(png)
        written[name] = str(path)
        _say(f"plot: {path}")
    return written


@contextlib.contextmanager
def _not_found(verb: str) -> Iterator[None]:
    """Exit code 3 for a model or version that is not there."""
    from models.registry import NotThere

    try:
        yield
    except NotThere as absent:
        _say(f"ward model {verb}: {absent}")
        raise typer.Exit(NOT_FOUND) from None


def _show(found: Evaluation, as_json: bool, further: dict[str, Any]) -> None:
    from models.training import terminal

    if as_json:
        _print({**found.document(), **further})
    else:
        print("\n".join(terminal.lines(found)))


def _print(document: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
