"""Transfers between two shards over HTTP: the answer, and what a caller is told while there is none yet."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.api.client import Answer
from tests.api.pairs import END_SECONDS_MAX, Pair, TwoShards, tallystick


@contextmanager
def held_up(dsn: str) -> Iterator[None]:
    """Somebody else holds the shard's lock, so nothing is written to it."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock((x'7a11'::bigint << 32) | number) FROM shard")
        yield


def test_the_answer_has_both_sides_and_is_the_same_for_ever(pair: Pair) -> None:
    first = pair.pay_to_the_end(100, "over").ok()
    assert first.status == 201
    assert (first["state"], first["kind"]) == ("posted", "transfer")
    assert [(entry["account"], entry["amount"], entry["balance"]) for entry in first["entries"]] == [
        (pair.payer, "-100", None),
        (pair.payee, "100", None),
    ]
    assert pair.pay(100, "over").body == first.body
    assert pair.client.get(f"/v1/transactions/{first['id']}").body == first.body


def test_what_takes_too_long_is_pending_and_the_same_key_gets_the_outcome(
    pair: Pair, two_shards: TwoShards
) -> None:
    with held_up(two_shards.dsns[2]):
        pending = pair.pay(7, "slow")
        assert (pending.status, pending["state"]) == (202, "pending")
        place = f"/v1/transactions/{pending['id']}"
        assert pending.headers["location"] == place
        assert pair.client.get(place)["state"] == "pending"
        assert pair.pay(7, "slow").status == 202
        listed = tallystick(two_shards, "sagas")["sagas"]
        assert pending["id"] in json.dumps(listed)
        inside = pair.client.get(f"/v1/accounts/{pair.payer}")
        assert inside["held"] == "7"
    final = pair.pay_to_the_end(7, "slow")
    assert (final.status, final["state"], final["id"]) == (201, "posted", pending["id"])
    assert pair.client.get(place).body == final.body
    assert pair.client.get(f"/v1/accounts/{pair.payer}")["held"] == "0"


def test_a_refusal_of_the_other_shard_is_a_problem_document(pair: Pair) -> None:
    pair.client.patch(f"/v1/accounts/{pair.payee}", {"max_balance": "1"}, key=None).ok()
    for _ in range(2):
        assert pair.pay_to_the_end(5, "refused").refused() == (422, "balance_limit_exceeded", "destination")
    pair.client.patch(f"/v1/accounts/{pair.payee}", {"max_balance": None}, key=None).ok()
    assert pair.pay(5, "refused").refused() == (422, "balance_limit_exceeded", "destination")


def test_events_say_what_their_position_wrote(pair: Pair, two_shards: TwoShards) -> None:
    def page(after: int) -> Answer:
        return pair.client.get("/v1/events", shard=1, after=after, account=pair.payer, stages="true").ok()

    before = int(pair.client.get(f"/v1/accounts/{pair.payer}").ok()["position"])
    with held_up(two_shards.dsns[2]):
        pending = pair.pay(7, "an event")
        assert pending.status == 202
        (reserved,) = page(before)["items"]
        first = pair.client.get("/v1/events", shard=1, after=before, limit=1, stages="true").ok().body
        # Nothing of it is posted yet.
        assert pair.client.get("/v1/events", after=before, account=pair.payer).ok()["items"] == []
        assert reserved["crossing"]["state"] == "pending"
    assert pair.pay_to_the_end(7, "an event").status == 201
    again, finalized = page(before)["items"]
    assert again == reserved
    assert pair.client.get("/v1/events", shard=1, after=before, limit=1, stages="true").ok().body == first
    assert [event["kind"] for event in (reserved, finalized)] == ["transfer_reserved", "transfer_finalized"]
    assert [(entry["amount"], entry["held_after"]) for entry in reserved["entries"]] == [("0", "7")]
    assert (finalized["crossing"]["state"], finalized["crossing"]["transaction"]) == ("posted", pending["id"])
    assert finalized["crossing"]["entries"] == reserved["crossing"]["entries"]
    credited = pair.client.get("/v1/events", account=pair.payee, kind="transfer_credited", limit=500).ok()
    assert finalized["crossing"]["counterpart"] == credited["items"][-1]["transaction"]
    assert credited["items"][-1]["refers_to"] == pending["id"]


