"""Three times what a server can do: the surplus is refused, the rest is served in time, and then all is as before."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.crash.api_server import ApiServer, Client
from tests.crash.databases import ShardDatabase, assert_whole
from tests.crash.open_load import TRANSFERS_PER_CALL, Batches

SECONDS: Final = float(os.environ.get("TALLYSTICK_OVERLOAD_SECONDS", "3"))
CLIENTS: Final = 8
TIMES: Final = 3


@pytest.mark.timeout(300)
def test_three_times_the_capacity(database: ShardDatabase, tmp_path: Path) -> None:
    server = ApiServer(tmp_path, database)
    server.start()
    client = Client(server)
    source, destination = client.open_account("bank", "system"), client.open_account("payee")
    before, overload, after = (Batches(server, source, destination) for _ in range(3))
    try:
        capacity = asyncio.run(before.one_by_one(CLIENTS, SECONDS))
        asyncio.run(overload.at_rate(TIMES * capacity, 2 * SECONDS))
        again = asyncio.run(after.one_by_one(CLIENTS, SECONDS))
        served = overload.statuses[200]
        sys.stdout.write(
            f"{capacity:.0f} batches/s; {TIMES} times that for {2 * SECONDS:.0f} s: {dict(overload.statuses)}, the "
            f"slowest served after {overload.slowest(lambda told: told.status == 200):.1f} s, the slowest refused "
            f"after {overload.slowest(lambda told: told.status != 200):.1f} s; then {again:.0f} batches/s\n"
        )
        assert set(before.statuses) == set(after.statuses) == {200}
        # What is refused is told so, and when to come again. No connection is lost, which would be an error.
        assert set(overload.statuses) == {200, 503}
        assert all(told.says_when for told in overload.told if told.status == 503)
        # If all of the surplus were taken on, the last of it would wait for four times SECONDS.
        assert overload.slowest(lambda told: told.status == 200) < 2 * SECONDS
        # It does not spend on refusals what it needs for work.
        assert served > 0.4 * capacity * 2 * SECONDS
        assert again > 0.5 * capacity
        booked = sum(batches.statuses[200] for batches in (before, overload, after)) * TRANSFERS_PER_CALL
        assert client.balance(destination) == booked
    finally:
        client.close()
        server.stop()
    assert_whole(database)
