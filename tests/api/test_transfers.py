"""Transfers: money from one account to another, within bounds."""

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Client

INT64_MAX = 2**63 - 1


def test_money_moves(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)

    answer = books.transfer("alice", "bob", 30, description="lunch", metadata={"table": "7"})

    assert answer.status == 201
    transfer = answer.json
    assert transfer["kind"] == "transfer"
    assert transfer["description"] == "lunch"
    assert transfer["metadata"] == {"table": "7"}
    assert transfer["refers_to"] is None
    assert transfer["effective_at"] == transfer["recorded_at"]
    # Debits first.
    entry = {"asset": "USD", "held": "0", "held_after": "0"}
    assert transfer["entries"] == [
        {"account": books["alice"], "amount": "-30", "balance": "70", **entry},
        {"account": books["bob"], "amount": "30", "balance": "30", **entry},
    ]
    books.check("""
        alice  USD   70
        bob    USD   30
    """)


def test_a_transaction_reads_as_it_was_answered(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    answer = books.transfer(
        "alice",
        "bob",
        1,
        description="übermäßig 😀",
        metadata={"b": "2", "a": "1"},
        effective_at="2020-02-29T23:59:59.999999+05:30",
    )
    assert answer.ok()["effective_at"] == "2020-02-29T18:29:59.999999Z"
    assert books.client.get(f"/v1/transactions/{answer['id']}").body == answer.body


def test_an_amount_may_be_a_json_integer(books: Books, client: Client) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    client.post("/v1/transfers", {**books.payment("alice", "bob", 0), "amount": 40}).ok()
    books.check("""
        alice  USD   60
        bob    USD   40
    """)


def test_a_wallet_is_not_overdrawn(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    assert books.transfer("alice", "bob", 101).refused() == (422, "insufficient_funds", "source")
    books.transfer("alice", "bob", 100).ok()
    assert books.transfer("alice", "bob", 1).refused() == (422, "insufficient_funds", "source")
    books.check("""
        alice  USD    0
        bob    USD  100
    """)


def test_what_is_held_cannot_be_spent(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    books.hold("alice", "bob", 80).ok()
    assert books.transfer("alice", "bob", 21).refused() == (422, "insufficient_funds", "source")
    books.transfer("alice", "bob", 20).ok()
    books.check("""
        alice  USD  80  held 80
        bob    USD  20
    """)


def test_an_account_with_credit_goes_down_to_its_bound(books: Books) -> None:
    books.open("""
        alice  USD  0  min -50
        bob    USD  0
    """)
    assert books.transfer("alice", "bob", 51).refused() == (422, "insufficient_funds", "source")
    books.transfer("alice", "bob", 50).ok()
    books.check("""
        alice  USD  -50
        bob    USD   50
    """)


def test_a_balance_does_not_rise_above_its_bound(books: Books) -> None:
    books.open("""
        alice  USD  200
        bob    USD    0  max 100
    """)
    assert books.transfer("alice", "bob", 101).refused() == (422, "balance_limit_exceeded", "destination")
    books.transfer("alice", "bob", 100).ok()
    assert books.transfer("alice", "bob", 1).refused() == (422, "balance_limit_exceeded", "destination")
    books.check("""
        alice  USD  100
        bob    USD  100
    """)


def test_a_balance_is_an_int64(books: Books) -> None:
    books.open("""
        mint   USD  0  kind system
        other  USD  0  kind system
        alice  USD  0
    """)
    books.transfer("mint", "alice", INT64_MAX).ok()
    assert books.transfer("other", "alice", 1).refused() == (422, "balance_limit_exceeded", "destination")
    assert books.transfer("mint", "other", 2).refused() == (422, "balance_limit_exceeded", "source")
    books.transfer("mint", "other", 1).ok()
    books.check(f"""
        mint   USD  {-(2**63)}
        other  USD  1
        alice  USD  {INT64_MAX}
    """)


def test_to_oneself(books: Books) -> None:
    books.open("alice  USD  100")
    assert books.transfer("alice", "alice", 1).refused() == (422, "same_account", "destination")
    books.check("alice  USD  100")


def test_between_assets(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    EUR    0
    """)
    assert books.transfer("alice", "bob", 1).refused() == (422, "asset_mismatch", "destination")
    assert books.transfer("alice", "bob", 1, asset="EUR").refused() == (422, "asset_mismatch", "source")
    books.check("""
        alice  USD  100
        bob    EUR    0
    """)


def test_to_and_from_an_unknown_account(books: Books) -> None:
    books.open("alice  USD  100")
    account = absent.ACCOUNT
    assert books.account(account).refused() == (404, "account_not_found", "id")
    assert books.transfer("alice", account, 1).refused() == (422, "account_not_found", "destination")
    assert books.transfer(account, "alice", 1).refused() == (422, "account_not_found", "source")
    books.check("alice  USD  100")


def test_a_transfer_may_have_been_effective_long_ago(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    transfer = books.transfer("alice", "bob", 10, effective_at="2019-12-31T23:00:00-01:00").ok()
    assert transfer["effective_at"] == "2020-01-01T00:00:00Z"
    assert transfer["recorded_at"] > "2026"


def test_there_is_no_such_transaction(client: Client) -> None:
    assert client.get(f"/v1/transactions/{absent.TRANSACTION}").refused() == (
        404,
        "transaction_not_found",
        "id",
    )
