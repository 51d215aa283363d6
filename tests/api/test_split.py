"""One payer and payees on several other shards over HTTP, on four shards."""

import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tallystick.domain.limits import SAGA_WAIT_SECONDS_MAX
from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.client import Answer, Client
from tests.api.pairs import installed, tallystick
from tests.api.server import Server

SHARDS = (1, 2, 3, 4)
OWNERS_TRIED_MAX = 200


class World(NamedTuple):
    """A wallet on each shard; the first has 10,000 cents."""

    client: Client
    wallets: tuple[str, ...]

    def entries(self, amount: int) -> list[dict[str, str]]:
        payer, *payees = self.wallets
        paid = [{"account": payee, "amount": str(amount)} for payee in payees]
        return [{"account": payer, "amount": str(-amount * len(payees))}, *paid]

    def pay(self, amount: int, key: str) -> Answer:
        return self.client.post("/v1/transactions", {"entries": self.entries(amount)}, key=key)

    def balances(self) -> list[tuple[str, str]]:
        found = [self.client.get(f"/v1/accounts/{one}").ok() for one in self.wallets]
        return [(one["balance"], one["held"]) for one in found]

    def lines(self, wallet: str) -> list[tuple[Any, ...]]:
        page = self.client.get(f"/v1/accounts/{wallet}/entries").ok()["items"]
        return [(one["kind"], one["amount"], one["transaction"]) for one in page]


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("split")
    with installed(postgres, folder, SHARDS, SAGA_WAIT_SECONDS_MAX) as installation:
        made = tallystick(installation, "keys", "create", "--name", "a test", "--scope", "all")
        with Server(installation, "server") as server, Client(server.url, made["key"]) as client:
            yield World(client, wallets(client))


def wallets(client: Client) -> tuple[str, ...]:
    """A new owner's wallet on each shard, the first of them funded."""
    found: dict[int, tuple[str, str]] = {}
    for _ in range(OWNERS_TRIED_MAX):
        if len(found) == len(SHARDS):
            break
        owner = f"owner {uuid.uuid4()}"
        wallet = client.post("/v1/accounts", {"owner": owner, "asset": "USD"}, key=str(uuid.uuid4())).ok()
        found.setdefault(wallet["shard"], (wallet["id"], owner))
    bank = {"owner": found[1][1], "asset": "USD", "kind": "system"}
    source = client.post("/v1/accounts", bank, key=str(uuid.uuid4())).ok()["id"]
    funding = {"source": source, "destination": found[1][0], "amount": "10000", "asset": "USD"}
    client.post("/v1/transfers", funding, key=str(uuid.uuid4())).ok()
    return tuple(found[number][0] for number in SHARDS)


def test_it_is_one_transaction_with_one_answer(world: World) -> None:
    before = world.balances()
    first = world.pay(100, "split").ok()
    assert first.status == 201
    assert (first["state"], first["kind"]) == ("posted", "transaction")
    entries = [{"account": one["account"], "amount": one["amount"]} for one in first["entries"]]
    assert entries == world.entries(100)
    assert world.pay(100, "split").body == first.body
    assert world.client.get(f"/v1/transactions/{first['id']}").body == first.body
    assert world.pay(101, "split").refused()[:2] == (422, "idempotency_key_reused")
    assert [int(now) - int(then) for (now, _), (then, _) in zip(world.balances(), before, strict=True)] == [
        -300,
        100,
        100,
        100,
    ]
    assert not any(int(held) for _, held in world.balances())
    payer, *payees = world.wallets
    assert world.lines(payer)[0] == ("transaction", "-300", first["id"])
    for payee in payees:
        assert world.lines(payee)[0] == ("transaction", "100", first["id"])


def test_a_refusal_of_one_shard_moves_nothing_and_names_its_entry(world: World) -> None:
    before = world.balances()
    full = world.wallets[3]
    limit = {"max_balance": world.client.get(f"/v1/accounts/{full}").ok()["balance"]}
    world.client.send("PATCH", f"/v1/accounts/{full}", limit, key=str(uuid.uuid4())).ok()
    refused = world.pay(50, "too much")
    assert refused.refused() == (422, "balance_limit_exceeded", "entries[3].account")
    assert world.pay(50, "too much").body == refused.body
    assert world.balances() == before
    world.client.send("PATCH", f"/v1/accounts/{full}", {"max_balance": None}, key=str(uuid.uuid4())).ok()


def test_it_is_not_reversed_as_one_and_the_error_says_what_to_do(world: World) -> None:
    paid = world.pay(10, "mistake").ok()
    answer = world.client.post(f"/v1/transactions/{paid['id']}/reverse", {}, key="undo")
    assert answer.refused()[:2] == (422, "transaction_not_reversible")
    assert "a transfer from each payee" in answer["detail"]
    before = world.balances()
    for number, payee in enumerate(world.wallets[1:]):
        back = {"source": payee, "destination": world.wallets[0], "amount": "10", "asset": "USD"}
        world.client.post("/v1/transfers", back, key=f"undo {number}").ok()
    assert int(world.balances()[0][0]) - int(before[0][0]) == 30


def test_payers_and_payees_on_one_shard_beside_others_are_too_wide(world: World) -> None:
    first, second, third, _ = world.wallets
    for entries in (
        [(first, "-5"), (second, "-5"), (third, "10")],
        [(second, "5"), (third, "-5"), (first, "-1"), (world.wallets[3], "1")],
    ):
        body = {"entries": [{"account": account, "amount": amount} for account, amount in entries]}
        answer = world.client.post("/v1/transactions", body, key=str(uuid.uuid4()))
        assert answer.refused()[:2] == (422, "crosses_too_many_shards")
