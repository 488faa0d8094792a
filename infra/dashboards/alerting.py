"""Alert rules of the platform, in the words that Grafana knows since 9.2: reduce and math, no threshold expression.

Alarms of patients are not here: they come from the stream processor within seconds; Grafana looks every ten at best.
"""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from contracts import metrics as m
from contracts.topology import DEAD_LETTERS, SCORES, VITALS, Topic
from infra.dashboards.placing import WEBHOOK
from infra.dashboards.spec import UID

FOLDER: Final = "Ward alerts"
GROUP: Final = "ward-platform"
RECEIVER: Final = "ward-platform"
EVERY_S: Final = 30


@dataclass(frozen=True)
class Rule:
    """Fires while ``influxql``'s last value holds ``when`` (``$R`` is the value) for ``lasts``.

    ``silent``: what no answer means: ``OK``, or ``Alerting`` where silence is the fault.
    """

    uid: str
    title: str
    influxql: str
    when: str
    says: str
    fix: str
    lasts: str = "1m"
    silent: str = "OK"
    since_s: int = 300


def _last(metric: m.Metric, where: str = "", by: str = "") -> str:
    grouped = f' GROUP BY "{by}"' if by else ""
    condition = f" AND {where}" if where else ""
    return f'SELECT last("value") AS "value" FROM "live"."{metric.name}" WHERE $timeFilter{condition}{grouped}'


def _growth(metric: m.Metric, by: str) -> str:
    """How much a counter has grown; a process that begins anew at zero has not grown."""
    tags = ", ".join(f'"{tag}"' for tag in sorted({by, "process"}))
    steps = (
        f'SELECT non_negative_difference(last("value")) AS "value" FROM "live"."{metric.name}" '
        f"WHERE $timeFilter GROUP BY time(10s), {tags} fill(none)"
    )
    return f'SELECT sum("value") AS "value" FROM ({steps}) GROUP BY "{by}"'


def _written(topic: Topic[Any]) -> str:
    """How many records were written to a topic."""
    where = f"WHERE $timeFilter AND \"topic\" = '{topic.name}'"
    return f'SELECT spread("value") AS "value" FROM "live"."{m.TOPIC_RECORDS.name}" {where}'


RULES: Final = (
    Rule(
        "ward-process-down",
        "A process tells no metrics",
        _last(m.PROCESS_UP, by="process"),
        "$R < 1",
        "{{ $labels.process }} does not answer.",
        "`ward status` and `ward logs` say why; the supervisor starts it again by itself.",
    ),
    Rule(
        "ward-nothing-told",
        "The platform tells nothing",
        _last(m.TOPIC_RECORDS, f"\"topic\" = '{VITALS.name}'"),
        "$R < 0",
        "No metrics have come for five minutes: the sink or InfluxDB is away.",
        "`ward status`: the sink says whether InfluxDB takes points.",
        silent="Alerting",
    ),
    Rule(
        "ward-behind",
        "A reader falls behind",
        _last(m.GROUP_BEHIND, by="group"),
        "$R > 5000",
        "{{ $labels.group }} is more than 5,000 records behind.",
        "The platform board tells which topic; `ward logs` of that process tells why.",
        lasts="2m",
    ),
    Rule(
        "ward-dead-letters",
        "Records cannot be read",
        _written(DEAD_LETTERS),
        "$R > 0",
        f"Records went to {DEAD_LETTERS.name}; the platform board tells the reasons.",
        "`ward dlq list` shows them with their bytes; `ward dlq redrive` sends them again.",
        lasts="0s",
    ),
    *(
        Rule(
            f"ward-silent-{topic.name.replace('_', '-')}",
            f"{topic.name} is silent",
            _written(topic),
            "$R < 1",
            f"Nothing was written to {topic.name} for two minutes, though the log's clock ticks every second.",
            "`ward status`; then the worker's log: is it assigned its partitions?",
            since_s=120,
        )
        for topic in (VITALS, SCORES)
    ),
    Rule(
        "ward-slow",
        "Alarms are late",
        f'SELECT max("p99") AS "value" FROM "live"."{m.LOG_DELAY_SECONDS.name}" WHERE $timeFilter',
        "$R > 1",
        "From the log to acknowledged outputs it takes more than a second (p99).",
        "The platform board tells whether the core, the broker or the machine is busy.",
        lasts="2m",
    ),
    Rule(
        "ward-points-refused",
        "InfluxDB refuses points",
        _growth(m.SINK_REFUSED, by="reason"),
        "$R > 0",
        "Points were refused for ever: {{ $labels.reason }}.",
        "`ward logs sink` tells of each batch; type_conflict means two versions write the same measurement.",
        lasts="0s",
    ),
    Rule(
        "ward-restarts",
        "A process restarts again and again",
        _growth(m.PROCESS_RESTARTS, by="process"),
        "$R > 2",
        "{{ $labels.process }} began anew more than twice in five minutes.",
        "`ward logs NAME` shows its last words.",
        lasts="0s",
    ),
    Rule(
        "ward-lake-stalled",
        "The lake is stalled",
        f'SELECT spread("value") AS "value" FROM "live"."{m.LAKE_PUBLISHED.name}" WHERE $timeFilter',
        "$R < 1",
        "Nothing became readable in the lake for five minutes, though the log's clock ticks every second.",
        "`ward status`, `ward doctor`, `ward logs lake`: is HDFS away, or full? Nothing is lost: it stands in Kafka.",
    ),
    Rule(
        "ward-lake-late",
        "The lake is late",
        f'SELECT max("p99") AS "value" FROM "live"."{m.LAKE_DELAY_SECONDS.name}" WHERE $timeFilter',
        "$R > 120",
        "Records became readable in the lake only after two minutes.",
        "The platform board tells how many wait, and how long a batch takes.",
        lasts="5m",
    ),
    Rule(
        "ward-lake-lost",
        "The lake has missed records",
        _growth(m.LAKE_LOST, by="process"),
        "$R > 0",
        "Offsets were gone from Kafka before the lake had read them.",
        "Kafka's retention is shorter than the lake was away; `ward lake verify` names the gap.",
        lasts="0s",
    ),
)


