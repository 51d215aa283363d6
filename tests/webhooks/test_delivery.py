"""What receivers get: everything they asked for, in order, signed, whatever they do with it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import jsonschema_rs
import psycopg
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.api.books import Books
from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase
from tests.metrics import metric, metrics
from tests.webhooks.conftest import SEND_SECONDS_MAX
from tests.webhooks.receiver import Receiver


def make(client: Client, receiver: Receiver, **fields: object) -> tuple[str, str]:
    """A new endpoint's identifier and secret."""
    made = client.send("POST", "/v1/webhooks", {"url": f"{receiver.url}/hook", **fields}).ok().json
    return made["webhook"]["id"], made["secret"]


def pay(books: Books, how_often: int = 1) -> list[int]:
    """Positions of transfers from Alice to Bob."""
    return [books.transfer("alice", "bob", 1).ok()["position"] for _ in range(how_often)]


def progress(client: Client, endpoint: str) -> dict[str, object]:
    (found,) = client.get(f"/v1/webhooks/{endpoint}").ok()["deliveries"]
    return dict(found)


def told(client: Client, endpoint: str, name: str) -> int:
    """A number of its progress."""
    return int(str(progress(client, endpoint)[name]))


def change_delivery(database: ShardDatabase, endpoint: str, assignments: str) -> None:
    """Have something else written about an endpoint's delivery, as time would."""
    with psycopg.connect(database.owner_dsn) as connection:
        changed = connection.execute(
            f"UPDATE webhook_deliveries SET {assignments} WHERE endpoint = %s".encode(), (endpoint,)
        )
        assert changed.rowcount == 1


def is_delivered(server: ApiServer, endpoint: str) -> bool:
    """Whether the server goes about delivering it."""
    return any(line.startswith("tallystick_webhook_parked{") and endpoint in line for line in metrics(server))


def test_everything_after_it_was_made_is_told_in_order_and_signed(
    client: Client, books: Books, receiver: Receiver
) -> None:
    _, secret = make(client, receiver)
    positions = pay(books, 30)
    receiver.wait(lambda: len(receiver.accepted()) >= 30, "30 events")
    assert receiver.positions() == positions
    receiver.verify(secret)
    first = receiver.received[0]
    assert first.path == "/hook"
    assert first.event["type"] == "transfer"
    data = first.event["data"]
    assert client.get(f"/v1/transactions/{data['transaction']}").ok()["position"] == positions[0]
    assert [(entry["account"], entry["amount"]) for entry in data["entries"]] == [
        (books["alice"], "-1"),
        (books["bob"], "1"),
    ]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(first.body + b" ", first.headers)


def test_only_what_was_asked_for(client: Client, books: Books, receivers: list[Receiver]) -> None:
    by_kind, by_owner, by_stranger = receivers
    make(client, by_kind, kinds=["hold_placed", "account_opened"])
    make(client, by_owner, owner=f"{books.owner}/bob")
    stranger, _ = make(client, by_stranger, owner="nobody")
    first = pay(books, 2)
    books.open("carol USD 0")
    hold = books.client.post("/v1/holds", books.payment("alice", "carol", 5)).ok()["position"]
    last = pay(books)
    by_kind.wait(lambda: len(by_kind.accepted()) >= 2, "an account and a hold")
    by_owner.wait(lambda: len(by_owner.accepted()) >= 3, "three payments")
    assert by_owner.positions() == first + last
    opened, placed = by_kind.accepted()
    assert opened.event["data"]["account"]["owner"] == f"{books.owner}/carol"
    assert (opened.event["type"], placed.event["type"], placed.position) == (
        "account_opened",
        "hold_placed",
        hold,
    )
    by_stranger.wait(lambda: progress(client, stranger)["position"] == last[-1], "the log was gone through")
    assert not by_stranger.received


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["error", "close", "midway", "endless", "redirect"])
def test_a_receiver_that_fails_gets_it_again_before_anything_later(
    server: ApiServer, client: Client, books: Books, receiver: Receiver, fault: str
) -> None:
    receiver.behave = lambda number: fault if number in {1, 2} else "ok"
    endpoint, secret = make(client, receiver)
    positions = pay(books, 4)
    receiver.wait(lambda: len(receiver.accepted()) >= (2 if fault == "endless" else 4), "4 events")
    if fault == "endless":
        # A success is its status; what else it says is cut off.
        assert [one.position for one in receiver.received] == positions
        return
    tried = [one.position for one in receiver.received]
    assert tried == [positions[0], *[positions[1]] * 3, *positions[2:]]
    again = [one for one in receiver.received if one.position == positions[1]]
    assert len({one.id for one in again}) == 1
    assert len({one.body for one in again}) == 1
    assert len({one.headers["webhook-timestamp"] for one in again}) > 1
    assert again[1].at - again[0].at >= 0.5
    assert not any(one.path == "/elsewhere" for one in receiver.received)
    receiver.verify(secret)
    assert metric(server, "tallystick_webhook_failures_total", endpoint=endpoint) == 2
    receiver.wait(
        lambda: metric(server, "tallystick_webhook_deliveries_total", endpoint=endpoint) == 4, "4 counted"
    )


