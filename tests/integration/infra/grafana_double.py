"""A Grafana as its HTTP API documents it: auth, uids, versions, provenance, playlists. It shows nothing: no fake wall.

Statuses and bodies follow the API reference of 9.2 to 11.6: 401 "Invalid API key", 404 "Dashboard not found", 412 with
status "version-mismatch" or "name-exists", 409 for a data source of that name.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "glsa_double"
Answer = tuple[int, Any]


class Double:
    """State and rules; ``calls`` is every request, ``failing`` answers so many requests with 503 first."""

    def __init__(self, version: str = "9.2.20") -> None:
        self.version = version
        self.sources: dict[str, dict[str, Any]] = {}
        self.folders: dict[str, dict[str, Any]] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.provisioned: set[str] = set()
        self.rules: dict[str, dict[str, Any]] = {}
        self.contacts: list[dict[str, Any]] = []
        self.policy: dict[str, Any] = {
            "receiver": "grafana-default-email",
            "routes": [{"receiver": "theirs", "object_matchers": [["team", "=", "theirs"]]}],
        }
        self.playlists: dict[str, dict[str, Any]] = {}
        self.annotations: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.failing = 0
        self.meanwhile: list[str] = []
        self.ids = iter(range(1, 10_000))

    @property
    def writes(self) -> list[tuple[str, str]]:
        """The requests that change something."""
        return [call for call in self.calls if call[0] != "GET"]

    def answer(self, method: str, target: str, auth: str | None, body: Any) -> Answer:
        """What Grafana says."""
        path, query = unquote(urlsplit(target).path), parse_qs(urlsplit(target).query)
        self.calls.append((method, path))
        if self.failing:
            self.failing -= 1
            return 503, {"message": "not now"}
        if path == "/api/health":
            return 200, {"commit": "c", "database": "ok", "version": self.version}
        if auth != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key"}
        for pattern, handler in (
            (r"/api/datasources(?:/name/(?P<name>.+)|/uid/(?P<uid>[^/]+)(?P<health>/health)?)?", self.source),
            (r"/api/folders(?:/(?P<uid>.+))?", self.folder),
            (r"/api/dashboards/(?:uid/(?P<uid>.+)|db)", self.board),
            (r"/api/v1/provisioning/alert-rules(?:/(?P<uid>.+))?", self.rule),
            (r"/api/v1/provisioning/contact-points(?:/(?P<uid>.+))?", self.contact),
            (r"/api/v1/provisioning/policies", self.policies),
            (r"/api/playlists(?:/(?P<uid>.+))?", self.playlist),
        ):
            if found := re.fullmatch(pattern, path):
                return handler(method, found.groupdict(), body)
        if path == "/api/annotations":
            return self.annotation(method, query, body)
        return 404, {"message": "Not found"}

    def source(self, method: str, at: dict[str, Any], body: Any) -> Answer:
        if method == "POST":
            if body["name"] in self.sources:
                return 409, {"message": "data source with the same name already exists"}
            self.sources[body["name"]] = self._stored_source(body)
            return 200, {"id": 1, "message": "Datasource added", "name": body["name"]}
        if at["name"]:
            there = self.sources.get(at["name"])
            return (200, there) if there else (404, {"message": "Data source not found"})
        there = next((s for s in self.sources.values() if s["uid"] == at["uid"]), None)
        if there is None:
            return 404, {"message": "Data source not found"}
        if at["health"]:
            return 200, {"status": "OK", "message": "datasource is working. 9 measurements found"}
        self.sources[there["name"]] = self._stored_source(body)
        return 200, {"message": "Datasource updated"}

    def _stored_source(self, body: dict[str, Any]) -> dict[str, Any]:
        secret = body.get("secureJsonData", {})
        shown = {k: v for k, v in body.items() if k not in ("secureJsonData", "editable")}
        return {**shown, "id": 1, "readOnly": False, "secureJsonFields": dict.fromkeys(secret, True)}

    def folder(self, method: str, at: dict[str, Any], body: Any) -> Answer:
        if method == "GET":
            there = self.folders.get(at["uid"])
            return (200, there) if there else (404, {"message": "folder not found"})
        self.folders[body["uid"]] = {**body, "id": next(self.ids), "version": 1}
        return 200, self.folders[body["uid"]]

    def board(self, method: str, at: dict[str, Any], body: Any) -> Answer:
        if method == "GET":
            there = self.boards.get(at["uid"])
            meta = {"provisioned": at["uid"] in self.provisioned}
            return (200, {"dashboard": there, "meta": meta}) if there else (404, {"message": "Dashboard not found"})
        wanted = body["dashboard"]
        there = self.boards.get(wanted["uid"])
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        if wanted["uid"] in self.meanwhile:  # somebody saves at this very moment
            self.meanwhile.remove(wanted["uid"])
            assert there is not None
            there["version"] += 1
        if there is not None and not body["overwrite"] and wanted.get("version") != there["version"]:
            return 412, {"status": "version-mismatch", "message": "The dashboard has been changed by someone else"}
        version = 1 if there is None else there["version"] + 1
        self.boards[wanted["uid"]] = {**wanted, "id": wanted.get("id") or next(self.ids), "version": version}
        return 200, {"uid": wanted["uid"], "status": "success", "version": version}

    def rule(self, method: str, at: dict[str, Any], body: Any) -> Answer:
        if method == "POST":
            self.rules[body["uid"]] = {**body, "id": next(self.ids), "updated": "now", "provenance": ""}
            return 201, self.rules[body["uid"]]
        if at["uid"] not in self.rules:
            return 404, None
        if method == "PUT":
            self.rules[at["uid"]] = {**body, "id": 1, "provenance": ""}
        return 200, self.rules[at["uid"]]

    def contact(self, method: str, at: dict[str, Any], body: Any) -> Answer:
        if method == "GET":
            return 200, self.contacts
        self.contacts = [c for c in self.contacts if c["uid"] != body["uid"]] + [body]
        return 202, body

    def policies(self, method: str, _at: dict[str, Any], body: Any) -> Answer:
        if method == "PUT":
            if not any(c["name"] == r["receiver"] for r in body["routes"][1:] for c in self.contacts):
                return 400, {"message": "receiver does not exist"}
            self.policy = body
            return 202, {"message": "policies updated"}
        return 200, self.policy

    def playlist(self, method: str, at: dict[str, Any], body: Any) -> Answer:
        if method == "POST":
            uid = f"list-{next(self.ids)}"
            self.playlists[uid] = {**body, "uid": uid}
            return 200, {"uid": uid, "name": body["name"], "interval": body["interval"]}
        if at["uid"] is None:
            return 200, [{k: p[k] for k in ("uid", "name", "interval")} for p in self.playlists.values()]
        if method == "PUT":
            self.playlists[at["uid"]] = {**body, "uid": at["uid"]}
        return 200, self.playlists[at["uid"]]

    def annotation(self, method: str, query: dict[str, list[str]], body: Any) -> Answer:
        if method == "POST":
            self.annotations.append(body)
            return 200, {"id": len(self.annotations), "message": "Annotation added"}
        wanted = set(query.get("tags", ()))
        return 200, [
            a for a in self.annotations
            if wanted <= set(a["tags"]) and int(query["from"][0]) <= a["time"] <= int(query["to"][0])
        ]  # fmt: skip


@contextmanager
def serving(double: Double) -> Iterator[str]:
    """The double on loopback; its address."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, said = double.answer(self.command, self.path, self.headers.get("Authorization"), body)
            raw = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = _do

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
