"""Where the feed keeps its files."""

from __future__ import annotations

from pathlib import Path

from contracts import replays
from contracts.settings import Settings


def state_dir(settings: Settings) -> Path:
    """WARD_STATE_DIR, else .ward beside the packages, wherever the command was typed."""
    chosen = settings.state_dir
    return Path(chosen).expanduser().resolve() if chosen else Path(__file__).resolve().parents[2] / ".ward"


def users_path(settings: Settings) -> Path:
    """The users file."""
    return Path(settings.feed_users) if settings.feed_users else state_dir(settings) / "users.json"


def sessions_path(settings: Settings) -> Path:
    """Who is signed in: beside the users, and of a feed that shows a replay in the replay's folder."""
    if settings.feed_replay is not None:
        return replays.folder(settings.state_dir, settings.feed_replay) / "sessions.json"
    return users_path(settings).with_name("sessions.json")


def audit_path(settings: Settings) -> Path:
    """The audit log."""
    return Path(settings.audit_log) if settings.audit_log else state_dir(settings) / "audit.log"


def models_dir(settings: Settings) -> Path:
    """WARD_MODELS_DIR, else the models beside the state: what a ward has trained and promoted itself."""
    return Path(settings.models_dir).expanduser() if settings.models_dir else state_dir(settings) / "models"