def test_one_that_hangs_slows_no_other(
    server: ApiServer, client: Client, books: Books, receivers: list[Receiver]
) -> None:
    slow, quick, _ = receivers
    slow.behave = lambda number: "hang" if number == 0 else "ok"
    endpoint, _ = make(client, slow)
    make(client, quick)
    positions = pay(books, 20)
    slow.wait(lambda: len(slow.received) == 1, "it is asked")
    quick.wait(lambda: len(quick.accepted()) >= 20, "20 events")
    slow.wait(
        lambda: metric(server, "tallystick_webhook_lag_positions", endpoint=endpoint) >= 1, "it is behind"
    )
    assert quick.accepted()[-1].at - slow.received[0].at < SEND_SECONDS_MAX - 1
    assert len(slow.received) == 1
    slow.released.set()
    slow.wait(lambda: len(slow.accepted()) >= 20, "20 events")
    assert slow.positions() == quick.positions() == positions


@pytest.mark.slow
def test_parked_after_three_days_and_replayed_from_any_position(
    server: ApiServer, database: ShardDatabase, client: Client, books: Books, receiver: Receiver
) -> None:
    receiver.behave = lambda _number: "error"
    endpoint, _ = make(client, receiver)
    positions = pay(books, 3)
    receiver.wait(lambda: told(client, endpoint, "attempts") >= 1, "an attempt")
    found = progress(client, endpoint)
    assert found["state"] == "retrying"
    assert found["last_error"] == "answered 500"
    change_delivery(database, endpoint, "failing_since = failing_since - interval '3 days'")
    receiver.wait(lambda: progress(client, endpoint)["state"] == "parked", "parked")
    said = server.command("webhooks", "parked", "--json")
    assert said.returncode == 0, said.stderr
    assert endpoint in said.stdout
    receiver.wait(lambda: metric(server, "tallystick_webhook_parked", endpoint=endpoint) == 1, "the alarm")
    receiver.behave = lambda _number: "ok"
    tried = len(receiver.received)
    later = pay(books)
    time.sleep(2.5)
    assert len(receiver.received) == tried
    replayed = server.command("webhooks", "replay", endpoint, "--shard", "1", "--from", str(positions[0]))
    assert replayed.returncode == 0, replayed.stderr
    receiver.wait(lambda: len(receiver.accepted()) >= 4, "all of them")
    assert receiver.positions() == positions + later
    # Again, over the API: the same identifiers.
    before = [one.id for one in receiver.accepted()]
    receiver.received.clear()
    body = {"shard": 1, "position": positions[1]}
    assert client.send("POST", f"/v1/webhooks/{endpoint}/replay", body).ok()["position"] == positions[1] - 1
    receiver.wait(lambda: len(receiver.accepted()) >= 3, "the last three again")
    assert [one.id for one in receiver.accepted()] == before[1:]


def test_paused_and_resumed_nothing_is_lost(client: Client, books: Books, receivers: list[Receiver]) -> None:
    receiver, witness, _ = receivers
    endpoint, _ = make(client, receiver)
    make(client, witness)
    client.patch(f"/v1/webhooks/{endpoint}", {"state": "paused"}).ok()
    positions = pay(books, 3)
    witness.wait(lambda: len(witness.accepted()) >= 3, "another one is told")
    assert not receiver.received
    client.patch(f"/v1/webhooks/{endpoint}", {"state": "active"}).ok()
    receiver.wait(lambda: len(receiver.accepted()) >= 3, "what was missed")
    assert receiver.positions() == positions
    client.send("DELETE", f"/v1/webhooks/{endpoint}").ok()
    assert client.get(f"/v1/webhooks/{endpoint}").refused()[:2] == (404, "webhook_not_found")
    pay(books)
    witness.wait(lambda: len(witness.accepted()) >= 4, "another one is told")
    assert len(receiver.received) == 3


