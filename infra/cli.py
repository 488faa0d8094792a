"""The command line: one table of commands, each imported only when it is called."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Command:
    """Where a command lives (``module:attribute``, a Typer app or a function) and what it does, in a line."""

    where: str
    does: str


COMMANDS: Final[Mapping[str, Mapping[str, Command]]] = {
    "Start": {
        "demo": Command("infra.commands.demo:app", "a whole ward on real servers, live in the browser"),
        "up": Command("infra.commands.running:app", "start the processes, in order, and wait until they are well"),
        "down": Command("infra.commands.running:app", "stop the processes; nothing is left running"),
        "status": Command("infra.commands.running:app", "what runs, how well, since when, on which port"),
        "logs": Command("infra.commands.running:app", "the log of one process"),
        "doctor": Command("infra.commands.doctor:app", "name each fault and its fix"),
        "fetch": Command("infra.commands.running:app", "get everything the servers need, for work offline"),
    },
    "Ward": {
        "simulate": Command("producers.cli:app", "play the simulated hospital"),
        "play": Command("producers.cli:app", "play real recordings"),
        "replay": Command("producers.replay.cli:app", "a span of the log again, at any speed, into topics of its own"),
        "tail": Command("streams.cli:app", "alarms and scores, live in the terminal"),
        "acknowledge": Command("streams.cli:app", "acknowledge an alarm"),
        "grafana": Command("infra.commands.grafana:app", "the monitoring wall: push the boards, playlist, check"),
        "dlq": Command("streams.cli:app", "records that could not be read: list, send again"),
        "user": Command("streams.feed.cli:app", "who may sign in to the feed: add, list, revoke"),
        "audit": Command("streams.feed.cli:app", "who did what at the feed, and whether that log is whole"),
    },
    "Images": {
        "image": Command(
            "infra.commands.image:app", "files into the gateway by hand; which model reads a file, and why"
        ),
    },
    "Decisions": {
        "compare": Command("streams.compare.cli:app", "a span decided anew by two sides: what would be told otherwise"),
        "shadow": Command("streams.compare.shadow_cli:app", "a candidate on the live log, silent: what it would tell"),
        "why": Command("streams.compare.cli:app", "why an alarm stood at a moment, or exactly why none did"),
        "case": Command("streams.compare.cli:app", "a span and its decisions as a test in a file: record, run"),
        "policy": Command("streams.compare.policy_cli:app", "other alarm policies, tried on what is on record: sweep"),
    },
    "Lake": {
        "lake": Command("batch.cli:app", "the archive of every record: ask it in SQL, prove it whole, report from it"),
        "cohort": Command("batch.cohorts_cli:app", "choose patients by SQL, freeze them with their data, hand it out"),
        "plot": Command("batch.plot:app", "one patient's vitals as they come, in a window, a picture or the terminal"),
    },
    "Models": {
        "model": Command("models.training.cli:app", "list, train, judge, promote, roll back"),
        "retrain": Command("infra.commands.retrain:app", "a model anew, with what readers made of its results"),
        "risk": Command("models.risk.cli:app", "what a patient's own answers say: osteoporosis of the knee"),
    },
    "Work on it": {
        "test": Command("infra.commands.checking:app", "run the tests: unit, contract, integration, e2e or all"),
        "check": Command("infra.commands.checking:app", "lint, format, types, layers, lock"),
        "bench": Command("infra.bench.cli:app", "measure, and print ratios beside the promises"),
    },
}
EXAMPLES: Final = (
    ("ward demo", "watch a ward; Ctrl-C stops it"),
    ("ward demo --for 90s --json", "play for a while, print one document of what happened"),
    ('ward lake sql "select ..."', "ask the archive: every reading, score and alarm"),
    ("ward doctor", "something is wrong: what, and what to do"),
    ("ward test unit contract", "the quick tests"),
)
SAID_ALSO: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("replay", "compare"): ("compare",),
    ("replay", "record-case"): ("case", "record"),
    ("model", "retrain"): ("retrain",),
    ("test", "cases"): ("case", "run", "tests/cases"),
}
"""Two words that people try first, and the command that they mean. A path is one of the checkout's."""
ALL: Final = {name: command for section in COMMANDS.values() for name, command in section.items()}

MISCONFIGURED, UNREACHABLE, BAD_INPUT, FAILURE, INTERRUPTED = 2, 4, 5, 1, 130


def help_text() -> str:
    """The front page: examples first."""
    lines = ["Wardstream: real-time monitoring of a hospital ward. Research software, not a medical device.", ""]
    lines += [f"  {example:30}  {meaning}" for example, meaning in EXAMPLES]
    for title, section in COMMANDS.items():
        lines += ["", f"{title}:"] + [f"  {name:12} {command.does}" for name, command in section.items()]
    lines += ["", "Every command has --help and --json. Data goes to stdout, chatter to stderr."]
    lines += ["Exit codes: 0 ok, 1 failure, 2 usage or misconfigured, 3 not found, 4 dependency unreachable,"]
    lines += ["5 bad input, 6 finished with findings, 130 interrupted."]
    return "\n".join(lines)


def run(name: str, arguments: Sequence[str]) -> Any:
    """Import the command and run it; ends by SystemExit or returns."""
    import typer

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow talks about itself before we are asked
    module, _, attribute = ALL[name].where.partition(":")
    if not module.startswith("infra."):
        aim_at_what_runs()
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(found)
        found = app
    command: Any = typer.main.get_command(found)
    many = getattr(command, "commands", None)
    if many is not None and name in many:
        return many[name](args=list(arguments), prog_name=f"ward {name}")
    return command(args=list(arguments), prog_name=f"ward {name}")


def aim_at_what_runs() -> None:
    """Let a client reach the topology of the state folder; a WARD_* variable that is set already wins."""
    from infra.site import Site, cache_dir, left_out, password, remembered, state_dir

    state = state_dir(os.environ)
    if ports := remembered(state):
        site = Site(cache_dir(os.environ), state, ports, None, password(state), left_out=left_out(state))
        for variable, value in site.settings().items():
            os.environ.setdefault(variable, value)


def main(argv: Sequence[str] | None = None) -> None:
    """``ward`` and ``python -m infra.cli``."""
    name, *arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if arguments and (meant := SAID_ALSO.get((name, arguments[0]))):
        name, *arguments = (*(in_checkout(word) if "/" in word else word for word in meant), *arguments[1:])
    if name in ("--help", "-h", "help"):
        print(help_text())
        return
    if name == "--version":
        print(version())
        return
    if name not in ALL:
        near = difflib.get_close_matches(name, ALL, n=1)
        print(
            f"ward: no command {name!r}{f'; did you mean {near[0]}?' if near else ''} `ward --help` lists them",
            file=sys.stderr,
        )
        raise SystemExit(MISCONFIGURED)
    from contracts.errors import Misconfigured, Poison, Transient, WardError

    try:
        run(name, arguments)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except WardError as failure:
        print(f"ward {name}: {failure}", file=sys.stderr)
        codes = ((Misconfigured, MISCONFIGURED), (Transient, UNREACHABLE), (Poison, BAD_INPUT))
        raise SystemExit(next((code for kind, code in codes if isinstance(failure, kind)), FAILURE)) from None


def in_checkout(path: str) -> str:
    """That path of the checkout, wherever the command is called from."""
    from infra.site import CHECKOUT

    return str(CHECKOUT / path)


def version() -> str:
    """The version in pyproject.toml, the one place that holds it."""
    import tomllib

    from infra.site import CHECKOUT

    return str(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"])


if __name__ == "__main__":
    main()
