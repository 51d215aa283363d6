"""What names a shard that the server does not know: it is said, nothing is written, and no key is burned."""

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Client, new_key

SAID = "This ledger does not know shard 4095. Add its database to the configuration"


def test_no_call_takes_it_for_something_that_is_not_there(books: Books, client: Client) -> None:
    books.open("alice  USD  100")
    alice, account = books["alice"], absent.ACCOUNT_ELSEWHERE
    key = new_key()
    entries = [{"account": alice, "amount": "-1"}, {"account": account, "amount": "1"}]
    payment = {"source": alice, "destination": account, "amount": "1", "asset": "USD"}
    turned = {**payment, "source": account, "destination": alice}
    calls = [
        ("POST", "/v1/transfers", payment),
        ("POST", "/v1/transfers", turned),
        ("POST", "/v1/holds", payment),
        ("POST", "/v1/holds", turned),
        ("POST", "/v1/transactions", {"entries": entries}),
        (
            "POST",
            "/v1/transactions",
            {"entries": [{**one, "amount": f"{-int(one['amount'])}"} for one in entries]},
        ),
        ("POST", f"/v1/holds/{absent.HOLD_ELSEWHERE}/capture", {}),
        ("POST", f"/v1/holds/{absent.HOLD_ELSEWHERE}/void", {}),
        ("POST", f"/v1/transactions/{absent.TRANSACTION_ELSEWHERE}/reverse", {}),
        ("PATCH", f"/v1/accounts/{account}", {"status": "frozen"}),
        ("POST", "/v1/balances", {"accounts": [alice, account]}),
        ("GET", f"/v1/accounts/{account}", None),
        ("GET", f"/v1/accounts/{account}/balance", None),
        ("GET", f"/v1/accounts/{account}/balance?at=2020-01-01T00:00:00Z", None),
        ("GET", f"/v1/accounts/{account}/entries", None),
        ("GET", f"/v1/events?account={account}", None),
        ("GET", f"/v1/holds/{absent.HOLD_ELSEWHERE}", None),
        ("GET", f"/v1/transactions/{absent.TRANSACTION_ELSEWHERE}", None),
    ]
    for method, path, body in calls:
        answer = client.send(method, path, body, key=None if method == "GET" else key)
        assert answer.refused()[:2] == (503, "shard_unavailable"), (method, path)
        assert answer["detail"].startswith(SAID)
    books.open("bob  USD  0")
    # The same key is as good as new.
    assert client.post("/v1/transfers", {**payment, "destination": books["bob"]}, key=key).status == 201
    books.check("""
        alice  USD  99
        bob    USD   1
    """)


def test_of_a_batch_only_what_goes_there_is_refused(books: Books, client: Client) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)

    def payment(source: str, destination: str) -> dict[str, str]:
        return {
            "source": source,
            "destination": destination,
            "amount": "1",
            "asset": "USD",
            "idempotency_key": new_key(),
        }

    alice, bob, account = books["alice"], books["bob"], absent.ACCOUNT_ELSEWHERE
    transfers = [payment(alice, account), payment(alice, bob), payment(account, bob)]
    for _ in range(2):
        first, second, third = client.post("/v1/transfers/batch", {"transfers": transfers}).ok()["outcomes"]
        assert second["refusal"] is None
        for refusal, param in ((first["refusal"], "destination"), (third["refusal"], "source")):
            assert (refusal["code"], refusal["param"]) == ("shard_unavailable", param)
            assert refusal["detail"].startswith(SAID)
    for place in (0, 2):
        # Under its key nothing is kept.
        transfers[place] = {**transfers[place], "source": alice, "destination": bob}
    outcomes = client.post("/v1/transfers/batch", {"transfers": transfers}).ok()["outcomes"]
    assert all(one["refusal"] is None for one in outcomes)
    books.check("""
        alice  USD  97
        bob    USD   3
    """)