def provisioned() -> dict[str, Any]:
    """Rules, contact point and policy as Grafana's provisioning reads them."""
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": GROUP,
                "folder": FOLDER,
                "interval": f"{EVERY_S}s",
                "rules": [rule_json(rule) for rule in RULES],
            }
        ],
        "contactPoints": [{"orgId": 1, "name": RECEIVER, "receivers": [contact_json()]}],
        "policies": [
            {
                "orgId": 1,
                "receiver": RECEIVER,
                "group_by": ["grafana_folder", "alertname"],
                "group_wait": "10s",
                "group_interval": "1m",
                "repeat_interval": "4h",
            }
        ],
    }


def contact_json(webhook: str = WEBHOOK) -> dict[str, Any]:
    """Where alerts of the platform go: a webhook of the deployment's choice. No patient is named in any."""
    return {
        "uid": RECEIVER,
        "type": "webhook",
        "settings": {"url": webhook, "httpMethod": "POST"},
        "disableResolveMessage": False,
    }


def rule_json(rule: Rule) -> dict[str, Any]:
    """One rule: ask InfluxDB (A), reduce to the last value (R), compare (C)."""
    span = {"from": rule.since_s, "to": 0}
    return {
        "uid": rule.uid,
        "title": rule.title,
        "condition": "C",
        "for": rule.lasts,
        "noDataState": rule.silent,
        "execErrState": "Error",
        "annotations": {"summary": rule.says, "description": rule.fix},
        "labels": {"of": "platform"},
        "data": [
            {
                "refId": "A",
                "relativeTimeRange": span,
                "datasourceUid": UID,
                "model": {
                    "refId": "A",
                    "query": rule.influxql,
                    "rawQuery": True,
                    "resultFormat": "time_series",
                    "datasource": {"type": "influxdb", "uid": UID},
                },
            },
            _expression("R", "reduce", {"expression": "A", "reducer": "last"}),
            _expression("C", "math", {"expression": rule.when}),
        ],
    }


def _expression(ref: str, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    model = {"refId": ref, "type": kind, "datasource": {"type": "__expr__", "uid": "__expr__"}, **fields}
    return {"refId": ref, "relativeTimeRange": {"from": 0, "to": 0}, "datasourceUid": "__expr__", "model": model}
