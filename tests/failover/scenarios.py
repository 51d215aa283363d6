"""Commits that a standby does not confirm: no client is told that a payment is posted before the standby has it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest

from tallystick import UnavailableError, views
from tallystick.domain import limits
from tallystick.store.connection import SETTINGS
from tests.crash.hanging import hanging
from tests.failover.pairs import Pair
from tests.failover.payments import PATIENCE_SECONDS, Payer, payer
from tests.waiting import until

# Longer than a cancelled or impatient commit takes to be answered wrongly.
SILENT_SECONDS = 1.5
COMMIT_SECONDS = 0.5


@asynccontextmanager
async def unanswered(pair: Pair, payer: Payer, key: str) -> AsyncIterator["asyncio.Task[views.Transaction]"]:
    """A payment that waits for a standby that hangs. After the block it is not answered; then the standby goes on."""
    before = await payer.paid()
    with hanging(pair.standby):
        paying = payer.paying(key)
        try:
            await until(pair.waiting, "the commit waits for the standby")
            yield paying
            await asyncio.sleep(SILENT_SECONDS)
            assert not paying.done(), "no client is told of a payment that no standby has"
        except BaseException:
            paying.cancel()
            with suppress(asyncio.CancelledError):
                await paying
            raise
    async with asyncio.timeout(PATIENCE_SECONDS):
        posted = await paying
        assert (await payer.pay(key)).id == posted.id
    assert await payer.paid() == before + 1


async def patience_ends(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit takes longer than a client waits: it goes on waiting, and no client can read it meanwhile."""
    monkeypatch.setattr(limits, "COMMIT_SECONDS_MAX", COMMIT_SECONDS)
    async with payer(pair.dsn) as one:
        before = pair.transfers()
        async with unanswered(pair, one, "patience"):
            await asyncio.sleep(2 * COMMIT_SECONDS)
            assert pair.waiting() == 1, "the commit was not cancelled"
            assert pair.transfers() == before


async def an_operator_cancels(pair: Pair, _: pytest.MonkeyPatch) -> None:
    """PostgreSQL reports success, and warns. The wait that follows is cancelled, too."""
    async with payer(pair.dsn) as one:
        before = pair.transfers()
        async with unanswered(pair, one, "cancelled") as paying:
            for _turn in range(3):
                await until(lambda: paying.done() or pair.waiting(), "it waits for the standby")
                assert not paying.done(), "no client is told of a payment that no standby has"
                assert pair.cancel_waiting() == 1
            assert pair.transfers() == before + 1, "it is committed on the primary"


async def another_process_is_asked_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is in the log, in a commit that no standby has, and another process is asked with its key."""
    async with payer(pair.dsn) as one:
        with hanging(pair.standby):
            with monkeypatch.context() as careless:
                careless.setitem(SETTINGS, "synchronous_commit", "local")
                async with payer(pair.dsn) as other:
                    told = await one._replace(ledger=other.ledger).pay("again")
            asking = one.paying("again")
            await asyncio.sleep(SILENT_SECONDS)
            answered = asking.done()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await asking).id == told.id
        assert not answered, "no client is told of a payment that no standby has"


async def the_primary_starts_again(pair: Pair, _: pytest.MonkeyPatch) -> None:
    """The commit is on the disk of the primary, which is killed and starts again while the standby hangs."""
    async with payer(pair.dsn) as one:
        before = pair.transfers()
        async with unanswered(pair, one, "killed"):
            await asyncio.to_thread(pair.primary.kill)
            await asyncio.to_thread(pair.primary.start)
            await until(lambda: pair.transfers() == before + 1, "it is committed on the primary")


async def a_server_stops(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits no longer for its commit, which is not cancelled."""
    monkeypatch.setattr(limits, "SHUTDOWN_SECONDS_MAX", COMMIT_SECONDS)
    before = pair.transfers()
    with ExitStack() as fault:
        async with payer(pair.dsn) as one:
            fault.enter_context(hanging(pair.standby))
            paying = one.paying("stops")
            await until(pair.waiting, "the commit waits for the standby")
        with pytest.raises(UnavailableError):
            await paying
        await asyncio.sleep(SILENT_SECONDS)
        assert pair.waiting() == 1, "the commit was not cancelled"
        assert pair.transfers() == before
    await until(lambda: pair.transfers() == before + 1, "the standby has it")
