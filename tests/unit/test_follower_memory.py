"""What streams of one owner have in common is kept once."""

import gc
import tracemalloc
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

from tallystick.domain import limits
from tallystick.followers.feed.follower import Follower
from tallystick.followers.feed.subscription import Wanted
from tallystick.ledger.rounds import Rounds
from tallystick.store.connection import Database
from tallystick.store.feed import FeedReader
from tallystick.store.reads import Reader

ACCOUNTS = 4_000
STREAMS = 50
BYTES_PER_STREAM_MAX = 20_000


def test_another_stream_of_an_owner_costs_no_more_for_many_accounts() -> None:
    # Nothing is read: it is followed by who listens alone.
    database = Database("dbname=nothing")
    follower = Follower(1, Reader(database), FeedReader(database), Rounds(1, 1))

    def listen() -> None:
        subscription = streams.enter_context(follower.subscribed(Wanted(1, owner="many accounts")))
        # As each reads them for itself.
        follower.narrow(subscription, frozenset(range(2**51, 2**51 + ACCOUNTS)))

    with ExitStack() as streams:
        listen()
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(STREAMS):
                listen()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        each = (after - before) / STREAMS
        print(f"{each:,.0f} bytes for each further stream of an owner of {ACCOUNTS:,} accounts")  # noqa: T201
        assert each < BYTES_PER_STREAM_MAX
    # And nothing stays when all have gone.
    assert not any((follower._of_owner, follower._of_account, follower._of_tenant))


def test_an_owners_listener_keeps_its_place_until_it_knows_the_accounts() -> None:
    """Until then it hears of all of the tenant, as those do who follow all of it."""
    database = Database("dbname=nothing")
    follower = Follower(1, Reader(database), FeedReader(database), Rounds(1, 1))
    records: list[Any] = [SimpleNamespace(account=None)] * (limits.FEED_RECORDS_WAITING_MAX + 1)
    with follower.subscribed(Wanted(1, owner="many accounts")) as subscription:
        subscription._ask_for_turn = lambda: None  # type: ignore[method-assign]  # there is no loop here
        subscription.offer(records)
        assert not subscription._lost
        follower.narrow(subscription, frozenset({1}))
        subscription.offer(records)
        assert subscription._lost