def test_what_is_asked_for_while_the_last_of_a_page_is_on_its_way_is_told(
    client: Client, books: Books, receiver: Receiver
) -> None:
    receiver.behave = lambda number: "slow" if number == 0 else "ok"
    endpoint, _ = make(client, receiver, kinds=["hold_placed"])
    client.patch(f"/v1/webhooks/{endpoint}", {"state": "paused"}).ok()
    hold = client.post("/v1/holds", books.payment("alice", "bob", 5)).ok()["position"]
    transfers = pay(books, 2)
    client.patch(f"/v1/webhooks/{endpoint}", {"state": "active"}).ok()
    receiver.wait(lambda: len(receiver.received) == 1, "the hold is on its way")
    client.patch(f"/v1/webhooks/{endpoint}", {"kinds": []}).ok()
    receiver.wait(lambda: len(receiver.received) >= 3, "all of them", 15.0)
    assert [one.position for one in receiver.received] == [hold, *transfers]


def test_a_paused_one_says_so(client: Client, books: Books, receiver: Receiver) -> None:
    receiver.behave = lambda _number: "error"
    endpoint, _ = make(client, receiver)
    path = f"/v1/webhooks/{endpoint}"
    assert progress(client, endpoint)["state"] == "delivering"
    pay(books)
    receiver.wait(lambda: progress(client, endpoint)["state"] == "retrying", "it failed")
    client.patch(path, {"state": "paused"}).ok()
    assert progress(client, endpoint)["state"] == "paused"
    replayed = client.send("POST", f"{path}/replay", {"shard": 1, "position": 1}).ok()
    assert replayed["state"] == "paused"
    client.send("DELETE", path).ok()


def test_one_that_a_newer_version_made_stops_no_other(
    server: ApiServer, database: ShardDatabase, client: Client, books: Books, receivers: list[Receiver]
) -> None:
    """While servers are updated one after the other, an old one meets kinds that it does not know."""
    newer, known, _ = receivers
    endpoint, _ = make(client, newer)
    change = "UPDATE webhook_endpoints SET kinds = %s WHERE id = %s"
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute(change, ([10, 99], endpoint))
        make(client, known)
        positions = pay(books, 2)
        known.wait(lambda: known.positions() == positions, "the other one is told")
        assert endpoint not in client.get("/v1/webhooks").ok().body.decode()
        said = server.log_path.read_text()
        assert said.count("a webhook is left out: update this server") == 1
        connection.execute(change, ([10], endpoint))
    newer.wait(lambda: newer.positions() == positions, "it is told by a server that knows")


def test_metrics_say_nothing_of_what_was_removed(
    server: ApiServer, client: Client, books: Books, receiver: Receiver
) -> None:
    """Endpoints come and go, and a server runs for months."""
    receiver.behave = lambda number: "error" if number == 0 else "ok"
    endpoint, _ = make(client, receiver)
    pay(books)
    receiver.wait(lambda: len(receiver.accepted()) >= 1, "an event")
    assert metric(server, "tallystick_webhook_failures_total", endpoint=endpoint) == 1
    client.send("DELETE", f"/v1/webhooks/{endpoint}").ok()
    receiver.wait(lambda: endpoint not in "".join(metrics(server)), "forgotten")


def test_while_secrets_rotate_both_are_valid(client: Client, books: Books, receiver: Receiver) -> None:
    endpoint, first = make(client, receiver)
    second = client.send("POST", f"/v1/webhooks/{endpoint}/rotate", {"overlap_seconds": 60}).ok()["secret"]
    assert first != second
    pay(books)
    receiver.wait(lambda: len(receiver.accepted()) >= 1, "an event")
    receiver.verify(first)
    receiver.verify(second)
    receiver.received.clear()
    third = client.send("POST", f"/v1/webhooks/{endpoint}/rotate", {"overlap_seconds": 0}).ok()["secret"]
    pay(books)
    receiver.wait(lambda: len(receiver.accepted()) >= 1, "an event")
    receiver.verify(third)
    with pytest.raises(WebhookVerificationError):
        receiver.verify(second)


@pytest.mark.slow
def test_a_test_message(server: ApiServer, client: Client, receiver: Receiver) -> None:
    endpoint, secret = make(client, receiver)
    answer = client.send("POST", f"/v1/webhooks/{endpoint}/test").ok().json
    assert (answer["delivered"], answer["status"]) == (True, 200)
    assert receiver.received[0].event["type"] == "webhook.test"
    receiver.verify(secret)
    receiver.behave = lambda _number: "error"
    said = server.command("webhooks", "test", endpoint)
    assert said.returncode == 1
    assert "answered 500" in said.stderr