def test_a_stage_is_the_payment_unless_it_is_asked_for(pair: Pair) -> None:
    paid = pair.pay_to_the_end(3, "its stages").ok()
    (line, *_) = pair.client.get(f"/v1/accounts/{pair.payee}/entries", stages="true").ok()["items"]
    stage = f"/v1/transactions/{line['transaction']}"
    assert (
        pair.client.get(stage).ok()["id"] == pair.client.get(stage, stages="false").ok()["id"] == paid["id"]
    )
    assert pair.client.get(stage, stages="true").ok()["kind"] == "transfer_credited"
    assert pair.client.get(stage, stages="yes").refused() == (400, "parameter_invalid", "stages")
    assert pair.client.get(stage, stages="1").refused() == (400, "parameter_invalid", "stages")


def test_a_crossing_that_is_refused_says_why_where_it_ends(pair: Pair) -> None:
    before = int(pair.client.get(f"/v1/accounts/{pair.payer}").ok()["position"])
    pair.client.patch(f"/v1/accounts/{pair.payee}", {"max_balance": "1"}, key=None).ok()
    assert pair.pay_to_the_end(5, "a refused event").status == 422
    pair.client.patch(f"/v1/accounts/{pair.payee}", {"max_balance": None}, key=None).ok()
    events = {"after": before, "account": pair.payer}
    assert pair.client.get("/v1/events", **events).ok()["items"] == []
    reserved, released = pair.client.get("/v1/events", **events, stages="true").ok()["items"]
    assert (reserved["crossing"]["state"], reserved["crossing"]["refusal"]) == ("pending", None)
    assert (released["crossing"]["state"], released["kind"]) == ("refused", "transfer_released")
    assert released["crossing"]["refusal"]["code"] == "balance_limit_exceeded"


def test_each_shard_has_a_log_of_its_own(pair: Pair) -> None:
    for number in (1, 2):
        page = pair.client.get("/v1/events", shard=number, limit=500).ok()
        assert {event["shard"] for event in page["items"]} == {number}
    assert pair.client.get("/v1/events").refused() == (400, "parameter_invalid", "shard")
    both = [pair.payer, pair.payee]
    assert pair.client.get("/v1/events", account=both).refused() == (400, "parameter_invalid", "account")


def test_an_operator_may_give_up_what_is_pending(pair: Pair, two_shards: TwoShards) -> None:
    with held_up(two_shards.dsns[2]):
        pending = pair.pay(9, "given up")
        assert pending.status == 202
    driven = tallystick(two_shards, "sagas", "--drive", pending["id"], "--give-up")
    assert driven["stage"] in {"finalized", "released"}


def test_a_hold_that_is_being_captured_says_to_try_again_with_the_same_key(
    pair: Pair, two_shards: TwoShards
) -> None:
    """However the key's home lies: each of these keys is as free afterwards as if it had never been sent."""
    keys = [f"busy {number}" for number in range(4)]
    body = {"source": pair.payer, "destination": pair.payee, "amount": "10", "asset": "USD"}
    hold = f"/v1/holds/{pair.client.post('/v1/holds', body).ok()['id']}"
    with held_up(two_shards.dsns[2]):
        assert pair.client.post(f"{hold}/capture", {"amount": "3"}).status == 202
        for key in keys:
            busy = pair.client.post(f"{hold}/capture", {"amount": "1"}, key=key)
            assert busy.refused() == (409, "hold_busy", "id")
            assert int(busy.headers["retry-after"]) >= 1
        assert pair.client.post(f"{hold}/void", {}, key="busy void").refused() == (409, "hold_busy", "id")
    deadline = time.monotonic() + END_SECONDS_MAX
    for key in keys:
        while (answer := pair.client.post(f"{hold}/capture", {"amount": "1"}, key=key)).status in {202, 409}:
            assert time.monotonic() < deadline
        answer.ok()
    while (answer := pair.client.post(f"{hold}/void", {}, key="busy void")).status == 409:
        assert time.monotonic() < deadline
    assert (answer.ok()["status"], answer["captured"]) == ("voided", "7")
