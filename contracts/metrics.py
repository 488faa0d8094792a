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
MODEL_ASKS = Metric("ward_model_asks_total", "counter", "wards that the models were asked about")
MODEL_BEDS = Metric("ward_model_beds_total", "counter", "beds that a model spoke of", ("model",))
MODEL_SECONDS = Metric("ward_model_seconds", "histogram", "asking, answering and heeding for one ward")
MODEL_WAIT_SECONDS = Metric("ward_model_wait_seconds", "histogram", "a tick's records held up by its models")
MODEL_IN_FORCE = Metric("ward_model_in_force", "gauge", "1 for the version that new ticks name", ("model", "version"))
MODEL_REFUSED = Metric(
    "ward_model_refused", "gauge", "1 while the champion is refused and another serves, or none", ("model",)
)
MODEL_REFUSALS = Metric("ward_model_refusals_total", "counter", "versions refused or not to be had", ("model", "what"))
MODEL_FAULTS = Metric("ward_model_faults_total", "counter", "asks to which a model failed to answer", ("model",))
DRIFT_EVENTS = Metric("ward_drift_events_total", "counter", "patients whose usual level of a vital changed", ("vital",))
FORECAST_SKILL = Metric(
    "ward_forecast_skill", "gauge", "1 - MAE / MAE of persistence lately, mean over wards", ("vital", "horizon_s")
)
FORECAST_FALLBACK = Metric(
    "ward_forecast_fallback", "gauge", "share of a vital's forecasts that are persistence", ("vital",)
)
BACKFILLS = Metric("ward_backfills_total", "counter", "newcomers whose past was looked for", ("outcome",))
SNAPSHOT_BYTES = Metric("ward_snapshot_bytes", "gauge", "state of all wards of a partition, compressed", ("partition",))
FEED_CLIENTS = Metric("ward_feed_clients", "gauge", "connected feed clients")
FEED_CUT = Metric("ward_feed_clients_cut_total", "counter", "clients cut because they read too slowly")
FEED_EVENTS = Metric("ward_feed_events_total", "counter", "server-sent events queued to clients", ("event",))
FEED_UNTOLD = Metric(
    "ward_feed_reads_untold_total", "counter", "reads that are in the feed's audit log but did not reach the lake"
)
FEED_DELAY_SECONDS = Metric(
    "ward_feed_delay_seconds", "histogram", "broker append of the score or alert to the feed's fan-out"
)
FEED_IMAGE_READS = Metric(
    "ward_feed_image_reads_total",
    "counter",
    "pictures asked of the feed: remembered, read, missing, failed",
    ("outcome",),
)
FEED_UPLOADS = Metric(
    "ward_feed_uploads_total", "counter", "files uploaded at the feed: stored, known, refused, failed", ("outcome",)
)
FEED_VERDICTS = Metric("ward_feed_verdicts_total", "counter", "results judged by a reader", ("model", "verdict"))
SINK_POINTS = Metric("ward_sink_points_total", "counter", "points given to InfluxDB", ("measurement",))
SINK_REFUSED = Metric("ward_sink_refused_total", "counter", "points that InfluxDB refuses for ever", ("reason",))
SINK_UNREADABLE = Metric("ward_sink_unreadable_total", "counter", "records that the sink could not read", ("reason",))
SINK_FAILING = Metric("ward_sink_failing_tries", "gauge", "writes in a row that InfluxDB did not take")
SINK_WRITE_SECONDS = Metric("ward_sink_write_seconds", "histogram", "time in which InfluxDB took one batch")
TOPIC_RECORDS = Metric("ward_topic_records", "gauge", "records ever written to a topic", ("topic",))
GROUP_BEHIND = Metric(
    "ward_group_behind_records", "gauge", "records of a topic that its reader has not committed", ("group", "topic")
)
PROCESS_UP = Metric("ward_process_up", "gauge", "1 while the process tells its metrics", ("process",))
PROCESS_RESTARTS = Metric(
    "ward_process_restarts_total", "counter", "times that a process was seen to count from zero again", ("process",)
)
LAKE_LOOKED = Metric(
    "ward_lake_looked_timestamp_seconds", "gauge", "when the lake last asked the log for news, seconds since 1970"
)
LAKE_PUBLISHED = Metric(
    "ward_lake_published_timestamp_seconds", "gauge", "when the lake last published a batch, seconds since 1970"
)
LAKE_ROWS = Metric("ward_lake_rows_total", "counter", "rows published", ("table",))
LAKE_BATCH_SECONDS = Metric("ward_lake_batch_seconds", "histogram", "writing and publishing one batch of the lake")
LAKE_DELAY_SECONDS = Metric(
    "ward_lake_delay_seconds",
    "histogram",
    "broker append to readable in the lake, of a batch's oldest and newest record",
)
LAKE_UNREADABLE = Metric("ward_lake_unreadable_total", "counter", "records landed that no schema fits")
LAKE_BEHIND = Metric("ward_lake_behind_records", "gauge", "records of the log that the lake has not read yet")
LAKE_LOST = Metric("ward_lake_lost_records_total", "counter", "offsets that were gone before the lake read them")
LAKE_FAILURES = Metric("ward_lake_failures_total", "counter", "tries to land a batch that failed")
IMAGES_TAKEN = Metric(
    "ward_images_taken_total",
    "counter",
    "images that came to the gateway: stored, again (the same bytes), refused, failed (HDFS or Kafka away)",
    ("source", "outcome"),
)
IMAGE_INTAKE_SECONDS = Metric(
    "ward_image_intake_seconds", "histogram", "an image's last byte received to stored, told and answered", ("source",)
)
IMAGE_JOBS_ASKED = Metric("ward_image_jobs_total", "counter", "readings asked of models", ("model",))
IMAGE_FINDINGS_STANDING = Metric(
    "ward_image_findings", "gauge", "findings on the radiologist's list that nobody has decided", ("state", "priority")
)
IMAGE_JOBS_WAITING = Metric(
    "ward_image_jobs_waiting", "gauge", "jobs that the image worker has taken from the log and not finished"
)
IMAGE_READ_SECONDS = Metric(
    "ward_image_read_seconds", "histogram", "fetching, decoding, gate, model and heat map of one job", ("model",)
)
IMAGE_STEP_SECONDS = Metric(
    "ward_image_step_seconds",
    "histogram",
    "one step of a job: fetch, decode, gate, model, render, store, tell",
    ("step",),
)
IMAGE_DELAY_SECONDS = Metric(
    "ward_image_delay_seconds",
    "histogram",
    "an image stored and told by the gateway to its result acknowledged",
    ("model",),
)
IMAGE_REFUSALS_TOLD = Metric(
    "ward_image_refusals_total", "counter", "results that tell why an image was not read", ("model", "reason")
)
IMAGE_STUDIES_TOLD = Metric(
    "ward_image_studies_total", "counter", "studies told complete: first, or again with late images", ("what",)
)
IMAGE_RESULTS_WRITTEN = Metric(
    "ward_image_results_total", "counter", "results written: read, refused, dead (set aside)", ("model", "outcome")
)
IMAGE_RETRIES = Metric("ward_image_retries_total", "counter", "jobs tried again", ("reason",))
RETURNS = Metric(
    "ward_returns_total",
    "counter",
    "DICOM results made: stored, sent, failed (tried again later), refused (by whom they were sent to)",
    ("kind", "outcome"),
)
RETURNS_WAITING = Metric(
    "ward_returns_waiting", "gauge", "results in the log that were not yet made into DICOM, or not taken"
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
    MODEL_ASKS,
    MODEL_BEDS,
    MODEL_SECONDS,
    MODEL_WAIT_SECONDS,
    MODEL_IN_FORCE,
    MODEL_REFUSED,
    MODEL_REFUSALS,
    MODEL_FAULTS,
    DRIFT_EVENTS,
    FORECAST_SKILL,
    FORECAST_FALLBACK,
    BACKFILLS,
    SNAPSHOT_BYTES,
    FEED_CLIENTS,
    FEED_CUT,
    FEED_EVENTS,
    FEED_UNTOLD,
    FEED_DELAY_SECONDS,
    FEED_IMAGE_READS,
    FEED_UPLOADS,
    FEED_VERDICTS,
    SINK_POINTS,
    SINK_REFUSED,
    SINK_UNREADABLE,
    SINK_FAILING,
    SINK_WRITE_SECONDS,
    TOPIC_RECORDS,
    GROUP_BEHIND,
    PROCESS_UP,
    PROCESS_RESTARTS,
    LAKE_LOOKED,
    LAKE_PUBLISHED,
    LAKE_ROWS,
    LAKE_BATCH_SECONDS,
    LAKE_DELAY_SECONDS,
    LAKE_UNREADABLE,
    LAKE_BEHIND,
    LAKE_LOST,
    LAKE_FAILURES,
    IMAGES_TAKEN,
    IMAGE_INTAKE_SECONDS,
    IMAGE_JOBS_ASKED,
    IMAGE_FINDINGS_STANDING,
    IMAGE_JOBS_WAITING,
    IMAGE_READ_SECONDS,
    IMAGE_STEP_SECONDS,
    IMAGE_DELAY_SECONDS,
    IMAGE_REFUSALS_TOLD,
    IMAGE_STUDIES_TOLD,
    IMAGE_RESULTS_WRITTEN,
    IMAGE_RETRIES,
    RETURNS,
    RETURNS_WAITING,
)