def test_messages_are_as_the_description_says(client: Client, books: Books, receiver: Receiver) -> None:
    """Whoever generates a receiver from it can read a test message, too."""
    document = client.get("/openapi.json").ok().json
    schema = document["webhooks"]["event"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.Draft202012Validator(
        {**schema, "components": document["components"]}, validate_formats=True
    )
    endpoint, _ = make(client, receiver)
    client.send("POST", f"/v1/webhooks/{endpoint}/test").ok()
    pay(books)
    receiver.wait(lambda: len(receiver.accepted()) >= 2, "a test and an event")
    for one in receiver.accepted():
        validator.validate(one.event)
        for wrong in ({**one.event, "type": "nothing"}, {**one.event, "data": {}}):
            assert not validator.is_valid(wrong)


@pytest.mark.slow
def test_no_secret_is_shown_twice_or_logged(server: ApiServer, client: Client, receiver: Receiver) -> None:
    endpoint, secret = make(client, receiver)
    for path in ("/v1/webhooks", f"/v1/webhooks/{endpoint}"):
        assert "whsec_" not in client.get(path).ok().body.decode()
    assert "whsec_" not in "".join(metrics(server))
    listed = server.command("webhooks", "list", "--json")
    assert endpoint in listed.stdout
    assert "whsec_" not in listed.stdout
    assert secret.removeprefix("whsec_") not in server.log_path.read_text()


@pytest.mark.slow
def test_a_lease_that_is_lost_is_taken_again(
    database: ShardDatabase, client: Client, books: Books, receiver: Receiver
) -> None:
    """The sessions are ended by PostgreSQL, as by a failover or an operator, while messages are on their way."""
    _, secret = make(client, receiver)
    positions = []
    for _ in range(4):
        positions += pay(books, 5)
        with psycopg.connect(database.owner_dsn) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND starts_with(application_name, 'tallystick lease')"
            )
        positions += pay(books, 5)
    receiver.wait(lambda: len(receiver.accepted()) >= 40, "40 events")
    assert receiver.positions() == positions
    receiver.verify(secret)


@pytest.mark.slow
def test_the_command_does_what_the_api_does(server: ApiServer, client: Client, receiver: Receiver) -> None:
    made = server.command("webhooks", "create", "--url", receiver.url, "--kind", "transfer", "--json")
    assert made.returncode == 0, made.stderr
    created = json.loads(made.stdout)
    endpoint = created["webhook"]["id"]
    assert client.get(f"/v1/webhooks/{endpoint}").ok()["webhook"] == created["webhook"]
    rotated = json.loads(server.command("webhooks", "rotate", endpoint, "--json").stdout)
    assert rotated["secret"] != created["secret"]
    tested = server.command("webhooks", "test", endpoint)
    assert tested.returncode == 0, tested.stderr
    assert "answered 200" in tested.stdout
    receiver.verify(created["secret"])
    receiver.verify(rotated["secret"])
    (told,) = json.loads(server.command("webhooks", "status", endpoint, "--json").stdout)["deliveries"]
    assert (told["id"], told["shard"], told["state"]) == (endpoint, 1, "delivering")
    assert server.command("webhooks", "remove", endpoint).returncode == 0
    assert client.get(f"/v1/webhooks/{endpoint}").status == 404
    for wrong in (
        ["test", endpoint],
        ["create", "--url", "shop"],
        ["replay", endpoint, "--shard", "1", "--from", "1"],
    ):
        said = server.command("webhooks", *wrong)
        assert said.returncode == 1
        assert said.stderr.startswith("error: ")
        assert len(said.stderr.splitlines()) == 1


def test_changes_at_the_same_time_all_stay(
    client: Client, receiver: Receiver, database: ShardDatabase
) -> None:
    """Above all a new secret: whoever was given it signs with it from then on."""
    endpoint, _ = make(client, receiver)
    path = f"/v1/webhooks/{endpoint}"
    rounds, changes = 15, 4
    with ThreadPoolExecutor(changes) as threads:
        for number in range(rounds):
            calls = [
                ("POST", f"{path}/rotate", {"overlap_seconds": 0}),
                ("PATCH", path, {"owner": f"owner {number}"}),
                ("PATCH", path, {"url": f"{receiver.url}/{number}"}),
                ("PATCH", path, {"kinds": ["transfer" if number % 2 else "reversal"]}),
            ]
            rotated, *_ = threads.map(lambda call: client.another().send(*call).ok().json, calls)
            found = client.get(path).ok()["webhook"]
            assert found["owner"] == f"owner {number}"
            assert found["url"] == f"{receiver.url}/{number}"
            assert found["kinds"] == ["transfer" if number % 2 else "reversal"]
            client.send("POST", f"{path}/test").ok()
            Webhook(rotated["secret"]).verify(receiver.received[-1].body, receiver.received[-1].headers)
    with psycopg.connect(database.owner_dsn) as connection:
        found = connection.execute("SELECT version FROM webhook_endpoints WHERE id = %s", (endpoint,))
        assert found.fetchone() == (1 + rounds * changes,)
