"""What receivers answer: when to come again, that they are gone, and answers that would hold up or drown a sender."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from tallystick.domain import limits
from tallystick.store.connection import Rows
from tallystick.store.queries import query
from tallystick.store.webhooks import endpoint_snapshots
from tests.api.books import Books
from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase
from tests.metrics import metric
from tests.webhooks.conftest import INSIDE, SEND_SECONDS_MAX, client_of
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.test_delivery import change_delivery, is_delivered, make, pay, progress, told
from tests.whole import some_of

MEGABYTE = 1024 * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "as_date"),
    [
        (fault, as_date)
        for fault in ("busy", "later")
        for as_date in some_of(f"when to come, {fault}", [False, True])
    ],
)
def test_a_receiver_that_says_when_is_asked_again_then(
    client: Client, books: Books, receiver: Receiver, fault: str, as_date: bool
) -> None:
    """Longer than the pause after a first failure, which is a second at most."""
    receiver.behave = lambda number: fault if number == 0 else "ok"
    # Dates have whole seconds: this one is 2 to 3 seconds ahead.
    receiver.retry_after = partial(date_in, 3) if as_date else lambda: "2"
    make(client, receiver)
    positions = pay(books, 2)
    receiver.wait(lambda: len(receiver.accepted()) >= 2, "both")
    assert receiver.positions() == positions
    first, again = receiver.received[:2]
    assert again.position == first.position
    assert again.at - first.at >= 1.5


def date_in(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def test_what_is_said_is_bounded_and_what_cannot_be_read_is_not_heard(
    client: Client, database: ShardDatabase, books: Books, receiver: Receiver
) -> None:
    receiver.behave = lambda _number: "later"
    receiver.retry_after = lambda: "99999999"
    endpoint, _ = make(client, receiver)
    pay(books)
    receiver.wait(lambda: told(client, endpoint, "attempts") == 1, "an attempt")
    # At most an hour, whatever is said.
    assert 3_500 < wait_seconds(database, endpoint) <= limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX
    receiver.retry_after = lambda: "soon, I promise"
    client.patch(f"/v1/webhooks/{endpoint}", {"state": "active"}).ok()
    receiver.wait(lambda: told(client, endpoint, "attempts") >= 2, "another one, since it was changed")
    # Seconds, which grow with each attempt.
    assert wait_seconds(database, endpoint) < 100


def wait_seconds(database: ShardDatabase, endpoint: str) -> float:
    """For how long PostgreSQL says that the next attempt is to wait."""
    with psycopg.connect(database.owner_dsn) as connection:
        found = connection.execute(
            "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::float8 FROM webhook_deliveries"
            " WHERE endpoint = %s",
            (endpoint,),
        ).fetchone()
    assert found is not None
    return float(found[0])


@pytest.mark.slow
def test_when_to_come_again_survives_a_crash(
    database: ShardDatabase, tmp_path: Path, receiver: Receiver
) -> None:
    server = ApiServer(tmp_path, database, settings=INSIDE)
    try:
        server.start()
        receiver.behave = lambda number: "later" if number == 0 else "ok"
        receiver.retry_after = lambda: "6"
        with client_of(server) as client:
            books = Books(client)
            books.open("alice USD 10\n bob USD 0")
            endpoint, _ = make(client, receiver)
            positions = pay(books)
            receiver.wait(lambda: told(client, endpoint, "attempts") == 1, "an attempt")
        server.kill()
        server.start()
        receiver.wait(lambda: len(receiver.accepted()) >= 1, "it comes again")
        assert receiver.positions() == positions
        assert receiver.received[1].at - receiver.received[0].at >= 5
        with client_of(server) as client:
            client.send("DELETE", f"/v1/webhooks/{endpoint}").ok()
    finally:
        server.stop()


@pytest.mark.slow
def test_who_is_gone_is_parked_at_once_and_can_be_replayed(
    server: ApiServer, client: Client, books: Books, receiver: Receiver
) -> None:
    receiver.behave = lambda _number: "gone"
    endpoint, _ = make(client, receiver)
    positions = pay(books, 2)
    receiver.wait(lambda: progress(client, endpoint)["state"] == "parked", "parked")
    found = progress(client, endpoint)
    assert (found["attempts"], found["position"]) == (1, positions[0] - 1)
    assert "410" in str(found["last_error"])
    receiver.wait(lambda: metric(server, "tallystick_webhook_parked", endpoint=endpoint) == 1, "the alarm")
    receiver.wait(lambda: "ALARM: a webhook is parked" in server.log_path.read_text(), "it is logged, too")
    assert endpoint in server.command("webhooks", "parked", "--json").stdout
    receiver.behave = lambda _number: "ok"
    # A change is no replay: it asked for nothing more.
    client.patch(f"/v1/webhooks/{endpoint}", {"url": f"{receiver.url}/other"}).ok()
    time.sleep(1.5)
    assert len(receiver.received) == 1
    said = server.command("webhooks", "replay", endpoint, "--shard", "1", "--from", str(positions[0]))
    assert said.returncode == 0, said.stderr
    receiver.wait(lambda: len(receiver.accepted()) >= 2, "both")
    assert receiver.positions() == positions


@pytest.mark.slow
def test_an_answer_that_never_ends_is_a_failure_and_costs_little(server: ApiServer, client: Client) -> None:
    bad = ["trickle_headers", "continue_for_ever", "big_header", "many_headers"]
    with ExitStack() as stack, ThreadPoolExecutor(len(bad) + 1) as threads:
        endpoints = []
        for one in bad:
            receiver = stack.enter_context(receiving())
            receiver.behave = partial(_always, one)
            endpoints.append(make(client, receiver)[0])
        # One that does not even say hello: it takes connections, and speaks no TLS.
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        endpoints.append(make(client, Receiver(f"https://127.0.0.1:{mute.getsockname()[1]}"))[0])
        before = server.resident_bytes()
        said = list(threads.map(lambda endpoint: send_test(client.another(), endpoint), endpoints))
        assert [one["delivered"] for one in said] == [False] * len(endpoints), said
        assert server.resident_bytes() - before < 50 * MEGABYTE


def _always(what: str, _number: int) -> str:
    return what


def send_test(client: Client, endpoint: str) -> dict[str, Any]:
    """What came of a test message: a client waits for that no longer than four messages may take."""
    with client:
        return dict(client.send("POST", f"/v1/webhooks/{endpoint}/test").ok().json)


def test_who_has_taken_it_may_say_the_rest_slowly(client: Client, books: Books, receiver: Receiver) -> None:
    """The status says that it was taken: nothing of it comes again, and the next one does not wait for long."""
    receiver.behave = lambda number: "trickle" if number < 2 else "ok"
    make(client, receiver)
    positions = pay(books, 4)
    receiver.wait(lambda: len(receiver.received) >= 4, "4 events")
    assert [one.position for one in receiver.received] == positions
    # Two of them would have taken twice as long as a message may take.
    assert receiver.received[3].at - receiver.received[0].at < 1.5 * SEND_SECONDS_MAX


def test_one_changed_while_it_is_asked_is_asked_again_at_once(
    database: ShardDatabase, client: Client, books: Books, receivers: list[Receiver]
) -> None:
    """It had failed for long, so that it would wait for an hour, when somebody put it right."""
    broken, right, _ = receivers
    broken.behave = lambda _number: "held_error"
    endpoint, _ = make(client, broken)
    change_delivery(
        database,
        endpoint,
        "attempts = 20, failing_since = clock_timestamp(), generation = generation + 1",
    )
    positions = pay(books, 2)
    broken.wait(lambda: len(broken.received) == 1, "it is asked")
    client.patch(f"/v1/webhooks/{endpoint}", {"url": right.url}).ok()
    broken.released.set()
    right.wait(lambda: len(right.accepted()) >= 2, "both, at the new place")
    assert right.positions() == positions
    assert len(broken.received) == 1


def test_one_changed_while_it_is_asked_is_not_parked_by_the_old_url(
    client: Client, books: Books, receivers: list[Receiver]
) -> None:
    """410 says that the old url wants nothing more: that may be why it was changed."""
    old, new, _ = receivers
    old.behave = lambda _number: "slow_gone"
    endpoint, _ = make(client, old)
    positions = pay(books, 2)
    old.wait(lambda: len(old.received) == 1, "it is asked")
    client.patch(f"/v1/webhooks/{endpoint}", {"url": new.url}).ok()
    new.wait(lambda: len(new.accepted()) >= 2, "both, at the new place", 15.0)
    assert new.positions() == positions
    assert len(old.received) == 1


def test_one_resumed_is_asked_at_once_and_has_all_its_time_again(
    server: ApiServer, database: ShardDatabase, client: Client, books: Books, receiver: Receiver
) -> None:
    receiver.behave = lambda _number: "error"
    endpoint, _ = make(client, receiver)
    positions = pay(books)
    receiver.wait(lambda: told(client, endpoint, "attempts") >= 1, "an attempt")
    client.patch(f"/v1/webhooks/{endpoint}", {"state": "paused"}).ok()
    receiver.wait(lambda: not is_delivered(server, endpoint), "no server delivers it")
    tried = len(receiver.received)
    receiver.behave = lambda number: "error" if number <= tried else "ok"
    change_delivery(
        database,
        endpoint,
        "failing_since = failing_since - interval '4 days',"
        " next_attempt_at = clock_timestamp() + interval '1 hour'",
    )
    client.patch(f"/v1/webhooks/{endpoint}", {"state": "active"}).ok()
    receiver.wait(lambda: len(receiver.accepted()) >= 1, "it was not parked")
    assert receiver.positions() == positions


@pytest.mark.slow
def test_what_cannot_be_recorded_is_not_sent_again_and_again(
    database: ShardDatabase, client: Client, books: Books, receiver: Receiver
) -> None:
    """PostgreSQL answers, and takes nothing: as one that became a standby, or whose disk is full."""
    endpoint, _ = make(client, receiver)
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute("REVOKE UPDATE ON webhook_deliveries FROM tallystick_server")
        try:
            positions = pay(books)
            receiver.wait(lambda: len(receiver.received) >= 3, "it is sent, and sent again")
            first, second, third = [one.at for one in receiver.received[:3]]
            # One second, then two, each shortened by up to a half.
            assert second - first > 0.45
            assert third - second > 0.9
        finally:
            connection.execute("GRANT UPDATE ON webhook_deliveries TO tallystick_server")
    receiver.wait(lambda: progress(client, endpoint)["position"] == positions[0], "it is recorded")
    assert set(receiver.positions()) == set(positions)


def test_a_clock_that_was_set_back_delays_nothing_for_longer_than_a_pause(
    database: ShardDatabase, client: Client, receiver: Receiver
) -> None:
    endpoint, _ = make(client, receiver)
    change_delivery(database, endpoint, "next_attempt_at = clock_timestamp() + interval '3 days'")
    with psycopg.connect(database.owner_dsn) as connection:
        rows = connection.execute(query("webhook_look")).fetchall()
    (seen,) = [one for one in endpoint_snapshots(cast("Rows", rows)) if one.endpoint.id == endpoint]
    assert seen.state is not None
    assert seen.state.wait_seconds == limits.WEBHOOK_RETRY_DELAY_SECONDS_MAX
