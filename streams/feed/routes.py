"""Every route of the feed: method, path, who may, what the audit log calls it, and what a replay has none of.

The app is built from this table.
"""

from __future__ import annotations

from typing import Final

from streams.feed.access import Role
from streams.feed.guard import Rule

VIEWER, NURSE, ADMIN = Role.VIEWER, Role.NURSE, Role.ADMIN

ROUTES: Final[tuple[Rule, ...]] = (
    Rule("GET", "/", None, "page"),
    Rule("GET", "/images", None, "image_page", live_only=True),
    Rule("GET", "/images/{job_id}", None, "image_page", live_only=True),
    Rule("GET", "/workbench", None, "image_page", live_only=True),
    Rule("GET", "/healthz", None, "healthz"),
    Rule("GET", "/readyz", None, "readyz"),
    Rule("GET", "/metrics", None, "metrics"),
    Rule("POST", "/api/session", None, "sign_in", "sign_in"),
    Rule("GET", "/api/session", VIEWER, "session"),
    Rule("DELETE", "/api/session", VIEWER, "sign_out", "sign_out"),
    Rule("GET", "/api/wall", VIEWER, "wall", "read_wall"),
    Rule("GET", "/api/stream", VIEWER, "stream", "read_stream"),
    Rule("GET", "/api/beds/{bed}/trend", VIEWER, "trend", "read_trend"),
    Rule("GET", "/api/beds/{bed}/forecast", VIEWER, "forecast", "read_forecast"),
    Rule("GET", "/api/alerts/{alert_id}/why", VIEWER, "why", "read_why"),
    Rule("POST", "/api/actions", NURSE, "act", "act", live_only=True),
    Rule("GET", "/api/images", VIEWER, "images", "read_images", live_only=True),
    Rule("POST", "/api/images", NURSE, "upload_image", "upload_image", live_only=True),
    Rule("GET", "/api/images/stream", VIEWER, "image_stream", "read_image_stream", live_only=True),
    Rule("GET", "/api/images/{job_id}", VIEWER, "image", "read_image", live_only=True),
    Rule("GET", "/api/images/{job_id}/preview", VIEWER, "image_preview", "read_image_preview", live_only=True),
    Rule("GET", "/api/images/{job_id}/heat", VIEWER, "image_heat", "read_image_heat", live_only=True),
    Rule("GET", "/api/images/{job_id}/pdf", VIEWER, "image_pdf", "read_image_pdf", live_only=True),
    Rule("POST", "/api/images/{job_id}/feedback", NURSE, "judge_image", "judge_image", live_only=True),
    Rule("GET", "/api/beds/{bed}/images", VIEWER, "images_of_bed", "read_images_of_bed", live_only=True),
    Rule("GET", "/api/models/{name}/{version}/card", VIEWER, "model_card"),
    Rule("GET", "/api/risk/knee", VIEWER, "risk_form", live_only=True),
    Rule("POST", "/api/risk/knee", VIEWER, "assess_risk", "assess_risk", live_only=True),
    Rule("GET", "/api/replay", VIEWER, "replay", "see_replay"),
    Rule("POST", "/api/replay", NURSE, "steer_replay", "steer_replay"),
    Rule("GET", "/api/audit", ADMIN, "read_audit", "read_audit"),
    Rule("POST", "/api/users", ADMIN, "add_user", "add_user"),
    Rule("DELETE", "/api/users/{name}", ADMIN, "revoke_user", "revoke_user"),
)

FOLDERS: Final = ("/static", "/web")
"""Open folders: the page's own files and the fetched chart library; nothing of a patient is in them."""
