"""`migrate` on a primary whose standby hangs: it does not say that it is done before the standby has it."""

import threading

from tallystick.store.errors import ShardUnavailableError
from tallystick.store.migrate import migrate
from tests.crash.databases import SHARD
from tests.crash.hanging import hanging
from tests.failover.pairs import Pair
from tests.waiting import wait_for

SECONDS_MAX = 30.0


class Migrating(threading.Thread):
    """One `migrate`, which waits as long as it must."""

    def __init__(self, dsn: str) -> None:
        super().__init__(daemon=True)
        self._dsn = dsn
        self.error: ShardUnavailableError | None = None
        self.done: list[str] | None = None

    def run(self) -> None:
        try:
            self.done = migrate(self._dsn, SHARD)
        except ShardUnavailableError as error:
            self.error = error


def begun(pair: Pair) -> Migrating:
    """One that waits for the standby."""
    migrating = Migrating(pair.database.owner_dsn)
    migrating.start()
    wait_for(pair.waiting, "it waits for the standby")
    return migrating


def test_it_waits_for_the_standby(pair: Pair) -> None:
    with hanging(pair.standby):
        migrating = begun(pair)
        assert migrating.done is None
    migrating.join(SECONDS_MAX)
    assert migrating.done == []


def test_it_says_so_if_it_was_cancelled(pair: Pair) -> None:
    """By an operator, as long as it lasts: its own commit, and what it waits with after it."""
    with hanging(pair.standby):
        migrating = begun(pair)
        while migrating.is_alive():
            pair.cancel_waiting()
            migrating.join(0.05)
    assert migrating.done is None
    assert "its standbys may not have that yet" in str(migrating.error)
    assert migrate(pair.database.owner_dsn, SHARD) == []
