"""What is true with Valkey is true with Redis: the same tests, and a short race."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.cache.conftest import Serve
from tests.cache.race import Race
from tests.cache.servers import EACH_REDIS, OLDEST_REDIS, CacheServer
from tests.cache.test_freshness import (  # noqa: F401 - they are run here with another server
    test_a_balance_comes_from_the_cache_and_is_that_of_the_ledger,
    test_a_balance_that_did_not_change_since_is_as_new_as_the_log_was_passed,
    test_a_stranger_finds_nothing_though_it_is_cached,
    test_many_balances_of_several_shards_in_the_order_asked_for,
    test_what_is_held_is_known,
    test_what_is_lost_from_the_cache_is_read_and_cached_again,
    test_what_the_cache_said_before_it_was_told_of_a_payment_is_not_believed_after_it,
    test_whoever_was_answered_reads_his_own_write,
)

RACE_SECONDS = 2.0

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(params=EACH_REDIS)
def valkey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheServer]:
    """A Redis, where the tests take a Valkey."""
    with CacheServer(request.param, tmp_path / "redis") as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("valkey", OLDEST_REDIS, indirect=True)
async def test_nothing_is_seen_to_go_back_while_the_cache_is_emptied_and_killed(
    serve: Serve, valkey: CacheServer, keys: "redis.Redis"
) -> None:
    assert str(keys.info()["redis_version"]) >= "7"
    assert "valkey_version" not in keys.info()

    kinds = itertools.cycle(["emptied", "killed"])

    def lose() -> None:
        if next(kinds) == "emptied":
            keys.flushall()
            return
        valkey.kill()
        time.sleep(0.2)
        valkey.start()

    async with serve() as one, serve() as other:
        race = Race([one, other], seed=7)
        await race.run(RACE_SECONDS, lose, reads_min=20)
        await race.check_quiet()
