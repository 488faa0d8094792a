"""Every metric that Wardstream exports, declared once: name with its unit, kind, meaning, labels. No identities."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One exported metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()


READINGS = Metric("ward_readings_total", "counter", "readings that the core has seen", ("quality",))
FRAMES = Metric("ward_frames_total", "counter", "frames taken from patient_vitals", ("kind",))
SCORES = Metric("ward_bed_scores_total", "counter", "bed scores written")
TRANSITIONS = Metric(
    "ward_alert_transitions_total", "counter", "alarm transitions written", ("event", "priority", "category")
)
DEAD_LETTERS = Metric("ward_dead_letters_total", "counter", "records or parts sent to dead_letters", ("reason",))
STEP_SECONDS = Metric("ward_step_seconds", "histogram", "time in the pure core for one frame")
LOG_DELAY_SECONDS = Metric("ward_log_delay_seconds", "histogram", "broker append to the frame's outputs acknowledged")
EXPECTED_OFFSET = Metric(
    "ward_next_offset", "gauge", "next offset of patient_vitals that the core expects", ("partition",)
)
GAPS_REREAD = Metric(
    "ward_gap_records_total", "counter", "records re-read from the log because Faust skipped or a restart needed them"
)
DUPLICATES_SKIPPED = Metric("ward_redelivered_total", "counter", "records delivered again and skipped by offset")
SNAPSHOT_SECONDS = Metric("ward_snapshot_seconds", "histogram", "time to write the snapshots of one partition")
FEED_CLIENTS = Metric("ward_feed_clients", "gauge", "connected feed clients")
FEED_CUT = Metric("ward_feed_clients_cut_total", "counter", "clients cut because they read too slowly")
FEED_EVENTS = Metric("ward_feed_events_total", "counter", "server-sent events queued to clients", ("event",))
FEED_DELAY_SECONDS = Metric(
    "ward_feed_delay_seconds", "histogram", "broker append of the score or alert to the feed's fan-out"
)

METRICS: Final = (
    READINGS,
    FRAMES,
    SCORES,
    TRANSITIONS,
    DEAD_LETTERS,
    STEP_SECONDS,
    LOG_DELAY_SECONDS,
    EXPECTED_OFFSET,
    GAPS_REREAD,
    DUPLICATES_SKIPPED,
    SNAPSHOT_SECONDS,
    FEED_CLIENTS,
    FEED_CUT,
    FEED_EVENTS,
    FEED_DELAY_SECONDS,
)
