"""A server that is asked for more than PostgreSQL can do refuses, stays small, and comes back by itself."""

import http.client
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from tests.crash.api_server import Answer, ApiServer, Client
from tests.crash.databases import ShardDatabase, assert_whole, temporary_database, temporary_server
from tests.metrics import metric
from tests.waiting import wait_for

CLIENTS: Final = 40
TRANSFERS_PER_CALL: Final = 500
FIRST_ANSWERS: Final = 10
REFUSALS: Final = 500
MEGABYTE: Final = 1024 * 1024
# A full queue holds 16,384 commands at about 2 kB each. The transfers of 500 refused calls, 250,000 of them, would
# be some 500 MB if they were kept.
GROWTH_BYTES_MAX: Final = 100 * MEGABYTE
RESIDENT_BYTES_MAX: Final = 400 * MEGABYTE
PAUSE_AFTER_REFUSAL_SECONDS: Final = 0.02
# So that those who waited first give up sooner.
LIMITS: Final = {"REQUEST_TIMEOUT_SECONDS": 5.0, "COMMIT_SECONDS_MAX": 5.0}


class Flood:
    """Clients that send batches of transfers, each with keys of its own, and do not slow down when refused."""

    def __init__(self, server: ApiServer, source: str, destination: str) -> None:
        self.codes: Counter[str] = Counter()
        self.unnamed: list[Answer] = []
        self.posted_keys: set[str] = set()
        self._server = server
        self._pair = source, destination
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
            assert not self._failures, self._failures[0]

    def batch(self, name: str) -> dict[str, Any]:
        source, destination = self._pair
        return {
            "transfers": [
                {
                    "source": source,
                    "destination": destination,
                    "amount": "1",
                    "asset": "USD",
                    "idempotency_key": f"{name} {number}",
                }
                for number in range(TRANSFERS_PER_CALL)
            ]
        }

    def _run(self, client_number: int) -> None:
        client = Client(self._server)
        turn = 0
        try:
            while not self._stop.is_set():
                turn += 1
                name = f"{client_number}-{turn}"
                self._note(name, client.ask("POST", "/v1/transfers/batch", self.batch(name)))
        except (OSError, http.client.HTTPException, AssertionError) as error:
            self._failures.append(error)
        finally:
            client.close()

    def _note(self, name: str, answer: Answer) -> None:
        code = "answered" if answer.status == 200 else str(answer.document["code"])
        with self._lock:
            self.codes[code] += 1
            if code == "answered":
                self.posted_keys.add(name)
        if answer.status != 200:
            assert answer.status == 503, answer
            assert answer.retry_after is not None
            assert int(answer.retry_after) >= 1
            self._stop.wait(PAUSE_AFTER_REFUSAL_SECONDS)


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-memory-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shard(folder: Path) -> Iterator[tuple[ShardDatabase, ApiServer]]:
    with temporary_server() as postgres, temporary_database(postgres) as database:
        server = ApiServer(folder, database, limits=LIMITS)
        try:
            server.start()
            yield database, server
        finally:
            server.kill()


@contextmanager
def stopped_writer(database: ShardDatabase) -> Iterator[None]:
    """PostgreSQL's processes for the batcher stand still; all others go on."""
    with psycopg.connect(database.owner_dsn) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE starts_with(application_name, 'tallystick writer') AND datname = current_database()"
        ).fetchall()
    assert rows
    for (pid,) in rows:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for (pid,) in rows:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(180)
def test_memory_is_bounded_under_a_load_above_capacity(shard: tuple[ShardDatabase, ApiServer]) -> None:
    database, server = shard
    client = Client(server)
    source = client.open_account("bank", "system")
    destination = client.open_account("payee")
    flood = Flood(server, source, destination)
    with flood.running():
        wait_for(lambda: flood.codes["answered"] >= FIRST_ANSWERS, "the first batches are written", 60)
        before = server.resident_bytes()
        most = before
        with stopped_writer(database):

            def refused_enough() -> bool:
                nonlocal most
                most = max(most, server.resident_bytes())
                # The first who waited have given up by then too.
                return flood.codes["overloaded"] >= REFUSALS and flood.codes["shard_unavailable"] > 0

            wait_for(refused_enough, "refusals", LIMITS["REQUEST_TIMEOUT_SECONDS"] + 30)
            # Reading goes on: it is another connection.
            assert client.balance(destination) >= FIRST_ANSWERS * TRANSFERS_PER_CALL
            assert client.ask("GET", "/healthz").status == 200
        answered = flood.codes["answered"]
        wait_for(lambda: flood.codes["answered"] >= answered + 5, "it comes back by itself", 60)
        most = max(most, server.resident_bytes())
    after = server.resident_bytes()
    sys.stdout.write(
        f"{dict(flood.codes)}; resident {before // MEGABYTE} MB before, {most // MEGABYTE} MB at most, "
        f"{after // MEGABYTE} MB after\n"
    )
    assert most - before < GROWTH_BYTES_MAX
    assert most < RESIDENT_BYTES_MAX

    # Nothing was promised that is not there, and a batch that was refused moves money once when it comes again.
    wait_for(
        lambda: client.ask("POST", "/v1/transfers/batch", flood.batch("last")).status == 200, "the last", 60
    )
    booked = client.balance(destination)
    assert booked >= (len(flood.posted_keys) + 1) * TRANSFERS_PER_CALL
    assert client.ask("POST", "/v1/transfers/batch", flood.batch("last")).status == 200
    for name in sorted(flood.posted_keys)[:3]:
        assert client.ask("POST", "/v1/transfers/batch", flood.batch(name)).status == 200
    assert client.balance(destination) == booked
    assert client.balance(source) == -booked
    assert metric(server, "tallystick_unserved_total", reason="overloaded", shard="1")
    client.close()
    assert_whole(database)
