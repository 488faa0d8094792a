"""The composition root: Faust set up so that its known faults cannot bite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from contracts.errors import Misconfigured
from contracts.settings import Settings
from contracts.topology import ALERT_ACTIONS, VITALS
from streams.app import build_app, build_worker


@pytest.fixture(autouse=True)
def event_loop_of_its_own() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def test_faust_opens_no_port_makes_no_topic_and_notices_a_dead_worker_soon() -> None:
    conf = build_app(Settings(kafka="127.0.0.1:1,127.0.0.1:2")).conf
    assert [str(url) for url in conf.broker] == ["kafka://127.0.0.1:1", "kafka://127.0.0.1:2"]
    assert conf.web_enabled is False
    assert conf.topic_allow_declare is False
    assert conf.topic_disable_leader is True
    assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (6.0, 2.0)
    assert conf.broker_commit_interval == 0.5
    assert conf.processing_guarantee.value == "at_least_once"
    assert conf.producer_acks == -1


def test_the_agents_read_bytes_from_the_topologys_topics() -> None:
    app = build_app(Settings())
    topics = {agent.channel.get_topic_name(): agent.channel for agent in app.agents.values()}
    assert topics.keys() == {VITALS.name, ALERT_ACTIONS.name}
    assert all(channel.value_type is bytes for channel in topics.values())
    assert app.conf.value_serializer == "raw"


def test_a_place_in_the_group_outlives_the_process_only_where_nobody_can_share_it() -> None:
    assert build_app(Settings()).conf.consumer_group_instance_id is None
    one, two = (build_app(Settings(worker_metrics_port=port)).conf for port in (9101, 9102))
    assert one.consumer_group_instance_id != two.consumer_group_instance_id
    assert (
        one.consumer_group_instance_id == build_app(Settings(worker_metrics_port=9101)).conf.consumer_group_instance_id
    )


def test_a_bad_policy_is_told_before_anything_starts() -> None:
    with pytest.raises(Misconfigured):
        build_worker(Settings(policy="/no/such/policy.toml"))
