"""Everything that can be set from outside, in one frozen value made once at each entrypoint."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from contracts.errors import Misconfigured

PREFIX: Final = "WARD_"
SECRETS: Final = ("influx_token", "grafana_token", "metastore_url")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Typed settings; field ``kafka`` is ``WARD_KAFKA`` and so on. Secrets have no default and never show in a repr."""

    kafka: str = "127.0.0.1:9092"
    influx_url: str | None = None
    influx_org: str = "-"
    influx_bucket: str = "ward/live"
    influx_token: str | None = None
    hdfs_url: str | None = None
    hdfs_rpc: str | None = None
    hdfs_user: str = "ward"
    feed_host: str = "127.0.0.1"
    feed_port: int = 8800
    feed_demo: bool = False
    feed_history_s: int = 900
    feed_users: str | None = None
    feed_replay: str | None = None
    """The replay that the feed shows, marked and silent; None: the ward, live."""
    audit_log: str | None = None
    policy: str | None = None
    models_dir: str | None = None
    models_enabled: bool = True
    data_dir: str | None = None
    cache_dir: str | None = None
    state_dir: str | None = None
    web_dir: str | None = None
    worker_group: str = "ward-vitals"
    worker_metrics_port: int = 0
    feed_metrics: bool = True
    sink_group: str = "ward-influx"
    sink_metrics_port: int = 0
    metrics_host: str = "127.0.0.1"
    scrape: str = ""
    java_home: str | None = None
    """The Java that Spark runs on; None: the one that JAVA_HOME or PATH names."""
    lake_trigger_s: float = 10.0
    lake_metrics_port: int = 0
    lake_keep: str = ""
    """Days that a table keeps its rows, like ``vitals=90,records=30``; 0 is for ever."""
    hive: str | None = None
    """``host:port`` of the Thrift server."""
    metastore_url: str | None = None
    """JDBC address of Hive's metastore, which may hold a password; None: an embedded Derby in the state folder."""
    pseudonym_key_file: str | None = None
    """Holds the key of all pseudonyms (contracts.pseudonyms); None: ``pseudonyms.key`` in the state folder."""
    dicom_host: str = "127.0.0.1"
    dicom_port: int = 0
    """Where the gateway listens for C-STORE; 0: not at all."""
    dicom_aet: str = "WARDSTREAM"
    dicom_allow: str = "WARD*,STORESCU"
    """Calling AE titles that may send, with * for any ending; comma-separated."""
    dicom_tls_cert: str | None = None
    """PEM: what the gateway shows. Set, C-STORE is taken by TLS only."""
    dicom_tls_key: str | None = None
    """PEM, without a password; None: it stands in the file of the certificate."""
    dicom_tls_clients: str | None = None
    """PEM of authorities: senders must show a certificate of one of them. None: anybody's TLS will do."""
    intake: str | None = None
    """Base URL of the gateway's own HTTP intake, for submit, upload and health."""
    intake_host: str = "127.0.0.1"
    intake_port: int = 0
    intake_folder: str | None = None
    """A folder to watch: what is put there is taken in."""
    intake_burned_in: str = "refuse"
    """What becomes of an image with letters in its pixels: refuse, or mask them."""
    identities: str | None = None
    """Folder of the identified zone on HDFS; None: /identified."""
    image_rules: str | None = None
    image_policy: str | None = None
    image_quiet_s: float = 20.0
    """A study without a new instance for so long is complete."""
    imaging_group: str = "ward-imaging"
    imaging_metrics_port: int = 0
    image_worker_group: str = "ward-image-worker"
    image_worker_metrics_port: int = 0
    return_to: str | None = None
    """Where results go as DICOM: ``AET@host:port`` or the URL of a STOW-RS service; None: they stay on HDFS."""
    return_tls_ca: str | None = None
    """PEM of authorities. Set, C-STORE to ``return_to`` goes by TLS, to a host whose certificate is of one of them."""
    return_identities: str = "originals"
    """What they say of the patient there: originals, as far as the identified zone tells them, or pseudonyms."""
    return_group: str = "ward-image-return"
    return_metrics_port: int = 0
    actor: str | None = None
    role: str = "researcher"
    grafana_url: str | None = None
    grafana_token: str | None = None
    grafana_home: str | None = None
    snapshot_every_s: float = 5.0
    tick_every_s: float = 1.0
    poison_limit: int = 20000
    log_level: str = "INFO"
    log_format: str = "auto"
    beds: int = 24
    seed: int = 20260102

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **overrides: Any) -> Settings:
        """Settings from ``WARD_*`` variables, ``overrides`` on top.

        Raises Misconfigured for an unknown variable (with the nearest known one) or a value of the wrong type.
        """
        values: dict[str, Any] = {
            name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)
        }
        for name in sorted(values.keys() - set(cls.__struct_fields__)):
            near = difflib.get_close_matches(name, cls.__struct_fields__, n=1)
            hint = f"did you mean {PREFIX}{near[0].upper()}?" if near else "unset it"
            raise Misconfigured(f"unknown setting {PREFIX}{name.upper()}: {hint}")
        values |= overrides
        try:
            return msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as wrong:
            raise Misconfigured(f"bad setting: {wrong} (names are {PREFIX}<FIELD>)") from wrong

    def __repr__(self) -> str:
        """All fields, with secrets masked."""
        shown = ((f, "***" if f in SECRETS and getattr(self, f) else getattr(self, f)) for f in self.__struct_fields__)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown)})"
