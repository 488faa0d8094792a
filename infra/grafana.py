"""One small port to any Grafana: grafana-api for data sources, folders, boards and annotations, plain HTTP for what
that library does not know (health, alerting, playlists). Every ``put`` is idempotent and says what it did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import httpx

from contracts.errors import Misconfigured, Poison, Transient

Did = Literal["made", "changed", "same", "kept"]
"""``kept``: it was provisioned from files there, and is left to them."""

PATIENCE_S: Final = 10.0
BACK_OFF_S: Final = (0.2, 0.5, 1.0)
OLDEST: Final = (9, 2)
OWN_KEYS: Final = ("id", "version", "iteration")
"""What a Grafana adds to a board it stores."""

T = TypeVar("T")


class Missing(Exception):
    """It is not there."""


class Conflict(Exception):
    """Somebody else changed it meanwhile."""


class Grafana:
    """A Grafana by its address; ``token`` is a service account's token, or ``user:password``.

    Raises Misconfigured for a refused token or a bad request, Transient when it does not answer after some tries.
    """

    def __init__(self, url: str, token: str, wait: Callable[[float], None] = time.sleep) -> None:
        from grafana_api.grafana_face import GrafanaFace

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Misconfigured(f"WARD_GRAFANA_URL is {url!r}; it is like http://127.0.0.1:3000")
        user, colon, password = token.partition(":")
        prefix = parts.path.strip("/")
        self.url = url.rstrip("/")
        self._wait = wait
        self._face: Any = GrafanaFace(
            auth=(user, password) if colon else token,
            host=parts.hostname,
            port=parts.port,
            url_path_prefix=f"{prefix}/" if prefix else "",
            protocol=parts.scheme,
            timeout=PATIENCE_S,
        )
        headers = {"X-Disable-Provenance": "true"}  # what is pushed stays editable there
        if not colon:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=self.url,
            timeout=PATIENCE_S,
            headers=headers,
            auth=(user, password) if colon else None,
            trust_env=False,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()
        self._face.api.s.close()

    # -- what is ---------------------------------------------------------------------------------------------------

    def version(self) -> tuple[int, ...]:
        """Its version. Raises Misconfigured when that is too old for the boards."""
        told = str(self._ask("GET", "/api/health")["version"])
        found = tuple(int(part) for part in told.split("-")[0].split("+")[0].split(".") if part.isdigit())
        if found < OLDEST:
            raise Misconfigured(f"Grafana {told} at {self.url}: the boards need {'.'.join(map(str, OLDEST))} or newer")
        return found

    def source_trouble(self, uid: str) -> str | None:
        """None when the data source answers, else what Grafana says of it."""
        try:
            told = self._ask("GET", f"/api/datasources/uid/{uid}/health")
        except Missing:
            return "there is no such data source"
        except (Misconfigured, Poison) as wrong:
            return str(wrong)
        return None if str(told.get("status", "")).upper() == "OK" else str(told.get("message", told))

    def board(self, uid: str) -> dict[str, Any] | None:
        """A board as stored, with ``meta``; None when there is none."""
        try:
            return dict(self._by_library(lambda: self._face.dashboard.get_dashboard(uid)))
        except Missing:
            return None

    # -- what shall be ---------------------------------------------------------------------------------------------

    def put_source(self, source: Mapping[str, Any]) -> Did:
        """The data source, found by its name."""
        try:
            there = self._by_library(lambda: self._face.datasource.get_datasource_by_name(source["name"]))
        except Missing:
            self._by_library(lambda: self._face.datasource.create_datasource(dict(source)))
            return "made"
        if there.get("readOnly"):
            return "kept"
        secret = set(source.get("secureJsonData", {})) <= set(there.get("secureJsonFields", {}))
        if secret and _holds(there, {k: v for k, v in source.items() if k not in ("secureJsonData", "editable")}):
            return "same"
        self._ask("PUT", f"/api/datasources/uid/{there['uid']}", dict(source))
        return "changed"

    def put_folder(self, uid: str, title: str) -> Did:
        """The folder; one that was renamed there keeps its new name."""
        try:
            self._by_library(lambda: self._face.folder.get_folder(uid))
        except Missing:
            self._by_library(lambda: self._face.folder.create_folder(title, uid=uid))
            return "made"
        return "same"

    def put_board(self, document: Mapping[str, Any], folder: str, message: str) -> Did:
        """The board in that folder. Never over a change made at the same moment by somebody else: it looks again."""
        for _ in BACK_OFF_S:
            there = self.board(str(document["uid"]))
            if there is not None and there["meta"].get("provisioned"):
                return "kept"
            if there is not None and same_board(there["dashboard"], document):
                return "same"
            own = {"id": None} if there is None else {k: there["dashboard"][k] for k in ("id", "version")}
            wanted = {"dashboard": {**document, **own}, "folderUid": folder, "overwrite": False, "message": message}
            try:
                self._by_library(lambda wanted=wanted: self._face.dashboard.update_dashboard(wanted))  # type: ignore[misc]  # early binding
            except Conflict:
                continue
            return "made" if there is None else "changed"
        raise Transient(f"somebody keeps changing {document['uid']} at {self.url}; try again")

    def put_rule(self, rule: Mapping[str, Any]) -> Did:
        """An alert rule of the provisioning API, by its uid."""
        return self._put("/api/v1/provisioning/alert-rules", str(rule["uid"]), rule)

    def put_contact(self, contact: Mapping[str, Any]) -> Did:
        """A contact point, by its uid."""
        listed = self._ask("GET", "/api/v1/provisioning/contact-points")
        there = next((one for one in listed if one.get("uid") == contact["uid"]), None)
        if there is None:
            self._ask("POST", "/api/v1/provisioning/contact-points", contact)
            return "made"
        if _holds(there, contact):
            return "same"
        self._ask("PUT", f"/api/v1/provisioning/contact-points/{contact['uid']}", contact)
        return "changed"

    def put_route(self, receiver: str, matcher: tuple[str, str, str]) -> Did:
        """A route of the notification policy for alerts with that label; all other routes stay as they are."""
        policy = dict(self._ask("GET", "/api/v1/provisioning/policies"))
        route = {"receiver": receiver, "object_matchers": [list(matcher)]}
        routes = list(policy.get("routes") or ())
        if any(_holds(one, route) for one in routes):
            return "same"
        self._ask("PUT", "/api/v1/provisioning/policies", {**policy, "routes": [*routes, route]})
        return "made"

    def put_playlist(self, name: str, tag: str, interval: str) -> tuple[Did, str]:
        """A playlist of all boards with that tag, and its uid. No library and no file can make one."""
        wanted = {
            "name": name,
            "interval": interval,
            "items": [{"type": "dashboard_by_tag", "value": tag, "order": 1, "title": tag}],
        }
        listed = self._ask("GET", "/api/playlists")
        there = next((one for one in listed if one["name"] == name), None)
        if there is None:
            return "made", str(self._ask("POST", "/api/playlists", wanted)["uid"])
        uid = str(there.get("uid") or there["id"])
        known = self._ask("GET", f"/api/playlists/{uid}")
        items = [{k: item.get(k) for k in ("type", "value")} for item in known.get("items") or ()]
        if known["interval"] == interval and items == [{"type": "dashboard_by_tag", "value": tag}]:
            return "same", uid
        self._ask("PUT", f"/api/playlists/{uid}", {**wanted, "uid": uid})
        return "changed", uid

    def put_annotation(self, at_ms: int, text: str, tags: list[str], own: str) -> Did:
        """An annotation with the tag ``own``, which no other has: it is written once."""
        if self._by_library(
            lambda: self._face.annotations.get_annotation(time_from=at_ms - 1, time_to=at_ms + 1, tags=[own], limit=1)
        ):
            return "same"
        self._by_library(
            lambda: self._face.annotations.add_annotation(time_from=at_ms, time_to=at_ms, tags=[*tags, own], text=text)
        )
        return "made"

    # -- over the wire ---------------------------------------------------------------------------------------------

    def _put(self, path: str, uid: str, wanted: Mapping[str, Any]) -> Did:
        try:
            there = self._ask("GET", f"{path}/{uid}")
        except Missing:
            self._ask("POST", path, wanted)
            return "made"
        if there.get("provenance") == "file":
            return "kept"
        if _holds(there, wanted):
            return "same"
        self._ask("PUT", f"{path}/{uid}", wanted)
        return "changed"

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        def once() -> Any:
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.HTTPError as away:
                raise Transient(f"Grafana at {self.url} does not answer: {away}") from away
            self._judge(answer.status_code, answer.text, f"{method} {path}")
            return answer.json() if answer.content else {}

        return self._again(once)

    def _by_library(self, call: Callable[[], T]) -> T:
        import requests
        from grafana_api.grafana_api import GrafanaException

        def once() -> T:
            try:
                return call()
            except GrafanaException as refused:
                self._judge(refused.status_code, str(refused.response), "the call")
                raise
            except requests.RequestException as away:
                raise Transient(f"Grafana at {self.url} does not answer: {away}") from away

        return self._again(once)

    def _judge(self, status: int, said: str, what: str) -> None:
        """The meaning of a status."""
        if status < 400:
            return
        if status == 404:
            raise Missing(what)
        if status in (409, 412):
            raise Conflict(said)
        if status in (401, 403):
            raise Misconfigured(f"Grafana at {self.url} refuses WARD_GRAFANA_TOKEN ({status}): {said[:200]}")
        if status == 429 or status >= 500:
            raise Transient(f"Grafana at {self.url} answers {status} to {what}: {said[:200]}")
        raise Poison("refused", f"Grafana at {self.url} answers {status} to {what}: {said[:300]}")

    def _again(self, once: Callable[[], T]) -> T:
        for pause in BACK_OFF_S:
            try:
                return once()
            except Transient:
                self._wait(pause)
        return once()


def same_board(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether two boards say the same, whoever stores them."""
    return {k: v for k, v in there.items() if k not in OWN_KEYS} == {
        k: v for k, v in wanted.items() if k not in OWN_KEYS
    }


def _holds(there: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there; what else is there does not matter."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(_holds(there.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(there, list) and len(there) == len(wanted) and all(map(_holds, there, wanted))
    return bool(there == wanted)
