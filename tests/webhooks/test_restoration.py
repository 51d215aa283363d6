"""A receiver of a shard that was restored: it hears what comes after the lost positions, and at once."""

import asyncio

from tallystick.service.restoration import continue_restored
from tests.api.books import Books
from tests.api.client import Client
from tests.crash.databases import SHARD, ShardDatabase
from tests.webhooks.receiver import Receiver
from tests.webhooks.test_delivery import make, pay

# Position by position, or a thousand of them at a time, the gap would take minutes.
SECONDS_MAX = 10.0


def test_it_hears_what_comes_after_the_gap(
    database: ShardDatabase, client: Client, books: Books, receiver: Receiver
) -> None:
    make(client, receiver)
    positions = pay(books, 2)
    receiver.wait(lambda: len(receiver.accepted()) >= 2, "two events")
    done = asyncio.run(continue_restored(SHARD, database.owner_dsn, "disk lost"))
    positions += pay(books, 2)
    assert positions[2] == done.lost_through + 1
    receiver.wait(lambda: len(receiver.accepted()) >= 4, "two more", SECONDS_MAX)
    assert receiver.positions() == positions
