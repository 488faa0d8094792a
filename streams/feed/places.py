"""Where the feed keeps its files."""

from __future__ import annotations

from pathlib import Path

from contracts.settings import Settings


def state_dir(settings: Settings) -> Path:
    """The folder of users, sessions and the audit log unless a setting says otherwise."""
    return Path(settings.state_dir or ".ward")


def users_path(settings: Settings) -> Path:
    """The users file."""
    return Path(settings.feed_users) if settings.feed_users else state_dir(settings) / "users.json"


def audit_path(settings: Settings) -> Path:
    """The audit log."""
    return Path(settings.audit_log) if settings.audit_log else state_dir(settings) / "audit.log"
