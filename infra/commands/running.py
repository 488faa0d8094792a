"""up, down, status, logs, fetch."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Annotated, Final

import typer

from contracts.errors import Misconfigured
from infra.commands.output import AsJson, print_json, say, the_stack
from infra.fetch.everything import ITEMS, missing
from infra.fetch.everything import fetch as fetch_items
from infra.processes import BY_NAME, Profile
from infra.site import cache_dir, made_by_demo
from infra.stack import ProcessState

NOT_FOUND, FINDINGS = 3, 6

app = typer.Typer(add_completion=False, rich_markup_mode=None)

SKIPPABLE: Final = "images,lake,hive"

Without = Annotated[
    list[str] | None,
    typer.Option("--without", help=f"Leave these out, and what needs them; with commas between, like {SKIPPABLE}."),
]
Names = Annotated[list[str] | None, typer.Argument(help=f"Processes: {', '.join(BY_NAME)}. Default: the core ones.")]


def apart(words: list[str] | None) -> list[str]:
    """Names from options that may hold several, with commas between."""
    return [name for word in words or () for name in word.split(",") if name]


@app.command(epilog="Examples: ward up · ward up kafka · ward up --demo · ward up --without lake,hive")
def up(
    names: Names = None,
    demo: Annotated[bool, typer.Option("--demo", help="The producers too.")] = False,
    without: Without = None,
    as_json: AsJson = False,
) -> None:
    """Start processes and what they need; return when all are healthy."""
    stack = the_stack()
    made_by_demo(stack.state).unlink(missing_ok=True)
    profile: Profile = "demo" if demo else "core"
    took = stack.up(names or None, profile, without=apart(without))
    if as_json:
        print_json({"healthy_after_s": took, "endpoints": stack.endpoints})
    else:
        say(f"up. The feed: {stack.site().url('feed')}" if "feed" in took else "up")
        wall = BY_NAME["grafana"]
        if "grafana" in took:
            say(f"the monitoring wall: {stack.site().url('grafana')}")
        elif names is None or not names:
            say(f"no monitoring wall: {wall.absent()}")


@app.command(epilog="Examples: ward down · ward down vitals")
def down(names: Names = None, as_json: AsJson = False) -> None:
    """Stop everything, or the named processes and what needs them."""
    stopped = the_stack().down(names or None)
    if as_json:
        print_json({"stopped": stopped})
    else:
        say(f"stopped {', '.join(stopped)}" if stopped else "nothing ran")


@app.command(epilog="Examples: ward status · ward status --json")
def status(as_json: AsJson = False) -> None:
    """What runs, how well, since when, on which port. Exit code 6 when something wanted is not well."""
    stack = the_stack()
    rows = stack.status()
    if as_json:
        print_json({"supervised": stack.supervised(), "processes": {row.name: row for row in rows}})
    else:
        _print_table(rows)
    if any(row.state in ("unhealthy", "restarting") for row in rows):
        raise typer.Exit(FINDINGS)


def _print_table(rows: list[ProcessState]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for heading in ("process", "state", "for", "restarts", "memory", "port"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is, or what ails it", overflow="fold")
    for row in rows:
        age = "" if row.uptime_s is None else f"{row.uptime_s:.0f} s"
        memory = "" if row.rss_mb is None else f"{row.rss_mb:.0f} MB"
        port = str(next(iter(row.ports.values()), "")) if row.pid else ""
        table.add_row(row.name, row.state, age, str(row.restarts or ""), memory, port, row.detail or row.does)
    Console().print(table)


@app.command(epilog="Examples: ward logs kafka · ward logs vitals -f")
def logs(
    name: Annotated[str, typer.Argument(help="A process, or `supervisor`.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """The last lines of a process's log. Exit code 3 when it has none."""
    stack = the_stack()
    if name not in (*BY_NAME, "supervisor"):
        raise Misconfigured(f"no process {name}; there are {', '.join(BY_NAME)} and supervisor")
    log = stack.state / "logs" / f"{name}.log"
    if not log.exists():
        say(f"{name} has no log yet: it never ran here")
        raise typer.Exit(NOT_FOUND)
    if as_json:
        print_json({"name": name, "log": str(log), "lines": stack.tail(name, lines).splitlines()})
    elif follow:
        tail = shutil.which("tail") or "/usr/bin/tail"
        raise typer.Exit(subprocess.run([tail, "-n", str(lines), "-F", str(log)], check=False).returncode)  # noqa: S603
    else:
        print(stack.tail(name, lines))


@app.command(epilog="Examples: ward fetch · ward fetch kafka")
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(ITEMS)}. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Get everything the servers need into the cache; afterwards no command needs the network."""
    wanted = names or list(ITEMS)
    if unknown := set(wanted) - ITEMS.keys():
        raise Misconfigured(f"cannot fetch {', '.join(sorted(unknown))}; there are {', '.join(ITEMS)}")
    cache = cache_dir(os.environ)
    already = [name for name in wanted if name not in missing(cache, wanted)]
    took = fetch_items(cache, wanted)
    if as_json:
        print_json({"cache": str(cache), "fetched_s": took, "already_here": already})
    else:
        say(f"all there, in {cache}")
