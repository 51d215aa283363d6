"""Streams: live, cut and resumed, slow, and beside writers of two processes."""

import itertools
import resource
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from tallystick.domain import limits
from tests.api.books import Books
from tests.api.client import Client, new_key
from tests.api.conftest import HEARTBEAT_SECONDS
from tests.api.server import Installation, Server
from tests.api.streams import Event, Stream
from tests.api.test_events import head_of, pages
from tests.metrics import metric, metrics
from tests.waiting import wait_for
from tests.whole import WHOLE

LATENCY_SECONDS_P50 = 0.05
# The machine may be busy for a while: some part of so many is measured while it is not.
LATENCY_PARTS_MAX, LATENCY_PART = 20, 30
CUTS, CUTS_MIN = 1000 if WHOLE else 250, 100
CUTS_SECONDS_MAX = 20.0
STREAMS_AT_A_TIME = 100
# Hundreds of streams are told of a payment one after the other: on a machine that does much else, that takes a while.
MANY_SECONDS_MAX = 180.0
THE_END = "the end"


def is_soon(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def writers(books: Books, urls: list[str], pause_seconds: float = 0.0) -> Iterator[None]:
    """Payments from alice to bob and back, by one caller at each of these servers."""
    stopped = threading.Event()

    def write(url: str) -> None:
        with Client(url, books.client.api_key) as client:
            for turn in itertools.cycle((("alice", "bob"), ("bob", "alice"))):
                if stopped.is_set():
                    return
                payments = [{**books.payment(*turn, 1), "idempotency_key": new_key()} for _ in range(3)]
                client.send("POST", "/v1/transfers/batch", {"transfers": payments, "atomic": False}).ok()
                time.sleep(pause_seconds)

    with ThreadPoolExecutor(len(urls)) as threads:
        done = [threads.submit(write, url) for url in urls]
        try:
            yield
        finally:
            stopped.set()
        for one in done:
            one.result()


@pytest.fixture
def payers(books: Books) -> Books:
    books.open("""
        alice  USD  1000000
        bob    USD  1000000
    """)
    return books


def test_a_stream_begins_now_unless_told(payers: Books, installation: Installation) -> None:
    before = head_of(installation)
    with Stream(payers.client).opened() as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert before <= (stream.last_id or 0) <= head_of(installation)
        posted = payers.transfer("alice", "bob", 1).ok().json
        event = stream.next()
        assert event.json["transaction"] == posted["id"]
        assert event.id == posted["position"] == stream.last_id


def test_filters_and_tenants(payers: Books, strange_books: Books, installation: Installation) -> None:
    strange_books.open("alice  USD  5")
    before = head_of(installation)
    payers.open("carol  USD  0")
    queries: list[dict[str, Any]] = [
        {},
        {"account": payers["alice"]},
        {"account": [payers["bob"], payers["carol"]], "kind": "transfer"},
        {"owner": f"{payers.owner}/alice"},
        {"owner": f"{payers.owner}/dave"},
        {"kind": "account_opened"},
    ]
    streams = [Stream(payers.client, after=before, **query).opened() for query in queries]
    # Dave's accounts are opened when somebody follows him already.
    payers.open("dave  USD  7")
    payers.open("dave  EUR  8")
    payers.transfer("alice", "bob", 1).ok()
    strange_books.open("bob  USD  6")
    payers.transfer("bob", "carol", 1).ok()
    payers.change("dave", metadata={"a": "b"}).ok()
    payers.transfer("alice", "dave", 1)
    for query, stream in zip(queries, streams, strict=True):
        expected = pages(payers.client, before, **query)
        assert expected
        assert [event.json for event in stream.take(len(expected))] == expected
        stream.close()


def test_latency(payers: Books, second_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """From before the request that commits until the event is here: more than from the commit."""
    with Client(second_server.url, payers.client.api_key) as elsewhere:
        for name, writer in (("the same server", payers.client), ("another server", elsewhere)):
            with Stream(payers.client, account=payers["alice"]).opened() as stream:
                for _ in range(LATENCY_PARTS_MAX):
                    seconds = [request_to_event(payers, writer, stream) for _ in range(LATENCY_PART)]
                    if (p50 := statistics.median(seconds)) < LATENCY_SECONDS_P50:
                        break
            p95 = statistics.quantiles(seconds, n=20)[-1]
            with capsys.disabled():
                print(f"\nrequest to event, by {name}: p50 {p50 * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms")  # noqa: T201 - a figure
            assert p50 < LATENCY_SECONDS_P50


def request_to_event(payers: Books, writer: Client, stream: Stream) -> float:
    sent_at = time.monotonic()
    answer = writer.post("/v1/transfers", payers.payment("alice", "bob", 1)).ok()
    event = stream.next()
    assert event.id == answer["position"]
    time.sleep(0.01)
    return event.at - sent_at


def test_cut_and_resumed(
    payers: Books, second_server: Server, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is missed, nothing comes twice, for a client that keeps its last id."""
    before = head_of(installation)
    lengths = itertools.cycle((0, 1, 2, 5, 1, 0, 13, 3, 1, 40))
    received: list[Event] = []
    last_id, cuts, started = before, 0, time.monotonic()
    with writers(payers, [payers.client.url, second_server.url], 0.002):
        while cuts < CUTS_MIN or (cuts < CUTS and time.monotonic() - started < CUTS_SECONDS_MAX):
            with Stream(payers.client, last_id=last_id) as stream:
                received += stream.take(next(lengths))
                last_id = stream.last_id or last_id
            cuts += 1
    seconds = time.monotonic() - started
    until_head = head_of(installation)
    with Stream(payers.client, last_id=last_id) as stream:
        while not received or received[-1].id < until_head:
            received.append(stream.next())
    written = pages(payers.client, before, limit=500)
    with capsys.disabled():
        print(f"\n{cuts} cuts in {seconds:.1f} s, {len(written)} events")  # noqa: T201 - a figure
    assert [event.id for event in received] == [event["position"] for event in written]
    assert [event.json for event in received] == written


def test_many_streams_hear_the_same(payers: Books, second_server: Server, installation: Installation) -> None:
    """Everybody hears everything once and in order, of what two processes write at once."""
    before = head_of(installation)
    queries: list[dict[str, Any]] = [{"account": payers["alice"]}] * 20
    queries += [{}] * 5
    queries += [{"owner": f"{payers.owner}/bob"}] * 5

    def listen(query: dict[str, Any]) -> list[int]:
        with Stream(payers.client, after=before, **query) as stream:
            heard = [stream.next()]
            while heard[-1].json["description"] != THE_END:
                heard.append(stream.next())
            return [event.id for event in heard]

    # All read all the time: a connection that nobody reads for long may stay silent for as long once more.
    with ThreadPoolExecutor(len(queries)) as listeners:
        heard = [listeners.submit(listen, query) for query in queries]
        with writers(payers, [payers.client.url, second_server.url]):
            time.sleep(3.0 if WHOLE else 1.5)
        end = {**payers.payment("alice", "bob", 1), "description": THE_END}
        payers.client.send("POST", "/v1/transfers", end, key=new_key()).ok()
        written = [event["position"] for event in pages(payers.client, before, limit=500)]
        for one in heard:
            assert one.result() == written


def test_a_consumer_that_does_not_read_is_dropped_and_resumes(
    payers: Books, installation: Installation, server: Server
) -> None:
    before = head_of(installation)
    logged_before = server.log_path.stat().st_size
    dropped = metric(server, "tallystick_streams_dropped_total")
    # TCP asks a receiver who has stood still for some time less and less often whether it reads again.
    with Stream(payers.client, receive_bytes=4096, after=before, timeout_seconds=120) as slow:
        slow.opened()
        note = {"description": "x" * 1000, "metadata": {"note": "y" * 4000}}
        for _ in range(12):
            payments = [
                {**payers.payment("alice", "bob", 1), **note, "idempotency_key": new_key()}
                for _ in range(150)
            ]
            payers.client.send("POST", "/v1/transfers/batch", {"transfers": payments, "atomic": False}).ok()
        wait_for(lambda: metric(server, "tallystick_streams_dropped_total") > dropped)
        received = [event.id for event in slow.events()]
    with Stream(payers.client, last_id=slow.last_id) as again:
        received += [event.id for event in again.take(12 * 150 - len(received))]
    assert received == list(range(before + 1, before + 12 * 150 + 1))
    log = server.log_path.read_bytes()[logged_before:].decode()
    assert "its consumer does not read" in log
    assert "Traceback" not in log


def test_heartbeats_say_how_far_it_is(payers: Books, installation: Installation) -> None:
    with Stream(payers.client, account=payers["bob"]).opened() as stream:
        first = stream.last_id
        payers.open("carol  USD  5")
        opened = head_of(installation)
        started = time.monotonic()
        while not stream.comments[1:]:
            stream._block()
        assert time.monotonic() - started < 6 * HEARTBEAT_SECONDS
        assert stream.comments[-1] == "heartbeat"
        assert (first or 0) < opened <= (stream.last_id or 0) <= head_of(installation)


def test_streams_that_were_left_are_closed_though_they_have_nothing_to_say(
    server: Server, payers: Books
) -> None:
    def closed_at_once() -> bool:
        wait_for(lambda: open_streams(server) == 0)
        streams = [Stream(payers.client, account=payers["bob"]).opened() for _ in range(5)]
        assert open_streams(server) == 5
        for stream in streams:
            stream.close()
        return is_soon(lambda: open_streams(server) == 0, HEARTBEAT_SECONDS / 2)

    # Were they closed with the next heartbeat, it would be too late each time.
    assert any(closed_at_once() for _ in range(5))


@pytest.fixture
def _many_files() -> Iterator[None]:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))


@pytest.mark.usefixtures("_many_files")
def test_the_server_answers_everybody_else_when_all_streams_are_open(
    server: Server, payers: Books, strange_books: Books
) -> None:
    """A stream holds a connection for ever: together they must not use up those that the server accepts."""
    wait_for(lambda: open_streams(server) == 0)
    strange_books.open("eve  USD  0")
    path = f"/v1/accounts/{payers['bob']}/balance"
    with ExitStack() as opened:
        for books, name in ((strange_books, "eve"), (payers, "bob")):
            of_one = f"/v1/accounts/{books[name]}/balance"
            for _ in range(0, limits.STREAMS_PER_TENANT_DEFAULT, STREAMS_AT_A_TIME):
                streams = [
                    opened.enter_context(Stream(books.client, of_one, timeout_seconds=MANY_SECONDS_MAX))
                    for _ in range(STREAMS_AT_A_TIME)
                ]
                assert [stream.opened().status for stream in streams] == [200] * STREAMS_AT_A_TIME
            if books is strange_books:
                one_more = books.client.request("GET", of_one, headers={"Accept": "text/event-stream"})
                assert one_more.refused()[:2] == (429, "too_many_streams")
        assert open_streams(server) == limits.STREAMS_MAX == 2 * limits.STREAMS_PER_TENANT_DEFAULT
        refused = payers.client.request("GET", path, headers={"Accept": "text/event-stream"})
        assert refused.status == 503
        assert refused.headers["retry-after"]
        with Client(payers.client.url, payers.client.api_key) as somebody_new:
            assert somebody_new.get("/healthz").status == 200
            assert somebody_new.get(path).status == 200
        payers.transfer("alice", "bob", 1).ok()
        position = payers.balance("bob").json["position"]
        for stream in streams:
            while stream.last_id != position:
                stream.next()
    wait_for(lambda: open_streams(server) == 0)


def open_streams(server: Server) -> float:
    return metric(server, "tallystick_streams_open")


def test_balance_stream(payers: Books) -> None:
    path = f"/v1/accounts/{payers['bob']}/balance"
    with Stream(payers.client, path) as stream:
        first = stream.next()
        assert first.json == payers.balance("bob").json
        assert first.id == first.json["position"]
        payers.transfer("alice", "bob", 5).ok()
        payers.change("bob", metadata={"a": "b"}).ok()
        payers.hold("bob", "alice", 7).ok()
        paid, held = stream.take(2)
        assert held.json == payers.balance("bob").json
        assert held.json["held"] == "7"
        assert int(paid.json["balance"]) == int(first.json["balance"]) + 5
    with Stream(payers.client, path, last_id=first.id) as again:
        assert [event.data for event in again.take(2)] == [paid.data, held.data]


def test_balance_stream_refusals(payers: Books, strange_books: Books) -> None:
    strange_books.open("alice  USD  0")
    headers = {"Accept": "text/event-stream"}
    path = f"/v1/accounts/{strange_books['alice']}/balance"
    answer = payers.client.request("GET", path, headers=headers)
    assert answer.refused()[:2] == (404, "account_not_found")
    path = f"/v1/accounts/{payers['alice']}/balance"
    query = {"at": "2020-01-01T00:00:00Z"}
    answer = payers.client.request("GET", path, query=query, headers=headers)
    assert answer.refused() == (400, "parameter_invalid", "at")
    with Client(payers.client.url, None) as nobody:
        assert nobody.request("GET", path, headers=headers).status == 401


def test_metrics_of_streams(payers: Books, server: Server) -> None:
    sent = metric(server, "tallystick_stream_events_total")
    with Stream(payers.client, account=payers["bob"]).opened() as stream:
        payers.transfer("alice", "bob", 1).ok()
        stream.next()
        payers.transfer("alice", "bob", 1).ok()
        stream.next()
        wait_for(lambda: metric(server, "tallystick_stream_events_total") >= sent + 2)
        assert Counter(line.split("{")[0] for line in metrics(server)) >= Counter(
            {"tallystick_feed_lag_positions": 1, "tallystick_feed_lag_seconds": 1}
        )


def test_a_server_stops_at_once_under_open_streams(payers: Books, installation: Installation) -> None:
    with ExitStack() as opened:
        with (
            Server(installation, "stopping server") as server,
            Client(server.url, payers.client.api_key) as client,
        ):
            balance = f"/v1/accounts/{payers['bob']}/balance"
            of_bob = "/v1/events?account=" + payers["bob"]
            streams = [
                opened.enter_context(Stream(client, path)).opened()
                for path in (of_bob, "/v1/events", balance)
            ]
            posted = payers.transfer("alice", "bob", 1).ok().json
            received = [stream.events() for stream in streams]
            for events in received:
                while next(events).id < posted["position"]:
                    pass
            started = time.monotonic()
        # It ends them, and does not wait for as long as it waits for what is being answered.
        assert time.monotonic() - started < limits.SHUTDOWN_SECONDS_MAX / 2
        assert [list(events) for events in received] == [[], [], []]


def test_a_stream_outlives_the_loss_of_all_connections(payers: Books, installation: Installation) -> None:
    with Stream(payers.client, account=payers["alice"]).opened() as stream:
        # This one is up to date, and reads nothing from the database.
        expected: list[int] = [payers.transfer("alice", "bob", 1).ok()["position"]]
        received = stream.take(1)
        for key in ("first", "second", "third", "fourth", "fifth"):
            assert installation.cut_connections() > 0
            pay = partial(payers.transfer, "alice", "bob", 1, key=f"{payers.owner} {key}")
            wait_for(lambda pay=pay: pay().status == 201)  # type: ignore[misc]  # of a default in a lambda
            expected.append(pay()["position"])
        received += stream.take(5)
        assert [event.id for event in received] == expected


# A stream that does not end says that it lives, for ever.
@pytest.mark.timeout(120)
def test_a_revoked_key_hears_no_more(payers: Books, installation: Installation, server: Server) -> None:
    made = installation.make_key("first tenant")
    with Client(server.url, made.key) as known:
        streams = [
            Stream(known).opened(),
            Stream(known, account=payers["alice"]).opened(),
            Stream(payers.client).opened(),
        ]
        assert installation.revoke_key(made.id)
        for stream in streams[:2]:
            assert list(stream.events()) == [], "it ends, and has said nothing"
        # Others hear on.
        posted = payers.transfer("alice", "bob", 1).ok().json
        assert streams[2].next().json["transaction"] == posted["id"]
        for stream in streams:
            stream.close()
