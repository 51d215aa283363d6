"""A server that died with thousands of sagas open is started again: how long it takes until all have ended.

TALLYSTICK_OPEN_SAGAS says how many (1,000; `make kills` takes 10,000).
The time is printed; what it should be is measured on a quiet machine.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.crash.api_server import ApiServer
from tests.crash.databases import temporary_server
from tests.crash.two_shards import (
    AWAY,
    HOME,
    TwoShards,
    assert_whole_together,
    fund,
    open_accounts,
    reserve,
    serving,
    two_shards,
)
from tests.waiting import wait_for
from tests.whole import WHOLE

OPEN_SAGAS: Final = int(os.environ.get("TALLYSTICK_OPEN_SAGAS", "2000" if WHOLE else "1000"))
PAIRS: Final = 1_000
RECOVERY_SECONDS_MAX: Final = 120.0


@pytest.fixture
def shards() -> Iterator[TwoShards]:
    with (
        temporary_server(durable=True) as home,
        temporary_server(durable=True) as away,
        two_shards(home, away) as shards,
    ):
        yield shards


@pytest.fixture
def server(shards: TwoShards) -> Iterator[ApiServer]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-recovery-"))
    server = ApiServer(folder, *shards)
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.mark.timeout(300)
def test_thousands_of_open_sagas_end_soon_after_the_start(shards: TwoShards, server: ApiServer) -> None:
    asyncio.run(open_sagas(shards))
    opened = shards.open_sagas()
    assert opened == OPEN_SAGAS
    started = time.monotonic()
    server.start()
    ready = time.monotonic()
    wait_for(lambda: shards.open_sagas() == 0, "all sagas have ended", RECOVERY_SECONDS_MAX)
    ended = time.monotonic()
    sys.stdout.write(
        f"{opened} sagas ended {ended - started:.1f} s after the start, {ended - ready:.1f} s after it was ready\n"
    )
    assert_whole_together(shards)


async def open_sagas(shards: TwoShards) -> None:
    """Reserve, and go no further, as a server does that is killed then."""
    async with serving(shards.dsns, workers=False) as ledger:
        payers = await open_accounts(ledger, HOME, PAIRS)
        payees = await open_accounts(ledger, AWAY, PAIRS)
        await fund(ledger, HOME, payers, OPEN_SAGAS)
        pairs = list(zip(payers, payees, strict=True))
        for turn in range(OPEN_SAGAS // PAIRS):
            await reserve(ledger, pairs, 1, f"pay {turn}")
