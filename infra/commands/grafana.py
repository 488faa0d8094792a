"""grafana push, playlist, check, annotate: the monitoring wall in any Grafana."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from infra.commands.output import AsJson, print_json, say, the_stack
from infra.grafana import Did, Grafana, same_board

FINDINGS: Final = 6
THEMES: Final = ("dark", "light")
PLAYLISTS: Final = {"dark": "Ward wall", "light": "Ward wall, by day"}

app = typer.Typer(
    name="grafana",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="The monitoring wall in a Grafana (WARD_GRAFANA_URL, WARD_GRAFANA_TOKEN), 9.2 or newer. All take --json.",
    epilog="Examples: ward grafana push · ward grafana playlist · ward grafana check --json",
)
Feed = Annotated[str | None, typer.Option(help="The feed's address that the boards link to.")]


@app.callback()
def grafana() -> None:
    """The monitoring wall in any Grafana."""


@app.command(epilog="Examples: ward grafana push · ward grafana push --feed https://ward.example/feed --json")
def push(feed: Feed = None, webhook: Annotated[str | None, typer.Option(help="Where alerts go.")] = None,
         as_json: AsJson = False) -> None:  # fmt: skip
    """Bring data source, folders, boards and alert rules to that Grafana; doing it again changes nothing.

    What was provisioned there from files is left to them. Alerts of the platform go to --webhook; without it, to
    whomever that Grafana's own policy names.
    """
    from infra.dashboards.alerting import FOLDER, RECEIVER, RULES, contact_json, rule_json
    from infra.dashboards.placing import FOLDERS, data_source

    done: dict[str, Did] = {}
    with _grafana() as there:
        there.version()
        done["data source"] = there.put_source(_filled(data_source()))
        for theme, (uid, title) in FOLDERS.items():
            done[f"folder {title}"] = there.put_folder(uid, title)
            for document in _boards(theme, feed):
                done[f"board {document['uid']}"] = there.put_board(document, uid, "ward grafana push")
        done[f"folder {FOLDER}"] = there.put_folder("ward-alerts", FOLDER)
        if webhook:
            done["contact point"] = there.put_contact({**contact_json(webhook), "name": RECEIVER})
            done["route"] = there.put_route(RECEIVER, ("of", "=", "platform"))
        for rule in RULES:
            wanted = {**rule_json(rule), "folderUID": "ward-alerts", "ruleGroup": "ward-platform", "orgID": 1}
            done[f"rule {rule.uid}"] = there.put_rule(wanted)
    _tell({"url": _settings().grafana_url, "did": done}, done, as_json)


@app.command(epilog="Examples: ward grafana playlist · ward grafana playlist --interval 30s")
def playlist(
    interval: Annotated[str, typer.Option(help="How long each board is shown.")] = "20s", as_json: AsJson = False
) -> None:
    """Make the rotating wall and print where a screen opens it; no file can provision a playlist."""
    from infra.dashboards.placing import rotates

    done: dict[str, Did] = {}
    screens = {}
    with _grafana() as there:
        there.version()
        for theme in THEMES:
            name = PLAYLISTS[theme]
            done[f"playlist {name}"], uid = there.put_playlist(name, rotates(theme), interval)
            screens[theme] = f"{there.url}/playlists/play/{uid}?kiosk=tv&autofitpanels&theme={theme}"
    if as_json:
        print_json({"did": done, "screens": screens})
    else:
        _tell({}, done, False)
        print("\n".join(screens.values()))


@app.command(epilog="Examples: ward grafana check · ward grafana check --json")
def check(feed: Feed = None, as_json: AsJson = False) -> None:
    """Whether that Grafana shows the wall as it is committed. Exit code 6 when something differs, with the fix."""
    from infra.dashboards.spec import UID

    findings: list[str] = []
    with _grafana() as there:
        version = ".".join(map(str, there.version()))
        if trouble := there.source_trouble(UID):
            findings.append(f"data source {UID}: {trouble}; `ward grafana push`, or look at WARD_INFLUX_URL and _TOKEN")
        for theme in THEMES:
            for document in _boards(theme, feed):
                stored = there.board(document["uid"])
                if stored is None:
                    findings.append(f"board {document['uid']} is not there; `ward grafana push`")
                elif not same_board(stored["dashboard"], document):
                    findings.append(f"board {document['uid']} is not as committed; `ward grafana push`")
    if as_json:
        print_json({"version": version, "findings": findings})
    else:
        say(f"Grafana {version}")
        print("\n".join(findings) if findings else "the wall is as committed, and its data source answers")
    if findings:
        raise typer.Exit(FINDINGS)


@app.command(epilog="Examples: ward grafana annotate · ward grafana annotate --since 24h --json")
def annotate(
    since: Annotated[str, typer.Option(help="How far back: 90s, 2m, 1h.")] = "1h", as_json: AsJson = False
) -> None:
    """Write each alarm raised since then as an annotation, once, for boards that are not ours.

    Ours draw alarms by a question to InfluxDB and need none of it.
    """
    from infra.commands.demo import seconds

    done: Counter[Did] = Counter()
    with _grafana() as there:
        for at_ms, alert_id, message, tags in _raised(seconds(since)):
            done[there.put_annotation(at_ms, message, tags, f"alert:{alert_id}")] += 1
    if as_json:
        print_json({"did": dict(done)})
    else:
        print(", ".join(f"{number} {did}" for did, number in done.items()) or "nothing has alarmed")


def _raised(since_s: float) -> list[tuple[int, str, str, list[str]]]:
    """Moment, id, words and tags of every alarm raised lately."""
    import httpx

    settings = _settings()
    if not settings.influx_url or not settings.influx_token:
        raise Misconfigured("WARD_INFLUX_URL and WARD_INFLUX_TOKEN say where alarms are read")
    asked = 'SELECT "alert_id", "message", "ward", "bed", "priority", "condition" FROM "live"."alarms" '
    asked += f"WHERE \"event\" = 'raised' AND time > now() - {int(since_s)}s"
    try:
        answer = httpx.get(
            f"{settings.influx_url}/query",
            params={"db": "ward", "epoch": "ms", "q": asked},
            headers={"Authorization": f"Token {settings.influx_token}"},
            timeout=30,
            trust_env=False,
        ).raise_for_status()
    except httpx.HTTPError as failure:
        raise Transient(f"InfluxDB at {settings.influx_url} does not tell the alarms: {failure}") from failure
    rows = [row for one in answer.json()["results"][0].get("series", ()) for row in one["values"]]
    return [(int(at), str(alert), f"{w} {b}: {says}", [p, c, w, b]) for at, alert, says, w, b, p, c in rows]


@contextmanager
def _grafana() -> Iterator[Grafana]:
    settings = _settings()
    if not settings.grafana_url or not settings.grafana_token:
        raise Misconfigured(
            "WARD_GRAFANA_URL and WARD_GRAFANA_TOKEN say which Grafana: an address, and a service account's token with "
            "the role Editor (alert rules and data sources: Admin), or user:password"
        )
    there = Grafana(settings.grafana_url, settings.grafana_token)
    try:
        yield there
    finally:
        there.close()


def _settings() -> Settings:
    """The settings; of the topology that runs here where the environment names none."""
    stack = the_stack()
    known = stack.environment() if stack.endpoints else {}
    if stack.endpoints and stack.pid("grafana"):
        site = stack.site()
        known |= {"WARD_GRAFANA_URL": site.url("grafana"), "WARD_GRAFANA_TOKEN": f"admin:{site.influx_password}"}
    return Settings.from_env({**known, **os.environ})


def _filled(source: Mapping[str, Any]) -> dict[str, Any]:
    """The data source with our InfluxDB's address and token in it, as that Grafana reaches it."""
    settings = _settings()
    if not settings.influx_url or not settings.influx_token:
        raise Misconfigured("WARD_INFLUX_URL and WARD_INFLUX_TOKEN say where Grafana gets its data")
    text = json.dumps(source)
    text = text.replace("$WARD_INFLUX_URL", settings.influx_url).replace("$WARD_INFLUX_TOKEN", settings.influx_token)
    return dict(json.loads(text))


def _boards(theme: str, feed: str | None) -> list[dict[str, Any]]:
    """The committed boards of a theme, leading to that feed."""
    from infra.dashboards.placing import FEED, PROVISIONING

    found = sorted((PROVISIONING / "dashboards" / theme).glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8").replace(FEED, feed or FEED)) for path in found]


def _tell(document: Any, done: Mapping[str, Did], as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        for name, did in done.items():
            print(f"{did:8} {name}")


if __name__ == "__main__":
    app()
