"""``ward replay show``: the feed of a replay, marked and silent, on a port of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from producers.replay import exits
from producers.replay.exits import INTERRUPTED, ending, say

if TYPE_CHECKING:
    from contracts.settings import Settings

PROGRAM: Final = ("-m", "streams.feed.server")
HOST: Final = "127.0.0.1"
READY_S: Final = 30.0
LEAVE_S: Final = 10.0
_LOOK_S: Final = 0.1


def attach(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show")(show)


def show(
    name: Annotated[str, typer.Argument(help="The replay, as `ward replay list` names it.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen.", show_default="a free one")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Let everyone on this machine in, without a token.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward replay show again · ward replay show again --demo --open

    Shows what was decided over a replay on a wall of its own: marked, silent, with nothing to acknowledge, in the
    replay's own time. It prints the address and runs until Ctrl-C; the feed of the ward stays as it is.
    """
    from contracts.settings import Settings

    settings = Settings.from_env(os.environ)
    raise typer.Exit(ending(lambda: _show(name, settings, port or _free(), as_json, open_, demo)))


def _show(name: str, settings: Settings, port: int, as_json: bool, open_: bool, demo: bool) -> int:
    bootstrap = _decided(name, settings)
    os.environ["WARD_FEED_REPLAY"] = name
    os.environ["WARD_FEED_HOST"], os.environ["WARD_FEED_PORT"] = HOST, str(port)
    os.environ["WARD_KAFKA"] = bootstrap
    if demo:
        os.environ["WARD_FEED_DEMO"] = "true"
    address = f"http://{HOST}:{port}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the feed never outlives this program
    feed = subprocess.Popen([sys.executable, *PROGRAM])  # noqa: S603 our own module
    try:
        if _answers(f"{address}/healthz", feed):
            if as_json:
                exits.show({"replay": name, "url": address})
            else:
                print(address, flush=True)
            say(f"replay {name}, marked and silent; Ctrl-C ends it")
            if not (demo or settings.feed_demo):
                say("  sign in with a token of `ward user add NAME --role nurse`, or add --demo on this machine")
            if open_:
                _open(address)
        return feed.wait()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _end(feed)


def _decided(name: str, settings: Settings) -> str:
    """The broker that has the decisions over that replay. Raises NotFound for a replay, or decisions, that are none."""
    from contracts.replays import DECIDED, decided
    from producers.replay import topics
    from producers.replay.journal import Journal

    bootstrap = Journal.of(settings).load(name).plan.bootstrap
    wanted = [decided(name, topic) for topic in DECIDED]
    missing = set(wanted) - topics.find(bootstrap, wanted).keys()
    if missing:
        raise topics.NotFound(f"replay {name} is not decided, so there is nothing to show: `ward replay decide {name}`")
    return bootstrap


def _free() -> int:
    import socket

    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def _answers(url: str, feed: subprocess.Popen[bytes]) -> bool:
    """Wait until the feed answers; False when it ended, or does not answer in time."""
    from urllib.request import ProxyHandler, build_opener

    plain = build_opener(ProxyHandler({}))
    until_s = time.monotonic() + READY_S
    while feed.poll() is None and time.monotonic() < until_s:
        try:
            with plain.open(url, timeout=2):
                return True
        except OSError:
            time.sleep(_LOOK_S)
    return False


def _open(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        say("  no browser to open it in; type the address")


def _end(feed: subprocess.Popen[bytes]) -> None:
    if feed.poll() is not None:
        return
    feed.terminate()
    try:
        feed.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        feed.kill()
        feed.wait()
