"""What is read from the feed stands in the topic that the lake lands, with a real broker."""

from __future__ import annotations

import asyncio
import socket
import uuid
from pathlib import Path

import msgspec
import pytest
from aiokafka.errors import KafkaError

from contracts import codec
from contracts.records import Access
from contracts.topology import ACCESS_LOG
from streams import ledger
from streams.feed.access import Role
from streams.feed.telling import Teller
from tests.unit.feed.rig import serve
from tests.unit.feed.test_telling import entry

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]


def told_by(bootstrap: str, actor: str) -> list[Access]:
    rows = (codec.decode(record.value, Access) for record in ledger.read(bootstrap, ACCESS_LOG.name) if record.value)
    return [row for row in rows if row.actor == actor]


async def test_reading_the_wall_reaches_the_topic_and_signing_in_does_not(
    kafka_with_topics: str, tmp_path: Path
) -> None:
    actor = f"nurse.{uuid.uuid4().hex[:8]}"
    async with serve(tmp_path, kafka=kafka_with_topics) as feed:
        token = feed.users.add(actor, Role.NURSE)
        async with feed.client(None, Authorization=f"Bearer {token}") as client:
            for path in ("/api/session", "/api/wall", "/api/audit"):
                await client.get(path)
    rows = await asyncio.to_thread(told_by, kafka_with_topics, actor)
    assert [(row.target, row.outcome, row.role) for row in rows] == [("read_wall *", "granted", "nurse")]


async def test_rows_wait_until_the_broker_is_there_and_come_in_order(kafka_with_topics: str) -> None:
    actor = f"nurse.{uuid.uuid4().hex[:8]}"
    lost: list[int] = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    teller = Teller(f"127.0.0.1:{port}", lost.append)
    for what in ("read_wall", "read_trend", "read_why"):
        teller.tell(msgspec.structs.replace(entry(what), who=actor))
    with pytest.raises((KafkaError, OSError)):
        await teller._bring()
    running = asyncio.create_task(teller.run())
    door = await asyncio.start_server(lambda r, w: passed_on(kafka_with_topics, r, w), "127.0.0.1", port)
    async with asyncio.timeout(30), door:
        while teller._waiting:
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await teller.close()
    rows = await asyncio.to_thread(told_by, kafka_with_topics, actor)
    assert [row.target for row in rows] == ["read_wall W1-01", "read_trend W1-01", "read_why W1-01"]
    assert lost == []


async def passed_on(bootstrap: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry a connection to the broker and back."""
    host, _, port = bootstrap.partition(":")
    there_reader, there_writer = await asyncio.open_connection(host, int(port))

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))
