"""Receivers that send one interim answer after the other: the sender stops listening, and goes on with others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from itertools import pairwise

import pytest

from tallystick.domain import limits
from tallystick.domain.webhooks import Secret
from tallystick.followers.webhooks.addresses import AddressRules
from tallystick.followers.webhooks.messages import Message
from tallystick.followers.webhooks.sending import Sender

SECRETS = [Secret(b"s" * 32)]
INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"
FINAL = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
RECEIVERS = 20
TICK_SECONDS = 0.01
PAUSE_SECONDS_MAX = 1.0


@asynccontextmanager
async def receiver(interim_count: int | None) -> AsyncIterator[str]:
    """One that sends so many interim answers before the final one, or (None) nothing else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            while interim_count is None:
                writer.write(INTERIM * 10_000)
                await writer.drain()
            writer.write(INTERIM * interim_count + FINAL)
            await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender(AddressRules(allow_http=True, allow_private=True))
    yield made
    await made.close()


async def test_endless_interim_answers_hold_nothing_up(sender: Sender) -> None:
    async with receiver(None) as url:
        started = time.monotonic()
        sending = asyncio.gather(
            *(sender.send(url, Message(f"message {number}", b"{}"), SECRETS) for number in range(RECEIVERS))
        )
        pauses = [time.monotonic()]
        while not sending.done():
            await asyncio.sleep(TICK_SECONDS)
            pauses.append(time.monotonic())
        attempts = await sending
        assert time.monotonic() - started < limits.WEBHOOK_SEND_SECONDS_MAX / 2
    assert max(later - earlier for earlier, later in pairwise(pauses)) < PAUSE_SECONDS_MAX
    for attempt in attempts:
        assert attempt.status is None
        assert attempt.error == f"more than {limits.WEBHOOK_INTERIM_ANSWERS_MAX} interim answers"


async def test_a_few_interim_answers_are_passed_over(sender: Sender) -> None:
    async with receiver(limits.WEBHOOK_INTERIM_ANSWERS_MAX) as url:
        for number in range(3):
            attempt = await sender.send(url, Message(f"message {number}", b"{}"), SECRETS)
            assert (attempt.status, attempt.error) == (204, None)
